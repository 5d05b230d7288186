# SPDX-License-Identifier: Apache-2.0
"""Masks and codes of a cached frame."""

from pathlib import Path

import numpy as np
import pytest

from samtok_ros.errors import ConfigError, ImageError, SpanError
from samtok_ros.masks.scores import iou
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt, Region
from samtok_ros.runtime import mask_access
from samtok_ros.runtime.fake_backend import FakeBackend
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import LocalMaskAccess, batches, check_mask_memory
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.settings.shared import FakeSettings

ROOT = Path(__file__).resolve().parents[1]

SIZE = ImageSize(48, 64)


@pytest.fixture
def frame():
    return Frame(7, 'camera', lambda: np.zeros((48, 64, 3), np.uint8), 9216)


@pytest.fixture
def access(frame):
    frames = FrameCache(10, 10**9)
    frames.put(frame)
    return LocalMaskAccess(FakeBackend(FakeSettings()).load_masks(), frames, Statistics())


def regions(*codes):
    return tuple(Region(number, pair, 'mug', 0.5) for number, pair in enumerate(codes, start=1))


def test_decode_when_codes_repeat_then_each_is_drawn_once_and_every_region_gets_its_mask(
        access, frame):
    batches_seen = []
    decode = access.loaded.model.decode
    access.loaded.model.decode = lambda f, c: batches_seen.append(c.tolist()) or decode(f, c)
    found = access.decode(frame, regions((0x77, 0x33), (0x12, 0x21), (0x77, 0x33)))
    assert batches_seen == [[[0x77, 0x33], [0x12, 0x21]]]
    assert [region.region_id for region in found] == [1, 2, 3]
    assert np.array_equal(found[0].mask, found[2].mask)
    assert not np.array_equal(found[0].mask, found[1].mask)
    assert found[0].box_xyxy == found[2].box_xyxy != found[1].box_xyxy


def test_decode_when_the_answer_being_spoken_has_the_mask_then_it_is_taken_from_there(
        access, frame):
    drawn = np.ones((48, 64), bool)
    frame.decoded[(1, 2)] = (drawn, 0.25)
    (found,) = access.decode(frame, regions((1, 2)))
    assert found.mask is drawn
    assert found.mask_score == 0.25
    assert frame.features is None


def test_features_when_computed_then_they_stay_with_the_frame_and_are_measured_once(access, frame):
    for _ in range(3):
        access.decode(frame, regions((1, 2)))
        access.encode(frame, np.ones((1, 48, 64), bool))
    assert frame.features is not None
    assert access._statistics.stages() == ('embed', 'decode', 'encode')
    assert len(access._statistics._durations['embed']) == 1


def test_masks_when_memory_is_for_few_then_the_same_come_in_parts(access, frame, monkeypatch):
    asked = regions(*((number, 0x33) for number in range(7)))
    at_once = access.decode(frame, asked)
    monkeypatch.setattr(mask_access, '_BATCH_PIXELS', 3 * 48 * 64)
    in_parts = access.decode(frame, asked)
    masks = np.array([region.mask for region in at_once])
    assert np.array_equal(masks, [region.mask for region in in_parts])
    assert [r.mask_score for r in at_once] == [r.mask_score for r in in_parts]
    assert access.encode(frame, masks).shape == (7, 2)


def test_masks_when_none_are_asked_for_then_none_come(access, frame):
    assert access.decode(frame, ()) == ()
    assert access.draw_prompts(frame, []).shape == (0, 48, 64)
    assert access.encode(frame, np.zeros((0, 48, 64), bool)).shape == (0, 2)


def test_prompts_when_drawn_then_masks_come_in_their_order(access, frame):
    masks = access.draw_prompts(frame, [BoxPrompt(0, 0, 10, 5), PointPrompt(32.0, 24.0)])
    assert masks.dtype == np.bool_
    assert masks[0].sum() == 50
    assert masks[1][24, 32]
    assert not masks[1][0, 0]


@pytest.mark.parametrize('prompt', [
    BoxPrompt(60, 0, 65, 5), BoxPrompt(5, 5, 5, 9), PointPrompt(-0.1, 5.0), PointPrompt(5.0, 48.1)])
def test_prompts_when_outside_the_image_then_they_are_refused(access, frame, prompt):
    with pytest.raises(ImageError, match='the image'):
        access.draw_prompts(frame, [prompt])


@pytest.mark.parametrize('codes', [(1,), (1, 2, 3), (1, 256)])
def test_codes_when_this_model_does_not_have_them_then_they_are_refused(access, frame, codes):
    with pytest.raises(SpanError, match='expected 2 codes below 256, got'):
        access.decode(frame, regions(codes))


def test_tokenizer_when_it_is_another_one_then_both_are_named(access):
    access.check_tokenizer(access.loaded.model.tokenizer_id)
    with pytest.raises(ConfigError, match="'other@1', here is 'fake@0000000000000001'"):
        access.check_tokenizer('other@1')


@pytest.mark.parametrize('count, height, width, fits', [
    (64, 1080, 1920, True), (12, 4000, 5000, True), (13, 4000, 5000, False),
    (1, 16000, 16000, True), (2, 16000, 16000, False), (0, 10**6, 10**6, True)])
def test_memory_when_masks_are_counted_then_only_what_fits_passes(count, height, width, fits):
    size = ImageSize(height, width)
    if fits:
        check_mask_memory(count, size)
    else:
        with pytest.raises(ImageError, match=f'{count} masks of {height} x {width} pixels'):
            check_mask_memory(count, size)


def test_batches_when_one_mask_is_over_the_bound_then_it_is_alone():
    assert list(batches([1, 2, 3], ImageSize(10_000, 10_000))) == [[1], [2], [3]]
    assert list(batches(range(64), ImageSize(480, 640))) == [range(64)]


def test_access_when_a_real_network_is_behind_it_then_parts_and_wholes_are_the_same(
        tiny_model_dir, image_rgb, monkeypatch):
    from samtok_ros.runtime.backend import LoadedMaskModel
    from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

    model = MaskTokenizer.load(tiny_model_dir)
    access = LocalMaskAccess(
        LoadedMaskModel(model, 'tiny', 'cpu', model.config.codebook_size,
                        model.config.codebook_depth),
        FrameCache(10, 10**9), Statistics())
    frame = Frame(7, 'camera', lambda: image_rgb, image_rgb.nbytes)
    prompts = [BoxPrompt(100, 80, 180, 140), PointPrompt(140.0, 110.0), BoxPrompt(0, 0, 50, 50)]
    squares = np.zeros((3, *image_rgb.shape[:2]), bool)
    for number, square in enumerate(squares):
        square[20 * number:100 + 20 * number, 30:90] = True

    def all_ways():
        codes = access.encode(frame, squares)
        found = access.decode(frame, regions(*map(tuple, codes.tolist())))
        return access.draw_prompts(frame, prompts), codes, [region.mask for region in found]

    at_once = all_ways()
    assert at_once[0].shape == squares.shape == np.shape(at_once[2])
    monkeypatch.setattr(mask_access, '_BATCH_PIXELS', squares[0].size)
    for whole, parts in zip(at_once, all_ways(), strict=True):
        # One at a time adds up in another order: single pixels and near codes may differ.
        assert np.mean(np.asarray(whole) == np.asarray(parts)) > 0.99


def test_draw_prompts_when_the_model_reads_none_then_rough_shapes_become_the_thing():
    from PIL import Image

    from samtok_ros.runtime.torch_backend import TorchBackend
    from samtok_ros.settings.shared import ModelSettings

    table_rgb = np.asarray(Image.open(ROOT / 'examples/table.jpg').convert('RGB'))
    loaded = TorchBackend(ModelSettings(device='cpu')).load_masks()
    assert not loaded.reads_prompts
    access = LocalMaskAccess(loaded, FrameCache(10, 10**9), Statistics())
    frame = Frame(7, 'camera', lambda: table_rgb, table_rgb.nbytes)
    bottle, = access.decode(frame, regions((245, 5)))
    rows, columns = np.nonzero(bottle.mask)
    drawn = access.draw_prompts(frame, [
        BoxPrompt(*bottle.box_xyxy), PointPrompt(columns.mean() + 0.5, rows.mean() + 0.5)])
    assert iou(drawn[0], bottle.mask) > 0.85 and iou(drawn[1], bottle.mask) > 0.7
