"""The manifest: what every file of a disk is on the host, and what became of its name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from ..synth.fat.disk import directories_of
from ..synth.fat.names import rename_reason
from ..synth.fat.plan import Layout
from ..synth.tree import Tree, host_path


def write_manifest(path: str, tree: Tree, layout: Layout) -> None:
    """Writes one JSON document, a line a file. Raises OSError."""
    with open(path, "w", encoding="utf-8") as out:
        out.write('{"files": [')
        separator = "\n"
        for entry in entries(tree, layout):
            out.write(separator + json.dumps(entry))
            separator = ",\n"
        skipped = [{"path": os.fsdecode(path), "reason": reason} for path, reason in tree.skipped]
        out.write(f'\n], "skipped": {json.dumps(skipped)}}}\n')


def entries(tree: Tree, layout: Layout) -> Iterator[dict[str, Any]]:
    """What the manifest says of each node but the root.

    Bytes of names that are no UTF-8 are escaped as Python does it, by lone surrogates.
    """
    directories = directories_of(layout, tree)
    for node in range(1, len(tree)):
        is_directory = tree.is_directory(node)
        entry: dict[str, Any] = {
            "path": os.fsdecode(tree.path(node)),
            "type": "directory" if is_directory else "file",
            "host_path": os.fsdecode(host_path(tree, node)),
            "long_name": directories.long_name(node),
            "short_name": directories.short_name(node),
            "first_cluster": directories.first_cluster(node),
            "size": tree.sizes[node],
            "metadata": _digest(tree, node),
        }
        if node in layout.renamed:
            entry["renamed"] = rename_reason(tree.name(node))
        yield entry


def _digest(tree: Tree, node: int) -> str:
    """Tells whether a file is still the one that was scanned, without its contents."""
    identity = (
        tree.modes[node],
        tree.sizes[node],
        tree.mtimes_ns[node],
        tree.ctimes_ns[node],
        tree.inodes[node],
    )
    return hashlib.blake2b(repr(identity).encode(), digest_size=16).hexdigest()
