# SPDX-License-Identifier: Apache-2.0
"""Greedy decoding under the span grammar: scores of the next token in, events out.

Knows no model: `vlm.py` supplies the scores and feeds back what was chosen.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from samtok_ros.errors import DeviceError
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed, TextPiece
from samtok_ros.language.text_stream import TextStream
from samtok_ros.regions import FinishReason
from samtok_ros.words.span_grammar import SpanGrammar
from samtok_ros.words.vocabulary import MaskVocabulary

if TYPE_CHECKING:
    import torch


class GreedyWriter:
    """Writes one answer.

    Args:
        grammar: what may follow what.
        text_stream: a fresh one.
        stop_ids: tokens that end the turn; they are not part of the answer.
        limits: the answer ends, with reason 'length', where it would exceed one.
        repetition_penalty: makes tokens less likely that were read or written before; 1 does not.
            Some checkpoints ask for it, and greedy decoding of the released scripts obeys.
        prompt_ids: what was read.
    """

    def __init__(
        self,
        grammar: SpanGrammar,
        text_stream: TextStream,
        stop_ids: frozenset[int],
        limits: GenerationLimits,
        repetition_penalty: float = 1.0,
        prompt_ids: Sequence[int] = (),
    ) -> None:
        self._grammar = grammar
        self._stream = text_stream
        self._stop_ids = stop_ids
        self._limits = limits
        self._repetition_penalty = repetition_penalty
        self._seen = set(prompt_ids)
        self._state = grammar.start()
        self._codes: list[int] = []
        self._log_probability = 0.0
        self._span_position = 0
        self.token_count = 0
        self.finish_reason: FinishReason | None = None

    def write(self, logits: 'torch.Tensor') -> tuple[list[int], list[TextPiece | SpanClosed]]:
        """Choose what comes next.

        Args:
            logits: (V,) scores of the next token.
        Returns:
            The ids to feed to the model before the next call, and what they mean. A last code word
            comes together with the end word, which is certain. No ids: the answer is finished.
        """
        token_id = self._choose(self._penalized(logits))
        if self._is_end(token_id):
            return [], []
        ids = [token_id]
        events = self._take(token_id)
        if self._grammar.allowed(self._state) == (self._end_id,):
            ids.append(self._end_id)
            events += [*self._take(self._end_id), self._close_span()]
        if self.token_count >= self._limits.max_new_tokens:
            self.finish_reason = 'length'
        return ids, events

    def finish(self, reason: FinishReason) -> list[TextPiece | Finished]:
        """End the answer and return the events that are left."""
        rest = self._stream.close()
        pieces = [TextPiece(rest)] if rest else []
        return [*pieces, Finished(self._stream.text, reason, self.token_count)]

    @property
    def _end_id(self) -> int:
        return self._grammar.token_ids.end_id

    def _penalized(self, logits: 'torch.Tensor') -> 'torch.Tensor':
        """Return scores in which what was seen before is less likely.

        Source: as transformers' RepetitionPenaltyLogitsProcessor does, in float32.
        """
        if self._repetition_penalty == 1.0:
            return logits
        import torch

        logits = logits.float()
        seen = torch.tensor(sorted(self._seen), dtype=torch.long, device=logits.device)
        scores = logits[seen]
        return logits.index_put((seen,), torch.where(
            scores < 0, scores * self._repetition_penalty, scores / self._repetition_penalty))

    def _choose(self, logits: 'torch.Tensor') -> int:
        """Take the best token that is allowed, and note the probability of a code word.

        Raises:
            DeviceError: the scores are no numbers; the best of them would look like an answer.
        """
        allowed = self._grammar.allowed(self._state)
        if allowed is None:
            forbidden = self._grammar.forbidden(self._state)
            logits = logits.clone()
            logits[forbidden.start : forbidden.stop] = -math.inf
            best, token_id = logits.max(dim=0)
            _check_number(float(best))
            return int(token_id)
        log_probabilities = logits[allowed[0] : allowed[-1] + 1].float().log_softmax(dim=0)
        code = int(log_probabilities.argmax())
        self._codes.append(code)
        log_probability = float(log_probabilities[code])
        _check_number(log_probability)
        self._log_probability += log_probability
        return allowed[code]

    def _is_end(self, token_id: int) -> bool:
        """Note why the answer ends here, if it does."""
        opens = token_id == self._grammar.token_ids.start_id
        if token_id in self._stop_ids:
            self.finish_reason = 'stop'
        elif opens and self._state.spans >= self._limits.max_masks:
            self.finish_reason = 'length'
        return self.finish_reason is not None

    def _take(self, token_id: int) -> list[TextPiece | SpanClosed]:
        self._state = self._grammar.advance(self._state, token_id)
        self._seen.add(token_id)
        self.token_count += 1
        piece = self._stream.push(token_id)
        if token_id == self._grammar.token_ids.start_id:
            self._codes, self._log_probability = [], 0.0
            self._span_position = self._stream.length - len(MaskVocabulary.start_word)
        return [TextPiece(piece)] if piece else []

    def _close_span(self) -> SpanClosed:
        score = math.exp(self._log_probability / len(self._codes))
        return SpanClosed(tuple(self._codes), min(score, 1.0), self._span_position)


def _check_number(score: float) -> None:
    if not math.isfinite(score):
        raise DeviceError('the language model computes what is no number', got=f'score {score}',
                          fix='use dtype bfloat16 or float32; if it is one of these, check the '
                          'weights')
