"""Silent connections without a process: how one is handed back to the parent, and taken up again.

A process whose client has said nothing for a while tells its parent what was agreed on, sends the
descriptors of the files that it had open, and ends. The parent has kept its own copy of the socket.
When the client speaks again, another process goes on from there, with the same files open.

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

_HEAD = struct.Struct("@QBBB")  # export's place, style, selection of contexts, descriptors
_STYLES = ((False, False), (True, False), (True, True))  # structured, extended
_NAMES = tuple(CONTEXT_IDS)
_SPACE = socket.CMSG_SPACE(array("i").itemsize * MOST_DESCRIPTORS)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # macOS has none; nothing is executed either


class Parked(NamedTuple):
    """What another process needs to go on."""

    agreement: Agreement
    detached: Detached = Detached()
    """What its reader keeps."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """See `process.loop.Parked`."""
        return self.detached.descriptors


def hand_over(channel: socket.socket, exports: ExportTable, parked: Parked) -> None:
    """In the process that is about to end. Where the kernel moves no descriptors any more, or the
    reader keeps more than fits, that is left behind. Raises OSError.
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


def take_over(channel: socket.socket, exports: ExportTable) -> Parked | None:
    """In the parent, when the process has ended; None when it left nothing to go on with.

    The descriptors are the parent's to close.
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
    """What was agreed on, if the message says it, and how many descriptors come with it."""
    if len(message) < _HEAD.size:
        return None, 0
    place, style, selection, count = _HEAD.unpack_from(message)
    offer = next(islice(exports, place, None), None) if place < len(exports) else None
    if offer is None or style >= len(_STYLES):
        return None, 0
    contexts = {name: CONTEXT_IDS[name] for n, name in enumerate(_NAMES) if selection >> n & 1}
    return Agreement(offer, *_STYLES[style], contexts), count
