"""Sections: the parts of an image, each of which computes its own bytes when somebody asks.

Sections are few (partition table, reserved area, tables, directories, file contents, free space)
however many files there are: each finds its way inside by bisection over columns. A row of
sections is itself a section, so an image can stand inside another one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...export import Extent, FileRun, Hole, Kind, Piece
from .files import FileSource, OpenedFiles


class Region(NamedTuple):
    """A stretch of an image with a name of its own, for maps. Offset and length in bytes."""

    offset: int
    length: int
    kind: Kind
    name: str


class OpenSection(ABC):
    """A part of an image as a reader has it. Offsets and lengths are in bytes from its start.

    Callers stay within the section and never ask for nothing: only `ImageReader` checks.
    """

    size: int
    kind: Kind

    @abstractmethod
    def pieces(self, offset: int, length: int) -> list[Piece]:
        """Return the range as pieces; see `Reader.pieces`."""

    def extents(self, offset: int, length: int) -> Iterator[Extent]:  # noqa: ARG002
        """Yield the structure of the range; see `Reader.extents`. Here, all is data."""
        yield Extent(length, False, self.kind)

    def files(self, offset: int, length: int) -> Iterator[FileRun]:  # noqa: ARG002
        """Yield the files of the range; see `Reader.files`."""
        yield FileRun(length, 0)


class Section(ABC):
    """A part of an image."""

    size: int
    sources: Sequence[FileSource] = ()
    """The sources of the files whose contents it holds."""

    def file_name(self, number: int) -> str:  # noqa: ARG002
        """Return the path of a file of `OpenSection.files`; empty where it is not known here."""
        return ""

    @abstractmethod
    def open(self, files: OpenedFiles) -> OpenSection:
        """Return the section for one reader, whose files `files` opens."""

    @abstractmethod
    def regions(self) -> Iterator[Region]:
        """Yield all that has a name of its own, in order; the regions tile the section."""


class Computed(Section, OpenSection):
    """A section that needs no files, and so is the same for all readers."""

    def open(self, files: OpenedFiles) -> OpenSection:  # noqa: ARG002
        """See `Section.open`."""
        return self


class Zeros(Computed):
    """Bytes that are all zero: gaps, padding, free space."""

    def __init__(self, size: int, kind: Kind, name: str) -> None:
        self.size = size
        self.kind = kind
        self._name = name

    def pieces(self, offset: int, length: int) -> list[Piece]:  # noqa: ARG002  all alike
        return [Hole(length)]

    def extents(self, offset: int, length: int) -> Iterator[Extent]:  # noqa: ARG002
        yield Extent(length, True, self.kind)

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, self.kind, self._name)


class Fixed(Computed):
    """A few bytes that are known from the start: boot sectors, partition tables."""

    def __init__(self, data: bytes, kind: Kind, name: str) -> None:
        self.size = len(data)
        self._data = data
        self.kind = kind
        self._name = name

    def pieces(self, offset: int, length: int) -> list[Piece]:
        return [self._data[offset : offset + length]]

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, self.kind, self._name)


class Stretch(Section):
    """A part of a section, as a section: where others stand between its parts."""

    def __init__(self, section: Section, start: int, size: int) -> None:
        self.size = size
        self.sources = section.sources
        self._section = section
        self._start = start

    def open(self, files: OpenedFiles) -> OpenSection:
        """See `Section.open`."""
        return _OpenStretch(self._section.open(files), self._start, self.size)

    def regions(self) -> Iterator[Region]:
        for region in self._section.regions():
            start = max(region.offset - self._start, 0)
            end = min(region.offset - self._start + region.length, self.size)
            if start < end:
                yield region._replace(offset=start, length=end - start)


class _OpenStretch(OpenSection):
    """The same for a reader."""

    def __init__(self, section: OpenSection, start: int, size: int) -> None:
        self.size = size
        self._section = section
        self._start = start

    def pieces(self, offset: int, length: int) -> list[Piece]:
        return self._section.pieces(self._start + offset, length)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        return self._section.extents(self._start + offset, length)

    def files(self, offset: int, length: int) -> Iterator[FileRun]:
        return self._section.files(self._start + offset, length)
