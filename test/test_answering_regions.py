# SPDX-License-Identifier: Apache-2.0
"""Goals and questions about regions: pointed at, drawn, and remembered from round to round."""

import time

import numpy as np
import pytest
from answering_bench import CANCEL, benches, frame

from samtok_ros.image.zoom import ZoomRule, zoomed
from samtok_ros.language.instructions import Picture
from samtok_ros.masks.rle import mask_to_rle
from samtok_ros.regions import BoxPrompt, PointPrompt, Region
from samtok_ros.runtime.records import Status
from samtok_ros.runtime.references import CodesReference, IdReference, RunsReference
from samtok_ros.runtime.tickets import Ended
from samtok_ros.settings.grounding import GroundingSettings


@pytest.fixture
def make():
    with benches() as make_one:
        yield make_one


def test_masks_when_they_cannot_be_drawn_then_the_words_are_there_all_the_same(make):
    bench = make()
    bench.show(frame())

    def decode(*arguments):
        raise MemoryError

    bench.runtime.mask_access.loaded.model.decode = decode
    outcome = bench.begin('two mugs').outcome()
    assert (outcome.ended, len(outcome.result.regions)) == (Ended.SUCCEEDED, 2)
    assert outcome.masks is None
    assert 'out of memory' in outcome.masks_problem


def test_question_when_regions_are_given_in_any_way_then_they_are_asked_about(make):
    bench = make()
    shown = bench.show(frame())
    found = bench.begin('two mugs').outcome()
    codes = found.result.regions[1].codes
    by_codes = bench.ask('What is <region:1>?', references=(CodesReference(codes),))
    by_id = bench.ask('What is <region:1>?', references=(IdReference(2),))
    assert by_codes.result.answer == by_id.result.answer
    # A question that names no regions leaves the ids alone.
    assert shown.last_regions == found.result.regions
    mask = np.zeros((32, 48), np.bool_)
    mask[8:16, 12:24] = True
    drawn = [bench.ask('What is <region:1>?', references=(reference,)) for reference in (
        RunsReference(mask_to_rle(mask)), BoxPrompt(12, 8, 24, 16), PointPrompt(18.0, 12.0))]
    assert {one.ended for one in drawn} == {Ended.SUCCEEDED}
    assert drawn[0].result.answer == drawn[1].result.answer


@pytest.mark.parametrize('reference, text', [
    (IdReference(9), 'names id 9'), (BoxPrompt(0, 0, 99, 10), 'box of region 1'),
    (RunsReference(np.array([10], np.uint32)), 'run lengths of region 1')])
def test_question_when_a_region_is_not_in_the_image_then_it_is_aborted_with_the_reason(
        make, reference, text):
    bench = make()
    bench.show(frame())
    outcome = bench.ask('What is <region:1>?', references=(reference,))
    assert outcome.ended is Ended.ABORTED
    assert text in outcome.message
    assert outcome.result.stamp_ns == 5


def test_split_when_the_mask_tokenizer_is_elsewhere_then_it_encodes_and_decodes(make):
    bench = make(with_masks=False)
    bench.show(frame())
    outcome = bench.begin('two mugs', references=(BoxPrompt(0, 0, 4, 4),)).outcome()
    assert (outcome.ended, outcome.masks) == (Ended.SUCCEEDED, 'masks')
    assert bench.remote.asked == [('encode', 1), ('decode', 2)]
    bench.remote.fails = 'no image with this stamp'
    outcome = bench.begin('two mugs').outcome()
    assert (outcome.ended, outcome.masks) == (Ended.SUCCEEDED, None)
    assert outcome.masks_problem == 'no image with this stamp.'


def test_split_when_there_is_no_mask_tokenizer_then_words_come_and_drawing_is_refused(make):
    bench = make(with_masks=False)
    bench.remote.there = False
    bench.show(frame())
    outcome = bench.begin('two mugs').outcome()
    assert (outcome.ended, outcome.masks, outcome.masks_problem) == (Ended.SUCCEEDED, None, '')
    outcome = bench.begin('two mugs', references=(BoxPrompt(0, 0, 4, 4),)).outcome()
    assert outcome.ended is Ended.ABORTED
    assert 'start the mask_tokenizer node' in outcome.message.lower()


def test_split_when_the_mask_tokenizer_hangs_then_a_goal_ends_in_its_time_with_its_words(make):
    bench = make(with_masks=False)
    bench.show(frame())
    bench.remote.hangs = True
    outcome = bench.begin('two mugs', time_limit_s=0.1).outcome()
    assert (outcome.ended, outcome.masks) == (Ended.SUCCEEDED, None)
    assert (len(outcome.result.regions), outcome.masks_problem) == (2, 'no answer in time.')
    outcome = bench.begin('two mugs', time_limit_s=0.1,
                          references=(BoxPrompt(0, 0, 4, 4),)).outcome()
    assert (outcome.ended, outcome.message) == (Ended.ABORTED, 'no answer in time.')


def test_split_when_an_answer_took_all_its_time_then_its_masks_are_still_drawn(make):
    bench = make(with_masks=False, token_s=0.002)
    bench.show(frame())
    outcome = bench.begin('many mugs', time_limit_s=0.3).outcome()
    assert (outcome.result.status, outcome.masks) == (Status.TRUNCATED, 'masks')


@pytest.mark.parametrize('fields', [{}, {'references': (BoxPrompt(0, 0, 4, 4),)}])
def test_split_when_cancelled_while_the_mask_tokenizer_hangs_then_it_ends_as_cancelled(
        make, fields):
    bench = make(with_masks=False)
    bench.show(frame())
    bench.remote.hangs = True
    caller = bench.begin('two mugs', conversation_id='talk', **fields)
    while not bench.remote.asked:
        time.sleep(0.001)
    caller.stop()
    outcome = caller.outcome()
    assert (outcome.ended, outcome.message) == (Ended.CANCELLED, CANCEL.message)
    # Nor does it stay in its conversation.
    assert len(bench.answering.conversations) == 0
    bench.remote.hangs = False
    bench.begin('many mugs', conversation_id='talk').outcome()
    assert len(bench.answering.conversations) == 1


def test_conversation_when_it_goes_on_then_the_rounds_before_count_and_only_there(make):
    bench = make()
    bench.show(frame(5))
    bench.show(frame(6))
    asked = {}
    for name in ('talk', 'talk', 'other', ''):
        outcome = bench.ask('Which two things?', stamp_ns=6, conversation_id=name)
        asked.setdefault(name, []).append(outcome.result.answer)
    first, second = asked['talk']
    assert first != second
    assert asked['other'] == asked[''] == [first]
    # The same name about another image is another conversation.
    bench.ask('Which two things?', stamp_ns=5, conversation_id='talk')
    assert len(bench.answering.conversations) == 3


def test_conversation_when_a_round_is_cancelled_then_it_leaves_no_trace(make):
    bench = make(token_s=0.005)
    bench.show(frame())
    caller = bench.begin('many mugs', conversation_id='talk')
    caller.wait_for_region()
    caller.stop()
    caller.outcome()
    assert len(bench.answering.conversations) == 0


def told(bench):
    """Keep what the model is told from now on."""
    instructions, answer = [], bench.model.answer

    def hear(image_rgb, question, *more):
        instructions.append(question.instruction)
        return answer(image_rgb, question, *more)

    bench.model.answer = hear
    return instructions


@pytest.mark.parametrize('given', ['mask', 'codes'])
def test_region_caption_when_zoom_is_set_then_a_small_region_is_shown_enlarged(make, given):
    bench = make(settings=GroundingSettings(zoom_below=0.3))
    shown = bench.show(frame())
    instructions = told(bench)
    mask = np.zeros((32, 48), np.bool_)
    mask[8:16, 12:24] = True
    codes = bench.ask('x', references=(BoxPrompt(12, 8, 24, 16),)) and instructions[-1][0].codes
    reference = RunsReference(mask_to_rle(mask)) if given == 'mask' else CodesReference(codes)
    assert bench.ask('', trained_task='region_caption', references=(reference,)).result.answer
    before, first, between, picture, comma, closer, stop = instructions[-1]
    assert (before, first.codes, between) == (
        'Given a detailed description of this region ', codes,
        '. Zoom in with the perspective as ')
    if given == 'codes':
        (region,) = bench.runtime.mask_access.decode(shown, (Region(1, codes, '', 0.0),))
        mask = region.mask
    crop = zoomed(shown.image_rgb(), mask, ZoomRule(0.3))
    np.testing.assert_array_equal(picture.image_rgb, crop.image_rgb)
    assert closer.codes == bench.runtime.mask_access.encode_crop(crop.image_rgb, crop.mask)
    assert (comma, stop) == (', ', '.')
    # Other questions, and large regions, are asked as ever.
    bench.ask('What is it?', references=(reference,))
    large = RunsReference(mask_to_rle(np.ones((32, 48), np.bool_)))
    bench.ask('', trained_task='region_caption', references=(large,))
    assert not any(isinstance(part, Picture) for told in instructions[-2:] for part in told)
    bench.answering.change_settings(GroundingSettings())
    bench.ask('', trained_task='region_caption', references=(reference,))
    assert len(instructions[-1]) == 3


def test_region_caption_when_the_masks_are_elsewhere_then_not_enlarged_and_told_so(make):
    bench = make(settings=GroundingSettings(zoom_below=0.3), with_masks=False)
    bench.show(frame())
    instructions = told(bench)
    outcome = bench.ask('', trained_task='region_caption', references=(CodesReference((1, 2)),))
    assert outcome.ended is Ended.SUCCEEDED
    assert len(instructions[-1]) == 3
    assert any('not shown enlarged' in line for line in bench.lines)
