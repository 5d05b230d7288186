# SPDX-License-Identifier: Apache-2.0
"""Regions that requests point at, without ROS."""

import numpy as np
import pytest

from samtok_ros.errors import ImageError, SpanError
from samtok_ros.masks.rle import mask_to_rle
from samtok_ros.masks.scores import iou
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt, Region
from samtok_ros.runtime import mask_access
from samtok_ros.runtime.fake_backend import FakeBackend
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.references import (
    CodesReference,
    IdReference,
    RunsReference,
    codes_of_references,
    encode_references,
    without_masks,
)
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.settings.shared import FakeSettings

SIZE = ImageSize(48, 64)
BOX = BoxPrompt(16, 12, 32, 24)


class CountingAccess(LocalMaskAccess):
    """The fake mask tokenizer, which notes how many masks each call of it had."""

    def __init__(self):
        super().__init__(FakeBackend(FakeSettings()).load_masks(), FrameCache(10, 10**9),
                         Statistics())
        self.calls = []

    def encode(self, frame, masks):
        self.calls.append(('encode', len(masks)))
        return super().encode(frame, masks)

    def draw_prompts(self, frame, prompts):
        self.calls.append(('draw', len(prompts)))
        return super().draw_prompts(frame, prompts)


@pytest.fixture
def access():
    return CountingAccess()


@pytest.fixture
def frame():
    return frame_of(SIZE)


def frame_of(size):
    def read():
        assert size == SIZE, 'pixels of an image that is too large are read'
        return np.zeros((size.height, size.width, 3), np.uint8)

    return Frame(7, 'camera', read, 0, lambda: size)


def box_mask(box=BOX):
    mask = np.zeros((SIZE.height, SIZE.width), bool)
    mask[box.top:box.bottom, box.left:box.right] = True
    return mask


def runs_of(mask):
    return RunsReference(mask_to_rle(mask))


def test_codes_when_of_all_kinds_then_they_come_in_order_and_are_encoded_together(frame, access):
    frame.last_regions = (Region(1, (9, 9), '', 0.5), Region(4, (5, 6), '', 0.5))
    found = codes_of_references(frame, [
        runs_of(box_mask()), CodesReference((1, 2)), BOX, IdReference(4), PointPrompt(24.0, 18.0)],
        access)
    encoded = tuple(access.loaded.model.encode(
        access.loaded.model.embed_image(frame.image_rgb()), box_mask()[None])[0].tolist())
    assert found[:4] == (encoded, (1, 2), encoded, (5, 6))
    assert len(found) == 5
    assert access.calls == [('draw', 2), ('encode', 3)]


def test_codes_when_nothing_is_drawn_then_no_mask_tokenizer_is_needed(frame):
    frame.last_regions = (Region(4, (5, 6), '', 0.5),)
    assert codes_of_references(frame, [IdReference(4), CodesReference((1,))], None) == (
        (5, 6), (1,))


def test_id_when_the_last_answer_does_not_have_it_then_the_known_ones_are_named(frame, access):
    with pytest.raises(SpanError, match='region 2 names id 3.*no answer with regions is known'):
        codes_of_references(frame, [CodesReference((1, 2)), IdReference(3)], access)
    frame.last_regions = (Region(1, (9, 9), '', 0.5), Region(2, (5, 6), '', 0.5))
    with pytest.raises(SpanError, match='region 1 names id 3.*expected 1, 2'):
        codes_of_references(frame, [IdReference(3)], access)


def test_encode_when_masks_boxes_and_points_come_then_the_overlap_is_that_of_their_words(
        frame, access):
    l_shape = box_mask() & ~box_mask(BoxPrompt(22, 12, 32, 20))
    regions, overlaps = encode_references(
        frame, [runs_of(box_mask()), runs_of(l_shape), BOX, PointPrompt(40.0, 30.0)], access)
    assert [region.region_id for region in regions] == [1, 2, 3, 4]
    assert all((region.score, region.label, region.mask) == (0.0, '', None) for region in regions)
    again = access.decode(frame, regions)
    assert overlaps[0] == iou(box_mask(), again[0].mask) == overlaps[2]
    assert overlaps[1] == iou(l_shape, again[1].mask) < overlaps[0]


def test_encode_when_memory_is_for_few_then_the_same_comes_in_parts(frame, access, monkeypatch):
    references = [runs_of(box_mask()), BOX, PointPrompt(40.0, 30.0), PointPrompt(10.0, 30.0),
                  runs_of(box_mask(BoxPrompt(0, 0, 20, 20)))]
    at_once = encode_references(frame, references, access)
    monkeypatch.setattr(mask_access, '_BATCH_PIXELS', 2 * SIZE.height * SIZE.width)
    access.calls.clear()
    in_parts = encode_references(frame, references, access)
    assert [call for call in access.calls if call[0] == 'encode'] == [
        ('encode', 2), ('encode', 2), ('encode', 1)]
    assert [region.codes for region in in_parts[0]] == [region.codes for region in at_once[0]]
    assert in_parts[1] == at_once[1]


HUGE = np.array([0, 2**32 - 1, 2**32 - 1], np.uint32)
CASES = {
    'runs too few': (RunsReference(np.array([5, 6], np.uint32)),
                     'run lengths of region 2 do not fit the image: expected a sum of 48 x 64 = '
                     '3072, got 11'),
    'runs of a huge frame': (RunsReference(HUGE), 'got 8589934590'),
    'empty mask': (runs_of(np.zeros((48, 64), bool)), 'region 2 is empty'),
    'box outside': (BoxPrompt(60, 0, 65, 5), 'box of region 2 is not inside the image: expected a '
                    'box within 48 rows and 64 columns'),
    'box far outside': (BoxPrompt(2**32 - 1, 0, 2**33 - 2, 5), 'box of region 2'),
    'box without width': (BoxPrompt(5, 0, 5, 5), 'box of region 2 has no inside'),
    'point right of the image': (PointPrompt(64.0, 5.0), 'point of region 2 is not inside'),
    'point above the image': (PointPrompt(5.0, -0.1), 'point of region 2 is not inside'),
    'point that is no number': (PointPrompt(float('nan'), 5.0), 'point of region 2'),
}


@pytest.mark.parametrize('reference, text', CASES.values(), ids=CASES.keys())
def test_encode_when_a_region_does_not_fit_then_it_is_named(frame, access, reference, text):
    with pytest.raises(ImageError) as caught:
        encode_references(frame, [BOX, reference], access)
    assert text in str(caught.value)


def test_encode_when_nothing_stands_where_a_box_is_then_said_so(frame, access, monkeypatch):
    monkeypatch.setattr(access, 'draw_prompts', lambda frame, prompts: np.zeros(
        (len(prompts), SIZE.height, SIZE.width), np.bool_))
    with pytest.raises(ImageError, match='sees no thing at the box of region 2: got BoxPrompt'):
        encode_references(frame, [runs_of(box_mask()), BOX], access)


def test_encode_when_masks_are_too_large_together_then_nothing_is_read_or_allocated(access):
    size = ImageSize(4000, 5000)
    whole = RunsReference(np.array([0, 20_000_000], np.uint32))
    with pytest.raises(ImageError) as caught:
        encode_references(frame_of(size), [whole] * 64, access)
    assert str(caught.value) == (
        '64 masks of 4000 x 5000 pixels are too much at once: expected at most 12 of this size, '
        'got 64. Ask for fewer regions at a time, or use a smaller image.')


def test_regions_when_kept_without_masks_then_all_else_stays():
    region = Region(1, (9, 9), 'mug', 0.5, box_mask(), (16.0, 12.0, 32.0, 24.0), 0.25)
    (kept,) = without_masks([region])
    assert kept.mask is None
    assert (kept.codes, kept.label, kept.box_xyxy, kept.mask_score) == (
        (9, 9), 'mug', (16.0, 12.0, 32.0, 24.0), 0.25)
