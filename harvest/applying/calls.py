"""System calls that change the host, all in one place: by descriptor and one name, through no link.

A test stands in for `Calls` to stop or fail before any of them.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOREPLACE, _EXCHANGE = 1, 2  # renameat2(2)
# What says that a file system, or a kernel, doesn't know the call.
UNKNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class Calls:
    """The calls; each raises OSError."""

    def before(self, call: str) -> None:
        """Do nothing; called before each of them with its name."""

    def create(self, folder: int, name: bytes, mode: int) -> int:
        """Make a new file that is open for writing."""
        self.before("create")
        return os.open(name, _NEW, mode, dir_fd=folder)

    def create_nameless(self, folder: int, mode: int) -> int:
        """Make a new file in a directory that gets its name later. OSError also where none can."""
        self.before("create_nameless")
        if not os.path.exists("/proc/self/fd"):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        # Elsewhere than on Linux there is no such flag, nor /proc/self/fd.
        flags = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
        return os.open(".", flags, mode, dir_fd=folder)

    def name(self, descriptor: int, folder: int, name: bytes) -> None:
        """Give a nameless file its name."""
        self.before("name")
        # With a directory's descriptor os.link follows the link.
        own = f"/proc/self/fd/{descriptor}"
        os.link(own, name, src_dir_fd=folder, dst_dir_fd=folder)

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of it."""
        left = memoryview(data)
        while left:
            self.before("write")
            left = left[os.write(descriptor, left) :]

    def sync(self, descriptor: int) -> None:
        """Have an open file or directory on the disk."""
        self.before("sync")
        os.fsync(descriptor)

    def sync_folder(self, folder: int) -> None:
        """Have a directory on the disk, where the file system can do that."""
        try:
            self.sync(folder)
        except OSError as error:
            if error.errno not in UNKNOWN:
                raise

    def change(self, doing: Callable[[], None]) -> None:
        """Do what changes metadata of an open file or directory."""
        self.before("change")
        doing()

    def make_folder(self, folder: int, name: bytes, mode: int = 0o777) -> None:
        """Make a directory."""
        self.before("mkdir")
        os.mkdir(name, mode, dir_fd=folder)

    def unlink(self, folder: int, name: bytes) -> None:
        """Remove a name of a file."""
        self.before("unlink")
        os.unlink(name, dir_fd=folder)

    def remove_folder(self, folder: int, name: bytes) -> None:
        """Remove a directory that is empty."""
        self.before("rmdir")
        os.rmdir(name, dir_fd=folder)

    def move(self, source: int, name: bytes, target: int, new_name: bytes) -> None:
        """Rename something. FileExistsError where there is something already."""
        self.before("move")
        try:
            _rename(source, name, target, new_name, _NOREPLACE)
        except OSError as error:
            if error.errno not in UNKNOWN:
                raise
            _move_by_other_means(source, name, target, new_name)

    def exchange(self, source: int, name: bytes, target: int, other_name: bytes) -> None:
        """Have two things change places at once. One of `UNKNOWN` where that can't be done."""
        self.before("exchange")
        _rename(source, name, target, other_name, _EXCHANGE)

    def replace(self, source: int, name: bytes, target: int, new_name: bytes) -> None:
        """Rename something over what is there."""
        self.before("replace")
        os.replace(name, new_name, src_dir_fd=source, dst_dir_fd=target)


def _rename(source: int, name: bytes, target: int, new_name: bytes, flags: int) -> None:
    call = _renameat2()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(source, name, target, new_name, flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(new_name))


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # musl before 1.2.5, macOS
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return partial(call)


def _move_by_other_means(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Move where rename can't promise not to replace: what comes there in this moment is lost."""
    with suppress(FileNotFoundError):
        os.stat(new_name, dir_fd=target, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(new_name))
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
