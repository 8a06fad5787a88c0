"""Read leases: the kernel makes whoever opens a file for writing wait until we have heard of it.

A file is checked against the scan by its status, and without more, after each read: the largest
part of what a small read costs. While a lease is held nobody has the file open for writing, and
nobody can truncate it; so one check after taking the lease holds until the lease is broken. Then
a signal comes, the handler gives the lease back and counts a broken lease. What was read before the
handler ran, was read before the writer could write.

The writer waits that long. Measured on two busy processors, in the median: 0.1 ms with 256 leases,
0.6 with 4,096 (1.5 when each signal had all of them asked), and one in twenty waits some 4 ms.
Handlers run between two steps of Python: while a directory of 200,000 entries is computed, it may
be 50.

What is read often is mapped, so that the kernel can send it without a copy; a lease is then kept
until what was handed out has been sent (`pin`). A mapping's pages may vanish all the same, when a
disk fails or a reader empties the file: system calls report that, so nobody else may look at them.

fcntl(2), "Leases". Leases are for regular files that the user owns (or with CAP_LEASE) on file
systems whose writers all pass this kernel; where there is none to be had, files are just checked.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal

from ...export import Alerts

# The file systems whose leases are believed. On each the lease is on the very inode that has the
# data, whoever writes passes this kernel's open, and tests hold that a file which is mapped for
# writing gets no lease, its descriptor closed or not (tests/synth/host/test_file_systems.py):
#   btrfs, ext4, xfs          pages, leases and the count of writers are the kernel's own inode's
#   ext2, ext3                likewise; today mostly ext4's code under other names
#   tmpfs                     likewise, and its pages are all that there is
# Not believed, so that their files are checked after each read:
#   overlay                   a lease is on its own inode, the data are on that of a layer: neither
#                             a mapping with its descriptor closed nor who writes to a layer shows
#   FUSE, network, vboxsf     whoever is behind the file system writes as they like
#   zfs                       a rollback changes files that nobody opens
#   bcachefs, f2fs, jfs, ...  nothing is known against them, but nobody has tried
_LEASED = frozenset({"btrfs", "ext2", "ext3", "ext4", "tmpfs", "xfs"})
# Where a file has one number for as long as it is there. Others number it anew each time that they
# meet it, or may.
_NUMBERED = _LEASED | {"bcachefs", "f2fs", "jfs", "overlay", "zfs"}

_MOST_HELD = 4096
# A signal tells Python that a lease is wanted back, and not which (siginfo would, and only
# sigwaitinfo has it, which needs the signal blocked: then it would wake no system call). With many
# signals in turn, the number tells which part of them to ask. With 31 signals, 34 to 64, a lease on
# descriptor 100 is announced by 34 + 100 % 31 = 41, and then the leases on 7, 38, 69, 100, 131, ...
# are asked. SIGIO is all of them: it comes when the kernel can queue no more of the others.
_SIGNALS = range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if hasattr(signal, "SIGRTMIN") else range(0)
_MAP_MIN_BYTES = 64 << 10  # mapping and faulting cost as much as some ten reads
_MOST_MAPPED_BYTES = 4 << 30  # whose page tables are 8 MiB
# A file is mapped once a sixteenth was read, or as much as there is in it. A read of what isn't in
# memory fetches just that from the disk, a mapping what is around it too.
_SOON_MAPPED_BYTES = 16 << 20
_SOON_PART = 16


class Leases:
    """The leases of one process, taken and given back in its main thread."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts
        self.held: dict[int, int] = {}
        """Descriptors under lease, by the key that they were taken with."""
        self.broken = 0
        """The number of leases that had to be given back."""
        self.mapped: dict[int, memoryview] = {}
        """The contents of those of them that are read often."""
        self._unread: dict[int, int] = {}  # bytes until a file is mapped
        self._least: dict[int, int] = {}  # bytes that a mapping of it has to have
        self._mapped_bytes = 0
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._most_bytes = min(_MOST_MAPPED_BYTES, memory // 4)
        self._pinned = False
        self._due: list[int] = []  # descriptors whose leases are wanted back
        self._process = 0
        self._devices: dict[int, bool] = {}

    def take(self, key: int, descriptor: int, device: int, size: int) -> None:
        """Take a lease where that can be done; checking the file, its device (st_dev) and its size
        in bytes is still to do.
        """
        if device not in self._devices:
            self._devices[device] = has_leases(descriptor)
        if self._devices[device] and len(self.held) < _MOST_HELD and self._listens():
            self.held[key] = descriptor  # before: it may be wanted back at once
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETSIG, _signal_of(descriptor))
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            except OSError:
                self.held.pop(key, None)
                return
            if key not in self.held:
                _give_back(descriptor)
            elif size >= _MAP_MIN_BYTES:
                soon = size <= _SOON_MAPPED_BYTES
                self._unread[key] = size // _SOON_PART if soon else size
                self._least[key] = size

    def drop(self, key: int, descriptor: int) -> None:
        """Forget a file whose descriptor is about to be closed."""
        was_held = self.held.pop(key, None) is not None
        if descriptor in self._due:  # its number may be another file's before `unpin`
            self._due.remove(descriptor)
            _give_back(descriptor)
        elif was_held and self._unmap(key):
            # The mapping may live for as long as somebody sends from it, and the lease with it;
            # whoever is about to send from it has to look again.
            self.broken += 1
            _give_back(descriptor)

    def drop_all(self) -> None:
        """Forget all files, whose descriptors are about to be closed."""
        for key, descriptor in list(self.held.items()):
            self.drop(key, descriptor)
        while self._due:
            _give_back(self._due.pop())

    def give_back(self) -> None:
        """Give back all of them; the descriptors stay open."""
        for key, descriptor in list(self.held.items()):
            self.held.pop(key, None)
            self._unmap(key)
            _give_back(descriptor)

    def count(self, key: int, length: int) -> None:
        """Note that so much of a file was read, and map it when it is worth that."""
        left = self._unread.get(key)
        if left is None:
            return
        self._unread[key] = left - length
        if left <= length:
            self._unread.pop(key, None)
            self._map(key)

    def pin(self) -> None:
        """Give no lease back from now on."""
        self._pinned = True

    def unpin(self) -> None:
        """Give back what was asked for meanwhile."""
        self._pinned = False
        while self._due:
            _give_back(self._due.pop())

    def _map(self, key: int) -> None:
        descriptor = self.held.get(key)
        if descriptor is None:
            return
        # Some file systems map nothing. Nobody can write here, but whoever opens for reading may
        # empty the file (O_TRUNC) between the two calls: then it is too short to be mapped.
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(descriptor).st_size
            # A file that is shorter by now may be read all the same, with zeros behind it.
            if self._least[key] <= size <= self._most_bytes - self._mapped_bytes:
                self.mapped[key] = memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
                self._mapped_bytes += size
        if key not in self.held:  # the lease was wanted back meanwhile
            self._unmap(key)

    def _unmap(self, key: int) -> bool:
        """Return whether there was something to unmap; it goes when nobody uses it any more."""
        self._unread.pop(key, None)
        view = self.mapped.pop(key, None)
        if view is None:
            return False
        self._mapped_bytes -= len(view)
        return True

    def _listens(self) -> bool:
        """Return whether this process hears of broken leases: a child does not inherit that."""
        if self._process != os.getpid():
            if not self._alerts.listen(self.answer, (signal.SIGIO, *_SIGNALS)):
                return False
            self._process = os.getpid()
        return True

    def answer(self, number: int) -> None:
        """Give back what is wanted back, of the leases that this signal speaks for."""
        part, parts = number - signal.SIGRTMIN, len(_SIGNALS)
        of_all = number == signal.SIGIO
        for key, descriptor in [
            (key, each) for key, each in self.held.items() if of_all or each % parts == part
        ]:
            if fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
                del self.held[key]
                self._unmap(key)
                self.broken += 1
                if self._pinned:
                    self._due.append(descriptor)
                else:
                    _give_back(descriptor)


def _signal_of(descriptor: int) -> int:
    """Return the signal that tells when the lease of a descriptor is wanted back."""
    return _SIGNALS[descriptor % len(_SIGNALS)]


def _give_back(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # it was just being taken
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def has_leases(descriptor: int) -> bool:
    """Return whether nobody can write to a file, on its file system, without breaking its lease."""
    return _file_system(descriptor) in _LEASED


def has_lasting_numbers(descriptor: int) -> bool:
    """Return whether another number is another file, on the file system of this one."""
    return _file_system(descriptor) in _NUMBERED


def _file_system(descriptor: int) -> str:
    """Return the kind of a file's file system in the words of /proc/self/mountinfo; "" if unknown.

    It is asked in a sandbox, where a codec that nobody has used before can't be loaded: so bytes.
    """
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as lines:
            mount = next(line.split()[1] for line in lines if line.startswith(b"mnt_id:"))
        with open("/proc/self/mountinfo", "rb") as lines:
            fields = next(line for line in lines if line.split(b" ", 1)[0] == mount)
    except (OSError, StopIteration):
        return ""
    return os.fsdecode(fields.rpartition(b" - ")[2].split()[0])
