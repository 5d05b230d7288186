# SPDX-License-Identifier: Apache-2.0
"""How alike two phrases are: by BERT where a model is at hand, else whether they are equal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from samtok_ros.errors import ConfigError


class PhraseSimilarity(Protocol):
    """A way to compare phrases.

    Attributes:
        name: of the way, for tables.
    """

    name: str

    def matrix(self, true: Sequence[str], said: Sequence[str]) -> np.ndarray:
        """Return the (T, S) float64 likeness, up to 1."""


class EqualPhrases:
    """1 for phrases that are equal but for capitals and blanks, else 0."""

    name = 'equal phrase'

    def matrix(self, true: Sequence[str], said: Sequence[str]) -> np.ndarray:
        """Return the (T, S) float64 likeness."""
        true, said = ([' '.join(text.casefold().split()) for text in texts]
                      for texts in (true, said))
        return np.array([[float(one == other) for other in said] for one in true],
                        np.float64).reshape(len(true), len(said))


class BertPhrases:
    """Cosine of the mean last hidden states of a text encoder, as GLaMM takes it of BERT."""

    def __init__(self, model_dir: Path) -> None:
        """Load a directory that transformers can read; nothing is downloaded.

        Raises:
            ConfigError: there is no such directory, or no text encoder in it.
        """
        from transformers import AutoModel, AutoTokenizer

        if not model_dir.is_dir():
            raise ConfigError(f'there is no phrase model at {model_dir}',
                              expected='a directory of a text encoder such as bert-base-uncased')
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
            self._model = AutoModel.from_pretrained(model_dir, local_files_only=True).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f'no text encoder can be read from {model_dir}', got=error) from error
        self.name = f'BERT ({model_dir.name})'
        self._known: dict[str, np.ndarray] = {}

    def matrix(self, true: Sequence[str], said: Sequence[str]) -> np.ndarray:
        """Return the (T, S) float64 likeness."""
        if not true or not said:
            return np.zeros((len(true), len(said)))
        return (np.stack([self._direction(text) for text in true])
                @ np.stack([self._direction(text) for text in said]).T)

    def _direction(self, text: str) -> np.ndarray:
        """Return the (C,) float64 embedding of a text, of length 1; kept."""
        if text not in self._known:
            import torch

            with torch.inference_mode():
                inputs = self._tokenizer(text, return_tensors='pt', max_length=512,
                                         truncation=True)
                mean = self._model(**inputs).last_hidden_state[0].mean(dim=0)
            found = mean.double().numpy()
            self._known[text] = found / max(float(np.linalg.norm(found)), 1e-12)
        return self._known[text]
