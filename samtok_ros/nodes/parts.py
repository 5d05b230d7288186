# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of the parts that both nodes have."""

from collections.abc import Mapping
from types import MappingProxyType

from rclpy.node import Node

from samtok_ros.errors import DeviceError
from samtok_ros.nodes.health import Health, Level
from samtok_ros.nodes.publishers import OutputPublisher
from samtok_ros.nodes.raw_subscription import RawSubscription
from samtok_ros.runtime.memory import gpu_memory, resident_bytes
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.tracking import MaskTracking
from samtok_ros.settings.shared import ModelSettings

_RECENT_S = 10.0
_GPU_FULL = 0.9
_FRAMES = ('frames_in', 'frames_processed', 'frames_dropped', 'frames_stale', 'frames_without_goal')
_INFERENCE = ('answer_failed', 'queue_full', 'decode_failed', 'exception')
_WORDS = ('tokenizer_mismatch', 'bad_codes', 'size_mismatch', 'no_such_frame', 'bad_words',
          'bad_words_qos')
_GOALS = ('malformed_span', 'bad_goal', 'bad_goal_qos', 'goal_with_markers')


def inference_health(
    statistics: Statistics, problems: ProblemLog, facts: Mapping[str, object],
    wanted_rate_hz: float = 0.0,
) -> Health:
    """Say how long the stages take and how many frames were processed and dropped.

    A model that is slower than the camera drops frames, which is what it should do: drops alone
    are no warning. A rate that was asked for and is not reached is one.

    Args:
        statistics: of the node.
        problems: of the node.
        facts: more values.
        wanted_rate_hz: answers per second that were asked for, 0 for as many as it can.
    """
    values: dict[str, object] = {name: statistics.total(name) for name in _FRAMES}
    wanted = values['frames_in'] - values['frames_without_goal']
    values['dropped_percent'] = (
        f'{100 * values["frames_dropped"] / wanted:.0f}' if wanted > 0 else '')
    for stage in statistics.stages():
        for percent in (50, 95):
            values[f'{stage}_ms_p{percent}'] = (
                f'{statistics.percentile_ms(stage, percent):.1f}')
    values.update(facts)
    problem = problems.recent_of(_INFERENCE, _RECENT_S)
    if problem:
        return Health(Level.ERROR, problem, values)
    problem = problems.recent_of(('stale_image',), _RECENT_S)
    if problem:
        return Health(Level.WARN, problem, values)
    slow_ms = statistics.percentile_ms('ground', 95) or 0.0
    if wanted_rate_hz and slow_ms > 1000 / wanted_rate_hz:
        return Health(Level.WARN, f'an answer takes {slow_ms:.0f} ms (p95), but max_rate_hz asks '
                      f'for one every {1000 / wanted_rate_hz:.0f} ms: lower it, or use a smaller '
                      'model, shorter answers (limits) or a faster device', values)
    return Health(Level.OK, 'running', values)


def output_health(
    statistics: Statistics, problems: ProblemLog, *outputs: OutputPublisher,
) -> Health:
    """Say what goes out and who listens."""
    values: dict[str, object] = {}
    for name in ('words_out', 'masks_out', 'targets_out', 'labels_out', 'detections_out',
                 'overlays_out'):
        if statistics.total(name):
            values[name] = statistics.total(name)
            values[f'{name}_hz'] = f'{statistics.rate_hz(name):.1f}'
    if statistics.total('targets_stale'):
        values['targets_stale'] = statistics.total('targets_stale')
    if statistics.total('masks_out'):
        values['masks_per_message'] = (
            f'{statistics.total("regions_out") / statistics.total("masks_out"):.1f}')
    age_ms = statistics.percentile_ms('age', 50)
    if age_ms is not None:
        values['age_ms_p50'] = f'{age_ms:.1f}'
    for output in outputs:
        output.report_incompatible()
        values[output.topic] = f'{output.subscribers} subscribers'
    problem = problems.recent_of(('publish_failed',), _RECENT_S)
    if problem:
        return Health(Level.ERROR, problem, values)
    problem = problems.recent_of(('target_stale', 'overlay_failed', 'bad_output_qos'), _RECENT_S)
    if problem:
        return Health(Level.WARN, problem, values)
    return Health(Level.OK, 'publishing', values)


def words_health(
    statistics: Statistics, problems: ProblemLog, *inputs: RawSubscription | None,
) -> Health:
    """Say whether words were sound, and count every kind of problem so far.

    Args:
        statistics: of the node.
        problems: of the node.
        inputs: of goals and words, None while there is none.
    """
    for one in inputs:
        if one is not None:
            one.report_incompatible()
    values: dict[str, object] = {name: statistics.total(name) for name in
                                 ('words', 'words_in', 'words_dropped', 'malformed_spans')}
    values.update(problems.counts())
    values['last_problem'] = problems.last()
    problem = problems.recent_of(_WORDS, _RECENT_S)
    if problem:
        return Health(Level.ERROR, problem, values)
    problem = problems.recent_of(_GOALS, _RECENT_S)
    if problem:
        return Health(Level.WARN, problem, values)
    return Health(Level.OK, 'all words are sound', values)


def tracking_health(
    statistics: Statistics, problems: ProblemLog, tracking: MaskTracking,
) -> Health:
    """Say what is followed between two answers, and what was lost."""
    if tracking.policy is None:
        return Health(Level.OK, 'nothing is followed: track.policy is none, or every image is '
                      'answered (input.every_frame)')
    age_s = tracking.answer_age_s
    values: dict[str, object] = {
        'policy': tracking.policy, 'alive': tracking.alive, 'lost': tracking.lost,
        'answer_age_s': '' if age_s is None else f'{age_s:.2f}'}
    for name in ('frames_tracked', 'frames_not_tracked', 'regions_lost'):
        values[name] = statistics.total(name)
    values['rate_hz'] = f'{statistics.rate_hz("frames_tracked"):.1f}'
    for stage in ('track', 'tracked_age'):
        middle = statistics.percentile_ms(stage, 50)
        if middle is not None:
            values[f'{stage}_ms_p50'] = f'{middle:.1f}'
            values[f'{stage}_ms_p95'] = f'{statistics.percentile_ms(stage, 95):.1f}'
    problem = problems.recent_of(('track_failed',), _RECENT_S)
    if problem:
        return Health(Level.ERROR, problem, values)
    if age_s is None:
        return Health(Level.OK, 'there is nothing to follow', values)
    return Health(Level.OK, f'{tracking.alive} followed, {tracking.lost} lost', values)


def model_health(
    settings: ModelSettings, name: str, device: str, tokenizer_id: str,
    facts: Mapping[str, str] = MappingProxyType({}),
) -> Health:
    """Say which model is loaded, and what it really runs on.

    Args:
        settings: what was asked for.
        name: of the model.
        device: in use.
        tokenizer_id: of the mask tokenizer, with the hash of its weights.
        facts: of the backend: precision, provider; 'fallback' says why it is not the one asked for.
    """
    values = {
        'name': settings.name, 'backend': settings.backend, 'device': device,
        'device_asked_for': settings.device, 'tokenizer_id': tokenizer_id, **facts}
    if facts.get('fallback'):
        return Health(Level.WARN, f'{name} is loaded, but {facts["fallback"]}', values)
    return Health(Level.OK, f'{name} is loaded', values)


def memory_health() -> Health:
    """Say how much memory the process holds, and how full the GPU is when torch uses one."""
    held = resident_bytes()
    values: dict[str, object] = {'process_megabytes': f'{held / 1e6:.0f}' if held else ''}
    try:
        gpu = gpu_memory()
    except DeviceError as error:
        return Health(Level.ERROR, str(error), values)
    if gpu is None:
        return Health(Level.OK, 'no GPU memory is used by torch', values)
    share = 1 - gpu['free'] / gpu['total']
    values.update({f'gpu_{name}_megabytes': f'{size / 1e6:.0f}' for name, size in gpu.items()})
    if share > _GPU_FULL:
        return Health(Level.WARN, f'{share:.0%} of the GPU memory is in use: end other programs on '
                      'it, or use a smaller model', values)
    return Health(Level.OK, f'{share:.0%} of the GPU memory is in use', values)


def name_health(node: Node) -> Health:
    """Say whether another node has the same name: it obeys the same goals and calls."""
    own = node.get_name(), node.get_namespace()
    count = node.get_node_names_and_namespaces().count(own)
    values = {'nodes_of_this_name': count}
    if count > 1:
        return Health(Level.WARN, f'{count} nodes are named {node.get_fully_qualified_name()}: a '
                      'goal is answered by each of them, a call by any. End the others, or start '
                      'them in a namespace of their own. One that was killed counts for some '
                      'seconds more', values)
    return Health(Level.OK, 'no other node has this name', values)
