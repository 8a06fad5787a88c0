"""Failures of NBD, by whose fault they are; every message is one sentence for a human."""

from __future__ import annotations

from ..errors import VfloppyError


class NbdError(VfloppyError):
    """Any failure that this package raises by itself."""


class ProtocolError(NbdError):
    """A client that left the protocol: its connection can only be dropped."""


class ClientError(NbdError):
    """A server that can't be reached, refuses an export, or fails to read."""
