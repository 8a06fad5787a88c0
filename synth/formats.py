"""The formats of disks: what each has to say for itself, and the register of them.

A new format is a folder, with its declared options in `options` and its `Format` in `format`, and
its name in `NAMES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from importlib import import_module
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from ..options import Option, Values
from .findings import Finding
from .image.files import FileSource
from .image.image import Image
from .tree.columns import Tree

NAMES = ("fat", "iso")
"""The names of the formats, in options and as folders; the first is the usual one."""

LayoutT = TypeVar("LayoutT")
Order = Callable[[bytes], Callable[[bytes, bool], Any]]


class Renamed(NamedTuple):
    """A name that could not stay as the host has it."""

    path: str
    """In the tree."""
    name: str
    """On the disk."""
    reason: str
    where: str = ""
    """For which readers only, if not for all: `Joliet`."""


class InnerDisk(NamedTuple):
    """A disk that stands inside the image of another, made of a directory of its own."""

    option: str
    """The option that asks for it."""
    directory: str
    format: str
    attempts: Sequence[Mapping[str, Any]]
    """Options to try in turn: the first that the directory fits is taken."""
    path: str
    """The place in the outer tree where the disk is a file."""
    elsewhere: str
    """The option that gives it another place."""


class OwnFile(NamedTuple):
    """A file of the tree whose contents the format makes; it takes the place of a file there."""

    path: str
    size: int
    mtime_ns: int


class Names(NamedTuple):
    """One set of names by which an image should show a tree: those of Joliet, for instance."""

    title: str
    separator: bytes | str
    """Stands between names in a path; of the type that names are of."""
    name_of: Callable[[int], Any]
    """Gives a node's name."""
    hidden: Container[int] = frozenset()
    """Nodes that these names don't reach."""
    encoding: str = "utf-8"
    """The encoding in which names that are bytes are shown to people."""


class Times(NamedTuple):
    """The times that a format holds: the latest step before a time, within limits."""

    earliest: datetime
    latest: datetime
    step_s: int
    zone: tzinfo | None
    """The zone of times as they are on the disk; None: the local one."""
    latest_ns: int | None
    """No time on the disk is later than this, in nanoseconds since 1970."""


class Patch(NamedTuple):
    """Bytes of a file that a program that makes images has replaced by others."""

    ranges: Sequence[range]
    text: str
    """A name for it, for messages."""


class Format(ABC, Generic[LayoutT]):
    """A file system that trees are laid out as."""

    name: ClassVar[str]
    options: ClassVar[tuple[Option, ...]]
    readers: ClassVar[tuple[str, ...]]
    """Programs and systems that findings are about."""
    reader: ClassVar[str] = ""
    """The program, not of ours, that reads images back (`library/reading.py`); empty: none."""

    @abstractmethod
    def check(self, values: Values, given: Collection[str]) -> None:
        """Raise OptionError or PlanError for options that contradict each other."""

    def keeps_links(self, values: Values) -> bool:  # noqa: ARG002
        """Return whether symbolic links and special files can stay what they are."""
        return False

    def fold(self, values: Values) -> Callable[[str], str]:  # noqa: ARG002
        """Return what gives two names the same text if readers take them for one name."""
        return str

    def order(self, values: Values) -> Order | None:  # noqa: ARG002
        """Return the order of directories that nodes are to have; see `ScanOptions.order`.

        Raise OptionError.
        """
        return None

    def inner_disks(self, values: Values) -> Sequence[InnerDisk]:  # noqa: ARG002
        """Return what disks the image is to hold."""
        return ()

    def grafts(self, values: Values) -> Sequence[tuple[str, str]]:
        """Return places in the tree, and what of the host goes there."""
        return values["graft"]  # type: ignore[no-any-return]

    def own_files(self, values: Values) -> Sequence[OwnFile]:  # noqa: ARG002
        """Return the files that the tree is to have and no directory of the host has."""
        return ()

    def own_contents(self, layout: LayoutT) -> Mapping[int, bytes]:  # noqa: ARG002
        """Return what is in those, by node."""
        return {}

    @abstractmethod
    def plan(self, tree: Tree, values: Values, inner: Mapping[str, int]) -> LayoutT:
        """Lay a tree out, which holds disks of so many bytes by the option that asks for each.

        Raise PlanError.
        """

    @abstractmethod
    def image(
        self, layout: LayoutT, tree: Tree, source: FileSource, inner: Mapping[str, Image]
    ) -> Image:
        """Return the image of a layout. Raise PlanError when a given boot code doesn't fit."""

    @abstractmethod
    def title(self, layout: LayoutT) -> str:
        """Return the name of the file system: `FAT32`."""

    @abstractmethod
    def renamed(self, layout: LayoutT, tree: Tree) -> Iterator[Renamed]:
        """Yield the names that could not stay as the host has them."""

    @abstractmethod
    def renamed_count(self, layout: LayoutT) -> int:
        """Return how many those are."""

    @abstractmethod
    def entries(self, layout: LayoutT, tree: Tree) -> Iterator[dict[str, Any]]:
        """Yield what a manifest says of each node but the root: names on the disk, places."""

    @abstractmethod
    def lint(self, layout: LayoutT, tree: Tree) -> Iterator[Finding]:
        """Yield what readers would trip over."""

    def notes(self, layout: LayoutT, tree: Tree) -> Sequence[str]:  # noqa: ARG002
        """Return sentences on what is not as the options have it, for whoever gave them."""
        return ()

    def measures(self, layout: LayoutT) -> str:  # noqa: ARG002
        """Return the measures of the disk that its size doesn't tell, for a summary."""
        return ""

    def usual_readers(self, layout: LayoutT) -> set[str]:  # noqa: ARG002
        """Return which of `readers` findings are about, unless somebody says it."""
        return set(self.readers)

    @abstractmethod
    def device(self, layout: LayoutT) -> str:
        """Return where guestfish finds the file system: `/dev/sda1`."""

    @abstractmethod
    def drive(self, layout: LayoutT) -> str:
        """Return what QEMU's -drive should make of it: `media=cdrom`."""

    def names(self, layout: LayoutT, tree: Tree) -> Sequence[Names]:  # noqa: ARG002
        """Return by which names the image should show the tree; contents are read by the first."""
        return ()

    def times(self, layout: LayoutT) -> Times:
        """Return what becomes of the files' times. Needed where something reads images back."""
        raise NotImplementedError

    def inside(self, layout: LayoutT) -> Mapping[int, str]:  # noqa: ARG002
        """Return which nodes are disks inside, each with the option that asked for it."""
        return {}

    def patched(self, layout: LayoutT, tree: Tree) -> Mapping[int, Sequence[range]]:  # noqa: ARG002
        """Return which bytes of which nodes are not on the image as the host has them."""
        return {}

    def patch_in(self, found: bytes, start: int, expected: bytes, size: int) -> Patch | None:  # noqa: ARG002
        """Return what a program that makes images has patched into a file, by how it begins.

        `found` is on the image, from `start` on in the reader's units, and `expected` on the host.
        """
        return None


def format_named(name: str) -> Format[Any]:
    """Return a format by its name, one of `NAMES`."""
    found: Format[Any] = import_module(f".{name}.format", __package__).FORMAT
    return found


def format_of_file_name(name: str) -> str | None:
    """Return the name of the format that a file's name asks for by how it ends."""
    for each in NAMES:
        suffixes: tuple[str, ...] = import_module(f".{each}.options", __package__).SUFFIXES
        if suffixes and name.lower().endswith(suffixes):
            return each
    return None


def options_of(name: str) -> tuple[Option, ...]:
    """Return the options of a format, without all that it takes to make a disk."""
    found: tuple[Option, ...] = import_module(f".{name}.options", __package__).OPTIONS
    return found
