# SPDX-License-Identifier: Apache-2.0
"""Plain checked records that the stages hand to one another."""

from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ImageError, SpanError
from samtok_ros.words.answer_record import AnswerRecord

FinishReason = str
"""Why generation ended: 'stop' (the model was done), 'length' (a limit) or 'cancelled'."""

NO_CODE = -1
"""Among codes: the word of this level is missing, and of all behind it. Regions never hold it."""


@dataclass(frozen=True)
class ImageSize:
    """Height and width of an image in pixels."""

    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse sizes without pixels.

        Raises:
            ImageError: height or width is below 1.
        """
        if self.height < 1 or self.width < 1:
            raise ImageError(
                'image has no pixels',
                expected='height and width of at least 1',
                got=f'{self.height} x {self.width}',
            )


@dataclass(frozen=True)
class BoxPrompt:
    """A box around a thing: source pixels, origin top-left, right and bottom edges outside."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class PointPrompt:
    """A point on a thing: source pixels, the centre of the first pixel at 0.5, 0.5."""

    x: float
    y: float


@dataclass(frozen=True)
class MalformedSpan:
    """A stretch of text that holds mask words but is no mask span.

    Attributes:
        reason: what is wrong with it.
        position: offset of its first character in the text.
        text: the stretch itself.
    """

    reason: str
    position: int
    text: str


@dataclass(frozen=True, eq=False)
class Region:
    """One thing in one image.

    Attributes:
        region_id: 1, 2, ... in order of appearance, stable within the frame.
        codes: D codes in level order, each in [0, K), without offset; none for a mask that did
            not come from words.
        label: the phrase the region belongs to; may be empty.
        score: the model's own estimate in 0..1, from the probabilities of its mask words.
        mask: (H, W) bool at source resolution, None before decoding.
        box_xyxy: source pixels, origin top-left, right and bottom edges outside; None before
            decoding and for an empty mask.
        mask_score: IoU that the mask decoder predicts for its mask, None before decoding.
        track_id: number of the thing while it is followed from image to image, 0 when it is not.
        lost: it was followed and is not found in this image; then the mask is empty.
    """

    region_id: int
    codes: tuple[int, ...]
    label: str
    score: float
    mask: np.ndarray | None = None
    box_xyxy: tuple[float, float, float, float] | None = None
    mask_score: float | None = None
    track_id: int = 0
    lost: bool = False

    def __post_init__(self) -> None:
        """Check what would go wrong far from here otherwise.

        Raises:
            SpanError: neither codes nor a mask, or a negative code.
            ImageError: the mask is not (H, W) bool.
        """
        if min(self.codes, default=-1 if self.mask is None else 0) < 0:
            raise SpanError('a region needs codes', expected='one code of 0 or more per level',
                            got=self.codes)
        if self.mask is not None and (self.mask.ndim != 2 or self.mask.dtype != np.bool_):
            raise ImageError('mask has the wrong form', expected='(H, W) bool',
                             got=f'{self.mask.shape} {self.mask.dtype}')


@dataclass(frozen=True)
class Answer:
    """What the vision-language model said about one image.

    Attributes:
        text: the answer as written, mask words included.
        regions: the regions named in it, in order of appearance.
        malformed: stretches with mask words that are no spans; reported, never repaired.
        finish_reason: see FinishReason.
        record: the answer as programs want it; empty while the answer is being spoken.
    """

    text: str
    regions: tuple[Region, ...]
    malformed: tuple[MalformedSpan, ...]
    finish_reason: FinishReason
    record: AnswerRecord = AnswerRecord()
