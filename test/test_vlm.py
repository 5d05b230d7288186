# SPDX-License-Identifier: Apache-2.0
"""The whole model: random weights, so that only form and bookkeeping can be right or wrong."""

import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from samtok_ros.errors import CheckpointError, ConfigError, DeviceError, ImageError, SpanError
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed, TextPiece
from samtok_ros.language.instructions import RegionReference
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.words.logits_processor import GrammarLogitsProcessor
from samtok_ros.words.span_grammar import SpanGrammar
from samtok_ros.words.span_parser import Reason, SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary

TEXT = 'Please segment the red mug in this image.'
SHORT = GenerationLimits(max_new_tokens=24)


@contextmanager
def leaning_to_spans(vlm, every=1.0):
    """Make the random model open spans: add to the start word's score."""
    def lean(module, args, output):
        bias = torch.zeros(output.shape[-1])
        bias[vlm.token_ids.start_id] = every
        return output + bias

    hook = vlm._model.lm_head.register_forward_hook(lean)
    try:
        yield
    finally:
        hook.remove()


def run(vlm, image_rgb, instruction=TEXT, limits=SHORT, should_stop=None):
    return list(vlm.generate(image_rgb, instruction, limits, should_stop))


def test_generate_when_model_is_random_then_spans_are_well_formed(vlm, image_rgb):
    with leaning_to_spans(vlm, every=100):
        events = run(vlm, image_rgb, limits=GenerationLimits(22))
    text = events[-1].text
    parsed = SpanParser(MaskVocabulary()).parse(text)
    spans = [event for event in events if isinstance(event, SpanClosed)]
    assert len(spans) >= 3
    # Only the limit may leave a span open, and then it is the last thing in the text.
    assert all(m.reason == Reason.UNCLOSED and text.endswith(m.text) for m in parsed.malformed)
    assert [(s.codes, s.start) for s in parsed.spans] == [(s.codes, s.position) for s in spans]
    assert all(0 < span.score <= 1 for span in spans)


def test_generate_when_streamed_then_pieces_are_the_final_text(vlm, image_rgb):
    with leaning_to_spans(vlm, every=0.3):
        events = run(vlm, image_rgb)
    assert ''.join(e.text for e in events if isinstance(e, TextPiece)) == events[-1].text
    assert isinstance(events[-1], Finished)
    assert not any(isinstance(e, Finished) for e in events[:-1])


@pytest.mark.parametrize('lean', [0.0, 0.3])
def test_generate_when_compared_then_equal_to_transformers_own_loop(vlm, image_rgb, lean):
    processor, count = vlm._processor, 24
    turn = [{'role': 'user', 'content': [{'type': 'image', 'image': image_rgb},
                                         {'type': 'text', 'text': TEXT}]}]
    inputs = processor.apply_chat_template(turn, tokenize=True, add_generation_prompt=True,
                                           return_dict=True, return_tensors='pt')
    grammar = GrammarLogitsProcessor(SpanGrammar(vlm.token_ids))
    with leaning_to_spans(vlm, lean):
        ids = vlm._model.generate(**inputs, max_new_tokens=count, do_sample=False,
                                  logits_processor=[grammar])
        finished = run(vlm, image_rgb)[-1]
    answer = ids[0, inputs['input_ids'].shape[1]:]
    expected = processor.tokenizer.decode(answer).removesuffix('<|im_end|>')
    assert finished.text.startswith(expected)
    assert finished.text.removeprefix(expected) in ('', '<|mt_end|>')


def test_generate_when_run_twice_then_same_events(vlm, image_rgb):
    assert run(vlm, image_rgb) == run(vlm, image_rgb)


def test_generate_when_stopped_then_ends_within_one_token_and_keeps_the_text(vlm, image_rgb):
    whole, events = run(vlm, image_rgb), []
    for event in vlm.generate(image_rgb, TEXT, SHORT, lambda: len(events) >= 3):
        events.append(event)
    assert events[:3] == whole[:3]
    assert events[-1].reason == 'cancelled'
    assert events[-1].token_count <= whole[-1].token_count
    assert events[-1].text == ''.join(e.text for e in events[:-1] if isinstance(e, TextPiece))
    assert len(events) <= 5  # three, what is left of a character, Finished


def test_generate_when_stopped_at_once_then_no_step_of_the_model(vlm, image_rgb):
    assert run(vlm, image_rgb, should_stop=lambda: True) == [Finished('', 'cancelled', 0)]


def test_generate_when_deadline_passes_then_length(vlm, image_rgb):
    begin = time.monotonic()
    finished = run(vlm, image_rgb, limits=GenerationLimits(900, deadline_s=0.05))[-1]
    assert finished.reason == 'length'
    assert finished.token_count < 900
    assert time.monotonic() - begin < 5


def test_generate_when_tokens_or_masks_run_out_then_length(vlm, image_rgb):
    finished = run(vlm, image_rgb, limits=GenerationLimits(5))[-1]
    assert (finished.reason, finished.token_count) == ('length', 5)
    with leaning_to_spans(vlm, every=100):
        events = run(vlm, image_rgb, limits=GenerationLimits(24, max_masks=2))
    assert sum(isinstance(event, SpanClosed) for event in events) == 2
    assert (events[-1].reason, events[-1].token_count) == ('length', 8)


def test_generate_when_mask_words_are_typed_then_not_the_same_as_a_reference(vlm, image_rgb):
    seen = []
    hook = vlm._model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs['input_ids'][0].tolist()),
        with_kwargs=True)
    limits = GenerationLimits(1)
    try:
        run(vlm, image_rgb, 'What is <|mt_start|><|mt_0001|><|mt_0258|><|mt_end|>?', limits)
        run(vlm, image_rgb, ('What is ', RegionReference((1, 2)), '?'), limits)
    finally:
        hook.remove()
    mask_words = range(vlm.token_ids.start_id, vlm.token_ids.end_id + 1)
    typed, referred = [[i for i in ids if i in mask_words] for ids in seen]
    assert typed == []
    assert referred == list(vlm.token_ids.codes_to_ids((1, 2)))


@pytest.mark.parametrize('instruction', ['\x00', '\u202e', '🍎' * 20, 'a' * 500, '{"<|' * 20])
def test_generate_when_text_is_odd_then_answers(vlm, image_rgb, instruction):
    assert isinstance(run(vlm, image_rgb, instruction, GenerationLimits(1))[-1], Finished)


def test_generate_when_text_is_too_long_then_config_error(vlm, image_rgb):
    with pytest.raises(ConfigError, match='longer than the model can read.*Shorten'):
        run(vlm, image_rgb, 'mug ' * 25000)


def test_generate_when_codes_are_unknown_then_span_error(vlm, image_rgb):
    with pytest.raises(SpanError):
        run(vlm, image_rgb, (RegionReference((1, 999)),))


@pytest.mark.parametrize('shape', [(1, 1, 3), (3, 3, 3), (7, 1000, 3), (1080, 3, 3)])
def test_generate_when_image_has_odd_size_then_answers_or_says_why(vlm, shape):
    image = np.zeros(shape, np.uint8)
    if max(shape[:2]) / min(shape[:2]) > 200:
        with pytest.raises(ImageError, match='1080 x 3'):
            run(vlm, image)
    else:
        assert isinstance(run(vlm, image, limits=GenerationLimits(1))[-1], Finished)


@pytest.mark.parametrize('image', [
    np.zeros((240, 320), np.uint8), np.zeros((240, 320, 4), np.uint8),
    np.zeros((240, 320, 3), np.float32), np.zeros((0, 320, 3), np.uint8)])
def test_generate_when_image_is_no_rgb_then_image_error(vlm, image):
    with pytest.raises(ImageError):
        run(vlm, image)


def test_generate_when_image_is_a_read_only_view_then_same_answer(vlm, image_rgb):
    flipped = np.flip(image_rgb, axis=1)
    flipped.flags.writeable = False
    assert run(vlm, flipped) == run(vlm, flipped.copy())


def test_load_when_bfloat16_then_answers(tiny_vlm_dir, image_rgb):
    vlm = VisionLanguageModel.load(tiny_vlm_dir, dtype='bfloat16')
    with leaning_to_spans(vlm):
        events = run(vlm, image_rgb)
    assert all(0 < e.score <= 1 for e in events if isinstance(e, SpanClosed))


@pytest.mark.parametrize(('arguments', 'error', 'message'), [
    ({'dtype': 'int3'}, ConfigError, 'unknown dtype.*float32 or bfloat16'),
    ({'device': 'cuda:77'}, DeviceError, 'cuda:77 cannot be used'),
    ({'device': 'toaster'}, DeviceError, 'toaster cannot be used'),
])
def test_load_when_argument_is_wrong_then_named(tiny_vlm_dir, arguments, error, message):
    with pytest.raises(error, match=message):
        VisionLanguageModel.load(tiny_vlm_dir, **arguments)


def test_load_when_vocabulary_is_larger_then_missing_word_named(tiny_vlm_dir):
    with pytest.raises(CheckpointError, match='first missing <.mt_0512'):
        VisionLanguageModel.load(tiny_vlm_dir, vocabulary=MaskVocabulary(512, 2))
