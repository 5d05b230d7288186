# SPDX-License-Identifier: Apache-2.0
"""Agreement between number formats of the mask tokenizer."""

import json

import numpy as np
import pytest
import torch
from hand_scenes import scene_of

from samtok_ros.cli.main import main
from samtok_ros.errors import ConfigError
from samtok_ros.evaluation import heldout_scenes
from samtok_ros.evaluation.precision import compare_precisions
from samtok_ros.model_directory import resolve_model
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer


@pytest.fixture(scope='module')
def tabletop():
    return MaskTokenizer.load(resolve_model('tabletop'))


def test_precisions_when_both_are_the_same_agree_in_everything(tabletop):
    report = compare_precisions(tabletop, tabletop, [scene_of(), scene_of(())])
    assert (report.masks, report.codes_share, report.first_code_share) == (3, 1.0, 1.0)
    assert report.same_codes_iou_min == report.same_codes_iou_mean == 1.0
    assert report.truth_iou == report.truth_iou_float32
    assert report.dtype == 'float32'


def test_precisions_when_weights_differ_do_not_agree(tabletop):
    other = MaskTokenizer.load(resolve_model('tabletop'))
    tables = [torch.roll(book.weight, 1, dims=0) for book in other.network.quantizer.codebooks]
    for book, table in zip(other.network.quantizer.codebooks, tables, strict=True):
        book.weight = torch.nn.Parameter(table, requires_grad=False)
    report = compare_precisions(tabletop, other, [scene_of()])
    assert report.codes_share == 0.0
    # The moved tables mean the same masks, so only the codes of the one are nonsense to the other.
    assert report.truth_iou == pytest.approx(report.truth_iou_float32, abs=0.05)
    assert report.same_codes_iou_mean < 0.5


def test_precisions_when_nothing_is_large_enough_is_refused(tabletop):
    with pytest.raises(ConfigError, match='no scene has a mask'):
        compare_precisions(tabletop, tabletop, [scene_of(())])


def test_eval_precision_when_run_prints_and_writes_the_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(heldout_scenes, 'heldout_scenes', lambda *given: iter([scene_of()]))
    out = tmp_path / 'precision.json'
    assert main(['eval', 'precision', '--scenes', '1', '--out', str(out)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == figures
    assert (figures['dtype'], figures['device'], figures['masks']) == ('bfloat16', 'cpu', 3)
    assert figures['model'].startswith('tabletop@')
    assert figures['same_codes_iou_mean'] > 0.9


def test_eval_precision_when_float16_is_asked_of_a_cpu_says_what_there_is(capsys):
    assert main(['eval', 'precision', '--device', 'cpu', '--dtype', 'float16']) == 2
    assert 'float16 needs a GPU' in capsys.readouterr().err


def test_autocast_when_bfloat16_is_asked_for_is_really_used(tabletop):
    half = MaskTokenizer.load(resolve_model('tabletop'), dtype='bfloat16')
    image_rgb = scene_of().image_rgb
    maps = half.embed_image(image_rgb).maps
    assert maps.high_res_0.dtype == torch.bfloat16
    assert maps.embedding.dtype == torch.float32
    exact = tabletop.embed_image(image_rgb).maps.high_res_0.numpy()
    assert 0 < np.abs(maps.high_res_0.float().numpy() - exact).max() < 0.5
