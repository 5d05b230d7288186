# SPDX-License-Identifier: Apache-2.0
"""What happens while the model writes: events, and the limits it has to keep."""

from dataclasses import dataclass

from samtok_ros.errors import ConfigError
from samtok_ros.regions import FinishReason

THINKING_TOKENS = 1024
"""Limit for answers of models that think first; with less they are cut off before they answer."""


@dataclass(frozen=True)
class GenerationLimits:
    """When to stop a model that does not stop by itself.

    Attributes:
        max_new_tokens: tokens of the answer, the end of turn not counted. The end word of a span is
            no choice of the model and still written, so there may be one token more.
        max_masks: spans; the answer ends where the model would open one more.
        deadline_s: seconds from the call of `generate`, None for no limit. Checked per token, so it
            may be overrun by one step of the model.
    """

    max_new_tokens: int = 512
    max_masks: int = 64
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: no tokens, a negative number of masks, or no time.
        """
        if self.max_new_tokens < 1:
            raise ConfigError('max_new_tokens leaves no room', expected='1 or more',
                              got=self.max_new_tokens)
        if self.max_masks < 0:
            raise ConfigError('max_masks is negative', expected='0 or more', got=self.max_masks)
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ConfigError('deadline_s leaves no time', expected='seconds above 0, or None',
                              got=self.deadline_s)


@dataclass(frozen=True)
class TextPiece:
    """The next piece of the answer; all pieces together are its text, mask words included."""

    text: str


@dataclass(frozen=True)
class SpanClosed:
    """A mask span that is complete; sent in the step that gave its last code.

    Attributes:
        codes: D codes in level order, each in [0, K), without offset.
        score: 0..1, geometric mean of the probabilities of its code words, each among the words
            that the grammar allows there. The mean rather than the product keeps the scale of one
            word whatever the codebook depth; neighbouring words decode to nearly the same mask, so
            it is still a low estimate of being right.
        position: offset of the start word in the text of the answer.
    """

    codes: tuple[int, ...]
    score: float
    position: int


@dataclass(frozen=True)
class Finished:
    """The last event.

    Attributes:
        text: the whole answer without its end of turn, mask words included.
        reason: 'stop' (the model ended its turn), 'length' (a limit), 'cancelled'.
        token_count: tokens of the answer, the end of turn not counted.
    """

    text: str
    reason: FinishReason
    token_count: int


GenerationEvent = TextPiece | SpanClosed | Finished
