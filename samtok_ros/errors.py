# SPDX-License-Identifier: Apache-2.0
"""The package's errors: one base, six kinds, each named for what the caller can do about it."""


class SamtokError(Exception):
    """Base of every error raised on purpose by this package.

    The text is built from facts, so that all callers report alike: what is wrong, what was
    expected, what came, and the way out.

    Args:
        message: what is wrong, as one clause without a full stop.
        expected: what would have been right.
        got: what came instead.
        fix: the way out, as an instruction.
    """

    def __init__(
        self,
        message: str,
        *,
        expected: object | None = None,
        got: object | None = None,
        fix: str | None = None,
    ) -> None:
        self.message = message
        self.expected = expected
        self.got = got
        self.fix = fix
        super().__init__(self._text())

    def _text(self) -> str:
        facts = []
        if self.expected is not None:
            facts.append(f'expected {self.expected}')
        if self.got is not None:
            facts.append(f'got {self.got}')
        text = self.message + (f': {", ".join(facts)}' if facts else '')
        return f'{text}. {self.fix[0].upper()}{self.fix[1:]}.' if self.fix else f'{text}.'


class ConfigError(SamtokError):
    """A setting is missing, unknown, out of range or contradicts another one."""


class CheckpointError(SamtokError):
    """A model directory or a file in it is missing, damaged or of another model."""


class ImageError(SamtokError):
    """An image, depth image or mask cannot be used as it came."""


class SpanError(SamtokError):
    """Codes or mask words are not of this vocabulary, or do not form a mask span."""


class DeviceError(SamtokError):
    """A device ran out of memory or is not there; the only kind worth retrying."""


class HubError(SamtokError):
    """A model cannot be fetched: no such repository, no network, no permission, no room."""
