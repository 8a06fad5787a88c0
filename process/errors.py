"""What the system may deny a server; every message is one sentence for a human."""

from __future__ import annotations

from ..errors import VfloppyError


class ListenError(VfloppyError, OSError):
    """An address can't be listened on: in use, not available, too long, not ours to replace."""


class TlsError(VfloppyError):
    """Certificates or keys that are missing or can't be used."""


class CaptiveError(VfloppyError):
    """The server did not live as long as the command that it was started for."""
