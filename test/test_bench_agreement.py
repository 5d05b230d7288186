# SPDX-License-Identifier: Apache-2.0
"""When sides of the benchmark found the same: in float32 exactly, in short formats by shares."""

from dataclasses import replace

import numpy as np
import pytest

from samtok_ros.benchmark.agreement import (
    LEAST_CHOICES,
    choices_differ,
    codes_differ,
    index_differs,
    masks_differ,
    texts_differ,
)
from samtok_ros.benchmark.cases import Bench
from samtok_ros.benchmark.interleave import Share, run_case
from samtok_ros.benchmark.published_masks import PublishedMaskTokenizer
from samtok_ros.benchmark.run import device_clock
from samtok_ros.benchmark.subjects import load_subject
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer


def test_agreement_when_things_differ_then_it_is_said_which():
    masks = np.zeros((2, 4, 4), np.uint8)
    other = masks.copy()
    other[0, :2] = 1
    assert list(masks_differ('A', masks, masks != 0)) == [
        Share('masks of A overlap with ours by 0.99', 2, 2, 1.0)]
    assert list(masks_differ('A', masks, other)) == [
        Share('masks of A overlap with ours by 0.99', 1, 2, 1.0)]
    short = list(masks_differ('A', masks, other, 'float16'))
    assert [(one.agree, one.count) for one in short] == [(1, 2), (1, 2), (0, 1), (1, 1)]
    assert 'shape' in next(masks_differ('A', masks, other[:1]))
    half = np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]])
    assert list(codes_differ('A', *half)) == [Share('codes of A are ours', 1, 2, 1.0)]
    assert next(codes_differ('A', *half, 'bfloat16')).least < 1
    assert 'shape' in next(codes_differ('A', np.array([[1, 2]]), np.empty((0, 2))))
    assert list(index_differs('A', np.array([0, 1]), np.array([0, 2]))) == [
        Share('A chooses our candidates', 1, 2, 1.0)]
    words = range(100, 200)
    assert list(choices_differ('A', {0: 5, 1: 150, 2: 7, 3: 1}, {0: 5, 1: 6, 2: 8, 4: 1}, words,
                               'float32')) == [
        Share('A would have said what we say', 1, 2, LEAST_CHOICES['float32'])]
    assert list(texts_differ('A', 'x', 'y')) == ["A says 'x', we say 'y'"]


@pytest.fixture(scope='module')
def short_subject():
    """The embedded masks: ours in bfloat16, the published side as it is on a CPU, in float32."""
    return load_subject('tabletop', 'none', 'cpu', 'bfloat16')


class AsItIs(MaskTokenizer):
    """Ours, to be made wrong in one respect."""


class OtherOrder(MaskTokenizer):
    """Gives every mask to the next thing."""

    def decode(self, features, codes):
        found = super().decode(features, codes)
        return replace(found, masks=np.roll(found.masks, 1, axis=0))


class OneWrong(MaskTokenizer):
    """Draws the last mask where it is not, always."""

    def decode(self, features, codes):
        masks = super().decode(features, codes).masks.copy()
        masks[-1] = np.roll(masks[-1], masks.shape[2] // 2, axis=1)
        return replace(super().decode(features, codes), masks=masks)


class OtherImage(MaskTokenizer):
    """Always gives the features of the first image."""

    first = None

    def embed_image(self, image_rgb):
        self.first = self.first or super().embed_image(image_rgb)
        return self.first


@pytest.mark.parametrize('ours', [AsItIs, OtherOrder, OneWrong, OtherImage])
def test_bench_when_numbers_are_short_then_rounding_counts_and_a_wrong_mask_voids(
        short_subject, ours):
    masks = ours(short_subject.network, 'tabletop@0', 'cpu', 'bfloat16')
    bench = Bench(replace(short_subject, masks=masks), device_clock('cpu'))
    cold, hot = run_case(bench.decode(20, (240, 320)), 0, 5)
    assert (cold.void, hot.void) == ((), ()) if ours is AsItIs else cold.void and hot.void


def test_bench_when_numbers_are_short_then_a_small_mistake_is_found_in_float32(
        short_subject, monkeypatch):
    decode = PublishedMaskTokenizer.decode

    def moved(published, image_rgb, codes):
        found = decode(published, image_rgb, codes)
        return replace(found, masks=np.roll(found.masks, 2, axis=2))

    monkeypatch.setattr(PublishedMaskTokenizer, 'decode', moved)
    cold, _ = run_case(Bench(short_subject, device_clock('cpu')).decode(2, (480, 640)), 0, 5)
    assert len(cold.void) == 1
    assert cold.void[0].startswith('masks of A2 in float32 overlap with ours by 0.99: 0 of 2')
