# SPDX-License-Identifier: Apache-2.0
"""A recorded answer that both sides are made to say, so that they write the same tokens.

Each side still computes the scores of every token and makes its choice, which is noted and not
followed: the choices say whether both sides compute the same.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import LogitsProcessor

from samtok_ros.language import vlm
from samtok_ros.language.decoding import GreedyWriter
from samtok_ros.words.vocabulary import MaskVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def mask_list(codes: np.ndarray, vocabulary: MaskVocabulary) -> str:
    """Return the answer of a model that names N regions.

    Args:
        codes: (N, D) int64.
        vocabulary: their words.
    Source: samtok-spec 2.3, the exact layout of a mask list.
    """
    items = [f'{{"mask_2d": "{vocabulary.codes_to_words(row)}", "label": "the red box"}}'
             for row in codes.tolist()]
    return '```json\n[' + ',\n'.join(items) + ']\n```'


def script_of(text: str, text_tokenizer: 'PreTrainedTokenizerFast', end_id: int) -> list[int]:
    """Return the tokens of an answer with the end of its turn."""
    return [*text_tokenizer(text, add_special_tokens=False).input_ids, end_id]


class ScriptedLogits(LogitsProcessor):
    """Makes `generate` of transformers say a script.

    Args:
        script: token ids.
        prompt_length: tokens in front of the answer.
    """

    def __init__(self, script: Sequence[int], prompt_length: int) -> None:
        self._script = script
        self._prompt_length = prompt_length
        self._choices: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave one token possible."""
        self._choices.append(scores.argmax(dim=-1))  # left on the device: reading it would wait
        forced = torch.full_like(scores, -math.inf)
        forced[:, self._script[input_ids.shape[1] - self._prompt_length]] = 0
        return forced

    @property
    def choices(self) -> dict[int, int]:
        """What would have been said, by position in the answer."""
        return dict(enumerate(torch.cat(self._choices).tolist()))


class ScriptedWriter(GreedyWriter):
    """Our writer, made to say a script."""

    def __init__(self, script: Sequence[int], *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self._script = script
        self.choices: dict[int, int] = {}
        """What would have been said, by position in the answer; code words are left out."""

    def _choose(self, logits: torch.Tensor) -> int:
        allowed = self._grammar.allowed(self._state)
        choice, token_id = super()._choose(logits), self._script[self.token_count]
        if allowed is None:
            self.choices[self.token_count] = choice
        else:
            self._codes[-1] = token_id - allowed[0]
        return token_id


@contextmanager
def saying(script: Sequence[int]) -> Iterator[list[ScriptedWriter]]:
    """Make our language model say a script while the context is open.

    Returns:
        The writers of the answers that were begun in it.
    """
    writers: list[ScriptedWriter] = []

    def scripted(*arguments, **options) -> ScriptedWriter:
        writers.append(ScriptedWriter(script, *arguments, **options))
        return writers[-1]

    writer, vlm.GreedyWriter = vlm.GreedyWriter, scripted
    try:
        yield writers
    finally:
        vlm.GreedyWriter = writer
