# SPDX-License-Identifier: Apache-2.0
"""How well things are followed between two answers, on rendered sequences with their truth.

Two measurements. Lag: one answer, then only images; how good is the mask after so many of them?
Life: answers once a second, each a third of a second late, as a model gives them; is what is said
to be there there, and under the same number?
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from samtok_ros.evaluation.tracking_scenes import GONE, RATE_HZ, Sequence
from samtok_ros.evaluation.tracking_signals import Sighting, SignalSample, signals_of
from samtok_ros.masks.boxes import with_mask
from samtok_ros.masks.scores import iou
from samtok_ros.pipeline import Pipeline
from samtok_ros.regions import Region
from samtok_ros.runtime.backend import LoadedMaskModel
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.settings.mask_tokenizer import TrackSettings
from samtok_ros.tracking.policies import make_policy
from samtok_ros.tracking.tracker import Tracker
from samtok_ros.tracking.walk import steps_between

POLICIES = ('hold', 'redecode', 'reencode')
LAGS = (1, 5, 10, 30)
ANSWER_EVERY, ANSWER_LATENCY = RATE_HZ, RATE_HZ // 3
SEEN = 0.35
"""From this visible share on, a mask is compared with the truth."""

_START_NS = 1_000_000_000
_STEP_NS = 1_000_000_000 // RATE_HZ
_EVERYTHING = TrackSettings(max_colour_change=255.0, max_area_change=1e6)

TRUST_RULES: Mapping[str, TrackSettings] = {
    'colour and area': TrackSettings(),
    'everything': _EVERYTHING,
    'colour alone': replace(_EVERYTHING, max_colour_change=TrackSettings.max_colour_change),
    'area alone': replace(_EVERYTHING, max_area_change=TrackSettings.max_area_change),
}
"""What must fit for a thing to be believed in; the first is the default."""

AnswerModel = Callable[[Sequence, int], tuple[Region, ...]]
"""From a sequence and the index of an image to regions with masks; () for no target."""


@dataclass(frozen=True)
class LagSample:
    """One image some time after an answer.

    Attributes:
        kind: of the sequence.
        policy: how the thing was followed.
        answers: who answered, 'truth' or 'model'.
        lag: images since the answer.
        iou: of the mask with the truth; a lost thing has 0.
    """

    kind: str
    policy: str
    answers: str
    lag: int
    iou: float


@dataclass(frozen=True)
class LifeSample:
    """One image of a sequence with an answer once a second.

    Attributes:
        kind: of the sequence.
        rule: policy, or what must fit for a thing to be believed in.
        answers: who answered.
        visible: share of the thing that can be seen.
        alive: a thing is said to be there.
        lost: a thing is followed and said to be lost.
        iou: of what is said to be there with the truth.
        switched: the number is another one than when the thing was last found.
    """

    kind: str
    rule: str
    answers: str
    visible: float
    alive: bool
    lost: bool
    iou: float
    switched: bool


@dataclass
class TrackingSamples:
    """Everything that was measured."""

    lags: list[LagSample] = field(default_factory=list)
    lives: list[LifeSample] = field(default_factory=list)
    rules: list[LifeSample] = field(default_factory=list)
    signals: list[SignalSample] = field(default_factory=list)


class _Film:
    """A sequence as frames whose features are computed once, for all policies."""

    def __init__(self, sequence: Sequence, loaded: LoadedMaskModel) -> None:
        self.sequence = sequence
        cache = FrameCache(len(sequence.frames), 10 ** 12)
        self.frames = []
        for index, one in enumerate(sequence.frames):
            frame = Frame(_START_NS + index * _STEP_NS, 'camera',
                          lambda one=one: one.image_rgb, one.image_rgb.nbytes)
            self.frames.append(frame)
            cache.put(frame)
        self.access = LocalMaskAccess(loaded, cache, Statistics())

    def tracker(self, settings: TrackSettings) -> Tracker:
        return Tracker(make_policy(settings, self.access), settings)

    def follow(self, tracker: Tracker, index: int) -> tuple[Region, ...]:
        """Go on to an image as the node does: by way of some in between, if it is far."""
        frame = self.frames[index]
        if tracker.walks:
            for between in steps_between(self.frames, tracker.newest_ns, frame.stamp_ns):
                tracker.follow(between)
        return tracker.follow(frame)


def measure_tracking(
    loaded: LoadedMaskModel, found: Iterable[Sequence], pipeline: Pipeline | None = None,
    policies: tuple[str, ...] = POLICIES,
) -> TrackingSamples:
    """Follow the target of each sequence in every way.

    Args:
        loaded: the mask tokenizer.
        found: sequences.
        pipeline: answers too where it is given, besides the truth; of the same model.
        policies: to compare.
    Raises:
        SamtokError: the model failed.
    """
    samples = TrackingSamples()
    for sequence in found:
        film = _Film(sequence, loaded)
        models: dict[str, AnswerModel] = {'truth': lambda _, index, film=film: _truth(film, index)}
        if pipeline is not None:
            models['model'] = _remembered(lambda sequence, index: pipeline.ground(
                sequence.frames[index].image_rgb, f'the {sequence.label}').regions)
        for name, model in models.items():
            for policy in policies:
                settings = TrackSettings(policy=policy)
                samples.lags += _lags(film, settings, name, model)
                samples.lives += _life(film, settings, (policy, name), model)
        for rule, settings in TRUST_RULES.items():
            samples.rules += _life(film, settings, (rule, 'truth'), models['truth'])
        samples.signals += _signals(film)
    return samples


def _truth(film: _Film, index: int) -> tuple[Region, ...]:
    """Answer as a model would that always says the words of the true mask."""
    sequence, frame = film.sequence, film.frames[index]
    if sequence.frames[index].visible < SEEN:
        return ()
    codes = tuple(film.access.encode(frame, sequence.truth(index)[None])[0].tolist())
    region = Region(1, codes, sequence.label, 1.0)
    return (with_mask(region, *film.access.draw(frame, [codes])[codes]),)


def _remembered(answer: AnswerModel) -> AnswerModel:
    """Ask once about each image: all policies get the same answers."""
    known: dict[int, tuple[Region, ...]] = {}

    def ask(sequence: Sequence, index: int) -> tuple[Region, ...]:
        if index not in known:
            known[index] = answer(sequence, index)
        return known[index]

    return ask


def _lags(film: _Film, settings: TrackSettings, answers: str,
          model: AnswerModel) -> Iterator[LagSample]:
    """One answer at a few moments of the sequence, then only images."""
    sequence, most = film.sequence, max(LAGS)
    for start in range(0, len(film.frames) - most, most // 2):
        if sequence.frames[start].visible < SEEN:
            continue
        regions = model(sequence, start)
        tracker = film.tracker(settings)
        tracker.anchor(film.frames[start], regions)
        for lag in range(most + 1):
            seen = tracker.follow(film.frames[start + lag]) if lag else regions
            if sequence.frames[start + lag].visible >= SEEN:
                yield LagSample(sequence.kind, settings.policy, answers, lag,
                                iou(_union(seen, sequence, start), sequence.truth(start + lag)))


def _life(film: _Film, settings: TrackSettings, names: tuple[str, str],
          model: AnswerModel) -> Iterator[LifeSample]:
    """Answers once a second, each as late as a model is; every image in between is followed in."""
    sequence, tracker = film.sequence, film.tracker(settings)
    known = 0
    for index in range(ANSWER_LATENCY, len(film.frames)):
        asked = index - ANSWER_LATENCY
        if asked % ANSWER_EVERY == 0:
            regions = model(sequence, asked)
            if regions:
                tracker.anchor(film.frames[asked], regions)
            else:
                tracker.end()
        seen = film.follow(tracker, index) if tracker.alive + tracker.lost else ()
        overlap = iou(_union(seen, sequence, index), sequence.truth(index))
        alive = any(not region.lost for region in seen)
        number = next((region.track_id for region in seen if not region.lost), 0)
        right = alive and overlap >= 0.5
        yield LifeSample(sequence.kind, *names, sequence.frames[index].visible, alive,
                         any(region.lost for region in seen) and not alive, overlap,
                         bool(right and known and number != known))
        known = number if right else known


def _signals(film: _Film) -> Iterator[SignalSample]:
    """Believe everything for a while, and note what speaks for it and whether it is true."""
    sequence = film.sequence
    for start in range(0, len(film.frames) - max(LAGS), max(LAGS)):
        regions = _truth(film, start)
        if not regions:
            continue
        tracker = film.tracker(_EVERYTHING)
        (before,) = tracker.anchor(film.frames[start], regions)
        answer = Sighting(film.frames[start], before)
        for index in range(start + 1, start + 1 + max(LAGS)):
            (found,) = tracker.follow(film.frames[index])
            visible = sequence.frames[index].visible
            right = iou(found.mask, sequence.truth(index)) >= 0.5
            if not found.lost and (visible >= SEEN or visible <= GONE):
                yield SignalSample(right and visible >= SEEN, signals_of(
                    Sighting(film.frames[index], found), answer, before, film.access))
            before = before if found.lost else found


def _union(regions: tuple[Region, ...], sequence: Sequence, index: int) -> np.ndarray:
    union = np.zeros(sequence.frames[index].segmentation.shape, np.bool_)
    for region in regions:
        union |= region.mask
    return union
