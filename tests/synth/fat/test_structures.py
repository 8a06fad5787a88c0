"""Single structures, byte by byte: entries, tables, times, boot sectors."""

from __future__ import annotations

import struct
from array import array
from datetime import timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from compare import assert_same
from conformance import read
from counted import Counted
from hypothesis import given
from hypothesis import strategies as st
from slots import long_slots
from vfloppy.synth.fat import records
from vfloppy.synth.fat import slots as packed
from vfloppy.synth.fat.table import Table, consecutive, pack_12
from vfloppy.synth.fat.times import FIRST_STAMP, LAST_STAMP, stamp
from vfloppy.synth.image.image import Image

NS = 1_000_000_000
numbers = st.integers(0, 0xFFFF)


@given(st.binary(min_size=11, max_size=11), st.lists(numbers, min_size=7, max_size=7),
       st.integers(0, 0xFFFF_FFFF))  # fmt: skip
def test_the_packed_directory_entry_is_the_declared_one(name, words, size):
    packed = records.PACK_DIRECTORY_ENTRY(name, 0x21, 0, 199, *words, size)
    parsed = records.DIRECTORY_ENTRY.parse(packed)
    assert parsed.DIR_Name == name
    assert (parsed.DIR_Attr, parsed.DIR_NTRes, parsed.DIR_CrtTimeTenth) == (0x21, 0, 199)
    assert [parsed.DIR_CrtTime, parsed.DIR_CrtDate, parsed.DIR_LstAccDate, parsed.DIR_FstClusHI,
            parsed.DIR_WrtTime, parsed.DIR_WrtDate, parsed.DIR_FstClusLO] == words  # fmt: skip
    assert parsed.DIR_FileSize == size
    assert records.DIRECTORY_ENTRY.build(parsed) == packed


@given(
    st.lists(
        st.tuples(
            st.text(max_size=60).filter(lambda t: t.isprintable() and "/" not in t),
            st.integers(0, 255),
        ),
        min_size=1,
    )
)
def test_the_slots_of_long_names_are_the_declared_ones(entries):
    names = [name for name, _ in entries]
    totals = bytes(total for _, total in entries)
    counts = [-(-len(name.encode("utf-16-le")) // 26) for name in names]
    expected = []
    for name, count, total in zip(names, counts, totals, strict=True):
        units = name.encode("utf-16-le") + b"\0\0" + b"\xff" * 26
        slots = b""
        for number in range(count, 0, -1):
            part = units[26 * (number - 1) :][:26]
            slots += records.LONG_NAME_ENTRY.build({
                "LDIR_Ord": number | (0x40 if number == count else 0),
                "LDIR_Name1": part[:10], "LDIR_Attr": records.ATTR_LONG_NAME, "LDIR_Type": 0,
                "LDIR_Chksum": total, "LDIR_Name2": part[10:22], "LDIR_FstClusLO": 0,
                "LDIR_Name3": part[22:],
            })  # fmt: skip
        expected.append(slots)
    with_short = [count + 1 for count in counts]
    assert_same(list(packed.long_slots(names, with_short, totals)), expected)


def test_a_name_that_its_8_3_slot_holds_has_no_other():
    names = ["README.TXT", "A name of two slots", "\U0001f600"]
    slots = packed.long_slots(names, [1, 3, 2], b"\1\2\3")
    assert [len(each) for each in slots] == [0, 64, 32]
    assert slots[2][1:5].decode("utf-16-le") == "\U0001f600"


def test_long_slots_byte_by_byte():
    # FATGEN's figure: "The quick brown.fox", written by hand from the document.
    first = "01 54 00 68 00 65 00 20 00 71 00 0f 00 07 75 00 69 00 63 00 6b 00 20 00 62 00 00 00 72 00 6f 00"  # noqa: E501
    last = "42 77 00 6e 00 2e 00 66 00 6f 00 0f 00 07 78 00 00 00 ff ff ff ff ff ff ff ff 00 00 ff ff ff ff"  # noqa: E501
    expected = bytes.fromhex(last) + bytes.fromhex(first)
    assert long_slots("The quick brown.fox", b"THEQUI~1FOX") == expected


@pytest.mark.parametrize("length", [13, 26, 39])
def test_a_name_that_fills_its_slots_has_no_terminator(length):
    slots = long_slots("x" * length, b"XXXXXX~1   ")
    assert len(slots) == 32 * length // 13
    assert b"\xff\xff" not in slots


def test_a_name_of_one_unit_less_has_a_terminator_and_no_filler():
    slots = long_slots("x" * 12, b"XXXXXX~1   ")
    assert slots[28:32] == b"x\0\0\0"


@given(st.integers(0, 1 << 28), st.integers(0, 70_000))
def test_consecutive_numbers(first, count):
    last = min(first + count, 0x0FFF_FFF7)
    count = max(last - first, 0)
    assert consecutive(first, last) == struct.pack(f"<{count}I", *range(first, first + count))


def naive_table(fat_bits: int, media: int, chains: list[list[int]]) -> list[int]:
    """Entries, chain by chain."""
    mark = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFF_FFFF}[fat_bits]
    entries = [mark & ~0xFF | media, mark]
    for column in chains:
        for before, after in pairwise(column):
            for _ in range(after - before):
                entries.append(len(entries) + 1)
            if after > before:
                entries[-1] = mark
    return entries


columns = st.lists(st.integers(0, 9), max_size=40).map(
    lambda sizes: [0, *(sum(sizes[: at + 1]) for at in range(len(sizes)))]
)


@given(st.sampled_from((12, 16, 32)), columns, columns, st.data())
def test_any_slice_of_a_table_is_that_of_the_naive_one(fat_bits, directories, files, data):
    entries = naive_table(fat_bits, 0xF0, [directories, files])
    size = 4096
    packed = {
        12: pack_12, 16: lambda e: struct.pack(f"<{len(e)}H", *e),
        32: lambda e: struct.pack(f"<{len(e)}I", *e),
    }[fat_bits](entries).ljust(size, b"\0")  # fmt: skip
    chains = (array("I", directories), array("I", files))
    table = Image([Table(fat_bits, 0xF0, chains, size, "FAT")])
    offset = data.draw(st.integers(0, size))
    length = data.draw(st.integers(0, size - offset))
    assert_same(read(table, offset, length), packed[offset : offset + length])


@pytest.mark.parametrize("fat_bits", [12, 16, 32])
def test_empty_chains_cost_a_table_nothing(fat_bits):
    files = Counted([0] * 1000 + [2] * 1000 + [3] * 1000)
    table = Image([Table(fat_bits, 0xF0, (array("I", [0, 1]), files), 4096, "FAT")])
    whole = read(table, 0, 4096)
    few = Image([Table(fat_bits, 0xF0, (array("I", [0, 1]), array("I", [0, 2, 3])), 4096, "FAT")])
    assert_same(whole, read(few, 0, 4096))
    assert files.looks < 100


def test_pack_12_by_hand():
    # FATGEN, "FAT Data Structure": entries 0xFF0, 0xFFF, 0x003, 0x004.
    assert pack_12([0xFF0, 0xFFF, 0x003, 0x004]) == bytes.fromhex("f0 ff ff 03 40 00")


def test_a_stamp_by_hand():
    # 2024-07-03 09:46:41.23 UTC: 44 years on; 9 << 11 | 46 << 5 | 20; one second and 230 ms left
    when = stamp(1_720_000_001_230_000_000)
    assert when == ((44 << 9) | (7 << 5) | 3, (9 << 11) | (46 << 5) | 20, 123)


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, FIRST_STAMP),
        (-(10**30), FIRST_STAMP),
        (-1, FIRST_STAMP),
        (315_532_800 * NS - 1, FIRST_STAMP),
        (315_532_800 * NS, FIRST_STAMP),
        (4_354_819_199 * NS + 999_999_999, LAST_STAMP),
        (4_354_819_200 * NS, LAST_STAMP),
        (10**30, LAST_STAMP),
    ],
)
def test_times_are_clamped(time_ns, expected):
    assert stamp(time_ns) == expected


def test_no_date_is_zero():
    assert FIRST_STAMP.date == 0x0021
    assert LAST_STAMP.date == 0xFF9F


def test_zones():
    tokyo = timezone(timedelta(hours=9))
    assert stamp(1_720_000_000 * NS, tokyo) == stamp((1_720_000_000 + 9 * 3600) * NS)


def test_no_structure_knows_the_package():
    """Declarations only: no logic in the file."""
    text = Path(records.__file__).read_text()
    assert "def " not in text
