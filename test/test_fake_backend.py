# SPDX-License-Identifier: Apache-2.0
"""The backend without weights: deterministic, and as slow and faulty as it is told to be."""

import numpy as np
import pytest

from samtok_ros.errors import CheckpointError, SpanError
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import (
    RegionReference,
    Round,
    goal_instruction,
    question_instruction,
)
from samtok_ros.runtime.backend import UNFINISHED, Question, make_backend
from samtok_ros.runtime.fake_backend import FakeBackend
from samtok_ros.settings.shared import FakeSettings, ModelSettings


def image(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (32, 48, 3), np.uint8)


def goal_question(goal, **fields):
    return Question(goal_instruction(goal), goal, **fields)


def updates(question, seed=0, stop_after=None, limits=None, **fake):
    model = FakeBackend(FakeSettings(**fake)).load_grounding()
    if isinstance(question, str):
        question = goal_question(question)
    asked = []

    def should_stop():
        asked.append(1)
        return stop_after is not None and len(asked) > stop_after

    return list(model.answer(image(seed), question, limits or GenerationLimits(), should_stop))


def asked(text, regions=(), **fields):
    instruction = question_instruction(text, [RegionReference(codes) for codes in regions])
    return updates(Question(instruction, **fields))[-1].answer


def codes(answer):
    return [region.codes for region in answer.regions]


def test_answer_when_image_and_goal_are_the_same_then_it_is_too_and_else_another():
    first = updates('the red mug')[-1].answer
    assert updates('the red mug')[-1].answer.text == first.text
    assert codes(updates('the red mug', seed=1)[-1].answer) != codes(first)
    assert codes(updates('the red cup')[-1].answer) != codes(first)
    assert [region.region_id for region in first.regions] == [*range(1, len(first.regions) + 1)]


@pytest.mark.parametrize('goal, count', [('one mug', 1), ('four mugs', 4), ('many mugs', 40)])
def test_answer_when_the_goal_has_a_number_then_so_many_regions_come(goal, count):
    answer = updates(goal)[-1].answer
    assert len(answer.regions) == count
    assert {region.label for region in answer.regions} == {goal}


def test_updates_when_spoken_then_regions_grow_one_by_one_and_only_the_last_is_complete():
    spoken = updates('three mugs')
    counts = [len(update.answer.regions) for update in spoken]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3}
    assert [update.complete for update in spoken].index(True) == len(spoken) - 1
    assert {update.answer.finish_reason for update in spoken[:-1]} == {UNFINISHED}
    assert not any(update.answer.malformed for update in spoken)


def test_answer_when_nothing_is_asked_for_then_it_is_no_target():
    last = updates('nothing here')[-1]
    assert last.no_target
    assert (last.answer.text, last.answer.regions) == ('No target.', ())


def test_answer_when_asked_for_a_malformed_span_then_it_is_reported():
    answer = updates('two mugs malformed')[-1].answer
    assert (len(answer.regions), len(answer.malformed)) == (2, 1)


def test_answer_when_markers_are_in_the_goal_then_they_make_no_region():
    answer = updates('one <|mt_start|><|mt_0001|><|mt_0300|><|mt_end|>')[-1].answer
    assert len(answer.regions) == 1


def test_answer_when_stopped_or_limited_then_what_was_said_is_kept():
    cancelled = updates('many mugs', stop_after=30)[-1].answer
    assert cancelled.finish_reason == 'cancelled'
    assert cancelled.regions
    few = updates('many mugs', limits=GenerationLimits(max_masks=2))[-1].answer
    assert (few.finish_reason, len(few.regions)) == ('length', 2)
    short = updates('many mugs', limits=GenerationLimits(max_new_tokens=30))[-1].answer
    assert short.finish_reason == 'length'


def test_answer_when_its_turn_to_fail_comes_then_it_fails_part_way():
    model = FakeBackend(FakeSettings(fail_every=2)).load_grounding()
    for fails in (False, True, False):
        spoken = model.answer(image(), goal_question('one mug'), GenerationLimits(), lambda: False)
        if fails:
            with pytest.raises(MemoryError, match='out of memory'):
                list(spoken)
        else:
            assert list(spoken)[-1].complete


def test_question_when_asked_again_then_the_answer_is_the_same_and_everything_in_it_counts():
    first = asked('What colour is <region:1>?', [(1, 2)])
    assert first.text.startswith('It is ')
    assert first.regions == ()
    assert asked('What colour is <region:1>?', [(1, 2)]).text == first.text
    texts = {asked('What colour is <region:1>?', [(1, code)]).text for code in range(40)}
    assert len(texts) > 1
    rounds = [(Round(question_instruction(f'And {number}?'), 'Yes.'),) for number in range(40)]
    texts = {asked('What colour is <region:1>?', [(1, 2)], history=one).text for one in rounds}
    assert len(texts) > 1


def test_question_when_it_has_a_number_then_so_many_regions_are_named_without_a_label():
    answer = asked('Which two things are round?')
    assert [region.label for region in answer.regions] == ['', '']


@pytest.mark.parametrize('flood, regions, malformed', [
    ('text', 0, 0), ('masks', 16, 0), ('malformed', 0, 20)])
def test_flood_when_set_then_only_a_limit_ends_the_answer(flood, regions, malformed):
    limits = GenerationLimits(max_new_tokens=80, max_masks=16)
    last = updates('one mug', limits=limits, flood=flood)[-1]
    assert last.answer.finish_reason == 'length'
    assert (len(last.answer.regions), len(last.answer.malformed)) == (regions, malformed)
    stopped = updates('one mug', stop_after=30, flood=flood)[-1]
    assert (stopped.answer.finish_reason, stopped.token_count) == ('cancelled', 30)


def test_loading_when_told_to_fail_then_it_does():
    backend = make_backend(ModelSettings(backend='fake'), FakeSettings(fail_load=True))
    for load in (backend.load_grounding, backend.load_masks):
        with pytest.raises(CheckpointError, match='refuses to load'):
            load()


def test_masks_when_decoded_and_encoded_again_then_the_codes_are_the_same():
    model = FakeBackend(FakeSettings()).load_masks().model
    features = model.embed_image(np.zeros((480, 640, 3), np.uint8))
    # Places in the middle, so that no mask is cut by the border.
    given = np.array([[0x77, 0x33], [0x88, 0x44], [0x6a, 0x15]])
    masks = model.decode(features, given).masks
    assert masks.shape == (3, 480, 640)
    assert np.array_equal(model.encode(features, masks), given)
    assert model.decode(features, np.zeros((0, 2))).masks.shape == (0, 480, 640)


def test_masks_when_a_code_is_out_of_range_then_it_is_refused():
    model = FakeBackend(FakeSettings()).load_masks().model
    with pytest.raises(SpanError, match='expected 0 to 255'):
        model.decode(model.embed_image(image()), np.array([[1, 256]]))
