"""Read leases: the kernel makes whoever opens a file for writing wait until we have heard of it.

A file is checked against the scan by its status, and without more, after each read: the largest
part of what a small read costs. While a lease is held nobody has the file open for writing, and
nobody can truncate it; so one check after taking the lease holds until the lease is broken. Then
SIGIO comes, the handler gives the lease back (the writer waits that long, some ten microseconds)
and counts an alarm. What was read before the handler ran, was read before the writer could write.

fcntl(2), "Leases". Leases are for regular files that the user owns (or with CAP_LEASE) on file
systems whose writers all pass this kernel; where there is none to be had, files are just checked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from types import FrameType

# Others may be written to by another machine or by a process behind the file system.
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"}
)


class Leases:
    """The leases of one process, taken and given back in its main thread."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        """Descriptors under lease, by the key that they were taken with."""
        self.broken = 0
        """How many leases had to be given back."""
        self._process = 0
        self._devices: dict[int, bool] = {}

    def take(self, key: int, descriptor: int) -> None:
        """Takes a lease where that can be done; checking the file is still to do."""
        device = os.fstat(descriptor).st_dev
        if device not in self._devices:
            self._devices[device] = _is_local(descriptor)
        if self._devices[device] and self._listens():
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                self.held[key] = descriptor

    def _listens(self) -> bool:
        """Whether this process hears of broken leases: a child does not inherit that."""
        if self._process != os.getpid():
            try:
                signal.signal(signal.SIGIO, self._on_break)
            except ValueError:  # not in the main thread
                return False
            self._process = os.getpid()
        return True

    def _on_break(self, _number: int, _frame: FrameType | None) -> None:
        for key, descriptor in list(self.held.items()):
            if fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
                del self.held[key]
                self.broken += 1
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _is_local(descriptor: int) -> bool:
    """Whether nobody can write to a file's file system but through this kernel."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:
            mount = next(line.split()[1] for line in lines if line.startswith("mnt_id:"))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
            fields = next(line for line in lines if line.split(" ", 1)[0] == mount)
    except (OSError, StopIteration):
        return False
    return fields.rpartition(" - ")[2].split()[0] in _LOCAL
