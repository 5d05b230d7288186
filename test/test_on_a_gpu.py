# SPDX-License-Identifier: Apache-2.0
"""Models on a GPU find what they find on a CPU: on a simulated one, step by step or recorded."""

import gc
import weakref
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from simulated_gpu import NAME, record, simulated_gpu
from small_networks import SMALL
from tiny_checkpoints import LAYOUTS, write_checkpoint

from samtok_ros.benchmark.run import Plan, run_plan
from samtok_ros.benchmark.subjects import load_subject, synthetic_network
from samtok_ros.errors import ConfigError, DeviceError
from samtok_ros.language import recorded_steps
from samtok_ros.language.generation import GenerationLimits, SpanClosed
from samtok_ros.language.instructions import Picture, RegionReference, goal_instruction
from samtok_ros.language.recorded_steps import RecordedSteps
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.model_directory import EMBEDDED_MODEL, resolve_model
from samtok_ros.recording import RecordedCall, cuda_recorder
from samtok_ros.regions import BoxPrompt, PointPrompt
from samtok_ros.runtime.torch_backend import TorchGroundingModel
from samtok_ros.settings.shared import ModelSettings
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.video_tracker import VideoTracker

TABLE = Path(__file__).parent.parent / 'examples' / 'table.jpg'
CODES = np.array([[1, 2], [33, 200], [255, 0]])
GOAL = goal_instruction('the purple bottle')
QUESTION = ('What colour is ', RegionReference((245, 5)), '?')
LIMITS = GenerationLimits(40)

recorders = pytest.mark.parametrize('recorder', [None, record], ids=['steps', 'recorded'])


@pytest.fixture
def gpu():
    with simulated_gpu() as device:
        yield device


@pytest.fixture(scope='module')
def model_dir():
    return resolve_model(EMBEDDED_MODEL)


@pytest.fixture(scope='module')
def on_cpu(model_dir):
    return MaskTokenizer.load(model_dir)


def test_simulation_when_operands_lie_in_two_places_then_refused(gpu):
    with pytest.raises(RuntimeError, match='same device'):
        torch.zeros(3, device=gpu) + torch.zeros(3)
    assert (torch.zeros(3, device=gpu) + 1).device.type == NAME
    assert torch.ones(3, device=gpu).cpu().tolist() == [1, 1, 1]


@pytest.mark.parametrize('work', [
    lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.cpu(),
    lambda x: x + torch.tensor([1.0, 2.0], device=x.device),
])
def test_simulation_when_recorded_work_waits_or_takes_from_the_host_then_refused(gpu, work):
    x = torch.ones(2, device=gpu)
    with pytest.raises(RuntimeError, match='not permitted while work is recorded'):
        record(lambda: work(x))


def test_recorded_call_when_called_again_then_the_new_inputs_count(gpu):
    total = torch.zeros(2, device=gpu)
    call = RecordedCall(lambda x, y: total + (x[:1] * y).relu(), record)
    first = call(torch.ones(2, device=gpu), torch.tensor([1.0, -1.0], device=gpu))
    assert first.tolist() == [1, 0]
    again = call(torch.full((2,), 3.0, device=gpu), torch.tensor([2.0, 4.0], device=gpu))
    assert again.tolist() == [6, 12]
    assert first.tolist() == [6, 12]  # the same memory
    total += 1
    assert call(torch.zeros(2, device=gpu), torch.ones(2, device=gpu)).tolist() == [1, 1]


def test_cuda_recorder_when_there_is_no_gpu_then_said():
    with pytest.raises(DeviceError, match='CUDA graphs need a GPU.*model.cuda_graphs'):
        cuda_recorder(torch.device('cpu'))


@pytest.mark.parametrize('settings', [{'device': 'cpu'}, {'backend': 'fake'}])
def test_settings_when_cuda_graphs_have_no_meaning_then_refused(settings):
    with pytest.raises(ConfigError, match='model.cuda_graphs needs torch on a GPU'):
        ModelSettings(cuda_graphs=True, **settings)


@recorders
def test_mask_tokenizer_when_on_a_gpu_then_masks_and_codes_of_the_cpu(
        gpu, model_dir, on_cpu, image_rgb, recorder):
    tokenizer = MaskTokenizer.load(model_dir, gpu.type, recorder=recorder)
    images = [image_rgb, np.ascontiguousarray(image_rgb[::-1])]
    # The features of the first image must outlive those of the second.
    kept = [tokenizer.embed_image(image) for image in images]
    for image, features in zip(images, kept, strict=True):
        expected = on_cpu.embed_image(image)
        masks = on_cpu.decode(expected, CODES).masks
        assert np.array_equal(tokenizer.decode(features, CODES).masks, masks)
        assert np.array_equal(tokenizer.encode(features, masks), on_cpu.encode(expected, masks))


def test_mask_tokenizer_when_on_a_gpu_then_convolutions_of_float32_keep_all_bits(
        gpu, model_dir, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', True)
    MaskTokenizer.load(model_dir, gpu.type)
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize('prompt', [BoxPrompt(90, 70, 190, 150), PointPrompt(140, 110)])
def test_draw_prompts_when_on_a_gpu_then_masks_of_the_cpu(
        gpu, model_dir, on_cpu, image_rgb, prompt):
    tokenizer = MaskTokenizer.load(model_dir, gpu.type)
    found, expected = (one.draw_prompts(one.embed_image(image_rgb), [prompt]).masks
                       for one in (tokenizer, on_cpu))
    assert np.array_equal(found, expected)


def close(found, expected):
    """Hold the events of answers against each other; scores may differ in their last digits."""
    assert [[without_score(event) for event in one] for one in found] == [
        [without_score(event) for event in one] for one in expected]
    scores = [[event.score for one in answers for event in one if isinstance(event, SpanClosed)]
              for answers in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def without_score(event):
    return replace(event, score=0.0) if isinstance(event, SpanClosed) else event


def answers(vlm, image_rgb):
    """Return all events of a goal, of a follow-up and of a longer text about the same image."""
    return [list(vlm.generate(image_rgb, text, LIMITS, image_key='image'))
            for text in (GOAL, QUESTION, 'Describe it. ' * 6)]


@recorders
@pytest.mark.parametrize('family', LAYOUTS)
def test_generate_when_on_a_gpu_then_answers_of_the_cpu(
        tmp_path, image_rgb, family, recorder):
    model_dir = write_checkpoint(tmp_path / 'model', family, tied=False)
    expected = answers(VisionLanguageModel.load(model_dir), image_rgb)
    with simulated_gpu() as device:
        found = answers(VisionLanguageModel.load(model_dir, device.type, recorder=recorder),
                        image_rgb)
    close(found, expected)


@pytest.fixture(scope='module')
def table_rgb():
    return np.asarray(Image.open(TABLE).convert('RGB').resize((640, 480)))


@pytest.fixture(scope='module')
def said(model_dir, table_rgb):
    """What the embedded model says on a CPU: masks, among them, and so steps of two tokens."""
    return answers(VisionLanguageModel.load(model_dir), table_rgb)


@recorders
def test_generate_when_masks_are_said_on_a_gpu_then_those_of_the_cpu(
        gpu, model_dir, table_rgb, said, recorder):
    vlm = VisionLanguageModel.load(model_dir, gpu.type, recorder=recorder)
    close(answers(vlm, table_rgb), said)


def test_generate_when_recorded_answers_take_turns_then_each_as_if_alone(
        gpu, model_dir, table_rgb, said):
    vlm = VisionLanguageModel.load(model_dir, gpu.type, recorder=record)
    both = [vlm.generate(table_rgb, GOAL, LIMITS, image_key=key) for key in 'ab']
    turns = [list(turn) for turn in zip_longest(*both)]
    for one in zip(*turns, strict=True):
        close([[event for event in one if event]], said[:1])
    for key in 'ab':  # and each can be gone on from
        close([list(vlm.generate(table_rgb, QUESTION, LIMITS, image_key=key))], said[1:2])


def test_generate_when_recorded_text_outgrows_its_memory_then_it_gets_more(
        gpu, model_dir, table_rgb, said, monkeypatch):
    monkeypatch.setattr(recorded_steps, '_FIRST_ROOM', 92)  # a prompt, and not a whole answer
    vlm = VisionLanguageModel.load(model_dir, gpu.type, recorder=record)
    close(answers(vlm, table_rgb), said)
    assert vlm._layers._room > 92


def test_generate_when_memory_is_short_once_then_the_next_answer_is_as_ever(
        gpu, model_dir, table_rgb, said):
    vlm = VisionLanguageModel.load(model_dir, gpu.type, recorder=record)
    with mock.patch.object(torch.Tensor, 'new_zeros', side_effect=torch.OutOfMemoryError), \
            pytest.raises(DeviceError, match='out of memory'):
        answers(vlm, table_rgb)
    close(answers(vlm, table_rgb), said)


def test_generate_when_memory_is_too_short_to_keep_the_text_then_the_answer_is_whole(
        gpu, model_dir, table_rgb, said):
    vlm = VisionLanguageModel.load(model_dir, gpu.type, recorder=record)
    with mock.patch.object(RecordedSteps, 'settle', side_effect=torch.OutOfMemoryError):
        close([list(vlm.generate(table_rgb, GOAL, LIMITS, image_key='image'))], said[:1])
    assert vlm.kept_bytes == 0
    close(answers(vlm, table_rgb), said)


def test_generate_when_several_pictures_were_recorded_then_their_keys_and_values_go(
        gpu, model_dir, table_rgb):
    vlm = VisionLanguageModel.load(model_dir, gpu.type, recorder=record)
    kept = []
    with mock.patch.object(RecordedSteps, 'read', autospec=True, side_effect=(
            lambda steps, ids, at, cache, read=RecordedSteps.read: (
                kept.append(weakref.ref(cache)), read(steps, ids, at, cache))[1])):
        list(vlm.generate(table_rgb, ('What is it? ', Picture(table_rgb[:200, :200])),
                          GenerationLimits(5), image_key='image'))
    gc.collect()
    assert kept
    assert {one() for one in kept} == {None}


def test_warm_up_when_steps_are_recorded_then_answers_of_a_large_image_record_no_more(
        gpu, model_dir, table_rgb):
    recorder = mock.Mock(side_effect=record)
    vlm = VisionLanguageModel.load(model_dir, gpu.type, recorder=recorder)
    TorchGroundingModel(vlm, 'tabletop', gpu.type, 'tabletop@0').warm_up()
    recorder.reset_mock()
    events = list(vlm.generate(table_rgb, GOAL, LIMITS))
    assert any(isinstance(event, SpanClosed) for event in events)
    recorder.assert_not_called()
    # The published models see 1280x720 as 880 tokens; 100 are the words around them.
    assert vlm._layers._room >= 880 + 100 + GenerationLimits().max_new_tokens


def test_generate_when_a_recorded_step_fails_then_nothing_of_it_is_kept(
        gpu, model_dir, table_rgb, said):
    vlm = VisionLanguageModel.load(model_dir, gpu.type, recorder=record)
    close(answers(vlm, table_rgb)[:1], said[:1])
    with mock.patch.object(RecordedCall, '__call__', side_effect=torch.OutOfMemoryError), \
            pytest.raises(DeviceError, match='out of memory'):
        list(vlm.generate(table_rgb, QUESTION, LIMITS, image_key='image'))
    assert vlm.kept_bytes == 0
    close(answers(vlm, table_rgb), said)


def test_model_when_its_layers_are_unknown_then_cuda_graphs_are_refused(gpu, tmp_path):
    model_dir = write_checkpoint(tmp_path / 'model', 'qwen3_vl', tied=False)
    with mock.patch('samtok_ros.language.vlm.text_layers_for', lambda model: None), \
            pytest.raises(DeviceError, match='CUDA graphs cannot be used with this model'):
        VisionLanguageModel.load(model_dir, gpu.type, recorder=record)


@recorders
def test_bench_when_run_on_a_gpu_then_both_sides_agree_there(gpu, recorder):
    subject = load_subject('tabletop', 'auto', gpu.type, 'float32', recorder=recorder)
    plan = Plan(masks=(1, 2), sizes_hw=((240, 320),), warm_ups=0, repeats=1)
    results = run_plan(subject, plan, lambda text: None)
    assert {row.phase for row in results.rows} >= {'cold', 'hot', 'follow-up', 'goal', 'reencode'}
    assert [row.void for row in results.rows] == [()] * len(results.rows)


def test_video_tracker_when_on_a_gpu_then_masks_of_the_cpu(gpu, image_rgb):
    config = replace(SMALL, latent_dim=128)  # which the memory needs, see test_video_tracker
    mask = (image_rgb == (200, 30, 30)).all(axis=2)
    images = [image_rgb, np.roll(image_rgb, 6, axis=1), np.roll(image_rgb, 12, axis=1)]

    def follow(device):
        masks = MaskTokenizer(synthetic_network(config, video_memory=True), 'small@0', device)
        tracker = VideoTracker(masks)
        memory = tracker.start(masks.embed_image(images[0]), mask)
        return [tracker.step(masks.embed_image(image), memory) for image in images[1:]]

    for found, expected in zip(follow(gpu.type), follow('cpu'), strict=True):
        logits = found.low_res_logits.cpu()
        assert torch.allclose(logits, expected.low_res_logits, rtol=1e-3, atol=1e-3)
        assert np.array_equal(found.mask, expected.mask)
