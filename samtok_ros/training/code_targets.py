# SPDX-License-Identifier: Apache-2.0
"""Soft targets for mask words: neighbouring codes draw the same mask, so none of them is wrong."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SpanTargets:
    """What to teach for one mask.

    Attributes:
        codes: (D,) the words that stand in the text.
        distributions: (D, K) float32 target probabilities of each word, given those before it.
    """

    codes: tuple[int, ...]
    distributions: np.ndarray


class CodeTargets:
    """Turns the codes of a mask into target distributions, by distances between codebook rows.

    The quality of a first code is the distance that remains with the best second code behind it;
    the second code is judged given the first one that stands in the text. Made for depth 2.
    """

    def __init__(self, codebooks: np.ndarray, temperature: float, alternatives: float):
        """Prepare the table of all sums.

        Args:
            codebooks: (2, K, C) float.
            temperature: of the softmax over squared distances, in units of the median squared
                distance between a sum of two rows and the nearest sum with another first row;
                0 = hard targets.
            alternatives: share of masks that are written with another first code, drawn from its
                target distribution, so that the second is learnt behind imperfect first ones.
        """
        self.codebooks = np.asarray(codebooks, np.float32)
        first, second = self.codebooks
        self._sum_norms = ((first**2).sum(1)[:, None] + (second**2).sum(1)[None]
                           + 2 * first @ second.T)
        self._alternatives = alternatives
        self._gap = self._typical_gap()
        self.set_temperature(temperature)

    def set_temperature(self, temperature: float) -> None:
        """Change the softness from now on, in the unit of the constructor."""
        self._scale = temperature * self._gap if temperature > 0 else 0.0

    def embedding(self, codes: np.ndarray) -> np.ndarray:
        """Return the quantised mask embeddings (N, C) of codes (N, 2)."""
        return self.codebooks[0][codes[:, 0]] + self.codebooks[1][codes[:, 1]]

    def distances(self, codes: tuple[int, ...]) -> np.ndarray:
        """Squared distances (K, K) of all sums of two rows to the sum that `codes` stand for."""
        first, second = self.codebooks
        mean = first[codes[0]] + second[codes[1]]
        table = (self._sum_norms - 2 * (first @ mean)[:, None] - 2 * (second @ mean)[None]
                 + (mean**2).sum())
        return np.maximum(table, 0.0)

    def draw(self, codes: tuple[int, ...], rng: np.random.Generator) -> SpanTargets:
        """Make the targets of one mask.

        Args:
            codes: its true codes.
            rng: decides about the alternative first code.
        """
        codes = tuple(int(code) for code in codes)
        if self._scale <= 0:
            hard = np.zeros((2, self.codebooks.shape[1]), np.float32)
            hard[(0, 1), codes] = 1.0
            return SpanTargets(codes, hard)
        table = self.distances(codes)
        first = _softmax(-table.min(1) / self._scale)
        chosen = codes[0]
        if rng.random() < self._alternatives:
            chosen = int(np.searchsorted(np.cumsum(first), rng.random() * first.sum()))
            chosen = min(chosen, len(first) - 1)
        second = _softmax(-table[chosen] / self._scale)
        word = codes[1] if chosen == codes[0] else int(table[chosen].argmin())
        return SpanTargets((chosen, word), np.stack([first, second]).astype(np.float32))

    def _typical_gap(self) -> float:
        rng = np.random.default_rng(0)
        size = self.codebooks.shape[1]
        gaps = []
        for _ in range(200):
            codes = tuple(int(code) for code in rng.integers(0, size, 2))
            best = self.distances(codes).min(1)
            gaps.append(np.delete(best, codes[0]).min())
        return float(np.median(gaps)) + 1e-12


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()
