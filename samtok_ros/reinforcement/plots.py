# SPDX-License-Identifier: Apache-2.0
"""Curves of reinforcement learning as one picture, a panel for each run.

Usage: python -m samtok_ros.reinforcement.plots RUN [RUN ...] OUT.png
"""

import json
import sys
from pathlib import Path

from samtok_ros.training.plots import Curve, Panel, draw_curves

_REWARDS = {'exact': 'exact words', 'graded': 'words, graded', 'iou': 'IoU of the masks'}
_LEAST = 0.6


def panel_of(run_dir: Path) -> Panel:
    """Return the panel of a run: its reward, and what was validated."""
    reward = json.loads((run_dir / 'settings.json').read_text(encoding='utf-8'))['reward']
    return Panel(f'reward: {_REWARDS[reward]}', (
        Curve('reward', 'reward of a step'),
        Curve('val_grounding_giou', 'grounding, gIoU, held-out scenes'),
        Curve('val_grounding_iou50', 'grounding, IoU above 0.5'),
        Curve('val_no_target_recall', '"No target." where right'),
        Curve('val_several_giou', 'several targets, gIoU')), least=_LEAST)


if __name__ == '__main__':
    runs = [Path(name) for name in sys.argv[1:-1]]
    draw_curves(runs, Path(sys.argv[-1]), [panel_of(run) for run in runs])
