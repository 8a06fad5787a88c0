"""What a directory of a tree is made of: directories of the host, and what is grafted there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import ScanError
from .sources import Place, Sources

_MOST_NAME_BYTES = 255


class Graft(NamedTuple):
    """A file or directory of the host that is put at a place in the tree."""

    target: str
    """Its path in the tree; directories on the way are made where there are none."""
    source: str


@dataclass
class Part:
    """What a directory of the tree is made of; or, in `grafts`, a file."""

    homes: list[int] = field(default_factory=list)
    grafts: dict[str, Part] = field(default_factory=dict)
    file: Place | None = None


def place_graft(root: Part, graft: Graft, sources: Sources) -> None:
    """Notes a graft at its place below `root`. Raises ScanError."""
    names = [name for name in graft.target.split("/") if name]
    _check_names(graft.target, names)
    at = root
    for name in names:
        at = at.grafts.setdefault(name, Part())
    if os.path.isdir(graft.source):
        at.homes.append(sources.root(graft.source))
    elif names:
        at.file = sources.file(graft.source)
    else:
        raise ScanError(f"graft {graft.source}: a file needs a name in the tree")
    if _is_file_and_directory(root):
        raise ScanError(f"graft target {graft.target}: a file and a directory at one place")


def _check_names(target: str, names: list[str]) -> None:
    if ".." in names or "." in names:
        raise ScanError(f"graft target {target}: `.` and `..` are no names in a tree")
    if any(len(os.fsencode(name)) > _MOST_NAME_BYTES for name in names):
        raise ScanError(f"graft target {target}: a name has {_MOST_NAME_BYTES} bytes at most")


def _is_file_and_directory(part: Part) -> bool:
    """Whether a place, or one below, was given to a file and to something else."""
    if part.file and (part.grafts or part.homes):
        return True
    return any(map(_is_file_and_directory, part.grafts.values()))
