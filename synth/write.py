"""An image becomes a file: holes stay holes, and what host files hold is copied by the kernel.

The file is written under a temporary name beside its own and renamed when it is complete, so that
a failure at any point leaves what was there before.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from ..errors import WriteError
from ..pieces import Export, Hole, HostReadError, HostSlice, Piece

_STEP_BYTES = 8 << 20
_BATCH_BYTES = 1 << 20
# From here up the kernel copies; below, a read and a shared write cost less than a call of its own.
_COPY_BYTES = 64 << 10
# A gap between data that is shorter than this is written as zeros: a host block holds both anyway.
_SMALL_HOLE_BYTES = 4096
_NO_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY}
_ZEROS = bytes(1 << 16)

Progress = Callable[[int], None]
"""Called with the number of bytes of the image that were dealt with since the last call."""


def write_file(export: Export, path: str, progress: Progress = lambda _: None) -> None:
    """Writes an export to a regular file, sparse, replacing what is there when all is written.

    Raises WriteError, and HostReadError when a host file is not what the scan saw.
    """
    path = os.path.realpath(path)  # a link to the file stays a link
    with _replacing(path, export.size) as descriptor:
        os.ftruncate(descriptor, export.size)
        _write_data(export, descriptor, progress)


def write_over(export: Export, path: str, progress: Progress = lambda _: None) -> None:
    """Writes an export over what is no regular file: a block device, a pipe. Raises as above."""
    try:
        mode = "r+b" if stat.S_ISBLK(os.stat(path).st_mode) else "wb"
        out = io.FileIO(path, mode)
    except OSError as error:
        raise _failure(path, export.size, error) from error
    with out:
        write_stream(export, out, progress)


def write_stream(export: Export, out: BinaryIO, progress: Progress = lambda _: None) -> None:
    """Writes every byte of an export, zeros too, in order.

    Raises WriteError and HostReadError; BrokenPipeError when the reader has left.
    """
    for offset, length in _steps(0, export.size):
        for piece in export.pieces(offset, length):
            if isinstance(piece, Hole):
                left = piece.length
                while left:
                    left -= _write_all(out, _ZEROS[:left])
            else:
                _write_all(out, piece.read() if isinstance(piece, HostSlice) else piece)
        progress(length)
    out.flush()


def _write_all(out: BinaryIO, data: bytes) -> int:
    view = memoryview(data)
    try:
        while view:
            view = view[out.write(view) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise WriteError(f"{_name(out)}: can't be written: {error.strerror}") from error
    return len(data)


def _name(out: BinaryIO) -> str:
    return "standard output" if isinstance(out.name, int) else out.name


@contextmanager
def _replacing(path: str, size: int) -> Iterator[int]:
    """An open temporary file that takes the place of `path` if the block ends well."""
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".vfloppy-{secrets.token_hex(6)}.part")
    try:
        descriptor = os.open(
            temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
        )
    except OSError as error:
        raise _failure(path, size, error) from error
    try:
        try:
            yield descriptor
            with suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(os.stat(path).st_mode))
            os.fsync(descriptor)
            os.replace(temporary, path)
        finally:
            os.close(descriptor)
        _sync_folder(folder)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and not isinstance(error, HostReadError):
            raise _failure(path, size, error) from error
        raise


def _sync_folder(folder: str) -> None:
    """Makes the rename last; some file systems can't sync a directory, and that is no failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(path: str, size: int, error: OSError) -> WriteError:
    if error.errno == errno.ENOSPC:
        return WriteError(
            f"{path}: no space left for the image (its full size is {size} bytes, holes counted); "
            "nothing was changed"
        )
    if error.errno == errno.EFBIG:
        return WriteError(
            f"{path}: an image of {size} bytes is larger than a file may be here (the file "
            "system's or the process's limit); nothing was changed"
        )
    return WriteError(f"{path}: can't be written: {error.strerror}")


def _write_data(export: Export, descriptor: int, progress: Progress) -> None:
    """Writes all that is no hole into a file that reads as zeros."""
    offset = 0
    for extent in export.extents(0, export.size):
        if extent.hole:
            progress(extent.length)
        else:
            for start, length in _steps(offset, extent.length):
                _write_pieces(export.pieces(start, length), descriptor, start)
                progress(length)
        offset += extent.length


def _steps(offset: int, length: int) -> Iterator[tuple[int, int]]:
    end = offset + length
    for start in range(offset, end, _STEP_BYTES):
        yield start, min(_STEP_BYTES, end - start)


def _write_pieces(pieces: Iterable[Piece], descriptor: int, offset: int) -> None:
    """Writes pieces that lie one after the other from `offset` on."""
    batch: list[bytes] = []
    batched = 0

    def flush() -> None:
        nonlocal batch, batched, offset
        _pwrite_all(descriptor, b"".join(batch), offset)
        offset += batched
        batch, batched = [], 0

    for piece in pieces:
        if isinstance(piece, HostSlice) and piece.length >= _COPY_BYTES:
            flush()
            _copy(piece, descriptor, offset)
            offset += piece.length
        elif isinstance(piece, Hole) and piece.length >= _SMALL_HOLE_BYTES:
            flush()
            offset += piece.length
        else:
            data = _bytes(piece)
            batch.append(data)
            batched += len(data)
            if batched >= _BATCH_BYTES:
                flush()
    flush()


def _bytes(piece: Piece) -> bytes:
    if isinstance(piece, HostSlice):
        return piece.read()
    return bytes(piece.length) if isinstance(piece, Hole) else piece


def _pwrite_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def _copy(piece: HostSlice, descriptor: int, offset: int) -> None:
    """Copies a slice within the kernel, or by reading and writing where it can't."""
    position, end = piece.offset, piece.offset + piece.length
    source = piece.files.descriptor(piece.index)
    shift = offset - position
    while position < end:
        try:
            copied = os.copy_file_range(
                source, descriptor, end - position, position, position + shift
            )
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
            copied = 0
        if not copied:  # can't, or ends early: reading says which
            data = piece.files.read(piece.index, position, min(_BATCH_BYTES, end - position))
            _pwrite_all(descriptor, data, position + shift)
            copied = len(data)
            source = piece.files.descriptor(piece.index)
        position += copied
    piece.files.verify(piece.index)
