# SPDX-License-Identifier: Apache-2.0
"""What diagnostics say about lifting: how targets ended, and how long it takes."""

from collections.abc import Mapping

from samtok_ros.lifting.target import LiftStatus
from samtok_ros.nodes.health import Health, Level
from samtok_ros.runtime.lifting_records import Outcome
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import Status
from samtok_ros.runtime.statistics import Statistics

_RECENT_S = 10.0
_STAGES = ('lift', 'lift_others', 'lift_scene')
_COUNTS = ('masks_in', 'targets_out', 'targets_withdrawn', 'answers_overtaken', 'masks_left_out')
_NO_FAULT = (LiftStatus.OK, LiftStatus.EMPTY, LiftStatus.LOST)


def lifting_health(
    statistics: Statistics, problems: ProblemLog, last: Outcome | None,
    facts: Mapping[str, object],
) -> Health:
    """Say how the last target ended, and count how all did.

    Args:
        statistics: of the node.
        problems: of the node.
        last: what became of the last target, None before the first.
        facts: more values.
    """
    values: dict[str, object] = {name: statistics.total(name) for name in _COUNTS}
    for status in LiftStatus:
        values[status.name] = statistics.total(f'status_{status.name}')
    for stage in _STAGES:
        for percent in (50, 95):
            duration_ms = statistics.percentile_ms(stage, percent)
            if duration_ms is not None:
                values[f'{stage}_ms_p{percent}'] = f'{duration_ms:.1f}'
    values.update(facts)
    values.update(problems.counts())
    problem = problems.recent_of(('exception',), _RECENT_S)
    if problem:
        return Health(Level.ERROR, problem, values)
    if last is None:
        return Health(Level.OK, 'no target so far', values)
    values['last_status'] = last.status.name
    if last.status in _NO_FAULT or last.masks.status == Status.CANCELLED:
        return Health(Level.OK, last.message or 'targets are lifted', values)
    return Health(Level.WARN, f'{last.status.name}: {last.message}', values)
