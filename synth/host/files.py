"""Host files are opened below the root by descriptors, never through symbolic links, and checked.

A file's identity (device, inode, type, size, times) is held against the scan when it is opened and
again after every read, so a byte that leaves here is a byte that the scan's file held. The check
comes after the read: a change during the read shows too. Nothing here looks at mapped memory: a
mapped file that somebody truncates kills the process that does.
"""

from __future__ import annotations

import errno
import os
import resource
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from ...export import Alerts, HostReadError
from ..image.files import Files, FileSource
from ..tree.builder import in_column
from ..tree.columns import Tree, printable
from ..tree.origins import host_name, host_path
from .batch import HostBatch, HostSlice
from .births import birth_ns
from .directories import OpenHomes
from .leases import Leases, has_lasting_numbers
from .verdict import Scanned, Verdict, verdict

# A fifo that took a file's place must not block the open.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_MOST_OPEN_FILES = 16 << 10


class HostFiles(FileSource):
    """The regular files of a scanned tree.

    With `on_change`, a file that is not what the scan saw is read as it is now, with zeros where it
    ends too early, and `on_change` is called with what has changed, once a file; without, reading
    it fails.
    """

    def __init__(self, tree: Tree, *, on_change: Callable[[str], None] | None = None) -> None:
        self._tree = tree
        self._on_change = on_change
        self.directories = tuple(tree.origins.held.values())

    def open(self, alerts: Alerts | None = None) -> ScannedFiles:
        """See `FileSource.open`. With `alerts`, writers are announced by leases (see `leases`)."""
        return ScannedFiles(self._tree, alerts=alerts, on_change=self._on_change)


class ScannedFiles(Files):
    """The regular files of a scanned tree, opened for one reader.

    With `alerts`, the host is asked to announce writers where it can (see `leases`).
    """

    def __init__(
        self,
        tree: Tree,
        *,
        alerts: Alerts | None = None,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self._tree = tree
        self._homes = OpenHomes(tree.origins)
        self._ctimes_ns = tree.origins.ctimes_ns
        self._open: OrderedDict[int, int] = OrderedDict()
        self._new: set[int] = set()  # open files that were used once or never
        self._on_change = on_change
        self._told: set[int] = set()
        self._cleared: set[int] = set()  # open files that changed and are the scan's all the same
        self._renumbering: dict[int, bool] = {}  # by device
        self._leases = Leases(alerts) if alerts else None
        self.leased: dict[int, int] = self._leases.held if self._leases else {}
        self.mapped: dict[int, memoryview] = self._leases.mapped if self._leases else {}
        soft_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_open = min(_MOST_OPEN_FILES, max(8, soft_limit // 4 * 3))

    def piece(self, node: int, offset: int, length: int) -> HostSlice:
        """See `Files.piece`."""
        return HostSlice(self, node, offset, length)

    def batches(self) -> HostBatch:
        """See `Files.batches`."""
        return HostBatch(self)

    @property
    def broken_leases(self) -> int:
        """Return how often a file has left `leased` because somebody was about to change it."""
        return self._leases.broken if self._leases else 0

    def count(self, index: int, length: int) -> None:
        """Note that so many bytes of a file were read, which makes it worth a place in `mapped`."""
        if self._leases:
            self._leases.count(index, length)

    def pin(self) -> None:
        """Have those who want to change a file of `leased` wait until `unpin`.

        Be quick in between.
        """
        if self._leases:
            self._leases.pin()

    def unpin(self) -> None:
        """End what `pin` began."""
        if self._leases:
            self._leases.unpin()

    @property
    def open_count(self) -> int:
        """See `Files.open_count`."""
        return len(self._open)

    def detach(self) -> tuple[list[int], list[int]]:
        """See `Files.detach`. Nobody who wants to change a file is kept waiting from now on."""
        if self._leases:
            self._leases.give_back()
        return list(self._open), list(self._open.values())

    def adopt(self, nodes: Sequence[int], descriptors: Sequence[int]) -> None:
        """See `Files.adopt`. They are checked when they are used, as any."""
        if len(set(nodes)) < len(nodes) or not all(node < len(self._tree) for node in nodes):
            raise ValueError("open files are handed over that are none of this disk's")
        self._open.update(zip(nodes, descriptors, strict=True))
        self._new.update(nodes)

    @property
    def reads_changed(self) -> bool:
        """Return whether changed files are read as they are, zeros behind their ends."""
        return self._on_change is not None

    def read(self, index: int, offset: int, length: int) -> bytes:
        """See `Files.read`."""
        descriptor = self.leased.get(index)
        try:
            if descriptor is not None:
                data = os.pread(descriptor, length, offset)
                # It is there until the lease is given back, so nobody could write meanwhile.
                if len(data) == length and index in self.leased:
                    return data
            # For a new one, the check below is enough.
            is_new = index not in self._open
            descriptor = self._open_file(index) if is_new else self.descriptor(index)
            data = os.pread(descriptor, length, offset)
            status = os.fstat(descriptor)
        except OSError as error:
            if index in self._open:
                self.verify(index)  # which may know better what happened
            raise self._failure(index, error) from error
        if len(data) == length and self._is_as_scanned(index, status):
            return data
        self._check(index, status)
        while len(data) < length:  # a read may stop short of what is there
            try:
                more = os.pread(descriptor, length - len(data), offset + len(data))
            except OSError as error:
                raise self._failure(index, error) from error
            if not more:
                self._changed(index, Verdict.SHRANK, "is shorter than at the scan")
                return data.ljust(length, b"\0")
            data += more
            self.verify(index)
        return data

    def descriptor(self, index: int) -> int:
        """Return an open descriptor of a file, valid until the next call of any method here.

        Call `verify` after bytes have moved. Raise HostReadError as `read` does.
        """
        descriptor = self._open.get(index)
        try:
            if descriptor is None:
                descriptor = self._open_file(index)
            elif index not in self._new:
                return descriptor
            else:
                self._lease(index, descriptor)
        except OSError as error:
            raise self._failure(index, error) from error
        try:
            self.verify(index)
        except HostReadError:
            self._close(index)
            raise
        return descriptor

    def _lease(self, index: int, descriptor: int) -> None:
        """Take a lease where there is one to be had: what is read once is not worth it, what is
        read again is. The check comes then: in this order, nothing can come between.
        """
        self._new.discard(index)
        if self._leases:
            tree = self._tree
            self._leases.take(index, descriptor, tree.device(index), tree.sizes[index])

    def close(self) -> None:
        """Close every descriptor; reading opens them again."""
        if self._leases:
            self._leases.drop_all()
        for first, end in _runs(self._open.values()):
            os.closerange(first, end)
        for each in (self._open, self._new, self._cleared):
            each.clear()
        self._homes.close()

    def __del__(self) -> None:
        """Close all files of a disk that nobody has any more."""
        if hasattr(self, "_open"):
            self.close()

    def _close(self, index: int) -> None:
        self._new.discard(index)
        self._cleared.discard(index)
        descriptor = self._open.pop(index)
        if self._leases:
            self._leases.drop(index, descriptor)
        os.close(descriptor)

    def verify(self, index: int) -> None:
        """Raise HostReadError unless a file is still what the scan saw.

        A file whose descriptor was closed in between is opened again, and checked in doing so.
        """
        if index not in self._open:  # closed for others since: opening checks too
            self.descriptor(index)
            return
        try:
            status = os.fstat(self._open[index])
        except OSError as error:
            raise self._failure(index, error) from error
        if not self._is_as_scanned(index, status):
            self._check(index, status)

    def _is_as_scanned(self, index: int, status: os.stat_result) -> bool:
        """Return whether one look is enough, as it mostly is: a write, and whatever is done by
        name, sets the ctime. But another file may have the same one, and it comes in ticks.
        """
        tree = self._tree
        return (
            status.st_ctime_ns == self._ctimes_ns[index]
            and status.st_ino == tree.inodes[index]
            and status.st_size >= tree.sizes[index]
            and status.st_dev == tree.device_numbers[tree.devices[index]]
        )

    def data_runs(self, index: int, start: int) -> Iterator[tuple[int, int]]:
        """Yield where a file holds data from byte `start` on, as (start, end); the rest is holes.

        A file that can't be opened is all data: reading it then says why. So is one on a file
        system that knows no holes.
        """
        size = self._tree.sizes[index]
        position = start
        while position < size:
            try:
                descriptor = self.descriptor(index)  # anew: others open files between two runs
                start = _next_data(descriptor, position, size)
                end = os.lseek(descriptor, start, os.SEEK_HOLE) if start < size else size
                self.verify(index)  # also where there is no data: the file may have been emptied
            except (OSError, AttributeError):
                start, end = position, size
            if start < size:
                yield start, min(end, size)
            position = end

    def _open_file(self, index: int) -> int:
        """Open a file that isn't, and remember that; checking it is still to do."""
        tree = self._tree
        while len(self._open) >= self._most_open:
            self._close(next(iter(self._open)))
        while True:
            try:
                directory = self._homes.descriptor(tree.origins.node_homes[index])
                descriptor = os.open(host_name(tree, index), _OPEN_FILE, dir_fd=directory)
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE} or not self._open:
                    raise
                self._close(next(reversed(self._open)))
            else:
                self._open[index] = descriptor
                self._new.add(index)
                return descriptor

    def _check(self, index: int, status: os.stat_result) -> None:
        """Raise HostReadError, or tell, unless the scan's bytes of a file are still there."""
        scanned = self._scanned(index)
        found = verdict(
            scanned,
            status,
            may_renumber=lambda: self._may_renumber(index, status.st_dev),
            born_ns=lambda: birth_ns(self._open[index]),
            was_cleared=index in self._cleared,
        )
        if not found.keeps_bytes:
            self._changed(index, found, found.sentence(scanned, status))
        elif in_column(status.st_ctime_ns) != scanned.ctime_ns:
            self._cleared.add(index)

    def _scanned(self, index: int) -> Scanned:
        tree = self._tree
        return Scanned(
            tree.device(index),
            tree.inodes[index],
            tree.modes[index],
            tree.links[index],
            tree.sizes[index],
            tree.mtimes_ns[index],
            tree.origins.ctimes_ns[index],
        )

    def _may_renumber(self, index: int, device: int) -> bool:
        """Return whether the file system of an open file gives files other numbers at times."""
        if device not in self._renumbering:
            self._renumbering[device] = index in self._open and not has_lasting_numbers(
                self._open[index]
            )
        return self._renumbering[device]

    def _changed(self, index: int, found: Verdict, sentence: str) -> None:
        """Raise HostReadError, or tell once that a file is read as it is now."""
        if self._on_change is None or not found.is_readable:
            raise HostReadError(f"{self._path(index)} {sentence}")
        if index not in self._told:
            self._told.add(index)
            self._on_change(f"{self._path(index)} {sentence}; what is there now is read")

    def _path(self, index: int) -> str:
        return printable(host_path(self._tree, index))

    def _failure(self, index: int, error: OSError) -> HostReadError:
        if isinstance(error, HostReadError):
            return error
        return HostReadError(f"{self._path(index)} can't be read: {error.strerror}")


def _next_data(descriptor: int, start: int, size: int) -> int:
    """Return where a file's next data begins, from `start` on; `size` if there is none."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise


def _runs(descriptors: Iterable[int]) -> list[tuple[int, int]]:
    """Return descriptors as runs, (first, end): most are neighbours, which one call closes.

    [5, 9, 4, 6] are (4, 7) and (9, 10).
    """
    runs: list[tuple[int, int]] = []
    for each in sorted(descriptors):
        if runs and runs[-1][1] == each:
            runs[-1] = runs[-1][0], each + 1
        else:
            runs.append((each, each + 1))
    return runs
