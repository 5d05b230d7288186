# SPDX-License-Identifier: Apache-2.0
"""A region is a Region, codes, a mask, a box or a point: each becomes codes, or a clear error."""

from types import SimpleNamespace

import numpy as np
import pytest

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.language.instructions import RegionReference
from samtok_ros.pointing import references_to
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt, Region
from samtok_ros.runtime.fake_backend import FakeBackend, FakeFeatures
from samtok_ros.settings.shared import FakeSettings

SIZE = ImageSize(48, 64)
MASK = np.zeros((48, 64), np.bool_)
MASK[12:24, 16:32] = True
BOX = BoxPrompt(16, 12, 32, 24)


class Masks:
    """The fake mask model with the face of a MaskTokenizer, noting what it is asked."""

    def __init__(self, reads_prompts):
        self.config = SimpleNamespace(reads_prompts=reads_prompts)
        self._model = FakeBackend(FakeSettings()).load_masks().model
        self.asked = []

    def __getattr__(self, name):
        def call(*arguments):
            self.asked.append(name)
            return getattr(self._model, name)(*arguments)

        return call


def point(*pointers, masks=None):
    return references_to(pointers, SIZE, masks or Masks(True), lambda: FakeFeatures(SIZE))


def test_references_when_region_is_given_in_any_way_then_its_codes_in_order():
    (by_mask,) = point(MASK)
    with_codes = Region(1, (7, 8), 'mug', 0.5)
    without = Region(2, (), 'mug', 0.5, mask=MASK)
    found = point(PointPrompt(20.5, 20.5), RegionReference((1, 2)), BOX, with_codes, MASK, without)
    assert found[1:] == (RegionReference((1, 2)), by_mask, RegionReference((7, 8)), by_mask,
                         by_mask)
    assert found[0] not in found[1:]


def test_references_when_there_are_only_codes_then_no_model_is_asked():
    def no_features():
        raise AssertionError('features are asked for')

    masks = Masks(True)
    assert references_to([Region(1, (7, 8), '', 0.5)], SIZE, masks, no_features) == (
        RegionReference((7, 8)),)
    assert references_to((), SIZE, masks, no_features) == ()
    assert masks.asked == []


def test_references_when_prompts_are_not_read_then_shapes_go_through_the_models_own_words():
    masks = Masks(True)
    point(BOX, PointPrompt(3, 3), MASK, masks=masks)
    assert masks.asked == ['draw_prompts', 'encode']
    masks = Masks(False)
    point(BOX, PointPrompt(3, 3), masks=masks)
    assert masks.asked == ['encode', 'decode', 'encode']


def test_references_when_regions_come_from_an_iterator_then_none_is_lost():
    pointers = [MASK, RegionReference((1, 2)), BOX]
    found = references_to(iter(pointers), SIZE, Masks(True), lambda: FakeFeatures(SIZE))
    assert found == point(*pointers)


@pytest.mark.parametrize('pointer', [MASK, BOX, RegionReference((1, 2))])
def test_references_when_one_region_is_given_for_a_list_then_told_so(pointer):
    with pytest.raises(ConfigError, match='regions are one region: expected a list of regions'):
        references_to(pointer, SIZE, Masks(True), lambda: FakeFeatures(SIZE))


@pytest.mark.parametrize(('pointer', 'kind', 'text'), [
    ('mug', ConfigError, 'region 2 points at nothing: expected a Region, a RegionReference'),
    (None, ConfigError, 'got NoneType'),
    (MASK[1:], ImageError, 'mask of region 2 does not fit the image: expected (48, 64) bool, got '
                           '(47, 64) bool'),
    (MASK.astype(np.uint8), ImageError, 'got (48, 64) uint8'),
    (MASK & False, ImageError, 'region 2 is empty'),
    (BoxPrompt(30, 10, 10, 20), ImageError, 'box of region 2 has no inside: expected left below '
     'right'),
    (BoxPrompt(0, 0, 65, 20), ImageError, 'box of region 2 is not inside the image'),
    (BoxPrompt(0, 0, float('nan'), 20), ImageError, 'box of region 2 is not inside the image'),
    (Region(1, (7, 8), 'mug', 0.5, mask=MASK[:, 1:]), ImageError,
     'region 2 is of another image: expected a mask of (48, 64), got (48, 63)'),
    (PointPrompt(64, 0), ImageError, 'point of region 2 is not inside the image'),
    (PointPrompt(float('nan'), 0), ImageError, 'point of region 2 is not inside the image'),
])
def test_references_when_one_points_at_nothing_then_it_is_named(pointer, kind, text):
    masks = Masks(True)
    with pytest.raises(kind) as caught:
        point(MASK, pointer, masks=masks)
    assert text in str(caught.value)
    assert masks.asked == []


@pytest.mark.parametrize(('pointer', 'text'), [
    (BOX, 'sees no thing at the box of region 2: got BoxPrompt(left=16'),
    (PointPrompt(3, 4), 'sees no thing at the point of region 2: got PointPrompt(x=3, y=4)')])
def test_references_when_nothing_stands_where_a_prompt_is_then_said_so(pointer, text, monkeypatch):
    monkeypatch.setattr('samtok_ros.pointing.draw_prompts', lambda *_: SimpleNamespace(
        masks=np.zeros((1, 48, 64), np.bool_)))
    with pytest.raises(ImageError) as caught:
        point(MASK, pointer)
    assert text in str(caught.value)
