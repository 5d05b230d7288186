# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer of another process, as requests need it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from samtok_ros.errors import ConfigError
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_access import Codes
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.references import CodesReference, Drawn, Reference
from samtok_ros.runtime.requests import need_drawing


class RemoteMasks(Protocol):
    """Calls wait for the answer of the other process, so they are not for the worker."""

    def is_there(self) -> bool:
        """Say whether there is one now."""

    def encode(
        self, frame: Frame, drawn: Sequence[Drawn], should_stop: Callable[[], bool],
    ) -> tuple[Codes, ...]:
        """Return the codes of masks, boxes and points.

        Raises:
            SamtokError: they cannot be encoded, or no answer came before `should_stop`.
        """

    def decode(self, result: FrameResult, should_stop: Callable[[], bool]) -> object:
        """Return the masks of an answer, in the form in which results carry them.

        Raises:
            SamtokError: they cannot be decoded, or no answer came before `should_stop`.
        """


def with_codes(
    frame: Frame, references: tuple[Reference, ...], remote: RemoteMasks,
    should_stop: Callable[[], bool],
) -> tuple[Reference, ...]:
    """Replace masks, boxes and points among references by their codes.

    Args:
        frame: that the regions are in.
        references: of any kind.
        remote: encodes them; not asked when there is nothing to encode.
        should_stop: asked while waiting for an answer.
    Raises:
        ConfigError: there is no mask tokenizer.
        SamtokError: see RemoteMasks.encode.
    """
    places = need_drawing(references)
    if not places:
        return references
    if not remote.is_there():
        raise ConfigError('a region given by mask, box or point needs a mask tokenizer, and none '
                          'is there', fix='start the mask_tokenizer node, or give codes')
    codes = remote.encode(frame, [references[place] for place in places], should_stop)
    new = dict(zip(places, codes, strict=True))
    return tuple(CodesReference(new[place]) if place in new else one
                 for place, one in enumerate(references))
