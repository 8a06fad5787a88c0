"""An image: a row of sections, as an export.

A lookup bisects over the sections, and the section finds its way inside by bisection over columns.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from ...export import (
    MOST_DESCRIPTORS,
    Alerts,
    Batch,
    Detached,
    Export,
    Extent,
    Features,
    FileRun,
    FileSlice,
    Piece,
    Range,
    Reader,
    check_range,
)
from .contents import OpenContents
from .files import FileSource, OpenedFiles
from .section import OpenSection, Region, Section


class Image(Export):
    """Sections in a row, without gaps or overlaps: each starts where the one before it ends.

    Images among the given sections are taken apart, so that a lookup bisects once however they
    were put together.

    Files are numbered as in the tree of `numbered`, or of the first source of files that is among
    the sections; what is of other sources has no number, or the one that `numbers` has for the
    section or image that it is in: a disk inside is a file, too.
    """

    def __init__(
        self,
        sections: Iterable[Section | Image],
        identity: bytes = b"",
        numbered: FileSource | None = None,
        numbers: Mapping[Section | Image, int] | None = None,
    ) -> None:
        self._sections: list[Section] = []
        self._numbers: dict[int, int] = {}  # by the section's place
        self._starts: list[int] = []
        self._identity = identity
        end = 0
        for section in sections:
            number = (numbers or {}).get(section, 0)
            for part in section.sections if isinstance(section, Image) else (section,):
                if part.size:
                    if number:
                        self._numbers[len(self._sections)] = number
                    self._starts.append(end)
                    self._sections.append(part)
                    end += part.size
        self._size = end
        sources = (source for each in self._sections for source in each.sources)
        self._numbered = numbered or next(sources, None)

    @property
    def size(self) -> int:
        """See `Export.size`."""
        return self._size

    @property
    def identity(self) -> bytes:
        """See `Export.identity`."""
        return self._identity

    @property
    def features(self) -> Features:
        """See `Export.features`."""
        sources = dict.fromkeys(source for each in self._sections for source in each.sources)
        return Features(directories=tuple(each for s in sources for each in s.directories))

    def file_name(self, number: int) -> str:
        """See `Export.file_name`."""
        numbered = (each for each in self._sections if self._numbered in each.sources)
        return next(filter(None, (each.file_name(number) for each in numbered)), "")

    @property
    def sections(self) -> Sequence[Section]:
        """Return the sections from first to last; none is empty and none is an image."""
        return self._sections

    def open(self, alerts: Alerts | None = None) -> ImageReader:
        """See `Export.open`."""
        files = OpenedFiles(alerts)
        return ImageReader(
            self._sections, self._starts, self._size, files, self._numbered, self._numbers
        )

    def regions(self) -> Iterator[Region]:
        """Yield every stretch that has a name, in order; they tile the image."""
        for start, section in zip(self._starts, self._sections, strict=True):
            for region in section.regions():
                yield region._replace(offset=start + region.offset)


class ImageReader(Reader):
    """The sections of an image, with the files that one reader has open."""

    def __init__(
        self,
        sections: Sequence[Section],
        starts: Sequence[int],
        size: int,
        files: OpenedFiles,
        numbered: FileSource | None,
        numbers: Mapping[int, int],
    ) -> None:
        self.size = size
        self._starts = starts
        self._sections = [section.open(files) for section in sections]
        pairs = zip(sections, self._sections, strict=True)
        self._numbered = {each for section, each in pairs if numbered in section.sources}
        self._numbers = {self._sections[place]: number for place, number in numbers.items()}
        self._files = files
        self._origin = 0
        self._contents: OpenContents | None = None  # the largest: it answers batches
        for start, each in zip(starts, self._sections, strict=True):
            if isinstance(each, OpenContents) and (
                self._contents is None or each.size > self._contents.size
            ):
                self._origin, self._contents = start, each

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """See `Reader.pieces`."""
        starts = self._starts
        if 0 <= offset < self.size and length > 0:  # most: within one section, quickly answered
            number = bisect_right(starts, offset) - 1
            inside = offset - starts[number]
            section = self._sections[number]
            if inside + length <= section.size:
                return section.pieces(inside, length)
        check_range(offset, length, self.size)
        pieces: list[Piece] = []
        for section, inside, share in self._shares(offset, offset + length):
            pieces += section.pieces(inside, share)
        return pieces

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Reader.extents`."""
        check_range(offset, length, self.size)
        for section, inside, share in self._shares(offset, offset + length):
            yield from section.extents(inside, share)

    def files(self, offset: int, length: int) -> Iterator[FileRun]:
        """See `Reader.files`."""
        check_range(offset, length, self.size)
        for section, inside, share in self._shares(offset, offset + length):
            if section in self._numbered:
                yield from section.files(inside, share)
            else:
                yield FileRun(share, self._numbers.get(section, 0))

    def read_batch(self, ranges: Sequence[Range], *, lends: bool = False) -> Batch:
        """See `Reader.read_batch`."""
        if self._contents is None:
            return super().read_batch(ranges, lends=lends)
        return self._contents.read_batch(ranges, self._origin, lends, self.read_simple)

    def read_simple(self, offset: int, length: int) -> bytes | None:
        """See `Reader.read_simple`."""
        contents = self._contents
        if contents is not None and 0 <= offset - self._origin < contents.size:
            data = contents.read_simple(offset - self._origin, length)
            if data is not None:
                return data
        return super().read_simple(offset, length)

    def prefetch(self, offset: int, length: int) -> None:
        """See `Reader.prefetch`."""
        for piece in self.pieces(offset, length):
            if isinstance(piece, FileSlice):
                piece.prefetch()

    def detach(self) -> Detached | None:
        """See `Reader.detach`."""
        if sum(files.open_count for files in self._files.all) > MOST_DESCRIPTORS:
            return None
        state, descriptors = array("Q"), []
        for files in self._files.all:
            nodes, opened = files.detach()
            state.append(len(nodes))
            state.extend(nodes)
            descriptors += opened
        return Detached(state.tobytes(), tuple(descriptors))

    def adopt(self, detached: Detached) -> None:
        """See `Reader.adopt`. Raise ValueError for a state that is none of this image."""
        state, descriptors = iter(array("Q", detached.state)), iter(detached.descriptors)
        for files in self._files.all if detached.state else ():
            count = next(state, 0)
            files.adopt(list(islice(state, count)), list(islice(descriptors, count)))
        if next(state, None) is not None or next(descriptors, None) is not None:
            raise ValueError("more open files are handed over than were told of")

    def close(self) -> None:
        """See `Reader.close`."""
        for files in self._files.all:
            files.close()

    def _shares(self, offset: int, end: int) -> Iterator[tuple[OpenSection, int, int]]:
        """Yield the parts of [offset, end) by section: section, offset inside it, length."""
        number = bisect_right(self._starts, offset) - 1
        while offset < end:
            section = self._sections[number]
            inside = offset - self._starts[number]
            share = min(section.size - inside, end - offset)
            yield section, inside, share
            offset += share
            number += 1
