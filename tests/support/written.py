"""Disks that somebody else has written to, as snapshots; and what their changes come to."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vfloppy
from compare import assert_same
from readers import mtools_tree
from tools import need_tool, output
from vfloppy.harvest.changes import Change, Changes, Kind
from vfloppy.harvest.harvesting import harvest
from vfloppy.harvest.volume import Volume
from vfloppy.library.disk import Disk

Contents = dict[str, bytes | None]
_SECTOR = 512
_PART = 1 << 16


class Written:
    """A snapshot of bytes that were an image once; what was written to is found by comparing."""

    def __init__(
        self,
        served: bytes,
        data: bytes | bytearray,
        *,
        everything: bool = False,
        end: int | None = None,
    ) -> None:
        """Nothing was written from byte `end` on."""
        self.size = len(data)
        self._end = self.size if end is None else min(end, self.size)
        self._served = served
        self._data = data
        self._everything = everything

    @classmethod
    def of(cls, served: Path, written: Path, *, everything: bool = False) -> Written:
        return cls(served.read_bytes(), written.read_bytes(), everything=everything)

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        return bytes(self._data[offset : offset + length])

    def touched(self) -> Iterator[tuple[int, int]]:
        """Sectors that differ; all of the disk if `everything`, as after copying it whole."""
        if self._everything:
            yield 0, self.size
            return
        for part in range(0, self._end, _PART):
            if self._served[part : part + _PART] == self._data[part : part + _PART]:
                continue
            for at in range(part, min(part + _PART, self._end), _SECTOR):
                if self._served[at : at + _SECTOR] != self._data[at : at + _SECTOR]:
                    yield at, min(_SECTOR, self.size - at)


def harvested(disk: Disk, snapshot: Any, **options: Any) -> Changes:
    """The changes between a disk and a snapshot of it."""
    return harvest(disk.layout, disk.tree, disk.export, snapshot, **options)


def applied(before: Contents, changes: Changes) -> Contents:
    """What a tree becomes by changes; paths that collide on the way are a failure."""
    moves = {"/".join(c.old_path): "/".join(c.path) for c in changes.changes if c.old_path}
    removed = {"/".join(c.path) for c in changes.changes if c.kind is Kind.REMOVED}

    def now(path: str) -> str:
        if path in moves:
            return moves[path]
        parent, _, name = path.rpartition("/")
        return f"{now(parent)}/{name}" if parent else name

    after: Contents = {}
    for path, content in before.items():
        if path not in removed:
            assert now(path) not in after, now(path)
            after[now(path)] = content
    for change in changes.changes:
        path = "/".join(change.path)
        if change.kind is Kind.CREATED:
            assert path not in after, path
            after[path] = None if change.is_directory else b"".join(changes.content(change))
        elif change.kind is not Kind.REMOVED and not change.is_directory:
            content = b"".join(changes.content(change))
            assert len(content) == change.size
            if not change.rewritten:
                assert content == after[path], path
            after[path] = content
    for path in after:
        parent = path.rpartition("/")[0]
        assert not parent or after.get(parent, b"") is None, f"{path} is in no directory"
    return after


class Guest:
    """A served disk and a copy of it to be written to."""

    def __init__(self, root: Path, folder: Path, options: dict[str, object]) -> None:
        self.disk = vfloppy.open_disk(root, **options)
        self.served = folder / "served.img"
        self.written = folder / "written.img"
        self.folder = folder
        self.disk.write_to(self.served)
        shutil.copy(self.served, self.written)
        layout = self.disk.layout
        self.offset = 0 if layout.options.partition == "none" else 1 << 20
        self.before = self.read(self.served)

    def read(self, image: Path) -> Contents:
        """What mtools finds."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            return mtools_tree(image, self.offset, Path(folder, "copied"))

    def check(self, state: Path, what: str, found: Contents | None = None) -> list[str]:
        """Hold what is harvested against a foreign reader. Return the changes in words."""
        expected = self.read(state) if found is None else found
        told = []
        for everything in (False, True):
            snapshot = Written.of(self.served, state, everything=everything)
            changes = harvested(self.disk, snapshot)
            assert changes.problems == (), what
            assert_same(applied(self.before, changes), expected, what)
            told.append([said(each) for each in changes.changes])
        return told[0]


def said(change: Change) -> str:
    """A change in words."""
    old = f"{'/'.join(change.old_path)} -> " if change.old_path else ""
    again = " rewritten" if change.rewritten and change.kind is not Kind.CHANGED else ""
    return f"{change.kind}{again} {old}{'/'.join(change.path)}"


class Edited:
    """A served disk whose bytes are changed one by one."""

    def __init__(self, guest: Guest) -> None:
        self.disk = guest.disk
        self.served = guest.served.read_bytes()
        self.data = bytearray(self.served)
        self.volume = Volume(self.disk.layout, self.disk.tree, self.disk.read, self.disk.size)
        self.bits = self.disk.layout.geometry.fat_bits

    def slot(self, name: bytes) -> int:
        """The place of the 8.3 slot that begins so."""
        at = self.volume.root if self.bits != 32 else self.volume.data
        while not (self.data[at : at + len(name)] == name and self.data[at + 11] & 0xF != 0xF):
            at += 32
        return at

    def link(self, cluster: int, value: int) -> None:
        """Set an entry of both tables."""
        for table in self.volume.tables:
            if self.bits == 12:
                at = table + cluster * 3 // 2
                pair = int.from_bytes(self.data[at : at + 2], "little")
                pair = pair & 0xF | value << 4 if cluster & 1 else pair & 0xF000 | value & 0xFFF
                struct.pack_into("<H", self.data, at, pair & 0xFFFF)
            else:
                form = "<H" if self.bits == 16 else "<I"
                value &= (1 << self.bits) - 1
                struct.pack_into(form, self.data, table + cluster * self.bits // 8, value)

    def first(self, path: str) -> int:
        node = self.disk.tree.find(path)
        assert node
        return self.volume.run(node)[0]

    def harvest(self, **options: Any) -> Changes:
        return harvested(self.disk, Written(self.served, bytes(self.data)), **options)


def mtools(guest: Guest, tool: str, *arguments: str, **options: Any) -> None:
    """Run a tool on the copy that is written to."""
    need_tool(tool)
    output(tool, "-i", f"{guest.written}@@{guest.offset}", *arguments, **options)
