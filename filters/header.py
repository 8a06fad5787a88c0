"""The header of an overlay's file, and the system calls that it needs: locks, names, room."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import stat
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any

from ..errors import VfloppyError
from ..export import Buffer, Range

SECTOR = 512
_MAGIC = b"vfloppy overlay\n"
_VERSION = 1
# Magic, version, length of the document, size of the disk, where map and data start, digest.
_HEADER = struct.Struct("<16sIIQQQ32s")
_DOCUMENT_AT = 4096
_UNIT = 4096
_MOST_DOCUMENT_BYTES = 64 << 20
_ENDING_S = 2.5
_OFD_LOCK = struct.Struct("hhqqi4x")  # struct flock


_KEEP_SIZE_AND_PUNCH = 1 | 2  # linux/falloc.h
_fallocate: Any = None
if sys.platform == "linux":
    _fallocate = getattr(ctypes.CDLL(None), "fallocate64", None)


class OverlayError(VfloppyError):
    """An overlay that can't be made or opened, or that is of another disk."""


class OverlayWriteError(VfloppyError, OSError):
    """A write that the file system below the overlay has refused; `errno` says why."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)

    @property
    def marked(self) -> str:
        """The sentence with its marks of options, to be part of another."""
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[OverlayWriteError], tuple[int, str]]:
        return OverlayWriteError, (self.errno or errno.EIO, str(self))


def map_at(document_bytes: int) -> int:
    """Return where the map starts."""
    return -(-(_DOCUMENT_AT + document_bytes) // _UNIT) * _UNIT


def data_at(size: int, document_bytes: int) -> int:
    """Return where the data of a disk of `size` bytes starts."""
    return -(-(map_at(document_bytes) + -(-size // SECTOR)) // _UNIT) * _UNIT


def refused(path: str, reason: str | None) -> OverlayError:
    """Return the error of a file that can't be taken for an overlay."""
    return OverlayError(f"overlay {path}: {reason}")


def write_all(descriptor: int, data: Buffer, place: int) -> None:
    """Write all bytes at a place. Raise OSError when only a part went."""
    written = os.pwrite(descriptor, data, place)
    while written < len(data):  # a file system that is full takes a part
        written += os.pwrite(descriptor, data[written:], place + written)


def punch(descriptor: int, place: int, length: int) -> None:
    """Give back the room of whole blocks, which then read as zeros, where the system can."""
    start, end = -(-place // _UNIT) * _UNIT, (place + length) // _UNIT * _UNIT
    if _fallocate and start < end:
        range_ = ctypes.c_int64(start), ctypes.c_int64(end - start)
        _fallocate(descriptor, _KEEP_SIZE_AND_PUNCH, *range_)


def unnamed(folder: str, length: int) -> int:
    """Return a new file without a name. Raise OSError."""
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        descriptor = os.open(folder, flags | os.O_TMPFILE, 0o600)
    except (OSError, AttributeError):  # some file systems, and macOS, have none
        path = os.path.join(folder, f"vfloppy-{os.urandom(8).hex()}")
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(path)
    try:
        os.ftruncate(descriptor, length)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def sync_folder(path: str) -> None:
    """Have the name of a file be durable. Raise OSError."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def take(descriptor: int, path: str, *, shared: bool = False) -> None:
    """Keep others from the file until it is closed everywhere. Raise OSError and OverlayError.

    Connections outlive a server that was killed by a moment, which is waited for.
    """
    deadline = time.monotonic() + _ENDING_S
    while True:
        try:
            _lock(descriptor, shared)
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            if time.monotonic() > deadline:
                raise refused(path, "another process has it open") from None
            time.sleep(_ENDING_S / 50)
        else:
            return


def _lock(descriptor: int, shared: bool) -> None:
    if hasattr(fcntl, "F_OFD_SETLK"):
        kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        lock = _OFD_LOCK.pack(kind, os.SEEK_SET, 0, 1, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
    else:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)


def read_header(descriptor: int, path: str) -> tuple[int, Range, Mapping[str, Any]]:
    """Return size, places and document. Raise OverlayError for what is no overlay, and OSError."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise refused(path, "it is no regular file")
    header = os.pread(descriptor, _HEADER.size, 0)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise refused(path, "it is no overlay of vfloppy's")
    _, version, length, size, *places, digest = _HEADER.unpack(header)
    if version != _VERSION:
        raise refused(path, f"it is of version {version}, and {_VERSION} is known here")
    document = b""
    if length <= _MOST_DOCUMENT_BYTES:
        document = os.pread(descriptor, length, _DOCUMENT_AT)
    right = [map_at(length), data_at(size, length)]
    if places != right or digest != hashlib.blake2b(document, digest_size=32).digest():
        raise refused(path, "its header is damaged")
    try:
        found = json.loads(document)
        bytes.fromhex(found["identity"])
    except (ValueError, TypeError, LookupError, RecursionError):
        raise refused(path, "its header makes no sense") from None
    return size, (places[0], places[1]), found


def write_header(descriptor: int, size: int, document: Mapping[str, Any]) -> Range:
    """Make a file an overlay on which nothing is written; return where map and data start.

    Raise OSError.
    """
    text = json.dumps(document).encode()
    places = (map_at(len(text)), data_at(size, len(text)))
    digest = hashlib.blake2b(text, digest_size=32).digest()
    header = _HEADER.pack(_MAGIC, _VERSION, len(text), size, *places, digest)
    os.ftruncate(descriptor, 0)
    write_all(descriptor, header.ljust(_DOCUMENT_AT, b"\0") + text, 0)
    os.ftruncate(descriptor, places[1] + size)
    os.fsync(descriptor)
    return places
