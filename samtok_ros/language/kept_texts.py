# SPDX-License-Identifier: Apache-2.0
"""Which texts a model keeps in memory, so that a follow-up question need not read the image."""

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samtok_ros.language.reading import KeptText


class KeptTexts:
    """A few texts, one per image.

    Where one must make room, it is the oldest of those that no follow-up has used yet, else the
    oldest: a stream of images, each asked about once, pushes out its own images and not the one
    that a conversation is about.

    Args:
        capacity: texts kept at most; 0 keeps nothing.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._texts: dict[Hashable, KeptText] = {}  # in the order in which they came
        self._followed: set[Hashable] = set()

    @property
    def nbytes(self) -> int:
        """Memory of all of them."""
        # A copy: diagnostics ask from another thread.
        return sum(text.nbytes for text in list(self._texts.values()))

    def peek(self, image_key: Hashable | None) -> 'KeptText | None':
        """Return what is kept about an image, if anything; it stays kept."""
        return self._texts.get(image_key)

    def take(self, image_key: Hashable | None) -> 'KeptText | None':
        """Remove what is kept about an image and return it.

        Only one answer at a time can go on from it, so whoever reads on takes it away.
        """
        text = self._texts.pop(image_key, None)
        if text is not None:
            self._followed.add(image_key)
        return text

    def keep(self, image_key: Hashable | None, text: 'KeptText | None') -> None:
        """Keep a text in place of what was kept about the image; None means there is nothing."""
        self._texts.pop(image_key, None)
        if image_key is not None and text is not None:
            self._texts[image_key] = text
        if len(self._texts) > self._capacity:
            others = [key for key in self._texts if key != image_key] or [image_key]
            fresh = (key for key in others if key not in self._followed)
            del self._texts[next(fresh, others[0])]
        self._followed &= self._texts.keys()

    def forget(self) -> None:
        """Drop everything."""
        self._texts.clear()
        self._followed.clear()
