# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from PIL import Image

from samtok_ros.errors import ConfigError
from samtok_ros.training.plots import PANELS, Curve, Panel, _series, _smooth, draw_curves

PANEL = Panel('one run', (Curve('iou', 'training'), Curve('val_miou', 'validation')))
RECORDS = [{'step': 10, 'iou': 0.1}, {'step': 20, 'iou': 0.5}, {'step': 20, 'val_miou': 0.4}]


def write_run(folder, records=RECORDS):
    folder.mkdir()
    lines = ''.join(json.dumps(record) + '\n' for record in records)
    (folder / 'curves.jsonl').write_text(lines, encoding='utf-8')
    return folder


def test_curves_when_drawn_then_the_picture_has_a_panel_per_run(tmp_path):
    runs = [write_run(tmp_path / name) for name in 'ab']
    draw_curves(runs, tmp_path / 'two.png', (PANEL, PANEL))
    draw_curves(runs[:1], tmp_path / 'one.png', (PANEL,))
    two, one = (Image.open(tmp_path / name) for name in ('two.png', 'one.png'))
    assert (two.width, two.height) == (2 * one.width, one.height)
    assert np.asarray(two.convert('L')).min() < 100


def test_curves_when_a_value_was_never_logged_then_the_rest_is_drawn(tmp_path):
    run = write_run(tmp_path / 'a', [{'step': 1, 'loss': 2.0}, {'step': 2, 'val_miou': None}])
    draw_curves([run], tmp_path / 'a.png', (PANEL,))
    assert (tmp_path / 'a.png').stat().st_size > 0


def test_curves_when_a_run_has_none_then_its_file_is_named_and_nothing_is_made(tmp_path):
    with pytest.raises(ConfigError, match=r'run has no curves: expected .*curves\.jsonl'):
        draw_curves([tmp_path / 'nowhere'], tmp_path / 'a.png', (PANEL,))
    assert list(tmp_path.iterdir()) == []


def test_curves_when_runs_are_missing_then_their_number_is_told(tmp_path):
    with pytest.raises(ConfigError, match='expected 3 runs, got 1'):
        draw_curves([tmp_path], tmp_path / 'a.png', PANELS)


def test_series_when_read_then_steps_and_values_belong_together():
    steps, values = _series(RECORDS, 'iou')
    assert steps.tolist() == [10, 20]
    assert values.tolist() == [0.1, 0.5]


def test_series_when_a_resumed_run_repeats_steps_then_the_later_values_count():
    records = [{'step': 1, 'iou': 0.1}, {'step': 2, 'iou': 0.9}, {'step': 2, 'iou': 0.2}]
    steps, values = _series([*records, {'step': 1, 'iou': 0.3}], 'iou')
    assert steps.tolist() == [1, 2]
    assert values.tolist() == [0.3, 0.2]


@pytest.mark.parametrize(('values', 'expected'), [
    ([3.0], [3.0]),
    ([0.0, 3.0, 6.0], [1.5, 3.0, 4.5]),  # at the ends the mean is over two values
])
def test_smooth_when_applied_then_each_value_is_the_mean_around_it(values, expected):
    assert _smooth(np.array(values), width=3).tolist() == expected
