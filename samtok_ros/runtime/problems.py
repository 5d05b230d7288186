# SPDX-License-Identifier: Apache-2.0
"""Problems that may repeat with every frame: each kind is counted, and logged once in a while."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

_LONGEST = 1000
"""Characters of a text that are kept: parts of it may come from another process."""
_FAILURES = ('answer_failed', 'decode_failed', 'exception', 'publish_failed')


class ProblemLog:
    """Counts problems by kind and logs a kind at most once per period.

    The filter is per kind, so that a flood of one kind does not hide another one.
    """

    def __init__(
        self, log: Callable[[str], None], period_s: float = 5.0,
        now: Callable[[], float] = time.monotonic, log_failure: Callable[[str], None] | None = None,
    ) -> None:
        """Start without problems.

        Args:
            log: takes one line.
            period_s: silence after a line, per kind.
            now: a clock in seconds; tests pass their own.
            log_failure: takes the lines about work that was asked for and not done, else `log`.
        """
        self._log = log
        self._log_failure = log_failure or log
        self._period_s = period_s
        self._now = now
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, tuple[float, int]] = {}
        self._last: dict[str, tuple[float, str]] = {}

    def report(self, kind: str, text: str, detail: str = '') -> None:
        """Count a problem, and log it unless one of its kind was logged just before.

        Args:
            kind: short name, the key in diagnostics: 'bad_image'.
            text: what happened and what to do.
            detail: more for the log, such as a traceback.
        """
        text = text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'
        with self._lock:
            now = self._now()
            self._counts[kind] += 1
            self._last[kind] = (now, text)
            logged_at, logged_count = self._logged.get(kind, (None, 0))
            if logged_at is not None and now - logged_at < self._period_s:
                return
            count = self._counts[kind]
            self._logged[kind] = (now, count)
        silent = count - logged_count - 1
        more = f' ({silent} more of this kind since)' if silent else ''
        log = self._log_failure if kind in _FAILURES else self._log
        log(f'{text}{more}' + (f'\n{detail}' if detail else ''))

    def counts(self) -> dict[str, int]:
        """Return the number of problems by kind."""
        with self._lock:
            return dict(self._counts)

    def last(self) -> str:
        """Return the text of the newest problem, '' without one."""
        with self._lock:
            return max(self._last.values(), default=(0.0, ''))[1]

    def recent_of(self, kinds: Iterable[str], within_s: float) -> str:
        """Return the text of the newest problem of some kinds if it is that new, else ''."""
        with self._lock:
            found = [self._last[kind] for kind in kinds if kind in self._last]
        at, text = max(found, default=(0.0, ''))
        return text if text and self._now() - at <= within_s else ''
