"""An overlay against a bytearray: what is written is read, and nothing else changes."""

from __future__ import annotations

import os
import random

import pytest
from conformance import check_export
from disks import files_of
from fakes import FakeExport, pattern
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vfloppy.export import Hole
from vfloppy.filters.overlay import Overlay
from vfloppy.filters.store import OverlayFile
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.scanning.scan import scan

KIB = 1 << 10
SIZES = [4096 * 40, 512 * 301, 100_003]
"""The last sector of the last one is a short one."""


def base_of(size: int) -> FakeExport:
    """Data, a hole in the middle that begins and ends within sectors, data."""
    first, hole = size // 3 + 5, size // 3
    return FakeExport([pattern(first), Hole(hole), pattern(size - first - hole, 7)])


class Model:
    """What a disk and its overlay should be."""

    def __init__(self, size: int, path: str | None = None) -> None:
        self.base = base_of(size)
        self.bytes = bytearray(self.base.data)
        self.path = path
        if path:
            OverlayFile.create(path, size, b"id", {"paths": ["x"]}).close()
        self.open()

    def open(self) -> None:
        size = self.base.size
        self.file = (
            OverlayFile.open(self.path, writable=True) if self.path else OverlayFile.temporary(size)
        )
        self.overlay = Overlay(self.base, self.file)
        self.writers = [self.overlay.open() for _ in range(2)]

    def close(self) -> None:
        for each in self.writers:
            each.close()
        self.file.close()

    def apply(self, number: int, kind: str, offset: int, length: int, seed: int) -> None:
        writer, size = self.writers[number % 2], len(self.bytes)
        offset %= size
        length = min(length, size - offset)
        end = offset + length
        if kind == "write":
            data = pattern(length, seed)
            writer.write(offset, data)
            self.bytes[offset:end] = data
        elif kind == "view":
            data = memoryview(pattern(length + 3, seed))[3:]
            writer.write(offset, data)
            self.bytes[offset:end] = data
        elif kind in {"zero", "allocate"}:
            writer.zero(offset, length, may_trim=kind == "zero")
            self.bytes[offset:end] = bytes(length)
        elif kind == "trim":
            writer.trim(offset, length)
            first = -(-offset // 512) * 512
            last = end if end == size else end // 512 * 512
            if first < last:
                self.bytes[first:last] = bytes(last - first)
        elif kind == "flush":
            writer.flush()
        elif kind == "reopen" and self.path:
            self.close()
            self.open()

    def check(self, seed: int) -> None:
        size = len(self.bytes)
        numbers = random.Random(seed)
        for writer in self.writers:
            assert writer.read(0, size) == self.bytes
            ranges = []
            for _ in range(20):
                offset = numbers.randrange(size)
                ranges.append((offset, numbers.randint(1, min(5000, size - offset))))
            batch = writer.read_batch(ranges, lends=True)
            assert batch.commit()
            for (offset, length), found in zip(ranges, batch.buffers, strict=True):
                right = self.bytes[offset : offset + length]
                assert found == right or (found is None and not any(right))
                assert writer.read(offset, length) == right
            batch.release()
        self.check_structure()

    def check_structure(self) -> None:
        size = len(self.bytes)
        extents = list(self.writers[0].extents(0, size))
        assert sum(each.length for each in extents) == size
        position = 0
        for each in extents:
            if each.hole:
                assert not any(self.bytes[position : position + each.length])
            position += each.length
        touched = list(self.file.touched())
        changed = bytearray(self.bytes)
        last = -1
        for offset, length in touched:
            assert last < offset, "ascending, merged"
            assert length > 0
            last = offset + length
            changed[offset:last] = self.base.data[offset:last]
        assert changed == self.base.data
        with self.base.open() as below:
            assert self.file.read(below, 0, size) == self.bytes


KINDS = st.sampled_from(["write", "view", "zero", "allocate", "trim", "flush", "reopen"])
LENGTHS = st.one_of(
    st.integers(0, 3000),
    st.sampled_from([512, 1024, 4096, 512 * 64, 4096 * 20]),
    st.integers(0, 100_003),
)
OFFSETS = st.one_of(st.integers(0, 1 << 20), st.integers(0, 400).map(lambda n: n * 512))
STEPS = st.lists(
    st.tuples(st.integers(0, 1), KINDS, OFFSETS, LENGTHS, st.integers(0, 1 << 20)), max_size=30
)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["temporary", "kept"])
@given(steps=STEPS)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_it_reads_as_a_bytearray_that_was_written_likewise(steps, size, kind, tmp_path):
    path = tmp_path / f"overlay{os.urandom(6).hex()}" if kind == "kept" else None
    model = Model(size, path and str(path))
    try:
        for number, step in enumerate(steps):
            model.apply(*step)
            if number % 7 == 0:
                model.check(number)
        model.check(1)
        if path:
            model.apply(0, "reopen", 0, 0, 0)
            model.check(2)
    finally:
        model.close()
        if path:
            path.unlink()


@pytest.mark.parametrize(("offset", "length"), [(3 * 65536 - 100, 4000), (65536 + 5, 300_000)])
def test_a_batch_sees_what_was_written_at_its_ends_and_in_between(offset, length):
    """A summary of 64 KiB is looked at in two places only, where a range is that short."""
    base = FakeExport([pattern(1 << 20)])
    file = OverlayFile.temporary(base.size)
    with Overlay(base, file).open() as writer:
        writer.write(3 * 65536, b"w" * 512)
        right = bytearray(base.data)
        right[3 * 65536 : 3 * 65536 + 512] = b"w" * 512
        ranges = [(0, 10), (offset, length), (900_000, 4096)]
        found = writer.read_batch(ranges).buffers
        assert found == [right[at : at + count] for at, count in ranges]
    file.close()


def test_what_an_overlay_leaves_lent_is_told_to_be_so(tmp_path):
    """A batch is known to be lent when it has been committed, and has to be kept until then."""
    (tmp_path / "large").write_bytes(pattern(3_000_001))
    tree = scan(str(tmp_path))
    base = disk(plan(tree, FatOptions(fat_bits=12)), tree, files_of(tree))
    with OverlayFile.temporary(base.size) as file:
        overlay = Overlay(base, file)
        start = next(each.offset for each in base.regions() if each.name == "large")
        with overlay.open() as writer:
            writer.write(start, b"x" * 512)
        edges = sorted({0, base.size, start, start + 512})
        check_export(overlay, edges)
