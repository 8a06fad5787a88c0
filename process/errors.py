"""Failures of a server's surroundings; every message is one sentence for a human."""

from __future__ import annotations

from ..errors import VfloppyError


class ListenError(VfloppyError, OSError):
    """An address that can't be listened on: in use, not there, too long, not ours to replace."""


class TlsError(VfloppyError):
    """Certificates or keys that are missing or can't be used."""


class CaptiveError(VfloppyError):
    """A server that ended before the command that it was started for, or failed.

    `exit_status` is 128 + N for a server that signal N has ended, as shells have it; else 1.
    """

    def __init__(self, text: str, exit_status: int = 1) -> None:
        super().__init__(text)
        self.exit_status = exit_status
