# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of the parts that both nodes have."""

from collections.abc import Mapping

from samtok_ros.config import ModelSettings
from samtok_ros.nodes.health import Health, Level
from samtok_ros.nodes.publishers import OutputPublisher
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.statistics import Statistics

_RECENT_S = 10.0
_INFERENCE = ('answer_failed', 'queue_full', 'decode_failed', 'exception')
_WORDS = ('tokenizer_mismatch', 'bad_codes', 'size_mismatch', 'no_such_frame', 'bad_words')


def inference_health(
    statistics: Statistics, problems: ProblemLog, facts: Mapping[str, object],
) -> Health:
    """Say how long the stages take and how many frames were processed and dropped."""
    values = {name: statistics.total(name) for name in
              ('frames_in', 'frames_processed', 'frames_dropped', 'frames_without_goal')}
    for stage in statistics.stages():
        for percent in (50, 95):
            values[f'{stage}_ms_p{percent}'] = (
                f'{statistics.percentile_ms(stage, percent):.1f}')
    values.update(facts)
    problem = problems.recent_of(_INFERENCE, _RECENT_S)
    if problem:
        return Health(Level.ERROR, problem, values)
    return Health(Level.OK, 'running', values)


def output_health(
    statistics: Statistics, problems: ProblemLog, *outputs: OutputPublisher,
) -> Health:
    """Say what goes out and who listens."""
    values: dict[str, object] = {}
    for name in ('words_out', 'masks_out', 'targets_out', 'overlays_out'):
        if statistics.total(name):
            values[name] = statistics.total(name)
            values[f'{name}_hz'] = f'{statistics.rate_hz(name):.1f}'
    for output in outputs:
        values[output.topic] = f'{output.subscribers} subscribers'
    problem = problems.recent_of(('publish_failed',), _RECENT_S)
    if problem:
        return Health(Level.ERROR, problem, values)
    return Health(Level.OK, 'publishing', values)


def words_health(statistics: Statistics, problems: ProblemLog) -> Health:
    """Say whether words were sound, and count every kind of problem so far."""
    values: dict[str, object] = {name: statistics.total(name) for name in
                                 ('words', 'words_in', 'words_dropped', 'malformed_spans')}
    values.update(problems.counts())
    values['last_problem'] = problems.last()
    problem = problems.recent_of(_WORDS, _RECENT_S)
    if problem:
        return Health(Level.ERROR, problem, values)
    problem = problems.recent_of(('malformed_span', 'bad_goal', 'goal_with_markers'), _RECENT_S)
    if problem:
        return Health(Level.WARN, problem, values)
    return Health(Level.OK, 'all words are sound', values)


def model_health(settings: ModelSettings, name: str, device: str, tokenizer_id: str) -> Health:
    """Say which model is loaded, and where it runs."""
    return Health(Level.OK, f'{name} is loaded', {
        'name': settings.name, 'backend': settings.backend, 'device': device,
        'tokenizer_id': tokenizer_id})
