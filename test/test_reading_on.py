# SPDX-License-Identifier: Apache-2.0
"""Follow-up questions read only what is new, and are answered as if nothing had been kept."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_checkpoints import LAYOUTS, write_checkpoint

from samtok_ros.errors import DeviceError
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed, TextPiece
from samtok_ros.language.instructions import Round
from samtok_ros.language.kept_texts import KeptTexts
from samtok_ros.language.reading import Reading
from samtok_ros.language.vlm import VisionLanguageModel

FIRST, SECOND = 'Please segment the red mug in this image.', 'Please segment the box.'
LIMITS = GenerationLimits(9)


@pytest.fixture(scope='module', params=LAYOUTS)
def vlm(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp('models') / 'model'
    return VisionLanguageModel.load(write_checkpoint(directory, request.param, tied=False))


@pytest.fixture(autouse=True)
def clean(vlm):
    vlm.forget()


class Spy:
    """Notes how many tokens each step of a model reads, and its scores."""

    def __init__(self):
        self.lengths, self.logits, self.images = [], [], 0


@contextmanager
def spying(vlm, fail_at=None):
    """Watch the model; the step of that number fails half-way, its keys already in the cache."""
    spy = Spy()

    def read(reading, token_ids):
        spy.lengths.append(len(token_ids))
        return inner_read(reading, token_ids)

    def read_images(reading, prompt_ids, images, positions):
        spy.lengths.append(len(prompt_ids))
        spy.images += 1
        return inner_read_images(reading, prompt_ids, images, positions)

    def after(module, args, output):
        spy.logits.append(output[0, -1])
        if fail_at == len(spy.logits):
            raise torch.OutOfMemoryError('pretended')

    inner_read, inner_read_images = Reading.read, Reading._read_images
    hook = vlm._model.lm_head.register_forward_hook(after)
    Reading.read, Reading._read_images = read, read_images
    try:
        yield spy
    finally:
        hook.remove()
        Reading.read, Reading._read_images = inner_read, inner_read_images


def run(vlm, image, text, key=None, **more):
    """Return the events, and what the model did."""
    with spying(vlm) as spy:
        return list(vlm.generate(image, text, LIMITS, image_key=key, **more)), spy


def same(found, expected):
    """Hold the events of two answers, and all scores, against each other."""
    assert found[0] == expected[0]
    assert len(found[1].logits) == len(expected[1].logits) > 0
    for one, other in zip(found[1].logits, expected[1].logits, strict=True):
        assert torch.allclose(one, other, atol=1e-3, rtol=1e-4)


def test_generate_when_key_is_known_then_only_new_tokens_are_read(vlm, image_rgb):
    cold = run(vlm, image_rgb, SECOND)
    run(vlm, image_rgb, FIRST, 'a')
    warm = run(vlm, image_rgb, SECOND, 'a')
    same(warm, cold)
    common = len('Please segment the ')
    new = vlm._prompts.build((SECOND,), 0)[vlm._prompts.image_at:]
    assert warm[1].lengths[0] <= len(new) - common // 4  # the common words are not read again
    assert warm[1].images == 0
    assert cold[1].images == 1


def test_generate_when_same_question_again_then_one_token_is_read(vlm, image_rgb):
    first = run(vlm, image_rgb, FIRST, 'a')
    again = run(vlm, image_rgb, FIRST, 'a')
    same(again, first)
    assert again[1].lengths[0] == 1


def test_generate_when_rounds_are_added_then_each_reads_what_is_new(vlm, image_rgb):
    events, _ = run(vlm, image_rgb, FIRST, 'a')
    history = [Round((FIRST,), 'It is red.')]
    cold = run(vlm, image_rgb, SECOND, history=history)
    warm = run(vlm, image_rgb, SECOND, 'a', history=history)
    same(warm, cold)
    whole = len(vlm._prompts.build((SECOND,), 0, history))
    assert warm[1].lengths[0] < whole - len(vlm._prompts.build((), 0)) + 12
    assert isinstance(events[-1], Finished)


def test_generate_when_key_is_new_or_none_then_all_is_read(vlm, image_rgb):
    cold = run(vlm, image_rgb, SECOND)
    run(vlm, image_rgb, FIRST, 'a')
    for key in ('b', None):
        found = run(vlm, image_rgb, SECOND, key)
        same(found, cold)
        assert found[1].lengths == cold[1].lengths


def test_generate_when_other_size_under_the_same_key_then_all_is_read(vlm, image_rgb):
    other = np.ascontiguousarray(image_rgb[:-1])
    cold = run(vlm, other, SECOND)
    run(vlm, image_rgb, FIRST, 'a')
    same(run(vlm, other, SECOND, 'a'), cold)
    same(run(vlm, image_rgb, SECOND, 'a'), run(vlm, image_rgb, SECOND))


@pytest.mark.parametrize('steps', [1, 3])
def test_generate_when_cancelled_then_the_next_answer_is_right(vlm, image_rgb, steps):
    cold = run(vlm, image_rgb, SECOND)
    left = iter([False] * steps)
    events = list(vlm.generate(image_rgb, FIRST, LIMITS, lambda: next(left, True), image_key='a'))
    assert events[-1].reason == 'cancelled'
    assert vlm.kept_bytes > 0
    same(run(vlm, image_rgb, SECOND, 'a'), cold)


def test_generate_when_abandoned_then_the_next_answer_is_right(vlm, image_rgb):
    cold = run(vlm, image_rgb, SECOND)
    events = vlm.generate(image_rgb, FIRST, LIMITS, image_key='a')
    next(events)
    assert vlm.kept_bytes == 0  # still in use
    events.close()
    assert vlm.kept_bytes > 0
    warm = run(vlm, image_rgb, SECOND, 'a')
    same(warm, cold)
    assert warm[1].images == 0


def test_reusable_when_texts_part_inside_the_image_then_nothing(vlm, image_rgb):
    run(vlm, image_rgb, FIRST, 'a')
    kept, image_at = vlm._kept.peek('a'), vlm._prompts.image_at
    prompt = vlm._prompts.build((SECOND,), kept.image.visual_tokens)
    reading = Reading(vlm._model, vlm._family, image_at)
    image_end = image_at + kept.image.visual_tokens
    assert reading.reusable(prompt, kept) > image_end
    for length, expected in ((image_end - 1, 0), (image_end, image_end), (0, 0)):
        cut = replace(kept, token_ids=kept.token_ids[:length])
        assert reading.reusable(prompt, cut) == expected
    assert reading.reusable(prompt, None) == 0


def test_generate_when_never_begun_then_what_is_kept_stays(vlm, image_rgb):
    run(vlm, image_rgb, FIRST, 'a')
    vlm.generate(image_rgb, SECOND, LIMITS, image_key='a')
    assert run(vlm, image_rgb, FIRST, 'a')[1].lengths[0] == 1


@pytest.mark.parametrize('step', [1, 2, 4])
@pytest.mark.parametrize('warm', [False, True])
def test_generate_when_a_step_fails_then_nothing_is_kept_and_the_next_answer_is_right(
        vlm, image_rgb, step, warm):
    cold = run(vlm, image_rgb, SECOND)
    run(vlm, image_rgb, FIRST, 'another image')  # makes room too
    if warm:
        run(vlm, image_rgb, FIRST, 'a')
    with spying(vlm, fail_at=step), pytest.raises(DeviceError, match='out of memory'):
        list(vlm.generate(image_rgb, SECOND, LIMITS, image_key='a'))
    assert vlm.kept_bytes == 0
    same(run(vlm, image_rgb, SECOND, 'a'), cold)


def test_generate_when_two_answers_interleave_then_both_are_right(vlm, image_rgb):
    alone = [run(vlm, image_rgb, text)[0] for text in (FIRST, SECOND)]
    run(vlm, image_rgb, FIRST, 'a')
    first = vlm.generate(image_rgb, FIRST, LIMITS, image_key='a')
    begun = [next(first)]
    second, _ = run(vlm, image_rgb, SECOND, 'a')
    assert ([*begun, *first], second) == tuple(alone)
    third = vlm.generate(image_rgb, SECOND, LIMITS, image_key='a')  # sees what is kept,
    vlm.forget()                                                      # which is gone when it starts
    assert list(third) == alone[1]


def test_kept_bytes_when_answered_then_keys_and_values_of_all_tokens(vlm, image_rgb):
    run(vlm, image_rgb, FIRST, 'a')
    kept = vlm._kept.peek('a')
    layers = vlm._model.config.text_config.num_hidden_layers
    width = kept.cache.layers[0].keys.shape[-1]  # of one head, and there is one
    assert vlm.kept_bytes == 2 * 4 * layers * width * len(kept.token_ids)
    vlm.forget()
    assert vlm.kept_bytes == 0


def test_generate_when_span_closes_then_its_end_word_costs_no_step(vlm, image_rgb):
    start_id = vlm.token_ids.start_id
    hook = vlm._model.lm_head.register_forward_hook(
        lambda module, args, output: output
        + 1000 * torch.nn.functional.one_hot(torch.tensor(start_id), output.shape[-1]))
    try:
        with spying(vlm) as spy:
            events = list(vlm.generate(image_rgb, FIRST, GenerationLimits(12)))
    finally:
        hook.remove()
    kinds = [type(event) for event in events if not isinstance(event, TextPiece)]
    assert kinds == [SpanClosed] * 3 + [Finished]
    assert spy.lengths[1:] == [1, 1, 2, 1, 1, 2, 1, 1]  # the code and the end word together


class Text:
    """Stands in for a kept text."""

    nbytes = 5


def test_kept_texts_when_full_then_the_oldest_that_nobody_followed_up_goes():
    kept = KeptTexts(2)
    texts = {key: Text() for key in range(5)}
    kept.keep(0, texts[0])
    kept.keep(0, kept.take(0))  # followed up
    for key in (1, 2, 3):
        kept.keep(key, texts[key])
    assert [kept.peek(key) for key in range(4)] == [texts[0], None, None, texts[3]]
    assert kept.nbytes == 10


def test_kept_texts_when_all_were_followed_up_then_the_oldest_goes():
    kept = KeptTexts(2)
    for key in (0, 1):
        kept.keep(key, Text())
        kept.keep(key, kept.take(key))
    newest = Text()
    kept.keep(2, newest)
    assert [kept.peek(key) is not None for key in range(3)] == [False, True, True]
    assert kept.peek(2) is newest


def test_kept_texts_when_without_key_or_text_then_nothing_is_kept():
    kept = KeptTexts(2)
    kept.keep(None, Text())
    kept.keep(1, Text())
    kept.keep(1, None)
    assert (kept.nbytes, kept.take(1), kept.peek(None)) == (0, None, None)


def test_kept_texts_when_there_is_no_room_then_nothing_is_kept():
    kept = KeptTexts(0)
    kept.keep(1, Text())
    assert kept.peek(1) is None
