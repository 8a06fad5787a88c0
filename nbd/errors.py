"""What can go wrong here, by whose fault it is; every message is one sentence for a human."""

from __future__ import annotations

from ..errors import VfloppyError


class NbdError(VfloppyError):
    """Anything that this package reports to its caller."""


class ProtocolError(NbdError):
    """A client left the protocol, and its connection can only be dropped."""


class ClientError(NbdError):
    """A server can't be reached, refuses an export, or fails to read."""
