"""Silent connections without a process: handed back to the parent, and resumed by another process.

A process whose client has said nothing for a while tells its parent what was agreed on, sends the
descriptors of the files that it had open, and ends. The parent has kept its own copy of the socket.
When the client speaks again, another process goes on from there, with the same files open:

    child 1                             parent                          client
    10 s of silence                     waits: signals, clients         silent
    send_parked: style, descriptors  -> (a socket pair, their channel)
    ends                             -> SIGCHLD: receive_parked
                                        waits for its copy of the
                                        socket to be readable           <- a read
    child 2 <- fork, with `resumed`
    adopts the descriptors, replies                                     -> the reply

The request is still in the socket then: nobody has taken a byte of it.

The process has talked to a client; what it says is believed of its own connection only. A message
is four numbers and the state of the reader, whose descriptors come with it (unix(7), SCM_RIGHTS).
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from itertools import islice
from typing import NamedTuple

from ...export import MOST_DESCRIPTORS, MOST_STATE_BYTES, Detached
from ..protocol.block_status import CONTEXT_IDS
from ..protocol.exports import ExportTable
from ..protocol.handshake import Agreement

PARK_AFTER_S = 10.0
"""Silence before a connection is parked. Its process costs 2.6 MB, its return 4 ms of waiting."""

_HEAD = struct.Struct("@QBBB")  # export's place, style, selection of contexts, descriptors
_STYLES = ((False, False), (True, False), (True, True))  # structured, extended
_NAMES = tuple(CONTEXT_IDS)
_SPACE = socket.CMSG_SPACE(array("i").itemsize * MOST_DESCRIPTORS)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # macOS has none; nothing is executed either


class Parked(NamedTuple):
    """All that another process needs to go on with a connection, but for the socket."""

    agreement: Agreement
    detached: Detached = Detached()
    """Left by the reader."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors of the files that the reader had open; the holder of this closes them."""
        return self.detached.descriptors


def send_parked(channel: socket.socket, exports: ExportTable, parked: Parked) -> None:
    """Send a connection to the parent, from the process that is about to end. Raise OSError.

    Where the kernel moves no more descriptors, or the reader left more than fits in a message, the
    agreement alone is sent: files are opened again when they are read.
    """
    agreement, detached = parked
    if len(detached.state) > MOST_STATE_BYTES or len(detached.descriptors) > MOST_DESCRIPTORS:
        detached = Detached()
    place = next(n for n, each in enumerate(exports) if each.name == agreement.offer.name)
    style = _STYLES.index((agreement.structured, agreement.extended))
    selection = sum(1 << n for n, name in enumerate(_NAMES) if name in agreement.contexts)
    head = _HEAD.pack(place, style, selection, len(detached.descriptors))
    try:
        socket.send_fds(channel, [head + detached.state], list(detached.descriptors))
    except OSError:
        channel.sendall(head)


def receive_parked(channel: socket.socket, exports: ExportTable) -> Parked | None:
    """Return what a process that has ended sent by `send_parked`; None if it sent nothing valid.

    The descriptors are the caller's to close.
    """
    try:  # socket.recv_fds does not pass its flags on
        message, ancillary, _flags, _address = channel.recvmsg(
            _HEAD.size + MOST_STATE_BYTES, _SPACE, socket.MSG_DONTWAIT | _CLOEXEC
        )
    except OSError:
        return None
    received = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received.frombytes(data[: len(data) // received.itemsize * received.itemsize])
    agreement, count = _agreement(message, exports)
    if agreement and count == len(received):
        return Parked(agreement, Detached(message[_HEAD.size :], tuple(received)))
    for each in received:
        os.close(each)
    return agreement and Parked(agreement)


def _agreement(message: bytes, exports: ExportTable) -> tuple[Agreement | None, int]:
    """Return the agreement of a message, None if it makes no sense, and its descriptors' number."""
    if len(message) < _HEAD.size:
        return None, 0
    place, style, selection, count = _HEAD.unpack_from(message)
    offer = next(islice(exports, place, None), None) if place < len(exports) else None
    if offer is None or style >= len(_STYLES):
        return None, 0
    contexts = {name: CONTEXT_IDS[name] for n, name in enumerate(_NAMES) if selection >> n & 1}
    return Agreement(offer, *_STYLES[style], contexts), count
