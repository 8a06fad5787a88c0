"""`vfloppy verify`: an image, read back by independent readers, against its directory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import click

from ...export import HostReadError
from ...library.disk import Disk
from ...library.readers import (
    JOLIET_SLASH,
    Found,
    ReaderError,
    fat_files,
    format_of,
    iso_facets,
    missing_bytes,
    opened,
)
from ...synth.fat.disk import directories_of
from ...synth.host.files import ScannedFiles
from ...synth.tree.columns import printable
from ..console import count, human_size, progress_bar, say
from ..disks import describe_disk, open_disk
from ..options.disk import DiskOptions, disk_options

_EPILOG = """\b
Examples:
  vfloppy verify esp.img ~/esp
  vfloppy verify nbd://localhost ~/esp
  vfloppy verify --exclude '*.o' build.iso build/

\b
Exit status: 0 the same, 1 something differs or can't be read, 2 wrong usage.
"""

# The first and the last time that a format holds, and how fine they are, in seconds.
_TIMES = {
    "fat": (datetime(1980, 1, 1), datetime(2107, 12, 31, 23, 59, 58), 2),
    "iso": (datetime(1900, 1, 1), datetime(2155, 12, 31, 23, 59, 59), 1),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What --boot-bios patches in the image (mkisofs, -boot-info-table), and GRUB's list of blocks.
_PATCHED = (range(8, 64), range(2548, 2560))


class _Expected(NamedTuple):
    """What should be at a path."""

    node: int
    is_directory: bool
    size: int
    target: bytes | None


class Difference(NamedTuple):
    """Something that is not on the image as it is in the directory."""

    path: str
    kind: str
    """missing, unexpected, type, size, time, bytes, target or unreadable."""
    text: str


@click.command("verify", epilog=_EPILOG)
@disk_options
@click.argument("image", metavar="IMAGE_OR_URI")
@click.argument("directories", metavar="DIR...", nargs=-1)
@click.option("--times/--no-times", default=True, help="Compare times, too.  [default: times]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what differs.")
def command(
    options: DiskOptions,
    image: str,
    directories: tuple[str, ...],
    times: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the disk IMAGE, or the one at an NBD URI, with DIR: names, sizes, times and bytes.

    The image is read by pyfatfs or pycdlib, which share nothing with what writes it. The options
    that say what is on the disk, and under which name, are those that it was made with.
    """
    usual = None if "format" in options.given else format_of(image)
    description = describe_disk(options, directories, usual_format=usual)
    with opened(image) as stream:
        disk = open_disk(description, options)
        comparison = _Comparison(disk, times=times)
        shown = not quiet and not as_json and sys.stderr is not None and sys.stderr.isatty()
        with progress_bar(sum(disk.tree.sizes), shown) as progress:
            try:
                differences = list(comparison.run(stream, progress))
            except ReaderError as error:
                raise ReaderError(f"{image}: {error}") from error
    if as_json:
        click.echo(json.dumps({"differences": [each._asdict() for each in differences]}, indent=1))
    else:
        for each in differences:
            say(f"{each.kind}: {each.path}: {each.text}")
    if not quiet and not as_json:
        say(
            f"{count(comparison.entries, 'name')} and {human_size(comparison.bytes)} compared, "
            f"{count(len(differences), 'difference')}"
        )
    sys.exit(1 if differences else 0)


class _Comparison:
    """A disk as it should be, held against an image."""

    def __init__(self, disk: Disk, *, times: bool) -> None:
        self.entries = 0
        self.bytes = 0
        self._disk = disk
        self._tree = disk.tree
        self._files = ScannedFiles(disk.tree)
        self._is_joliet = False
        self._starts: dict[int, int] = {}  # where each file's bytes are, in the first facet
        self._with_times = times
        values = disk.description.values
        self._is_fat = disk.format.name == "fat"
        self._earliest, self._latest, self._step = _TIMES[disk.format.name]
        self._zone: tzinfo | None = None if self._is_fat and not values["utc"] else UTC
        self._latest_ns = values["source_date_epoch"]
        boot_file = values.get("boot_bios")
        is_patched = boot_file and values["boot_info_table"] and not values["boot_floppy"]
        self._patched = disk.tree.find(boot_file) if boot_file and is_patched else None

    def run(self, image: BinaryIO, progress: Callable[[int], None]) -> Iterator[Difference]:
        """Everything that differs. Raises ReaderError."""
        missing = missing_bytes(image, is_fat=self._is_fat)
        if missing:
            yield Difference("/", "size", f"the image ends {missing} bytes before its volume does")
        if self._is_fat:
            yield from self._compare(self._fat_names(), fat_files(image), "", progress)
            return
        facets = iso_facets(image)
        expected = self._iso_names()
        first = True
        for name in facets:
            if name not in expected:
                continue
            self._is_joliet = name == "Joliet"
            label = "" if first else f" in {name}"
            yield from self._compare(
                expected[name], facets[name](), label, progress if first else None
            )
            first = False
        for name in expected.keys() - facets.keys():
            yield Difference("/", "missing", f"the names of {name}")

    def _fat_names(self) -> dict[bytes | str, _Expected]:
        return self._paths(
            directories_of(self._disk.layout, self._tree).long_name, "/", frozenset()
        )

    def _iso_names(self) -> Mapping[str, dict[bytes | str, _Expected]]:
        layout: Any = self._disk.layout
        names = {}
        if layout.options.rock_ridge:
            names["Rock Ridge"] = self._paths(self._tree.name, b"/", frozenset())
        for facet in filter(None, (layout.joliet, layout.primary)):
            # Rock Ridge's names are those of the primary tree: that one is compared once.
            if facet is layout.joliet or not layout.options.rock_ridge:
                slash = JOLIET_SLASH if facet is layout.joliet else b"/"
                names[facet.name] = self._paths(facet.identifier, slash, facet.hidden)
        return names

    def _paths(
        self, name_of: Callable[[int], Any], slash: Any, hidden: Any
    ) -> dict[bytes | str, _Expected]:
        """The paths of all nodes on the disk."""
        tree = self._tree
        paths: dict[int, Any] = {0: slash[:0]}
        expected: dict[bytes | str, _Expected] = {}
        for node in range(1, len(tree)):
            if node in hidden:
                continue
            path = paths[tree.directories[tree.parent(node)]] + name_of(node)
            is_directory = tree.is_directory(node)
            if is_directory:
                paths[node] = path + slash
            target = tree.targets.get(node)
            expected[path] = _Expected(node, is_directory, tree.sizes[node], target)
        return expected

    def _compare(
        self,
        expected: dict[bytes | str, _Expected],
        found: Iterator[Found],
        label: str,
        progress: Callable[[int], None] | None,
    ) -> Iterator[Difference]:
        """One facet; with `progress`, the bytes as well."""
        for each in found:
            self.entries += 1
            wanted = expected.pop(each.path, None)
            if wanted is None:
                text = f"on the disk, and not in the directory{label}"
                yield Difference(self._shown(each.path), "unexpected", text)
                continue
            yield from self._of_entry(wanted, each, label)
            if each.is_directory or each.size != wanted.size:
                continue
            if progress:
                self._starts[wanted.node] = each.start
                yield from self._bytes_of(wanted.node, each, progress)
            elif each.size and self._starts.get(wanted.node) != each.start:
                yield from self._bytes_of(wanted.node, each, lambda _: None)
        for path in expected:
            yield Difference(self._shown(path), "missing", f"not on the disk{label}")

    def _of_entry(self, wanted: _Expected, found: Found, label: str) -> Iterator[Difference]:
        path = self._shown(found.path)
        if found.is_directory != wanted.is_directory:
            kinds = ("a file", "a directory")
            text = f"{kinds[found.is_directory]}, {kinds[wanted.is_directory]} expected{label}"
            yield Difference(path, "type", text)
        elif not found.is_directory and found.size != wanted.size:
            text = f"{found.size} bytes, {wanted.size} expected{label}"
            yield Difference(path, "size", text)
        if found.target != wanted.target and not label:
            leads = f"leads to {_printable(found.target)}" if found.target else "is no link"
            text = f"{leads}, {_printable(wanted.target or b'')} expected"
            yield Difference(path, "target", text)
        expected = self._time_of(wanted.node)
        if self._with_times and found.mtime != expected:
            text = f"{found.mtime}, {expected} expected{label}"
            yield Difference(path, "time", text)

    def _time_of(self, node: int) -> datetime:
        """A node's time as the format should have it: the latest step before it, within limits."""
        time_ns = self._tree.mtimes_ns[node]
        if self._latest_ns is not None:
            time_ns = min(time_ns, self._latest_ns)
        try:
            moment = _EPOCH + timedelta(seconds=time_ns // 1_000_000_000)
            local = moment.astimezone(self._zone).replace(tzinfo=None)
        except OverflowError:
            local = self._latest if time_ns > 0 else self._earliest
        local = min(max(local, self._earliest), self._latest)
        return local - timedelta(seconds=local.second % self._step)

    def _bytes_of(
        self, node: int, found: Found, progress: Callable[[int], None]
    ) -> Iterator[Difference]:
        """Where the bytes differ first. Raises ReaderError."""
        position = 0
        try:
            for part in chain(found.parts(), (b"",)):
                if not part:
                    break
                data = self._files.read(node, position, len(part))
                if data != part and (at := self._first_difference(node, position, data, part)) >= 0:
                    text = f"differ from byte {at} on"
                    yield Difference(self._shown(found.path), "bytes", text)
                    return
                position += len(part)
                self.bytes += len(part)
                progress(len(part))
        except HostReadError as error:
            yield Difference(self._shown(found.path), "unreadable", str(error))
            return
        if position != found.size:
            text = f"end after {position} bytes of {found.size}"
            yield Difference(self._shown(found.path), "bytes", text)

    def _first_difference(self, node: int, start: int, one: bytes, other: bytes) -> int:
        """The offset in the file; -1 if only what --boot-bios patches differs."""
        for number, (a, b) in enumerate(zip(one, other, strict=True), start):
            if a != b and not (node == self._patched and any(number in r for r in _PATCHED)):
                return number
        return -1

    def _shown(self, path: bytes | str) -> str:
        """A path for people, from how the facet at hand spells it."""
        if isinstance(path, bytes) and self._is_joliet:
            path = path.decode("utf-16-be", "replace")
        return _printable(path)


def _printable(path: bytes | str) -> str:
    if isinstance(path, str):
        path = path.encode("utf-8", "surrogatepass")
    return printable(path) or "/"
