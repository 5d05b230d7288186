# SPDX-License-Identifier: Apache-2.0
"""The real models behind the protocol of the nodes, with random weights."""

import numpy as np
import pytest

from samtok_ros.errors import CheckpointError, DeviceError
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import Round, goal_instruction, question_instruction
from samtok_ros.runtime.backend import UNFINISHED, Question, make_backend
from samtok_ros.settings.shared import FakeSettings, ModelSettings


@pytest.fixture(scope='module')
def backend(tiny_model_dir):
    return make_backend(ModelSettings(name=str(tiny_model_dir), device='cpu'), FakeSettings())


@pytest.fixture(scope='module')
def grounding(backend):
    return backend.load_grounding()


def goal_question(goal, **fields):
    return Question(goal_instruction(goal), goal, **fields)


def test_models_when_loaded_apart_then_both_name_the_same_tokenizer(backend, grounding):
    loaded = backend.load_masks()
    assert loaded.model.tokenizer_id == grounding.tokenizer_id
    assert (loaded.codebook_size, loaded.codebook_depth) == (256, 2)
    assert (loaded.device, grounding.device) == ('cpu', 'cpu')


def test_answer_when_spoken_then_updates_grow_and_the_last_is_what_the_pipeline_says(
        grounding, tiny_model_dir, image_rgb):
    from samtok_ros.pipeline import Pipeline

    limits = GenerationLimits(max_new_tokens=40)
    spoken = list(grounding.answer(image_rgb, goal_question('the red mug'), limits, lambda: False))
    last = spoken[-1]
    whole = Pipeline.load(str(tiny_model_dir)).ground(image_rgb, 'the red mug', limits)
    assert last.answer.text == whole.text
    assert ([(r.codes, r.label, r.score) for r in last.answer.regions]
            == [(r.codes, r.label, r.score) for r in whole.regions])
    assert [update.complete for update in spoken].index(True) == len(spoken) - 1
    assert {update.answer.finish_reason for update in spoken[:-1]} <= {UNFINISHED}
    counts = [len(update.answer.regions) for update in spoken]
    assert counts == sorted(counts)
    tokens = [update.token_count for update in spoken]
    assert tokens == sorted(tokens)
    assert tokens[-1] == 40
    assert last.answer.text.startswith(spoken[-2].answer.text)


@pytest.mark.parametrize('same_image', [True, False])
def test_answer_when_another_is_given_in_its_middle_then_both_are_as_if_alone(
        grounding, image_rgb, same_image):
    limits = GenerationLimits(max_new_tokens=30)
    other_rgb = image_rgb if same_image else np.ascontiguousarray(image_rgb[::-1])
    history = (Round(question_instruction('What is this?'), 'A mug.'),)

    def speak(question, rgb=image_rgb):
        return grounding.answer(rgb, question, limits, lambda: False)

    def texts(updates):
        return [(u.answer.text, [r.codes for r in u.answer.regions]) for u in updates]

    stream = goal_question('the red mug', image_key='stream')
    request = Question(question_instruction('And where?'), '', history,
                       'stream' if same_image else 'other')
    grounding.forget()
    alone, other_alone = texts(speak(stream)), texts(speak(request, other_rgb))
    grounding.forget()
    # Read once before, so that there is something kept that the two could quarrel about.
    list(speak(stream))
    interrupted = speak(stream)
    begun = [next(interrupted) for _ in range(10)]
    between = texts(speak(request, other_rgb))
    assert texts([*begun, *interrupted]) == alone
    assert between == other_alone
    assert len(alone) > 10


class SpeakingModel:
    """Plays the language model: a mask list of two items, token by token."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def generate(self, image_rgb, instruction, limits, should_stop, *, history, image_key):
        from samtok_ros.language.generation import Finished, SpanClosed, TextPiece

        text = ''
        for codes in ((1, 44), (2, 45)):
            text += '{"mask_2d": "'
            yield TextPiece('{"mask_2d": "')
            position, span = len(text), self.vocabulary.codes_to_words(codes)
            text += span + '", "label": "mug"}'
            yield TextPiece(span)
            yield SpanClosed(codes, 0.75, position)
            yield TextPiece('", "label": "mug"}')
        yield Finished(text, 'stop', 20)


def test_answer_when_a_span_closes_then_its_region_is_there_at_once():
    from samtok_ros.runtime.torch_backend import TorchGroundingModel
    from samtok_ros.words.vocabulary import MaskVocabulary

    model = TorchGroundingModel(SpeakingModel(MaskVocabulary()), 'tiny', 'cpu', 'tiny@1')
    spoken = list(model.answer(np.zeros((4, 4, 3), np.uint8), goal_question('mugs'),
                               GenerationLimits(), lambda: False))
    assert [len(update.answer.regions) for update in spoken] == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert [region.label for region in spoken[6].answer.regions] == ['mug', '']
    assert [region.label for region in spoken[-1].answer.regions] == ['mug', 'mug']
    assert spoken[-1].answer.regions[0].score == 0.75
    assert not any(update.answer.malformed for update in spoken)


def test_answer_when_stopped_then_it_ends_as_cancelled(grounding, image_rgb):
    last = list(grounding.answer(image_rgb, goal_question('mug'), GenerationLimits(),
                                 lambda: True))[-1]
    assert (last.complete, last.answer.finish_reason) == (True, 'cancelled')


def test_backend_when_there_is_no_such_model_then_it_says_so_before_anything_heavy():
    with pytest.raises(CheckpointError, match="got '/no/such/model'"):
        make_backend(ModelSettings(name='/no/such/model'), FakeSettings())


def test_device_when_a_gpu_is_asked_for_and_there_is_none_then_the_way_out_is_named():
    import torch

    from samtok_ros.runtime.torch_backend import choose_device, choose_dtype

    if torch.cuda.is_available():
        pytest.skip('this machine has a GPU')
    for device in ('cuda', 'cuda:1'):
        with pytest.raises(DeviceError, match=f'got device {device}. Set model.device .* to auto'):
            choose_device(device)
    assert choose_device('auto') == 'cpu'
    assert [choose_dtype('auto', d) for d in ('cpu', 'cuda', 'cuda:1')] == [
        'float32', 'bfloat16', 'bfloat16']
    assert choose_dtype('float32', 'cuda') == 'float32'
