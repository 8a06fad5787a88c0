"""The manifest: what every file of a disk is on the host, and what became of its name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..synth.tree.columns import Tree
from ..synth.tree.origins import host_path

if TYPE_CHECKING:
    from .disk import Disk


def document(disk: Disk) -> Iterator[str]:
    """Yield the parts of one JSON document, a line a file."""
    yield '{"files": ['
    separator = "\n"
    for entry in entries(disk):
        yield separator + json.dumps(entry)
        separator = ",\n"
    skipped = [{"path": os.fsdecode(path), "reason": why} for path, why in disk.tree.skipped]
    yield f'\n], "skipped": {json.dumps(skipped)}}}\n'


def entries(disk: Disk) -> Iterator[dict[str, Any]]:
    """Yield what the manifest says of each node but the root.

    Bytes of names that are no UTF-8 are escaped as Python does it, by lone surrogates.
    """
    tree, values = disk.tree, disk.description.values
    inside = disk.format.inside(disk.layout)
    own = disk.format.own_contents(disk.layout)
    for node, entry in enumerate(disk.format.entries(disk.layout, tree), 1):
        option = inside.get(node)
        yield {
            "path": os.fsdecode(tree.path(node)),
            "number": node + 1,  # in the metadata context x-vfloppy:file
            "type": _type(tree, node),
            "host_path": None if node in own else _host_path(tree, node, option and values[option]),
            "size": tree.sizes[node],
            "metadata": _digest(tree, node),
            **entry,
        }


def _host_path(tree: Tree, node: int, inside: str | None) -> str:
    """Return the path of a file, or that of the directory of a disk inside."""
    return os.path.abspath(inside) if inside else os.fsdecode(host_path(tree, node))


def _type(tree: Tree, node: int) -> str:
    if tree.is_directory(node):
        return "directory"
    if node in tree.targets:
        return "link"
    return "special file" if node in tree.rdevs else "file"


def _digest(tree: Tree, node: int) -> str:
    """Return a text that differs if a file isn't the one that was scanned any more."""
    identity = (
        tree.modes[node],
        tree.sizes[node],
        tree.mtimes_ns[node],
        tree.origins.ctimes_ns[node],
        tree.inodes[node],
    )
    return hashlib.blake2b(repr(identity).encode(), digest_size=16).hexdigest()
