# SPDX-License-Identifier: Apache-2.0
"""Steps of one or two tokens, recorded once and done again for every token after that."""

import weakref
from functools import partial
from typing import TYPE_CHECKING

import torch

from samtok_ros.language.text_layers import TextLayers
from samtok_ros.recording import RecordedCall, Recorder

if TYPE_CHECKING:
    from transformers import Cache

_LONGEST = 2  # a word, or the last word of a mask together with its end word
_FIRST_ROOM = 2048  # an image of 1280x720 is 880 tokens; its question and the answer come behind


class RecordedSteps:
    """TextLayers whose short steps are recorded; longer texts are read as ever.

    Keys and values of the text that is being written lie in memory of a fixed size. The cache that
    they belong to gets the new ones when somebody asks for them (`settle`), or when another text
    goes on. A cache that nobody else holds any more is not held here either.

    Args:
        layers: do the work.
        record: of the device.
    """

    def __init__(self, layers: TextLayers, record: Recorder) -> None:
        self._layers = layers
        self._record = record
        self._steps: dict[int, RecordedCall[torch.Tensor]] = {}
        self._keys: torch.Tensor | None = None
        self._values: torch.Tensor | None = None
        self._room = 0
        self._cache: weakref.ref[Cache] | None = None
        self._columns = 0

    @torch.inference_mode()
    def read(self, token_ids: list[int], position: int, cache: 'Cache') -> torch.Tensor:
        """See TextLayers.read; the next step overwrites the result."""
        count = len(token_ids)
        if count > _LONGEST:
            self.settle(cache)
            return self._layers.read(token_ids, position, cache)
        if self._current() is not cache or self._columns + count > self._room:
            self._take_over(cache, count)
        self._cache = None  # a step that fails leaves nothing behind
        columns = range(self._columns, self._columns + count)
        hidden = self._write(token_ids, position, columns)
        self._cache, self._columns = weakref.ref(cache), columns.stop
        return hidden

    @torch.inference_mode()
    def settle(self, cache: 'Cache') -> None:
        """Bring a cache up to date."""
        if self._current() is not cache:
            return
        self._cache = None
        new = slice(cache.get_seq_length(), self._columns)
        for layer, keys, values in zip(cache.layers, self._keys, self._values, strict=True):
            layer.update(keys[:, :, new], values[:, :, new])

    def _current(self) -> 'Cache | None':
        """Return the cache that the columns belong to, while somebody wants it."""
        return None if self._cache is None else self._cache()

    def _take_over(self, cache: 'Cache', count: int) -> None:
        """Copy what a cache has, with room for some more columns."""
        if (before := self._current()) is not None:
            self.settle(before)
        self._columns = cache.get_seq_length()
        self._reserve(self._columns + count, cache)
        for layer, keys, values in zip(cache.layers, self._keys, self._values, strict=True):
            keys[:, :, :self._columns] = layer.keys
            values[:, :, :self._columns] = layer.values

    def _reserve(self, columns: int, cache: 'Cache') -> None:
        """Take memory where there is too little; recordings end with the one that they know."""
        if columns <= self._room:
            return
        room = max(self._room, _FIRST_ROOM)
        while room < columns:
            room *= 2
        self._steps.clear()
        self._keys = self._values = None  # before the new ones take memory
        self._room = 0  # and until both are there: it may be too little
        like = cache.layers[0].keys
        shape = (len(cache.layers), *like.shape[:2], room, like.shape[3])
        # Not empty: what is hidden by a mask counts 0 times, and must be a number for that.
        self._keys, self._values = like.new_zeros(shape), like.new_zeros(shape)
        self._room = room
        for count in range(1, _LONGEST + 1):  # all are recorded now, not amidst the first answer
            self._write([0] * count, 0, range(count))

    def _write(self, token_ids: list[int], position: int, columns: range) -> torch.Tensor:
        """Do the step that fits some tokens; their keys and values go into columns."""
        numbers = torch.tensor([token_ids, columns], device=self._keys.device)
        return self._step(len(token_ids))(
            numbers, *self._layers.rotation(position, len(token_ids)))

    def _step(self, count: int) -> RecordedCall[torch.Tensor]:
        if count not in self._steps:
            places = torch.arange(self._room, device=self._keys.device)
            self._steps[count] = RecordedCall(partial(self._run, places), self._record)
        return self._steps[count]

    def _run(
        self, places: torch.Tensor, numbers: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor,
    ) -> torch.Tensor:
        ids, columns = numbers
        kept = map(partial(_FixedColumns, columns), self._keys, self._values)
        return self._layers.run(ids, cos, sin, kept, places <= columns[:, None])


class _FixedColumns:
    """KeptColumns in memory that stays where it is.

    Args:
        columns: (T,) int64, where new keys and values go.
        keys, values: (1, heads, L, d) with room for them.
    """

    def __init__(self, columns: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        self._columns, self._keys, self._values = columns, keys, values

    def update(
        self, key: torch.Tensor, value: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self._keys.index_copy_(2, self._columns, key)
        self._values.index_copy_(2, self._columns, value)
        return self._keys, self._values
