"""The manifest: what every file of a disk is on the host, and what became of its name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..synth.fat.disk import directories_of
from ..synth.fat.names import rename_reason
from ..synth.fat.plan import Layout as FatLayout
from ..synth.named import NamedPaths
from ..synth.tree import Tree, host_path
from .files import write_whole

if TYPE_CHECKING:
    from ..synth.iso.facets import Facet
    from ..synth.iso.layout import Layout as IsoLayout


def write_manifest(path: str, tree: Tree, layout: FatLayout | IsoLayout, named: NamedPaths) -> None:
    """Writes one JSON document, a line a file. Raises ClickException."""
    write_whole("--manifest", path, _document(tree, layout), named)


def _document(tree: Tree, layout: FatLayout | IsoLayout) -> Iterator[str]:
    yield '{"files": ['
    separator = "\n"
    for entry in entries(tree, layout):
        yield separator + json.dumps(entry)
        separator = ",\n"
    skipped = [{"path": os.fsdecode(path), "reason": reason} for path, reason in tree.skipped]
    yield f'\n], "skipped": {json.dumps(skipped)}}}\n'


def entries(tree: Tree, layout: FatLayout | IsoLayout) -> Iterator[dict[str, Any]]:
    """What the manifest says of each node but the root.

    Bytes of names that are no UTF-8 are escaped as Python does it, by lone surrogates.
    """
    if isinstance(layout, FatLayout):
        on_disk = _fat_entries(tree, layout)
    else:
        on_disk = _iso_entries(tree, layout)
    for node, entry in enumerate(on_disk, 1):
        yield {
            "path": os.fsdecode(tree.path(node)),
            "number": node + 1,  # in the metadata context x-vfloppy:file
            "type": _type(tree, node),
            "host_path": os.fsdecode(host_path(tree, node)),
            "size": tree.sizes[node],
            "metadata": _digest(tree, node),
            **entry,
        }


def _fat_entries(tree: Tree, layout: FatLayout) -> Iterator[dict[str, Any]]:
    directories = directories_of(layout, tree)
    for node in range(1, len(tree)):
        entry: dict[str, Any] = {
            "long_name": directories.long_name(node),
            "short_name": directories.short_name(node),
            "first_cluster": directories.first_cluster(node),
        }
        if node in layout.renamed:
            entry["renamed"] = rename_reason(tree.name(node))
        yield entry


def _iso_entries(tree: Tree, layout: IsoLayout) -> Iterator[dict[str, Any]]:
    facets: list[tuple[str, Facet, str]] = [("iso_name", layout.primary, "ascii")]
    if layout.joliet:
        facets.append(("joliet_name", layout.joliet, "utf-16-be"))
    for node in range(1, len(tree)):
        entry: dict[str, Any] = {
            key: facet.identifier(node).decode(encoding)
            for key, facet, encoding in facets
            if node not in facet.hidden
        }
        if node in tree.targets:
            entry["target"] = os.fsdecode(tree.targets[node])
        if tree.is_directory(node):
            entry["first_block"], _ = layout.primary_layout.directory_extent(tree.ordinal(node))
        elif tree.sizes[node]:
            entry["first_block"] = layout.file_block(node)
        yield entry


def _type(tree: Tree, node: int) -> str:
    if tree.is_directory(node):
        return "directory"
    if node in tree.targets:
        return "link"
    return "special file" if node in tree.rdevs else "file"


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
