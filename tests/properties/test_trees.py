"""Any tree as a disk, read back by two independent readers: pyfatfs, and one by the specification.

The second one is strict: whatever FATGEN asks for and a lenient reader overlooks is an assertion.
"""

from __future__ import annotations

import os
import random
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from compare import assert_same
from conformance import read
from hypothesis import given, settings
from hypothesis import strategies as st
from readers import pyfatfs_tree
from vfloppy.synth.fat.disk import directories_of, disk
from vfloppy.synth.fat.plan import FatLayout, FatOptions, plan
from vfloppy.synth.host.files import HostFiles, ScannedFiles
from vfloppy.synth.image.image import Image
from vfloppy.synth.names.upcase import fold
from vfloppy.synth.output.writer import write_file
from vfloppy.synth.scanning.scan import scan
from vfloppy.synth.tree.columns import Tree

MIB = 1 << 20
Contents = dict[str, bytes | None]
few = settings(max_examples=40, deadline=None)


class Volume:
    """A FAT volume, read as FATGEN says."""

    def __init__(self, at: Callable[[int, int], bytes]) -> None:
        self._at = at
        boot = at(0, 512)
        (self.sector_bytes, spc, reserved, copies, self.root_entries, small, media, table16, track,
         heads, _, large) = struct.unpack_from("<HBHBHHBHHHII", boot, 11)  # fmt: skip
        table32 = struct.unpack_from("<I", boot, 36)[0]
        assert (boot[510:], copies) == (b"\x55\xaa", 2)
        assert spc in (1, 2, 4, 8, 16, 32, 64, 128)
        assert track
        assert heads
        assert bool(small) != bool(large)
        self.sectors = small or large
        table_bytes = (table16 or table32) * self.sector_bytes
        root_at = reserved * self.sector_bytes + 2 * table_bytes
        assert self.root_entries * 32 % self.sector_bytes == 0
        self.data_at = root_at + self.root_entries * 32
        self.cluster_bytes = spc * self.sector_bytes
        self.count = (self.sectors * self.sector_bytes - self.data_at) // self.cluster_bytes
        self.bits = 12 if self.count < 4085 else 16 if self.count < 65_525 else 32
        assert boot[82 if self.bits == 32 else 54 :][:8] == b"FAT%-5d" % self.bits
        table = at(reserved * self.sector_bytes, table_bytes)
        assert_same(table, at(reserved * self.sector_bytes + table_bytes, table_bytes))
        assert table[0] == media
        self.entries = self._unpack(table)
        self.end = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFF_FFF8}[self.bits]
        assert self.entries[1] >= self.end
        self.seen: set[int] = set()
        self.root_at = root_at
        self.root_cluster = struct.unpack_from("<I", boot, 44)[0] if self.bits == 32 else 0
        self.label = boot[71:82] if self.bits == 32 else boot[43:54]
        self.info = at(self.sector_bytes, 512) if self.bits == 32 else None

    def _unpack(self, table: bytes) -> list[int]:
        count = self.count + 2
        assert len(table) * 8 >= count * self.bits, "the table is too short for the clusters"
        if self.bits == 12:
            value = int.from_bytes(table, "little")
            return [value >> 12 * number & 0xFFF for number in range(count)]
        kind = "H" if self.bits == 16 else "I"
        return list(struct.unpack_from(f"<{count}{kind}", table))

    def chain(self, cluster: int) -> bytes:
        data = []
        while cluster < self.end:
            assert 2 <= cluster < self.count + 2
            assert cluster not in self.seen, f"cluster {cluster} belongs to two chains"
            self.seen.add(cluster)
            data.append(
                self._at(self.data_at + (cluster - 2) * self.cluster_bytes, self.cluster_bytes)
            )
            cluster = self.entries[cluster]
        return b"".join(data)

    def contents(self) -> Contents:
        """Everything; asserts that all that is in use is in use for something."""
        found: Contents = {}
        root = self.chain(self.root_cluster) if self.bits == 32 else self._at(
            self.root_at, self.root_entries * 32)  # fmt: skip
        todo = [("", root, 0, 0)]
        while todo:
            folder, data, own, parent = todo.pop()
            for name, entry in self._entries(folder, data, own, parent):
                path = folder + name
                assert path not in found
                first, size = self._start(entry), struct.unpack_from("<I", entry, 28)[0]
                if entry[11] & 0x10:
                    assert size == 0
                    assert first
                    found[path] = None
                    todo.append((path + "/", self.chain(first), first, own))
                else:
                    assert bool(first) == bool(size)
                    data_ = self.chain(first) if first else b""
                    assert -(-size // self.cluster_bytes) * self.cluster_bytes == len(data_)
                    assert not data_[size:].strip(b"\0"), "slack is not zero"
                    found[path] = data_[:size]
        in_use = {number for number, entry in enumerate(self.entries) if entry} - {0, 1}
        assert_same(self.seen, in_use)
        if self.info:
            assert struct.unpack_from("<I", self.info, 488)[0] == self.count - len(in_use)
        return found

    @staticmethod
    def _start(entry: bytes) -> int:
        high, low = struct.unpack_from("<H", entry, 20)[0], struct.unpack_from("<H", entry, 26)[0]
        return high << 16 | low

    def _entries(self, folder: str, data: bytes, own: int, parent: int):
        assert len(data) <= 65_536 * 32
        slots = [data[at : at + 32] for at in range(0, len(data), 32)]
        used = next((at for at, slot in enumerate(slots) if not slot[0]), len(slots))
        assert not any(map(any, slots[used:])), "something stands behind the end"
        if folder:
            assert [slot[:12] for slot in slots[:2]] == [b".          \x10", b"..         \x10"]
            assert [self._start(slot) for slot in slots[:2]] == [own, parent]
            first = 2
        else:
            assert slots[0][:12] == self.label + b"\x08"
            first = 1
        long: list[bytes] = []
        shorts: set[bytes] = set()
        folded: set[str] = set()
        for slot in slots[first:used]:
            assert slot[0] not in b"\x20\xe5"
            if slot[11] == 0x0F:
                assert slot[0] == (0x40 | slot[0] & 0x1F if not long else (long[-1][0] & 0x1F) - 1)
                long.append(slot)
                continue
            assert not slot[11] & 0x08, "a second label"
            assert 0x21 <= struct.unpack_from("<H", slot, 24)[0] <= 0xFF9F
            assert slot[:11] not in shorts
            shorts.add(slot[:11])
            name = self._long_name(long, slot[:11]) if long else self._short_name(slot[:11])
            long = []
            assert fold(name) not in folded
            folded.add(fold(name))
            yield name, slot
        assert not long, "a long name without an entry"

    @staticmethod
    def _short_name(short: bytes) -> str:
        base, extension = short[:8].rstrip().decode(), short[8:].rstrip().decode()
        return f"{base}.{extension}" if extension else base

    @staticmethod
    def _long_name(long: list[bytes], short: bytes) -> str:
        total = 0
        for byte in short:
            total = ((total & 1) << 7) + (total >> 1) + byte & 0xFF
        assert long[-1][0] & 0x1F == 1
        assert len(long) <= 20
        assert {slot[13] for slot in long} == {total}
        assert {slot[12] for slot in long} == {0}
        units = b"".join(slot[1:11] + slot[14:26] + slot[28:] for slot in reversed(long))
        words = list(struct.unpack(f"<{len(units) // 2}H", units))
        end = words.index(0) if 0 in words else len(words)
        assert set(words[end + 1 :]) <= {0xFFFF}
        assert len(words) - end < 13, "a slot without a character"
        return units[: 2 * end].decode("utf-16-le")


def make(root: Path, tree: dict) -> None:
    for name, child in tree.items():
        path = root / os.fsdecode(name)
        if isinstance(child, dict):
            path.mkdir()
            make(path, child)
        else:
            path.write_bytes(child)


def host_contents(tree: Tree, layout: FatLayout) -> Contents:
    """What has to be on the disk, under the names that the layout gives."""
    names = directories_of(layout, tree)
    files = ScannedFiles(tree)

    def path(node: int) -> str:
        parent = tree.directories[tree.parent(node)]
        return (path(parent) + "/" if parent else "") + names.long_name(node)

    return {
        path(node): None if tree.is_directory(node) else files.read(node, 0, tree.sizes[node])
        for node in range(1, len(tree))
    }


def image_of(tree: Tree, layout: FatLayout) -> Image:
    return disk(layout, tree, HostFiles(tree))


def volume_of(image: Image, start: int) -> Volume:
    return Volume(lambda offset, length: read(image, start + offset, length))


data = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda byte, size: bytes((byte,)) * size, st.integers(0, 255),
              st.sampled_from((511, 512, 513, 4095, 4096, 4097, 9000))),
)  # fmt: skip
plain_names = st.one_of(
    st.text("abcXYZ019 ._-é日😀~", min_size=1, max_size=30).map(lambda text: text + "x"),
    st.sampled_from(("README.TXT", "a" * 13 + "x" * 12 + "z", "n" * 255, "UPPER", "lower", ".x")),
).filter(lambda name: len(name.encode()) <= 255)
raw_names = st.one_of(
    st.binary(min_size=1, max_size=30),
    st.sampled_from((b"con", b"CON", b"a:b", b"a_b", b"A?B", b"x.", b"x ", b"README", b"Readme",
                     b"caf\xe9", b"n" * 255, b"N" * 255, b"~1", b"LONGNA~1", b"long name")),
).filter(lambda name: not {0, 0x2F} & set(name) and name not in (b".", b".."))  # fmt: skip


def trees_of(names):
    return st.recursive(
        data, lambda children: st.dictionaries(names, children, max_size=7), max_leaves=25
    ).filter(lambda tree: isinstance(tree, dict))


plain_trees = trees_of(plain_names)
raw_trees = trees_of(raw_names.map(bytes))
OPTIONS = [
    {"fat_bits": 12},
    {"fat_bits": 16},
    {"fat_bits": 16, "cluster_bytes": 512},
    {"fat_bits": 32, "cluster_bytes": 512},
    {"fat_bits": 12, "partition": "gpt", "sector_bytes": 4096},
    {"fat_bits": 16, "partition": "none", "free": 3 * MIB + 1},
    {"size": 9 * MIB + 512},
    {"partition": "none", "size": 40 * MIB + 512 * 7},
]


def keys_as_bytes(tree: dict) -> dict:
    return {
        name if isinstance(name, bytes) else name.encode(): keys_as_bytes(child)
        if isinstance(child, dict) else child
        for name, child in tree.items()
    }  # fmt: skip


def without_twins(tree: dict) -> dict:
    """Names that differ only in case are left to the other tests."""
    kept: dict = {}
    for name, child in tree.items():
        if fold(name) not in {fold(each) for each in kept}:
            kept[name] = without_twins(child) if isinstance(child, dict) else child
    return kept


def flat(tree: dict, folder: str = "") -> Contents:
    contents: Contents = {}
    for name, child in tree.items():
        contents[folder + name] = None if isinstance(child, dict) else child
        if isinstance(child, dict):
            contents |= flat(child, folder + name + "/")
    return contents


@few
@given(plain_trees.map(without_twins), st.sampled_from(OPTIONS))
def test_the_strict_reader_reads_what_was_drawn(drawn, options):
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), drawn)
        tree = scan(folder)
        layout = plan(tree, FatOptions(**options))
        assert not layout.renamed
        start = 0 if options.get("partition") == "none" else MIB
        assert_same(volume_of(image_of(tree, layout), start).contents(), flat(drawn))


@few
@given(raw_trees.map(keys_as_bytes), st.sampled_from(OPTIONS))
def test_the_strict_reader_reads_any_names_as_the_layout_names_them(drawn, options):
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), drawn)
        tree = scan(folder)
        layout = plan(tree, FatOptions(**options))
        start = 0 if options.get("partition") == "none" else MIB
        found = volume_of(image_of(tree, layout), start).contents()
        assert_same(found, host_contents(tree, layout))
        assert len(found) == len(tree) - 1


@few
@given(plain_trees.map(without_twins), st.sampled_from(OPTIONS[:2] + OPTIONS[5:]))
def test_pyfatfs_reads_what_was_drawn(drawn, options):
    with tempfile.TemporaryDirectory() as folder:
        root, image = Path(folder, "tree"), Path(folder, "image")
        root.mkdir()
        make(root, drawn)
        tree = scan(str(root))
        layout = plan(tree, FatOptions(**options))
        write_file(image_of(tree, layout), str(image))
        start = 0 if options.get("partition") == "none" else MIB
        assert_same(pyfatfs_tree(image, start), flat(drawn))


@few
@given(raw_trees.map(keys_as_bytes))
def test_pyfatfs_reads_any_names_as_the_layout_names_them(drawn):
    with tempfile.TemporaryDirectory() as folder:
        root, image = Path(folder, "tree"), Path(folder, "image")
        root.mkdir()
        make(root, drawn)
        tree = scan(str(root))
        layout = plan(tree, FatOptions(fat_bits=16))
        write_file(image_of(tree, layout), str(image))
        assert_same(pyfatfs_tree(image, MIB), host_contents(tree, layout))


@settings(max_examples=15, deadline=None)
@given(raw_trees.map(keys_as_bytes), st.randoms(use_true_random=False))
def test_any_slices_in_any_order_are_slices_of_the_whole(drawn, generator):
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), drawn)
        tree = scan(folder)
        image = image_of(tree, plan(tree, FatOptions(fat_bits=12, partition="none")))
        whole = read(image, 0, image.size)
        fresh = image_of(tree, plan(tree, FatOptions(fat_bits=12, partition="none")))
        for _ in range(60):
            start = generator.randrange(image.size)
            length = generator.randrange(min(20_000, image.size - start) + 1)
            assert_same(read(fresh, start, length), whole[start : start + length])


@pytest.mark.parametrize("floppy", ["160k", "180k", "320k", "360k", "720k", "1.2M", "1.44M",
                                    "2.88M"])  # fmt: skip
def test_every_floppy_is_read_back_full(tmp_path, floppy):
    """Filled to its last cluster."""
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "A.TXT").write_bytes(b"x" * 700)
    layout = plan(scan(str(tmp_path)), FatOptions(floppy=floppy))
    room = layout.free_clusters * layout.geometry.cluster_bytes
    (tmp_path / "rest").write_bytes(random.randbytes(room))
    tree = scan(str(tmp_path))
    layout = plan(tree, FatOptions(floppy=floppy))
    assert layout.free_clusters == 0
    volume = volume_of(image_of(tree, layout), 0)
    assert_same(volume.contents(), host_contents(tree, layout))
    assert 0 not in volume.entries


def is_sound(data: bytearray, expected: Contents) -> bool:
    try:
        return Volume(lambda at, length: bytes(data[at : at + length])).contents() == expected
    except (AssertionError, ValueError, IndexError):
        return False


def test_the_strict_reader_is_strict(tmp_path):
    """Each of these damages is seen; else the tests above would prove little."""
    (tmp_path / "a long name").write_bytes(b"x" * 5000)
    (tmp_path / "SUB").mkdir()
    tree = scan(str(tmp_path))
    layout = plan(tree, FatOptions(fat_bits=16, partition="none"))
    image = image_of(tree, layout)
    sound = bytearray(read(image, 0, image.size))
    root = volume_of(image, 0).root_at
    data_at = volume_of(image, 0).data_at
    table = 4096
    # In the root: the label, SUB, one long slot, its 8.3 slot.
    for place, what in {
        table + 4: "the directory's chain",
        table + 8: "a table that is not like its copy",
        root + 64: "the order of a long slot",
        root + 64 + 13: "its checksum",
        root + 96 + 11: "the attribute",
        root + 96 + 28: "the size",
        data_at + 26: "where `.` points",
        data_at + 32 + 26: "where `..` points",
        data_at + 4096 + 5001: "slack",
    }.items():
        damaged = bytearray(sound)
        damaged[place] ^= 0x08
        assert not is_sound(damaged, host_contents(tree, layout)), what
    assert is_sound(sound, host_contents(tree, layout))
