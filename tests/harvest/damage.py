"""Damaged disks: tables, directories and sectors with anything in them.

PYTHONPATH=tests/support python -m tests.harvest.damage 10000 [SEED]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import vfloppy
from vfloppy.errors import VfloppyError
from vfloppy.harvest.changes import Changes
from vfloppy.harvest.volume import Volume
from vfloppy.library.disk import Disk
from written import Written, harvested

DISKS = (
    {"floppy": "160k"},
    {"fat": 12, "partition": "none", "cluster_size": 512, "size": "200K"},
    {"fat": 16, "cluster_size": 512, "size": "4M"},
    {"fat": 32, "cluster_size": 512, "size": "36M"},
)
_NOISY_BYTES = 300 << 10
_READ_TIMES = 8  # the disk, at most, whatever is wrong with it


def make_tree(root: Path) -> None:
    for folder in ("", "a", "a/b", "a/b/c", "other", "full"):
        (root / folder).mkdir(exist_ok=True)
        for number in range(3 if folder != "full" else 40):
            size = (number * 700 + len(folder) * 300) % 3000
            (root / folder / f"File {number} in it.txt").write_bytes(bytes([number]) * size)


class Counted(Written):
    """Counts what is read of it."""

    bytes_read = 0

    def read(self, offset: int, length: int) -> bytes:
        self.bytes_read += length
        return super().read(offset, length)


class Damaged:
    """A disk of which damaged copies are made."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.served = disk.read(0, disk.size)
        self.volume = volume = Volume(disk.layout, disk.tree, disk.read, disk.size)
        self.end = max(volume.offset(volume.first_free), volume.start + _NOISY_BYTES) + _NOISY_BYTES

    def check(self, generator: random.Random) -> Changes | str:
        """Damage a copy and harvest it. Return what was found, or the reason against it."""
        data = bytearray(self.served)
        for _ in range(generator.choice((1, 1, 2, 3, 8))):
            generator.choice(_KINDS)(self, data, generator)
        everything = generator.random() < 0.2
        snapshot = Counted(self.served, data, everything=everything, end=self.end)
        try:
            found = harvested(self.disk, snapshot, allow_removals=generator.random() < 0.5)
        except VfloppyError as error:
            return str(error)
        assert snapshot.bytes_read <= _READ_TIMES * self.disk.size + (1 << 20)
        for change in found.changes:
            assert sum(map(len, found.content(change))) == change.size
            assert all(each and "/" not in each and each != ".." for each in change.path)
            "/".join(change.path).encode()
        paths = [change.path for change in found.changes if change.kind != "removed"]
        assert len(set(paths)) == len(paths), "two changes make one path"
        return found

    def set_entry(self, data: bytearray, cluster: int, value: int, table: int) -> None:
        bits, start = self.disk.layout.geometry.fat_bits, self.volume.tables[table]
        if bits == 12:
            at = start + cluster * 3 // 2
            pair = int.from_bytes(data[at : at + 2], "little")
            value &= 0xFFF
            pair = pair & 0xF | value << 4 if cluster & 1 else pair & 0xF000 | value
            data[at : at + 2] = pair.to_bytes(2, "little")
        else:
            size = bits // 8
            value &= (1 << bits) - 1
            at = start + cluster * size
            data[at : at + size] = value.to_bytes(size, "little")

    def directory_slots(self, data: bytearray, generator: random.Random) -> int:
        """The place of a slot of some directory, or where one could be."""
        tree = self.disk.tree
        node = generator.choice(tree.directories)
        first, count = self.volume.run(node)
        start = self.volume.offset(first) if count else self.volume.root
        length = count * self.volume.cluster_bytes if count else self.volume.root_bytes
        return start + 32 * generator.randrange(max(min(length, 1024) // 32, 1))

    def some_cluster(self, generator: random.Random) -> int:
        volume = self.volume
        if generator.random() < 0.8:
            return generator.randrange(2, volume.first_free + 3)
        return generator.choice((0, 1, volume.end_cluster - 1, volume.end_cluster, 0x0FFF_FFF7,
                                 0x0FFF_FFFF, 0xFFF7, generator.randrange(1 << 28)))  # fmt: skip


def _one_entry(damaged: Damaged, data: bytearray, generator: random.Random) -> None:
    at = generator.randrange(damaged.volume.first_free + 2)
    value = damaged.some_cluster(generator)
    for table in generator.choice(((0, 1), (0, 1), (0,), (1,))):
        damaged.set_entry(data, at, value, table)


def _many_entries(damaged: Damaged, data: bytearray, generator: random.Random) -> None:
    for _ in range(generator.randrange(60)):
        at, value = generator.randrange(damaged.volume.first_free), damaged.some_cluster(generator)
        for table in (0, 1):
            damaged.set_entry(data, at, value, table)


def _lost_sectors_of_tables(damaged: Damaged, data: bytearray, generator: random.Random) -> None:
    for start in damaged.volume.tables:
        at = start + 512 * generator.randrange(2)
        data[at : at + 512] = bytes(512) if generator.random() < 0.5 else b"\xff" * 512


def _one_slot(damaged: Damaged, data: bytearray, generator: random.Random) -> None:
    at = damaged.directory_slots(data, generator)
    kind = generator.randrange(6)
    if kind == 0:
        cluster = damaged.some_cluster(generator)
        data[at + 26 : at + 28] = (cluster & 0xFFFF).to_bytes(2, "little")
        data[at + 20 : at + 22] = (cluster >> 16 & 0xFFFF).to_bytes(2, "little")
    elif kind == 1:
        size = generator.choice((0, 1, 0xFFFF_FFFF, generator.randrange(1 << 32), 5000))
        data[at + 28 : at + 32] = size.to_bytes(4, "little")
    elif kind == 2:
        data[at + 11] = generator.randrange(256)
    elif kind == 3:
        data[at : at + 11] = generator.randbytes(11)
    elif kind == 4:
        data[at : at + 32] = generator.randbytes(32)
    else:
        data[at] = generator.choice((0, 0xE5, 0x2E, 5, 0x41, 0x7F, 0xFF))


def _copied_slots(damaged: Damaged, data: bytearray, generator: random.Random) -> None:
    """Two names on one chain, directories within themselves."""
    source = damaged.directory_slots(data, generator)
    target = damaged.directory_slots(data, generator)
    length = 32 * generator.randrange(1, 5)
    data[target : target + length] = data[source : source + length]


def _noise(damaged: Damaged, data: bytearray, generator: random.Random) -> None:
    start = damaged.volume.start
    at = start + generator.randrange(min(len(data) - start, _NOISY_BYTES))
    length = generator.choice((1, 16, 512, 4096))
    data[at : at + length] = generator.randbytes(len(data[at : at + length]))


def _boot_sector(damaged: Damaged, data: bytearray, generator: random.Random) -> None:
    if generator.random() < 0.2:
        at = damaged.volume.start + generator.randrange(512)
        data[at] = generator.randrange(256)


_KINDS = (_one_entry, _many_entries, _lost_sectors_of_tables, _one_slot, _one_slot, _one_slot,
          _copied_slots, _copied_slots, _noise, _boot_sector)  # fmt: skip


def damaged_disks(folder: Path) -> list[Damaged]:
    make_tree(folder)
    return [Damaged(vfloppy.open_disk(folder, **each)) for each in DISKS]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    started = time.monotonic()
    slowest = consistent = refused = 0.0
    with tempfile.TemporaryDirectory() as folder:
        disks = damaged_disks(Path(folder, "tree"))
        for number in range(count):
            generator = random.Random(f"{seed} {number}")
            began = time.monotonic()
            try:
                found = disks[number % len(disks)].check(generator)
            except BaseException:
                print(f"seed {seed}, number {number}")
                raise
            slowest = max(slowest, time.monotonic() - began)
            consistent += not isinstance(found, str) and not found.problems
            refused += isinstance(found, str)
    took = time.monotonic() - started
    print(f"{count} damaged disks of seed {seed} in {took:.0f} s, the slowest in {slowest:.2f} s")
    print(f"{consistent:.0f} of them are consistent, {refused:.0f} refused")


if __name__ == "__main__":
    main()
