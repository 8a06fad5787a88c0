"""Listening where a server's options say."""

from __future__ import annotations

import os

import click

from ...nbd import Listener, listen_inherited, listen_private, listen_tcp, listen_unix, listen_vsock
from ...nbd.protocol.wire import NBD_DEFAULT_PORT
from ...process.system import uninterrupted
from ...process.users import owner_ids
from ..options.serve import ServeOptions


def listeners(serving: ServeOptions, found: list[Listener]) -> None:
    """Open what was asked for, and add it to `found`, of which the caller closes all in any case.

    Raise UsageError and ListenError.
    """
    inherited = listen_inherited(os.environ)
    if inherited:
        if serving.names_a_socket or serving.captive is not None:
            raise click.UsageError(
                "LISTEN_FDS gives the sockets; --unix, --port, --ip, --vsock and --run don't go "
                "with it"
            )
        found.append(inherited)
        return
    if serving.is_private:
        with uninterrupted():  # or its directory would be nobody's
            found.append(listen_private())
    elif serving.unix is not None:
        owner = owner_ids("socket_owner", serving.socket_owner) if serving.socket_owner else None
        mode = int(serving.socket_mode, 8) if serving.socket_mode else None
        with uninterrupted():
            found.append(listen_unix(serving.unix, mode=mode, owner=owner))
    if serving.vsock is not None:
        found.append(listen_vsock(serving.vsock))
    if not found or serving.ip or serving.port is not None:
        _add_tcp(serving, found)


def _add_tcp(serving: ServeOptions, found: list[Listener]) -> None:
    """Listen on one port at all addresses. Raise as `listeners` does."""
    port = NBD_DEFAULT_PORT if serving.port is None else serving.port
    for address in serving.ip or ("127.0.0.1",):
        found.append(listen_tcp(address, port))
        port = found[-1].port or port
    is_open = any(each.is_open_to_others for each in found)
    if is_open and serving.tls != "require" and not serving.insecure:
        raise click.UsageError(
            f"at {', '.join(map(repr, serving.ip))} whoever reaches this computer could read the "
            "directory; pass --tls require, or --insecure if that is meant"
        )
