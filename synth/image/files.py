"""The contents of a tree's files, wherever they come from: what a format needs of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from ...export import Alerts, Batch, Piece


class FileBatch(Batch):
    """A batch to be filled, with one item of `buffers` for each range, and filled anew later.

    `views` has the contents of some files by node, to be lent; a range of another is `read`.
    Whoever adds None to the buffers sets `may_have_gaps`.
    """

    def __init__(self, views: Mapping[int, memoryview]) -> None:
        super().__init__([])
        self.views = views

    @abstractmethod
    def begin(self, lends: bool) -> None:
        """Forget the batch before; with `lends`, there may be views in this one."""

    @abstractmethod
    def read(self, node: int, position: int, length: int) -> bytes | None:
        """Return bytes of a file, to be checked by `commit`; None where they can't be had."""


class Files(ABC):
    """The regular files of a tree by node, as one reader has them open.

    Methods that read raise HostReadError when a file is not what the scan saw.
    """

    @abstractmethod
    def piece(self, node: int, offset: int, length: int) -> Piece:
        """Return a range of a file as a piece. Never raise: the piece will when it is read."""

    @abstractmethod
    def read(self, node: int, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes of a file from byte `offset`, checked."""

    @abstractmethod
    def data_runs(self, node: int, start: int) -> Iterator[tuple[int, int]]:
        """Yield where a file holds data from byte `start` on, as (start, end); the rest is holes.

        A file that can't be opened is all data: reading it then says why.
        """

    @abstractmethod
    def batches(self) -> FileBatch:
        """Return what reads many small ranges at once, again and again."""

    @abstractmethod
    def detach(self) -> tuple[list[int], list[int]]:
        """Return the nodes of open files and their descriptors, for another process to `adopt`."""

    @abstractmethod
    def adopt(self, nodes: Sequence[int], descriptors: Sequence[int]) -> None:
        """Take over what another process has detached; nothing may be open yet."""

    @property
    @abstractmethod
    def open_count(self) -> int:
        """Return how many descriptors `detach` would return."""

    @abstractmethod
    def close(self) -> None:
        """Close all files; reading opens them again."""


class FileSource(ABC):
    """The contents of a tree's files, to be opened by each reader anew. Immutable."""

    directories: tuple[int, ...] = ()
    """Open descriptors of the host's directories beneath which they are read."""

    @abstractmethod
    def open(self, alerts: Alerts | None = None) -> Files:
        """Return the files with nothing open yet. With `alerts`, checks may cost less."""


class OpenedFiles:
    """The files that the sections of one reader share: each source is opened once."""

    def __init__(self, alerts: Alerts | None = None) -> None:
        self._alerts = alerts
        self._opened: dict[FileSource, Files] = {}

    def of(self, source: FileSource) -> Files:
        """Return the files of a source."""
        if source not in self._opened:
            self._opened[source] = source.open(self._alerts)
        return self._opened[source]

    @property
    def all(self) -> Sequence[Files]:
        """Return all that are open, in the order in which they were asked for."""
        return tuple(self._opened.values())
