"""A plan: what has to be where on the host in the end, and what is new of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ..changes import Change
from .folders import Folder, Place
from .outcome import Deed


class Removal(StrEnum):
    """Ways in which something ceases to be where it is."""

    NONE = ""
    TRASH = "trash"
    UNLINK = "unlink"
    """For the old version of what was written anew."""
    FOLDER = "folder"
    """If it is empty."""


@dataclass(slots=True)
class Item:
    """A file or directory that is to get another place, or none."""

    places: list[Place]
    """Its place now, and all those that it gets to."""
    end: Place | None
    """None if it is to be removed."""
    stage: int
    """The directory, on the same mount, where it can be in between."""
    inode: int = 0
    """0 as long as it is not made."""
    size: int = -1
    """Bytes that it has to have to be removed or replaced; -1 if that doesn't matter."""
    mtime_ns: int = 0
    is_new: bool = False
    folder: int = -1
    """Its number if it is a directory."""
    removal: Removal = Removal.NONE
    trash: bytes = b""
    """The path in the trash."""
    deed: int = -1
    """The deed that tells of it."""
    is_alias: bool = False
    """Its new name is its old one to the file system, in other letters."""

    @property
    def is_directory(self) -> bool:
        """Return whether it is a directory."""
        return self.folder >= 0


class Step(NamedTuple):
    """A renaming: an item gets to one of its places, another one perhaps to where it comes from."""

    item: int
    at: int
    """Index in its places."""
    other: int = -1
    """The item that is there so far."""
    other_at: int = -1


class Content(NamedTuple):
    """A file to be written."""

    item: int
    change: Change
    parent: int
    """The directory that it will be in."""
    like: Place | None = None
    """The file whose owner, mode, extended attributes it gets, and times unless the guest has."""
    is_copy: bool = False
    """Its bytes are those of `like`."""


class NewFolder(NamedTuple):
    """A directory to be made."""

    item: int
    parent: int


class Attribute(NamedTuple):
    """A file that becomes read-only, or ceases to be."""

    place: Place
    inode: int
    read_only: bool


@dataclass
class Plan:
    """All that is to be done."""

    run: str
    """The beginning of the names of this run's new files."""
    folders: list[Folder]
    main: int = -1
    """The state directory that has the journal."""
    stages: list[int] = field(default_factory=list)
    """The state directories, one for each mount."""
    items: list[Item] = field(default_factory=list)
    new: list[Content | NewFolder] = field(default_factory=list)
    """In the order in which they can be made."""
    steps: list[Step] = field(default_factory=list)
    removals: list[int] = field(default_factory=list)
    """Items, in the order in which they go."""
    attributes: list[Attribute] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    token: str = ""

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to do."""
        return not (self.items or self.attributes)
