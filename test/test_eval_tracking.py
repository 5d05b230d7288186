# SPDX-License-Identifier: Apache-2.0
"""The measurement of following: its figures from samples by hand, and a small run with bars."""

import json

import numpy as np
import pytest
from PIL import Image

from samtok_ros.cli.main import main
from samtok_ros.errors import SamtokError
from samtok_ros.evaluation.tracking import (
    LAGS,
    LagSample,
    LifeSample,
    TrackingSamples,
    measure_tracking,
)
from samtok_ros.evaluation.tracking_report import draw_plot, figures, life_figures, table
from samtok_ros.evaluation.tracking_scenes import Sequence, SequenceFrame
from samtok_ros.evaluation.tracking_signals import SignalSample, signal_figures
from samtok_ros.runtime.fake_backend import FakeBackend
from samtok_ros.settings.shared import FakeSettings


def life(visible, alive, iou=0.0, lost=False, switched=False, kind='camera'):
    return LifeSample(kind, 'hold', 'truth', visible, alive, lost, iou, switched)


def test_figures_when_counted_then_each_rate_has_its_own_images():
    found = life_figures([
        life(0.0, True), life(0.05, False, lost=True),      # gone: one of two said to be there
        life(0.9, True, 0.9), life(0.4, True, 0.2),         # one of four is something else
        life(0.7, False, lost=True), life(0.35, False),     # one of two plain ones said to be lost
        life(0.2, True, 0.1, switched=True)])               # hardly to be seen: not judged
    assert found == {'false_alive': 0.5, 'wrong': 0.25, 'false_lost': 0.5, 'iou': 0.275,
                     'switches': 1, 'images': 7}
    assert life_figures([life(0.9, True, 1.0)])['false_alive'] is None


def test_signals_when_compared_then_ties_count_half_and_the_wrong_are_refused():
    def sample(right, value):
        return SignalSample(right, dict.fromkeys(
            ('colour', 'area', 'consecutive IoU', 'mask score', 'round trip'), value))

    samples = [sample(True, 3.0), sample(True, 2.0), sample(False, 2.0), sample(False, 1.0)]
    assert signal_figures(samples)['area'] == {'auc': 0.875, 'kept': 1.0}
    assert signal_figures(samples[:2])['colour'] == {'auc': None, 'kept': None}


def test_report_when_written_then_table_and_plot_show_every_kind(tmp_path):
    samples = TrackingSamples(
        [LagSample(kind, policy, 'truth', lag, 0.5) for kind in ('camera', 'leaving')
         for policy in ('hold', 'reencode') for lag in range(31)],
        [life(0.9, True, 0.5)], [life(0.9, True, 0.5, kind='leaving')])
    curves = figures(samples)['iou_by_lag']['truth']
    assert set(curves) == {'all', 'camera', 'leaving'}
    assert curves['all']['hold'] == {str(lag): 0.5 for lag in LAGS}
    assert 'truth, leaving, reencode' in table(samples)
    draw_plot(samples, 'by hand', tmp_path / 'plot.png')
    assert np.asarray(Image.open(tmp_path / 'plot.png').convert('L')).min() < 100


def sequence_of(lefts, visible):
    """A grey image with a red box, without a renderer."""
    frames = []
    for left, share in zip(lefts, visible, strict=True):
        segmentation = np.zeros((48, 64), np.uint8)
        if share:
            segmentation[12:24, left:left + 16] = 1
        image = np.where(segmentation[..., None] > 0, np.uint8([200, 30, 30]), np.uint8(120))
        frames.append(SequenceFrame(image, segmentation, share))
    return Sequence('leaving', 1, 1, 'red box', tuple(frames))


def test_sequence_when_the_thing_is_taken_away_then_holding_on_to_it_is_false_alive():
    gone = [1.0] * 12 + [0.0] * 80
    loaded = FakeBackend(FakeSettings()).load_masks()
    samples = measure_tracking(loaded, [sequence_of([16] * 92, gone)])
    by_rule = {rule: [one for one in samples.rules if one.rule == rule]
               for rule in ('colour and area', 'everything')}
    # The answer about image 0 is there from image 10 on, that about image 30 from image 40 on.
    assert life_figures(by_rule['everything'])['false_alive'] == pytest.approx(28 / 80)
    assert life_figures(by_rule['colour and area'])['false_alive'] == 0.0
    assert all(one.iou > 0.5 for one in samples.lags if one.lag == 0)
    assert {one.policy for one in samples.lags} == {'hold', 'redecode', 'reencode'}


@pytest.fixture(scope='module')
def small_run(tmp_path_factory):
    """One sequence with a camera that moves and one with a thing that is hidden, with truth."""
    from samtok_ros.evaluation.tracking_scenes import sequences
    from samtok_ros.runtime.torch_backend import TorchBackend
    from samtok_ros.settings.shared import ModelSettings

    try:
        found = list(sequences(2, 0, (240, 320), frames=61, kinds=('camera', 'occlusion')))
    except SamtokError as error:
        pytest.skip(f'nothing can be rendered here: {error}')
    assert [one.kind for one in found] == ['camera', 'occlusion']
    return measure_tracking(TorchBackend(ModelSettings(device='cpu')).load_masks(), found)


def test_embedded_model_when_it_follows_then_it_reaches_the_bars(small_run, record_property):
    found = figures(small_run)
    curve = found['iou_by_lag']['truth']['all']['reencode']
    life_of = found['life']['truth']['all']
    record_property('figures', f'following: IoU {curve["30"]:.2f} after a second, false alive '
                    f'{life_of["reencode"]["false_alive"]:.2f}')
    assert curve['5'] >= 0.85
    assert curve['30'] >= 0.80
    assert curve['30'] > found['iou_by_lag']['truth']['all']['hold']['30'] + 0.2
    assert life_of['reencode']['false_alive'] <= 0.1
    assert life_of['reencode']['false_lost'] <= 0.1
    assert found['signals']['colour']['auc'] >= 0.9


def test_command_when_the_model_has_no_memory_then_it_says_so(capsys):
    assert main(['eval', 'tracking', '--memory', '--truth-only']) == 2
    assert 'tabletop has no video memory of SAM 2' in capsys.readouterr().err


def test_command_when_run_then_it_writes_report_and_plot(tmp_path, monkeypatch, capsys):
    from samtok_ros.evaluation import tracking_scenes

    monkeypatch.setattr(tracking_scenes, 'sequences', lambda count, seed: iter(
        [sequence_of(np.arange(41) // 4, [1.0] * 41)] * count))
    out = tmp_path / 'report.json'
    assert main(['eval', 'tracking', '--sequences', '1', '--truth-only', '--device', 'cpu',
                 '--out', str(out)]) == 0
    report = json.loads(out.read_text())
    assert report['sequences'] == 1
    assert report['mask_tokenizer'].startswith('tabletop@')
    assert out.with_suffix('.png').stat().st_size > 0
    assert 'truth, all, reencode' in capsys.readouterr().out
