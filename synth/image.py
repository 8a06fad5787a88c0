"""An image is a row of sections; each section computes its own bytes when somebody asks.

Sections are few (partition table, reserved area, tables, directories, file contents, free space)
however many files there are: each finds its way inside by bisection over columns. A row of
sections is itself a section, so an image can stand inside another one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from ..pieces import Extent, Hole, HostFiles, HostRuns, Kind, Piece


class Region(NamedTuple):
    """A stretch of an image with a name of its own, for maps. Offset and length in bytes."""

    offset: int
    length: int
    kind: Kind
    name: str


class Section(Protocol):
    """A part of an image. Offsets and lengths are in bytes from the section's start.

    Callers stay within the section and never ask for nothing: only `Image` checks.
    """

    @property
    def size(self) -> int:
        """The length of the section."""
        ...

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """The range as pieces; see `Export.pieces`."""
        ...

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """The structure of the range; see `Export.extents`."""
        ...

    def regions(self) -> Iterator[Region]:
        """All that has a name of its own, in order; the regions tile the section."""
        ...


class Zeros:
    """Bytes that are all zero: gaps, padding, free space."""

    def __init__(self, size: int, kind: Kind, name: str) -> None:
        self.size = size
        self._kind = kind
        self._name = name

    def pieces(self, offset: int, length: int) -> list[Piece]:  # noqa: ARG002  all alike
        return [Hole(length)]

    def extents(self, offset: int, length: int) -> Iterator[Extent]:  # noqa: ARG002
        yield Extent(length, True, self._kind)

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, self._kind, self._name)


class Fixed:
    """A few bytes that are known from the start: boot sectors, partition tables."""

    def __init__(self, data: bytes, kind: Kind, name: str) -> None:
        self.size = len(data)
        self._data = data
        self._kind = kind
        self._name = name

    def pieces(self, offset: int, length: int) -> list[Piece]:
        return [self._data[offset : offset + length]]

    def extents(self, offset: int, length: int) -> Iterator[Extent]:  # noqa: ARG002
        yield Extent(length, False, self._kind)

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, self._kind, self._name)


class Stretch:
    """A part of a section, as a section: where others stand between its parts."""

    def __init__(self, section: Section, start: int, size: int) -> None:
        self.size = size
        self._section = section
        self._start = start

    def pieces(self, offset: int, length: int) -> list[Piece]:
        return self._section.pieces(self._start + offset, length)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        return self._section.extents(self._start + offset, length)

    def regions(self) -> Iterator[Region]:
        for region in self._section.regions():
            start = max(region.offset - self._start, 0)
            end = min(region.offset - self._start + region.length, self.size)
            if start < end:
                yield region._replace(offset=start, length=end - start)


class Image:
    """Sections in a row, without gaps or overlaps: each starts where the one before it ends.

    It is an `Export` (see `pieces`), and a `Section` of a larger image. Images among the given
    sections are taken apart, so that a lookup bisects once however they were put together.
    """

    def __init__(self, sections: Iterable[Section], files: HostFiles | None = None) -> None:
        """`files` are those of the tree that the image is of, where disks inside have others."""
        self._files = files
        self._sections: list[Section] = []
        self._starts: list[int] = []
        self.size = 0
        for section in sections:
            for part in section.sections if isinstance(section, Image) else (section,):
                if part.size:
                    self._starts.append(self.size)
                    self._sections.append(part)
                    self.size += part.size

    @property
    def sections(self) -> Sequence[Section]:
        """The sections from first to last; none is empty and none is an image."""
        return self._sections

    @property
    def host_runs(self) -> HostRuns | None:
        """Where the host's files are; of several sections of them, the largest."""
        return max(self._all_runs(), key=lambda runs: runs.end - runs.start, default=None)

    @property
    def file_runs(self) -> HostRuns | None:
        """Where the files of the tree are that the image is of, and not those of a disk inside."""
        if self._files is None:
            return self.host_runs
        return next((runs for runs in self._all_runs() if runs.files is self._files), None)

    def _all_runs(self) -> Iterator[HostRuns]:
        for start, section in zip(self._starts, self._sections, strict=True):
            runs: HostRuns | None = getattr(section, "host_runs", None)
            if runs:
                yield runs._replace(start=start + runs.start, end=start + runs.end)

    @property
    def host_files(self) -> Sequence[HostFiles]:
        """The sets of host files that its slices are of."""
        found = [getattr(section, "files", None) for section in self._sections]
        return list(dict.fromkeys(files for files in found if files))

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """See `Export.pieces`."""
        starts = self._starts
        if 0 <= offset < self.size and length > 0:  # most: within one section, quickly answered
            number = bisect_right(starts, offset) - 1
            inside = offset - starts[number]
            section = self._sections[number]
            if inside + length <= section.size:
                return section.pieces(inside, length)
        self._check(offset, length)
        pieces: list[Piece] = []
        for section, inside, share in self._shares(offset, offset + length):
            pieces += section.pieces(inside, share)
        return pieces

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Export.extents`."""
        self._check(offset, length)
        for section, inside, share in self._shares(offset, offset + length):
            yield from section.extents(inside, share)

    def regions(self) -> Iterator[Region]:
        """Every stretch that has a name, in order; they tile the image."""
        for start, section in zip(self._starts, self._sections, strict=True):
            for region in section.regions():
                yield region._replace(offset=start + region.offset)

    def _shares(self, offset: int, end: int) -> Iterator[tuple[Section, int, int]]:
        """Each section's share of [offset, end): the section, where in it, how many bytes."""
        number = bisect_right(self._starts, offset) - 1
        while offset < end:
            section = self._sections[number]
            inside = offset - self._starts[number]
            share = min(section.size - inside, end - offset)
            yield section, inside, share
            offset += share
            number += 1

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(
                f"{length} bytes from {offset} are not within an image of {self.size} bytes"
            )
