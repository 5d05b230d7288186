# SPDX-License-Identifier: Apache-2.0
"""The benchmark: turns, figures, what voids them, both sides at small size, and the command."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from small_networks import SMALL

from samtok_ros.benchmark import run as run_module
from samtok_ros.benchmark.cases import Bench, ellipses
from samtok_ros.benchmark.interleave import (
    Case,
    Comparison,
    Outcome,
    Ratio,
    Row,
    Share,
    run_case,
)
from samtok_ros.benchmark.published_masks import PublishedMaskTokenizer
from samtok_ros.benchmark.report import encode_once_bound, report, table
from samtok_ros.benchmark.run import Plan, Results, device_clock, machine_facts, run_plan
from samtok_ros.benchmark.script import mask_list, saying, script_of
from samtok_ros.benchmark.subjects import (
    Language,
    Subject,
    load_subject,
    published_4b_config,
    random_language,
    synthetic_network,
)
from samtok_ros.benchmark.sustained import keep_up
from samtok_ros.benchmark.tracking import tracking_case
from samtok_ros.cli.main import main
from samtok_ros.errors import CheckpointError
from samtok_ros.language.decoding import GreedyWriter
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.tokenizer.checkpoint import load_network
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.words.vocabulary import MaskVocabulary

SIZE_HW = (48, 64)


class Clock:
    """A clock that stands still unless work moves it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def case_of(durations, clock, calls, disagreement=lambda *_: []):
    """Make a case whose variants take what `durations` says, repetition by repetition."""
    def variant(name):
        def work(number):
            calls.append((number, name))
            clock.now += durations[name][number]
            return Outcome(name, {'half': durations[name][number] / 2} if name == 'B' else {})
        return work

    sides = {name: name for name in durations}
    return Case(3, (480, 640), lambda number: number, {name: variant(name) for name in durations},
                disagreement, (Comparison('whole', sides), Comparison('part', sides, 'half')))


def test_case_when_run_then_variants_take_turns_and_warm_ups_do_not_count():
    clock, calls = Clock(), []
    durations = {'A': [9.0, 2.0, 4.0, 8.0], 'A2': [9.0, 1.0, 1.0, 1.0], 'B': [9.0, 1.0, 1.0, 2.0]}
    whole, part = run_case(case_of(durations, clock, calls), 1, 3, clock)
    assert [name for _, name in calls] == ['A', 'A2', 'B', 'A2', 'B', 'A', 'B', 'A', 'A2',
                                           'A', 'A2', 'B']
    assert whole.seconds == {name: times[1:] for name, times in durations.items()}
    assert whole.median_s('A') == 4.0
    assert whole.p95_s('A') == pytest.approx(7.6)
    # Pairwise: 2/1, 4/1, 8/2.
    assert whole.ratio('A') == Ratio(4.0, 2.0, 4.0)
    # A variant that notes no moment has it at its end.
    assert (part.phase, part.seconds['B'], part.seconds['A']) == ('part', [0.5, 0.5, 1.0],
                                                                  [2.0, 4.0, 8.0])


@pytest.mark.parametrize('bad_repetition', [0, 2])
def test_case_when_sides_disagree_once_then_all_its_figures_are_void(bad_repetition):
    clock = Clock()
    durations = {'A': [1.0] * 3, 'B': [1.0] * 3}
    case = case_of(durations, clock, [], lambda number, outcomes: (
        ['codes of A are others'] if number == bad_repetition and outcomes['A'] else []))
    rows = run_case(case, 1, 2, clock)
    assert [row.void for row in rows] == [('codes of A are others',)] * 2
    assert rows[0].ratio('A') is None
    shown = table(Results(tuple(rows), None, ()))
    assert shown.count('void: codes of A are others') == 2
    assert Results(tuple(rows), None, ()).void


@pytest.mark.parametrize(('agree', 'fewest', 'reasons'), [
    ([0, 2, 2], 1, ()), ([0, 2, 1], 1, ('all fine: 3 of 6, where 60% must',)), ([0, 0, 0], 7, ())])
def test_case_when_shares_are_given_then_all_repetitions_count_together(agree, fewest, reasons):
    clock = Clock()
    case = case_of({'A': [1.0] * 3, 'B': [1.0] * 3}, clock, [], lambda number, _: [
        Share('all fine', agree[number], 2, 0.6, fewest)])
    assert [row.void for row in run_case(case, 1, 2, clock)] == [reasons] * 2


def row(phase, ours_s, void=()):
    return Row(phase, 20, (480, 640), {'A': [80.0], 'A2': [8.0], 'B': [ours_s]}, void)


def test_bound_when_cold_and_hot_are_known_then_it_follows_the_law():
    rows = [row('cold', 5.0), row('hot', 1.0)]
    # E = 4, N D = 1: 20 (4 + 1/20) / (4 + 1).
    assert encode_once_bound(rows[0], rows) == pytest.approx(16.2)
    assert encode_once_bound(rows[1], rows) is None
    assert encode_once_bound(rows[0], rows[:1]) is None


def test_table_when_shown_then_it_has_times_ratios_and_what_was_left_out():
    lines = table(Results((row('cold', 5.0), row('hot', 0.01)), None, ('messages: no ROS',)))
    lines = lines.splitlines()
    assert lines[1].split() == ['cold', '20', '640x480', '80.00', 's', '8.00', 's', '5.00', 's',
                                '16.0', '(16.0-16.0)', '1.6']
    assert '10.0 ms' in lines[2]
    assert lines[3] == 'left out: messages: no ROS'


def test_camera_when_work_is_slower_than_images_then_the_newest_is_taken():
    clock, drawn = Clock(), []

    def draw(number):
        drawn.append(number)
        clock.now += 0.25

    slow = keep_up(draw, 10.0, 1.0, clock, None)
    assert drawn == [0, 2, 5, 7]
    assert (slow.images, slow.done) == (10, 4)
    # Begun late by 0, 50, 0 and 50 ms.
    assert slow.age_p50_ms == pytest.approx(275.0)


def test_camera_when_work_is_faster_than_images_then_it_waits_for_each():
    clock = Clock()

    def draw(_):
        clock.now += 0.01

    def sleep(seconds):
        clock.now += seconds

    fast = keep_up(draw, 10.0, 1.0, clock, sleep)
    assert (fast.done, fast.age_p95_ms) == (10, pytest.approx(10.0))


def test_ellipses_when_drawn_then_none_is_empty_and_all_differ():
    masks = ellipses(20, SIZE_HW)
    assert masks.shape == (20, *SIZE_HW)
    assert masks.any(axis=(1, 2)).all()
    assert len({mask.tobytes() for mask in masks}) == 20


@pytest.fixture(scope='module')
def network(tiny_model_dir):
    return load_network(tiny_model_dir)


@pytest.fixture(scope='module')
def subject(tiny_model_dir, network, processor):
    """Tiny random models; the language model says nothing unless it is made to."""
    import torch

    from samtok_ros.language.checkpoint import load_model

    model = load_model(tiny_model_dir, torch.float32)
    language = Language('tiny', model, processor, VisionLanguageModel(model, processor),
                        'float32')
    return Subject('tiny', network, MaskTokenizer(network, 'tiny@0'), language, 'cpu', 'float32')


def test_published_way_when_compared_then_it_draws_what_we_draw(network):
    rng = np.random.default_rng(0)
    image_rgb = rng.integers(0, 255, (*SIZE_HW, 3), np.uint8)
    codes = rng.integers(0, 256, (5, 2))
    ours = MaskTokenizer(network, 'tiny@0')
    features = ours.embed_image(image_rgb)
    drawn = ours.decode(features, codes)
    for encode_once in (False, True):
        published = PublishedMaskTokenizer(network, encode_once, bfloat16=False)
        theirs = published.decode(image_rgb, codes)
        np.testing.assert_array_equal(theirs.masks != 0, drawn.masks)
        assert theirs.masks.dtype == np.uint8
        masks = ellipses(5, SIZE_HW)
        np.testing.assert_array_equal(published.encode(theirs.maps, masks),
                                      ours.encode(features, masks))
        index = ours.candidates(features, codes).scores.argmax(dim=1).numpy()
        np.testing.assert_array_equal(theirs.index, index)


def test_published_way_when_it_counts_then_the_image_is_encoded_once_per_mask(network):
    seen = []
    hook = network.sam.image_encoder.register_forward_pre_hook(
        lambda _, arguments: seen.append(len(arguments[0])))
    try:
        image_rgb = np.zeros((*SIZE_HW, 3), np.uint8)
        for encode_once in (False, True):
            PublishedMaskTokenizer(network, encode_once, False).decode(image_rgb,
                                                                       np.zeros((7, 2), int))
            seen.append('end')
    finally:
        hook.remove()
    assert seen == [7, 'end', 1, 'end']


def test_script_when_said_then_our_model_writes_it_with_its_codes(subject, image_rgb):
    codes = np.array([[3, 250], [0, 0]])
    text = mask_list(codes, MaskVocabulary())
    tokenizer = subject.language.processor.tokenizer
    script = script_of(text, tokenizer, tokenizer.eos_token_id)
    ours = subject.language.ours
    with saying(script) as writers:
        *events, finished = ours.generate(image_rgb, 'x')
    assert finished.text == text
    assert [event.codes for event in events if hasattr(event, 'codes')] == [(3, 250), (0, 0)]
    # Its own choice is noted where it is free to choose, at the first and the last token too.
    assert {0, len(script) - 1} <= writers[0].choices.keys()
    assert len(writers[0].choices) == len(script) - 2 * 3
    *_, unscripted = ours.generate(image_rgb, 'x')
    assert unscripted.text != text


@pytest.fixture(scope='module')
def results(subject):
    return run_plan(subject, Plan((1, 3), (SIZE_HW,), 1, 2, sustained_s=0.1, rate_hz=20.0), print)


def test_plan_when_run_at_small_size_then_all_phases_are_there_and_agree(results):
    phases = [row.phase for row in results.rows]
    expected = {'cold', 'hot', 'goal', 'first mask', 'follow-up', 'first word'}
    assert expected <= set(phases)
    assert ('messages' in phases) != any('messages' in text for text in results.skipped)
    assert [row.void for row in results.rows] == [()] * len(phases)
    assert all(len(times) == 2 for row in results.rows for times in row.seconds.values())
    assert results.sustained.images == 2


def test_plan_when_reported_then_json_and_picture_hold_it(results, subject, tmp_path):
    from PIL import Image

    from samtok_ros.benchmark.plot import draw_plot

    plan = Plan((1, 3), (SIZE_HW,), 1, 2)
    found = json.loads(json.dumps(report(results, subject, plan, machine_facts('cpu'))))
    cold = next(row for row in found['rows'] if row['phase'] == 'cold' and row['masks'] == 3)
    assert cold['ratios'].keys() == {'A/B', 'A2/B'}
    assert cold['encode_once_bound'] >= 1
    assert found['machine']['threads'] >= 1
    draw_plot(results.rows, 'tiny', tmp_path / 'plot.png')
    assert np.asarray(Image.open(tmp_path / 'plot.png').convert('RGB')).std() > 10
    draw_plot([replace(row, void=('x',)) for row in results.rows], 'void', tmp_path / 'void.png')
    assert (tmp_path / 'void.png').is_file()


def test_bench_when_our_masks_are_wrong_then_the_figures_are_void(subject):
    class Wrong(MaskTokenizer):
        def decode(self, features, codes):
            found = super().decode(features, codes)
            return replace(found, masks=~found.masks)

    wrong = replace(subject, masks=Wrong(subject.network, 'tiny@0'))
    bench = Bench(wrong, device_clock('cpu'))
    cold, _ = run_case(bench.decode(2, SIZE_HW), 1, 1)
    assert any('overlap with ours' in text for text in cold.void)
    goal, _ = run_case(bench.find(2, SIZE_HW), 1, 1)
    assert goal.void


def test_bench_when_our_scores_are_wrong_then_the_figures_are_void(subject, monkeypatch):
    bench, choose = Bench(subject, device_clock('cpu')), GreedyWriter._choose
    monkeypatch.setattr(GreedyWriter, '_choose', lambda writer, logits: choose(writer, -logits))
    goal, _ = run_case(bench.find(2, SIZE_HW), 0, 1)
    assert any('would have said what we say' in text for text in goal.void)


def test_plan_when_there_is_no_language_model_then_the_reason_is_given(subject):
    results = run_plan(replace(subject, language=None), Plan((1,), (SIZE_HW,), 1, 1), print)
    assert [row.phase for row in results.rows] == ['cold', 'hot', 'redecode', 'reencode']
    assert any('no vision-language model' in text for text in results.skipped)
    assert any('no video memory' in text for text in results.skipped)


def test_following_when_timed_then_each_policy_finds_everything_again(subject):
    network = synthetic_network(replace(SMALL, latent_dim=128), video_memory=True)
    case = tracking_case(MaskTokenizer(network, 'small@1'), ellipses(2, SIZE_HW), True)
    ready = case.prepare(0)
    for policy in ('redecode', 'reencode', 'memory'):
        assert len(case.variants[policy](ready).result) == 2
    rows = run_case(case, 0, 2)
    assert [(row.phase, list(row.seconds), row.void) for row in rows] == [
        (policy, ['B'], ()) for policy in ('redecode', 'reencode', 'memory')]
    assert rows[0].ratio('A') is None


def test_plan_when_ros_is_missing_then_messages_are_left_out(subject, monkeypatch):
    monkeypatch.setattr(run_module.importlib, 'import_module', lambda _: (_ for _ in ()).throw(
        ImportError('no rclpy')))
    results = run_plan(subject, Plan((1,), (SIZE_HW,), 1, 1), print)
    assert 'messages' not in {row.phase for row in results.rows}
    assert any('no rclpy' in text for text in results.skipped)


def small_4b(tokenizer):
    """The published configuration, made small."""
    config = published_4b_config(tokenizer)
    for name, value in {'hidden_size': 64, 'intermediate_size': 96, 'num_hidden_layers': 2,
                        'num_attention_heads': 2, 'num_key_value_heads': 1}.items():
        setattr(config.text_config, name, value)
    for name, value in {'depth': 2, 'hidden_size': 64, 'intermediate_size': 64, 'num_heads': 2,
                        'out_hidden_size': 64, 'deepstack_visual_indexes': [0]}.items():
        setattr(config.vision_config, name, value)
    return config


def test_random_model_when_small_then_it_goes_through_the_same_cases(subject, processor):
    language = random_language(small_4b(processor.tokenizer), processor, 'random', 'cpu',
                               'float32', MaskVocabulary())
    assert language.model.config.text_config.vocab_size == 151936
    bench = Bench(replace(subject, language=language), device_clock('cpu'))
    for case in (bench.find(2, SIZE_HW), bench.follow_up(SIZE_HW)):
        assert [row.void for row in run_case(case, 1, 1)] == [()] * 2


def test_random_model_when_of_published_size_then_it_has_its_number_of_weights(processor):
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    with torch.device('meta'):
        model = Qwen3VLForConditionalGeneration(published_4b_config(processor.tokenizer))
    assert sum(value.numel() for value in model.parameters()) == pytest.approx(4.44e9, rel=0.01)


def test_export_when_it_is_missing_then_it_says_which_command_writes_it(tmp_path):
    with pytest.raises(CheckpointError, match='samtok export'):
        load_subject('tabletop', 'none', 'cpu', 'float32', tmp_path)


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_export_when_measured_then_in_the_number_format_of_its_files(
        tmp_path, exported_tabletop, monkeypatch, capsys, dtype):
    """Whatever auto means for torch; on a GPU that is bfloat16."""
    export_dir = tmp_path / 'export'
    shutil.copytree(exported_tabletop / 'onnx' / 'float32', export_dir)
    manifest = json.loads((export_dir / 'manifest.json').read_text())
    (export_dir / 'manifest.json').write_text(json.dumps({**manifest, 'dtype': dtype}))
    monkeypatch.setattr('samtok_ros.cli.models.device_and_dtype', lambda _: ('cpu', 'bfloat16'))
    out = tmp_path / 'bench.json'
    assert main(['bench', '--export', str(export_dir), '--language', 'none', '--masks', '2',
                 '--images', '96x64', '--repeats', '1', '--out', str(out)]) == 0
    assert f'tabletop in {dtype}, ours by OnnxMaskTokenizer' in capsys.readouterr().out
    assert json.loads(out.read_text())['dtype'] == dtype


def test_command_when_run_then_it_writes_report_and_plot(tmp_path, capsys):
    out = tmp_path / 'bench.json'
    status = main(['bench', '--masks', '2', '--images', '96x64', '--repeats', '1', '--language',
                   'none', '--out', str(out)])
    assert status == 0
    assert 'cold' in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert (found['mask_tokenizer'], found['rows'][0]['size_hw']) == ('tabletop', [64, 96])
    assert out.with_suffix('.png').is_file()


def test_command_when_sides_disagree_then_it_fails(monkeypatch, capsys):
    results = Results((row('cold', 5.0, ('codes of A are others than ours',)),), None, ())
    monkeypatch.setattr(run_module, 'run_plan', lambda *_: results)
    assert main(['bench', '--language', 'none', '--device', 'cpu']) == 1
    assert 'void' in capsys.readouterr().out


@pytest.mark.parametrize('arguments', [['--masks', '0'], ['--images', '640'],
                                       ['--images', '640x480,x'], ['--repeats', '-1']])
def test_command_when_misused_then_it_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main(['bench', *arguments])
    assert 'error' in capsys.readouterr().err


def test_command_when_cuda_graphs_are_wanted_without_a_gpu_then_it_is_refused(capsys):
    assert main(['bench', '--device', 'cpu', '--cuda-graphs']) == 2
    assert 'leave out --cuda-graphs' in capsys.readouterr().err
