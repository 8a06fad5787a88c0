"""An image held against its directory: names, sizes, times and bytes, read back by other programs.

The format of the disk says which program reads the image, and which names are expected there.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..errors import OptionError, Spelling, VfloppyError, in_python, worded
from ..export import Export, HostReadError
from ..synth.formats import NAMES, Names, Patch, format_named
from ..synth.host.files import ScannedFiles
from ..synth.tree.columns import Tree, printable
from .description import Path
from .reading import Found, ReaderError, reader_named

if TYPE_CHECKING:
    from .disk import Disk, Progress

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PART_BYTES = 1 << 20

Source = Path | BinaryIO | io.RawIOBase
"""An image: a path, a binary file that can be sought in, or an NBD URI as a text."""


class Difference(NamedTuple):
    """Something that is not on the image as it is in the directory."""

    path: str
    kind: str
    """missing, unexpected, type, size, time, bytes, target or unreadable."""
    text: str


class _Expected(NamedTuple):
    """A node that should be at a path."""

    node: int
    is_directory: bool
    size: int
    target: bytes | None


def verify(
    disk: Disk, image: Source, *, times: bool = True, progress: Progress = lambda _: None
) -> list[Difference]:
    """Return what differs between an image and what the disk should be. See `Disk.verify`."""
    comparison = Comparison(disk, times=times)
    with opened(image) as stream:
        return comparison.run(stream, progress, _title(image))


def format_of(image: Source) -> str:
    """Return the name of the format that is on an image, or the usual one. Raise as `opened`."""
    with opened(image) as stream:
        for each in NAMES:
            name = format_named(each).reader
            if name and reader_named(name).is_sure(stream):
                return each
    return NAMES[0]


@contextmanager
def opened(image: Source) -> Iterator[BinaryIO]:
    """Open what is meant by an image; one that was given as a file stays open.

    Raise OptionError where none is, and ClientError for an export that can't be reached.
    """
    from ..nbd.client import Client, ExportFile, is_uri  # noqa: PLC0415  seldom needed

    if isinstance(image, io.RawIOBase):
        buffered = io.BufferedReader(image, _PART_BYTES)
        try:
            yield buffered
        finally:
            buffered.detach()
    elif not isinstance(image, str | bytes | os.PathLike):
        yield image
    elif isinstance(image, str) and is_uri(image):
        with io.BufferedReader(ExportFile(Client(image)), _PART_BYTES) as stream:
            yield stream
    else:
        try:
            file = open(image, "rb", buffering=_PART_BYTES)  # noqa: SIM115  closed below
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise OptionError(f"{_title(image)}: {reason}") from None
        with file:
            yield file


def _title(image: Source) -> str:
    """Return what an image is called in messages."""
    if isinstance(image, str | bytes | os.PathLike):
        return printable(os.fsencode(image))
    return "the image"


class Comparison:
    """A disk as it should be, held against an image."""

    def __init__(self, disk: Disk, *, times: bool = True, spelling: Spelling = in_python) -> None:
        self.entries = 0
        """The number of names that were found, in all sets of names."""
        self.bytes = 0
        """The number of bytes that were compared."""
        self._tree = disk.tree
        inside = disk.format.inside(disk.layout)
        images = {part.option: part.image for part in disk.parts}
        self._inside = {node: images[option] for node, option in inside.items()}
        self._own = disk.format.own_contents(disk.layout)
        self._spelling = spelling
        self._format = disk.format
        self._names = disk.format.names(disk.layout, disk.tree)
        self._times = disk.format.times(disk.layout) if times and self._names else None
        self._patched = disk.format.patched(disk.layout, disk.tree)
        self._starts: dict[int, int] = {}  # where each file's bytes are, by the first names

    def run(
        self, image: BinaryIO, progress: Progress = lambda _: None, title: str = "the image"
    ) -> list[Difference]:
        """Return everything that differs.

        Raise ReaderError, with the image's `title`, for what can't be read at all.
        """
        try:
            with closing(_Expectations(self._tree, self._inside, self._own)) as files:
                return list(self._run(image, files, progress))
        except ReaderError as error:
            raise ReaderError(f"{title}: {error.marked}") from error
        except OSError as error:
            if isinstance(error, VfloppyError):  # the image is a disk of ours
                raise
            raise ReaderError(f"{title}: {error.strerror or error}") from error

    def patch_of(self, found: Found, part: bytes, expected: bytes) -> Patch | None:
        """Return what another program has patched into a file, if the format knows it."""
        patch = self._format.patch_in(part, found.start, expected, found.size)
        return patch and patch._replace(text=worded(patch.text, self._spelling))

    def _run(
        self, image: BinaryIO, files: _Expectations, progress: Progress
    ) -> Iterator[Difference]:
        reader = reader_named(self._format.reader)
        missing = reader.volume_end(image) - image.seek(0, io.SEEK_END)
        if missing > 0:
            yield Difference("/", "size", f"the image ends {missing} bytes before its volume does")
        found = reader.read_back(image)
        first = True
        for names in self._names:
            if names.title not in found:
                yield Difference("/", "missing", f"the names of {names.title}")
                continue
            label = "" if first else f" in {names.title}"
            view = _View(self, names, files, label, progress if first else None)
            yield from view.compare(found[names.title]())
            first = False


class _Expectations:
    """The contents that files should have: those of the host, disks inside, the format's own."""

    def __init__(self, tree: Tree, inside: Mapping[int, Export], own: Mapping[int, bytes]) -> None:
        self._own = own
        self._files = ScannedFiles(tree)
        self._inside = {node: export.open() for node, export in inside.items()}

    def read(self, node: int, offset: int, length: int) -> bytes:
        """Return what should be there. Raise HostReadError."""
        if node in self._inside:
            return self._inside[node].read(offset, length)
        if node in self._own:
            return self._own[node][offset : offset + length]
        return self._files.read(node, offset, length)

    def close(self) -> None:
        for reader in self._inside.values():
            reader.close()
        self._files.close()


class _View:
    """A tree by one set of names, as an image should show it.

    With `progress`, bytes are compared; else only those that stand elsewhere than by the first
    names.
    """

    def __init__(
        self,
        comparison: Comparison,
        names: Names,
        files: _Expectations,
        label: str,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._all = comparison
        self._tree = comparison._tree
        self._times = comparison._times
        self._patched = comparison._patched
        self._starts = comparison._starts
        self._names = names
        self._files = files
        self._label = label
        self._progress = progress

    def compare(self, found: Iterator[Found]) -> Iterator[Difference]:
        """Yield what differs. Raise ReaderError."""
        expected = self._expected()
        for each in found:
            self._all.entries += 1
            wanted = expected.pop(each.path, None)
            if wanted is None:
                text = f"on the disk, and not in the directory{self._label}"
                yield Difference(self._shown(each.path), "unexpected", text)
                continue
            yield from self._of_entry(wanted, each)
            if each.is_directory or each.size != wanted.size:
                continue
            if self._progress:
                self._starts[wanted.node] = each.start
                yield from self._bytes_of(wanted.node, each, self._progress)
            elif each.size and self._starts.get(wanted.node) != each.start:
                yield from self._bytes_of(wanted.node, each, lambda _: None)
        for path in expected:
            yield Difference(self._shown(path), "missing", f"not on the disk{self._label}")

    def _expected(self) -> dict[bytes | str, _Expected]:
        """Return what should be there, by paths."""
        tree, names = self._tree, self._names
        slash = names.separator
        folders = {0: slash[:0]}
        expected: dict[bytes | str, _Expected] = {}
        for node in range(1, len(tree)):
            if node in names.hidden:
                continue
            path = folders[tree.directories[tree.parent(node)]] + names.name_of(node)
            is_directory = tree.is_directory(node)
            if is_directory:
                folders[node] = path + slash
            target = tree.targets.get(node)
            expected[path] = _Expected(node, is_directory, tree.sizes[node], target)
        return expected

    def _of_entry(self, wanted: _Expected, found: Found) -> Iterator[Difference]:
        path = self._shown(found.path)
        if found.is_directory != wanted.is_directory:
            kinds = ("a file", "a directory")
            text = f"{kinds[found.is_directory]}, {kinds[wanted.is_directory]} expected"
            yield Difference(path, "type", text + self._label)
        elif not found.is_directory and found.size != wanted.size:
            text = f"{found.size} bytes, {wanted.size} expected{self._label}"
            yield Difference(path, "size", text)
        if found.target != wanted.target and not self._label:
            leads = f"leads to {_printable(found.target)}" if found.target else "is no link"
            text = f"{leads}, {_printable(wanted.target or b'')} expected"
            yield Difference(path, "target", text)
        if self._times and found.mtime != (expected := self._time_of(wanted.node)):
            yield Difference(path, "time", f"{found.mtime}, {expected} expected{self._label}")

    def _time_of(self, node: int) -> datetime:
        """Return a node's time as the format should have it."""
        times = self._times
        assert times is not None
        time_ns = self._tree.mtimes_ns[node]
        if times.latest_ns is not None:
            time_ns = min(time_ns, times.latest_ns)
        try:
            moment = _EPOCH + timedelta(seconds=time_ns // 1_000_000_000)
            local = moment.astimezone(times.zone).replace(tzinfo=None)
        except OverflowError:
            local = times.latest if time_ns > 0 else times.earliest
        local = min(max(local, times.earliest), times.latest)
        return local - timedelta(seconds=local.second % times.step_s)

    def _bytes_of(
        self, node: int, found: Found, progress: Callable[[int], None]
    ) -> Iterator[Difference]:
        """Yield where the bytes differ first, and why if that can be told. Raise ReaderError."""
        position, cause = 0, ""
        patched = self._patched.get(node, ())
        try:
            for part in chain(found.parts(), (b"",)):
                if not part:
                    break
                data = self._files.read(node, position, len(part))
                at = _first_difference(position, data, part, patched)
                if at >= 0 and not position and (patch := self._all.patch_of(found, part, data)):
                    # By somebody else; let's see if that is all.
                    patched = patch.ranges
                    at = _first_difference(0, data, part, patched)
                    cause = patch.text
                if at >= 0:
                    also = f" besides {cause}" if cause else ""
                    text = f"differ from byte {at} on{also}"
                    yield Difference(self._shown(found.path), "bytes", text)
                    return
                position += len(part)
                self._all.bytes += len(part)
                progress(len(part))
        except HostReadError as error:
            yield Difference(self._shown(found.path), "unreadable", str(error))
            return
        if position != found.size:
            text = f"end after {position} bytes of {found.size}"
            yield Difference(self._shown(found.path), "bytes", text)
        elif cause:
            yield Difference(self._shown(found.path), "bytes", f"differ only by {cause}")

    def _shown(self, path: bytes | str) -> str:
        """Return a path for people, from how these names spell it."""
        if isinstance(path, bytes) and self._names.encoding != "utf-8":
            path = path.decode(self._names.encoding, "replace")
        return _printable(path)


def _first_difference(start: int, one: bytes, other: bytes, patched: Sequence[range]) -> int:
    """Return the offset in a file; -1 if nothing differs but what is patched."""
    if one == other:
        return -1
    for number, (a, b) in enumerate(zip(one, other, strict=True), start):
        if a != b and not any(number in each for each in patched):
            return number
    return -1


def _printable(path: bytes | str) -> str:
    if isinstance(path, str):
        path = path.encode("utf-8", "surrogatepass")
    return printable(path) or "/"
