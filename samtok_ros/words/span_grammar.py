# SPDX-License-Identifier: Apache-2.0
"""Which tokens a model may write next, so that every mask span comes out well formed.

Pure bookkeeping on token ids: no tensors, no model. logits_processor.py applies it.
"""

from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ConfigError, SpanError
from samtok_ros.words.vocabulary import MaskTokenIds


@dataclass(frozen=True)
class GrammarState:
    """Where in the grammar a text stands.

    Attributes:
        words: words of the open span so far, start word included; 0 outside a span.
        spans: spans opened so far, the open one included.
    """

    words: int = 0
    spans: int = 0


class SpanGrammar:
    """Ordinary text with mask spans in it: start word, one word per level in order, end word.

    Inside a span nothing else is allowed, so the end word is forced and the model cannot end its
    turn there. Outside a span code words and the end word are not allowed.

    Args:
        token_ids: ids of the mask words.
        max_spans: no span is opened after that many; 0 forbids spans, None sets no limit.
    Raises:
        ConfigError: max_spans is negative.
    """

    def __init__(self, token_ids: MaskTokenIds, max_spans: int | None = None) -> None:
        if max_spans is not None and max_spans < 0:
            raise ConfigError('max_spans is negative', expected='0 or more, or None',
                              got=max_spans)
        self.token_ids = token_ids
        self.max_spans = max_spans

    def start(self) -> GrammarState:
        """Return the state before the first generated token."""
        return GrammarState()

    def allowed(self, state: GrammarState) -> range | tuple[int, ...] | None:
        """Return the only ids allowed next, or None outside a span.

        None stands for ordinary text: every id but those of `forbidden`.
        """
        if state.words == 0:
            return None
        levels = self.token_ids.level_ids
        if state.words <= len(levels):
            return levels[state.words - 1]
        return (self.token_ids.end_id,)

    def forbidden(self, state: GrammarState) -> range:
        """Return the ids not allowed in ordinary text; empty inside a span, where `allowed` rules.

        The start word is among them once max_spans spans were opened.
        """
        if state.words:
            return range(0)
        ids = self.token_ids
        return range(ids.start_id + self._may_open(state), ids.end_id + 1)

    def advance(self, state: GrammarState, token_id: int) -> GrammarState:
        """Return the state after one more token.

        Raises:
            SpanError: the token is not allowed in this state.
        """
        allowed = self.allowed(state)
        permitted = token_id not in self.forbidden(state) if allowed is None else (
            token_id in allowed)
        if not permitted:
            raise SpanError(
                f'token {token_id} is not allowed after {state.words} words of a span',
                expected=_describe(allowed, self.forbidden(state)),
                fix='choose tokens with allowed_token_mask or GrammarLogitsProcessor',
            )
        if state.words:
            closed = token_id == self.token_ids.end_id
            return GrammarState(0 if closed else state.words + 1, state.spans)
        if token_id == self.token_ids.start_id:
            return GrammarState(1, state.spans + 1)
        return state

    def _may_open(self, state: GrammarState) -> bool:
        return self.max_spans is None or state.spans < self.max_spans


def allowed_token_mask(grammar: SpanGrammar, state: GrammarState, token_count: int) -> np.ndarray:
    """Return which tokens are allowed next.

    Args:
        grammar: the grammar.
        state: where it stands.
        token_count: number of scores that the model gives per position; padding included.
    Returns:
        (token_count,) bool.
    Raises:
        SpanError: the model gives fewer scores than there are tokens.
    """
    if token_count <= grammar.token_ids.end_id:
        raise SpanError('model has no scores for the mask words',
                        expected=f'more than {grammar.token_ids.end_id} scores', got=token_count,
                        fix='resize its embeddings to its text tokenizer')
    allowed = grammar.allowed(state)
    permitted = np.full(token_count, allowed is None)
    listed = grammar.forbidden(state) if allowed is None else allowed
    permitted[listed[0] : listed[-1] + 1] = allowed is not None
    return permitted


def _describe(allowed: range | tuple[int, ...] | None, forbidden: range) -> str:
    ids = forbidden if allowed is None else allowed
    return f'{"any id outside " if allowed is None else ""}{ids[0]}..{ids[-1]}'
