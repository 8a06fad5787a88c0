"""What can go wrong here, by whose fault it is; every message is one sentence for a human."""

from __future__ import annotations

from ..errors import VfloppyError


class NbdError(VfloppyError):
    """Anything that this package reports to its caller."""


class ListenError(NbdError, OSError):
    """An address can't be listened on: in use, not available, too long, not ours to replace."""


class TlsError(NbdError):
    """Certificates or keys that are missing or can't be used."""


class CaptiveError(NbdError):
    """The server did not live as long as the command that it was started for."""


class ProtocolError(NbdError):
    """A client left the protocol, and its connection can only be dropped."""


class ClientError(NbdError):
    """A server can't be reached, refuses an export, or fails to read."""
