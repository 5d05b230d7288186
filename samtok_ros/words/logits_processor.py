# SPDX-License-Identifier: Apache-2.0
"""Adapter: the span grammar inside generate() of transformers."""

import torch
from transformers import LogitsProcessor

from samtok_ros.words.span_grammar import GrammarState, SpanGrammar, allowed_token_mask


class GrammarLogitsProcessor(LogitsProcessor):
    """Sets the logits of tokens that the grammar does not allow to minus infinity.

    Each row of a batch has a state of its own, and rows may change places, as in beam search. The
    prompt is taken to be what the first call sees, so make a new processor for every generate().
    """

    def __init__(self, grammar: SpanGrammar) -> None:
        self._grammar = grammar
        self._prompt_length: int | None = None
        self._seen: torch.Tensor | None = None
        self._states: list[GrammarState] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores with what is not allowed at minus infinity.

        Args:
            input_ids: (B, T) int64, prompt and what was generated so far.
            scores: (B, V) float logits of the next token.
        Returns:
            (B, V) scores in a new tensor.
        Raises:
            SpanError: a row already breaks the grammar.
        """
        if self._prompt_length is None:
            self._prompt_length = input_ids.shape[1]
        self._follow(input_ids)
        rows = [allowed_token_mask(self._grammar, state, scores.shape[1])
                for state in self._states]
        allowed = torch.stack([torch.from_numpy(row) for row in rows]).to(scores.device)
        return scores.masked_fill(~allowed, -torch.inf)

    def _follow(self, input_ids: torch.Tensor) -> None:
        """Bring the states up to date, from the start if rows were swapped."""
        seen = self._seen
        continued = seen is not None and torch.equal(input_ids[:, :-1], seen)
        if continued:
            fresh = input_ids[:, -1:].tolist()
        else:
            fresh = input_ids[:, self._prompt_length :].tolist()
            self._states = [self._grammar.start()] * len(fresh)
        for row, token_ids in enumerate(fresh):
            for token_id in token_ids:
                self._states[row] = self._grammar.advance(self._states[row], token_id)
        self._seen = input_ids.clone()
