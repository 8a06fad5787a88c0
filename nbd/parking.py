"""Silent connections without a process: how one is handed back to the parent, and taken up again.

A process whose client has said nothing for a while tells its parent what was agreed on, sends the
descriptors of the files that it had open, and ends. The parent has kept its own copy of the socket.
When the client speaks again, another process goes on from there, with the same files open.

The process has talked to a client; what it says is believed of its own connection only. A message
is three numbers and those of the files, whose descriptors come with it (unix(7), SCM_RIGHTS).
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from ..pieces import Export, HostFiles
from .exports import ExportTable
from .handshake import Agreement
from .status import CONTEXT_IDS

PARK_AFTER_S = 10.0
MOST_FILES = 250
"""Whoever has more open keeps its process: the kernel takes 253 with a message."""

_HEAD = struct.Struct("@QBB")  # place of the export, style, selection of contexts
_FILE = "Q"
_FILE_BITS = 32  # an index has no more; above them is the place of its set among the export's
_STYLES = ((False, False), (True, False), (True, True))  # structured, extended
_NAMES = tuple(CONTEXT_IDS)
_MOST_BYTES = _HEAD.size + 8 * MOST_FILES
_SPACE = socket.CMSG_SPACE(array("i").itemsize * MOST_FILES)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # macOS has none; nothing is executed either


class Parked(NamedTuple):
    """What another process needs to go on."""

    agreement: Agreement
    descriptors: Mapping[int, int] = MappingProxyType({})
    """Of the files that are open, as `release` gives them."""


def has_few_open(export: Export) -> bool:
    """Whether all host files that are open can be handed over."""
    return sum(files.open_count for files in _host_files(export)) <= MOST_FILES


def release(export: Export) -> dict[int, int]:
    """The descriptors of its open files, each under a number of its own."""
    return {
        place << _FILE_BITS | index: descriptor
        for place, files in enumerate(_host_files(export))
        for index, descriptor in files.release().items()
    }


def adopt(export: Export, descriptors: Mapping[int, int]) -> None:
    """Takes over what another process has released of the same export."""
    for place, files in enumerate(_host_files(export)):
        files.adopt(
            {
                number & (1 << _FILE_BITS) - 1: descriptor
                for number, descriptor in descriptors.items()
                if number >> _FILE_BITS == place
            }
        )


def _host_files(export: Export) -> Sequence[HostFiles]:
    return getattr(export, "host_files", ())


def hand_over(channel: socket.socket, parked: Parked, exports: ExportTable) -> None:
    """In the process that is about to end. Where the kernel moves no descriptors any more, the
    files are left behind. Raises OSError.
    """
    agreement, descriptors = parked
    place = next(n for n, each in enumerate(exports) if each.name == agreement.offer.name)
    style = _STYLES.index((agreement.structured, agreement.extended))
    selection = sum(1 << n for n, name in enumerate(_NAMES) if name in agreement.contexts)
    message = _HEAD.pack(place, style, selection) + array(_FILE, descriptors).tobytes()
    try:
        socket.send_fds(channel, [message], list(descriptors.values()))
    except OSError:
        channel.sendall(message[: _HEAD.size])


def take_over(channel: socket.socket, exports: ExportTable) -> Parked | None:
    """In the parent, when the process has ended; None when it left nothing to go on with.

    The descriptors are the parent's to close.
    """
    try:  # socket.recv_fds does not pass its flags on
        message, ancillary, _flags, _address = channel.recvmsg(
            _MOST_BYTES, _SPACE, socket.MSG_DONTWAIT | _CLOEXEC
        )
    except OSError:
        return None
    received = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received.frombytes(data[: len(data) // received.itemsize * received.itemsize])
    agreement = _agreement(message, exports)
    files = array(_FILE)
    files.frombytes(message[_HEAD.size :] if agreement else b"")
    if agreement is None or not len(set(files)) == len(files) == len(received):
        for each in received:
            os.close(each)
        return agreement and Parked(agreement)
    return Parked(agreement, dict(zip(files, received, strict=True)))


def _agreement(message: bytes, exports: ExportTable) -> Agreement | None:
    if len(message) < _HEAD.size or (len(message) - _HEAD.size) % 8:
        return None
    place, style, selection = _HEAD.unpack_from(message)
    offer = next(islice(exports, place, None), None) if place < len(exports) else None
    if offer is None or style >= len(_STYLES):
        return None
    contexts = {name: CONTEXT_IDS[name] for n, name in enumerate(_NAMES) if selection >> n & 1}
    return Agreement(offer, *_STYLES[style], contexts)
