# SPDX-License-Identifier: Apache-2.0
"""Names of the nodes at the other end of a topic, for reports."""

from collections.abc import Iterable
from typing import Any

_LOOKS_FOR_A_NAME = 5


class PeersToReport:
    """Picks who is to be reported: each peer once, and with its name where that comes.

    Names of nodes come a little later than their publishers and subscriptions; a report without a
    name helps nobody, so a few looks are spent on waiting for it.
    """

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._looks = 0

    def pick(self, infos: Iterable[Any]) -> tuple[str, ...]:
        """Return the names to report now; call it once a second while there may be some.

        Args:
            infos: the graph's information on the endpoints that are at fault.
        """
        culprits = {full_name(info) for info in infos} - self._reported
        named = {name for name in culprits if 'UNKNOWN' not in name}
        self._looks = self._looks + 1 if culprits else 0
        if not named and self._looks < _LOOKS_FOR_A_NAME:
            return ()
        picked = named or culprits
        self._reported |= picked
        return tuple(sorted(picked))


def full_name(info: Any) -> str:
    """Return the full name of the node that an endpoint belongs to."""
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'
