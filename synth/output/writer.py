"""An image becomes a file: holes stay holes, and host files share their blocks where that goes.

The file is written without a name, or under a temporary one, beside its own and takes its place
when it is complete, so that a failure at any point leaves what was there before.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

from ...errors import WriteError
from ...export import Export, FileSlice, Hole, HostReadError, Piece, piece_bytes
from ..forks import may_fork, share_out
from ..host.paths import NamedPaths
from .replacement import Replacement

try:
    import fcntl
except ImportError:  # elsewhere everything is copied
    fcntl = None  # type: ignore[assignment]

_STEP_BYTES = 8 << 20
_BATCH_BYTES = 1 << 20
_SHARED_BYTES = 32 << 20  # from here up, a fork is worth it
# From here up a slice is dealt with on its own; below, it shares a write with its neighbours.
_COPY_BYTES = 64 << 10
# A gap between data that is shorter than this is written as zeros: a host block holds both anyway.
_SMALL_HOLE_BYTES = 4096
# Linux's way to let two files share blocks (ioctl_ficlonerange(2)): btrfs and XFS know it, ...
_FICLONERANGE = 0x4020940D
_CLONE_RANGE = struct.Struct("=qQQQ")
_SHARED_UNIT = 4096  # ... whole blocks of most
_NO_CLONE = {
    errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY,
    errno.ENOTTY, errno.EISDIR,
}  # fmt: skip
_BUFFER_BYTES = 1 << 20  # what stays in a processor's cache between the read and the write
_ZEROS = bytes(1 << 16)

# Has the system begin to write to the disk what will be synced at the end; macOS has none.
_write_back = getattr(os, "posix_fadvise", None)

Progress = Callable[[int], None]
"""Called with the number of bytes of the image that were dealt with since the last call."""


def write_file(
    export: Export,
    path: str,
    progress: Progress = lambda _: None,
    *,
    sync: bool = True,
    processes: int = 1,
) -> None:
    """Write an export to a regular file, sparse, replacing what is there when all is written.

    Unless told not to `sync`, it is on the disk by then. Several processes may share the work.
    Raise WriteError, and HostReadError when a host file is not what the scan saw.
    """
    with _replacing(path, export.size, sync) as descriptor:
        os.ftruncate(descriptor, export.size)
        if processes > 1 and export.size >= _SHARED_BYTES and may_fork():
            _write_shared(export, descriptor, progress, processes, sync)
        else:
            _write_share(export, descriptor, progress, sync=sync)


def write_over(
    export: Export, path: str, progress: Progress = lambda _: None, *, sync: bool = True
) -> None:
    """Write an export over what is no regular file: a block device, a pipe. Raise
    WriteError.
    """
    try:
        is_device = stat.S_ISBLK(os.stat(path).st_mode)
        with io.FileIO(path, "r+b" if is_device else "wb") as out:
            if is_device:
                _check_room(out, path, export.size)
            write_stream(export, out, progress)
            if is_device and sync:
                os.fsync(out.fileno())
    except HostReadError:
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _failure(path, export.size, error) from error


def _check_room(device: BinaryIO, path: str, size: int) -> None:
    """Raise WriteError if a device is too small, before anything is written over."""
    room = device.seek(0, os.SEEK_END)
    device.seek(0)
    if room < size:
        raise WriteError(f"{path}: has {room} bytes, and the image {size}; nothing was changed")


def write_stream(export: Export, out: BinaryIO, progress: Progress = lambda _: None) -> None:
    """Write every byte of an export, zeros too, in order.

    Raise WriteError and HostReadError; BrokenPipeError when the reader has left.
    """
    with export.open() as reader:
        for offset, length in _steps(0, export.size):
            for piece in reader.pieces(offset, length):
                if isinstance(piece, Hole):
                    left = piece.length
                    while left:
                        left -= _write_all(out, _ZEROS[:left])
                else:
                    _write_all(out, piece_bytes(piece))
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
def _replacing(path: str, size: int, sync: bool) -> Iterator[int]:
    """Yield an open temporary file that takes the place of `path` if the block ends well."""
    try:
        place = NamedPaths().find(path, to_write=True)  # a link to the file stays a link
    except OSError as error:
        raise _failure(path, size, error) from error
    with place:
        try:
            new = Replacement(place.folder, place.name)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
                folder = os.fsdecode(os.path.dirname(place.path))
                reason = f"no new file can be made in {folder}: {error.strerror}"
                raise WriteError(f"{path}: can't be written: {reason}") from error
            raise _failure(path, size, error) from error
        try:
            yield new.descriptor
            new.commit(sync=sync)
        except HostReadError:
            raise
        except OSError as error:
            raise _failure(path, size, error) from error
        finally:
            new.discard()


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
    return WriteError(f"{path}: can't be written: {error.strerror or error}")


def _write_shared(
    export: Export, descriptor: int, progress: Progress, processes: int, sync: bool
) -> None:
    """Write an export over a file of zeros, in several processes that take turns."""
    with mmap.mmap(-1, 8 * processes) as shared:
        counts = memoryview(shared).cast("Q")
        reported = 0

        def count(number: int, done: int) -> None:
            nonlocal reported
            counts[number] += done
            if not number:  # this process speaks for all
                total = sum(counts)
                progress(total - reported)
                reported = total

        def work(number: int) -> None:
            share = (number, processes)
            _write_share(export, descriptor, partial(count, number), share, sync=sync)

        try:
            works = [partial(work, number) for number in range(processes)]
            share_out(works, lambda each: each(), lambda _nothing: None)
            count(0, 0)
        finally:
            counts.release()


def _write_share(
    export: Export,
    descriptor: int,
    progress: Progress,
    share: tuple[int, int] = (0, 1),
    *,
    sync: bool,
) -> None:
    """Write what is no hole into a file that reads as zeros: of so many processes, this one's.

    Whose a stretch is follows from where it is, and from nothing else: what the host says of holes
    may change at any time, and each process asks for itself.
    """
    number, count = share
    offset = 0
    with export.open() as reader:
        for extent in reader.extents(0, export.size):
            if not extent.hole:
                for start, length in _steps(offset, extent.length):
                    if start // _STEP_BYTES % count == number:
                        _write_pieces(reader.pieces(start, length), descriptor, start)
                        if sync and _write_back:
                            _write_back(descriptor, start, length, os.POSIX_FADV_DONTNEED)
                        progress(length)
            elif not number:
                progress(extent.length)
            offset += extent.length


def _steps(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield a range in parts that end at multiples of a step."""
    end = offset + length
    while offset < end:
        stop = min((offset // _STEP_BYTES + 1) * _STEP_BYTES, end)
        yield offset, stop - offset
        offset = stop


def _write_pieces(pieces: Iterable[Piece], descriptor: int, offset: int) -> None:
    """Write pieces that lie one after the other from `offset` on."""
    batch: list[bytes] = []
    batched = 0

    def flush() -> None:
        nonlocal batch, batched, offset
        _pwrite_all(descriptor, b"".join(batch), offset)
        offset += batched
        batch, batched = [], 0

    for piece in pieces:
        if isinstance(piece, FileSlice) and piece.length >= _COPY_BYTES:
            flush()
            _copy(piece, descriptor, offset)
            offset += piece.length
        elif isinstance(piece, Hole) and piece.length >= _SMALL_HOLE_BYTES:
            flush()
            offset += piece.length
        else:
            data = piece_bytes(piece)
            batch.append(data)
            batched += len(data)
            if batched >= _BATCH_BYTES:
                flush()
    flush()


def _pwrite_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def _copy(piece: FileSlice, descriptor: int, offset: int) -> None:
    """Copy a slice: what can be shared with its file is, the rest is read and written."""
    done = 0
    if piece.offset % _SHARED_UNIT == offset % _SHARED_UNIT == 0:
        blocks = piece.part(0, piece.length // _SHARED_UNIT * _SHARED_UNIT)
        if _clone(blocks, descriptor, offset):
            done = blocks.length
            blocks.finish(done)
    while done < piece.length:
        data = piece.part(done, min(_BUFFER_BYTES, piece.length - done)).read()
        _pwrite_all(descriptor, data, offset + done)
        done += len(data)


def _clone(source: FileSlice, target: int, offset: int) -> bool:
    """Make two files share blocks, where the file system can do that."""
    if not source.length or fcntl is None:
        return False
    request = _CLONE_RANGE.pack(source.descriptor(), source.offset, source.length, offset)
    try:
        fcntl.ioctl(target, _FICLONERANGE, request)
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
        return False
    return True
