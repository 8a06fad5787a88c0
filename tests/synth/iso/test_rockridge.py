"""Rock Ridge: links of all lengths, names of all bytes, and areas that never cross a block."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vfloppy.synth.iso.continuations import Continuations
from vfloppy.synth.iso.rockridge import ER, _parts
from vfloppy.synth.iso.symlinks import link_entries

BLOCK = 2048


def target_of(entries: list[bytes]) -> bytes:
    """What SL entries say, read as Linux reads them."""
    text = b""
    for number, entry in enumerate(entries):
        assert entry[:2] == b"SL"
        assert entry[2] == len(entry) <= 255
        assert entry[4] == (number + 1 < len(entries))
        body = entry[5:]
        while body:
            flags, length = body[0], body[1]
            content, body = body[2 : 2 + length], body[2 + length :]
            assert not (flags & ~1 and length)
            text += {0: content, 2: b".", 4: b"..", 8: b"/"}[flags & ~1]
            is_last = not body and number + 1 == len(entries)
            assert body or is_last or flags & 1, "readers differ on a slash here"
            if not flags & 9 and not is_last:
                text += b"/"
    return text


@pytest.mark.parametrize(
    "target",
    [
        b"a",
        b"/",
        b"/etc/passwd",
        b"../x/./y",
        b"a//b",
        b"a/",
        b".",
        b"..",
        b"c" * 900,
        b"/".join([b"component"] * 95),
        b"d" * 248 + b"/" + b"e" * 249 + b"/f",
        b"/" + b"x/" * 2000,
        *(b"d" * length + b"/./../x//" + b"e" * 300 for length in range(225, 256)),
        bytes(range(1, 47)) + bytes(range(48, 256)),
    ],
)
def test_a_link_is_read_as_it_is(target):
    assert target_of(link_entries(target)) == target


@given(st.lists(st.binary(max_size=300).filter(lambda name: not set(name) & {0, 47}), min_size=1))
def test_any_link_is_read_as_it_is(names):
    target = b"/".join(names)
    if target and not target.startswith(b"//"):  # `//x` is `/x` for all readers
        assert target_of(link_entries(target)) == target


@given(st.lists(st.lists(st.integers(5, 255), min_size=1, max_size=40), max_size=40))
def test_entries_stay_within_blocks_and_never_overlap(lengths):
    area = Continuations(end=len(ER))
    taken = [(0, len(ER))]
    for node, entry_lengths in enumerate(lengths):
        parts = _parts([bytes(length) for length in entry_lengths])
        area.add(node, parts)
        for number, part in enumerate(parts):
            size = sum(map(len, part)) + (28 if number + 1 < len(parts) else 0)
            start = area.offset(node) + number * BLOCK
            assert start % BLOCK + size <= BLOCK
            assert not number or start % BLOCK == 0
            taken.append((start, start + size))
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))
    assert taken[-1][1] <= area.end <= area.blocks * BLOCK


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=9))
def test_the_area_stands_behind_the_directories_of_each_level(levels):
    """Levels have directories of so many blocks in all, and so many entries of half a block."""
    area = Continuations(end=len(ER))
    directories, nodes, row = 0, 0, []
    for blocks, entries in levels:
        row += [("directory", directories + number) for number in range(blocks)]
        directories += blocks
        before = area.area_ends[-1] if area.area_ends else 0
        for _ in range(entries):
            area.add(nodes, _parts([bytes(250)] * 4))
            nodes += 1
        area.end_level(directories)
        row += [("area", number) for number in range(before, area.blocks)]
    places = {"directory": area.directory_place, "area": area.area_place}
    assert [places[kind](number) for kind, number in row] == list(range(len(row)))
    runs = [
        (kind, block)
        for own, continued in area.runs(directories)
        for kind, blocks in (("directory", own), ("area", continued))
        for block in blocks
    ]
    assert runs == row


def test_neutral_modes_let_all_read_and_nobody_write(tmp_path, make):
    for mode in (0o600, 0o4711, 0o666, 0o000):
        (tmp_path / f"{mode:o}").touch()
        (tmp_path / f"{mode:o}").chmod(mode)
    (tmp_path / "link").symlink_to("600")
    os.mkfifo(tmp_path / "pipe")
    tree, layout, _ = make(tmp_path)
    attributes = layout.primary.rock_ridge._attributes
    found = {tree.name(node): attributes.mode(node) for node in range(1, len(tree))}
    assert found == {
        b"0": 0o100444,
        b"600": 0o100444,
        b"666": 0o100444,
        b"4711": 0o100555,
        b"link": 0o120777,
        b"pipe": 0o010444,
    }
    assert attributes.mode(0) == 0o040555


def test_preserved_modes_and_owners_are_the_hosts(tmp_path, make):
    (tmp_path / "x").touch()
    (tmp_path / "x").chmod(0o4711)
    tree, layout, _ = make(tmp_path, preserve=True)
    attributes = layout.primary.rock_ridge._attributes
    node = tree.find("x")
    status = os.lstat(tmp_path / "x")
    assert attributes.mode(node) == 0o104711
    assert attributes.owner(node) == (status.st_uid, status.st_gid)


def test_other_names_of_a_file_share_its_place_and_number(tmp_path, make):
    (tmp_path / "a").write_bytes(b"shared" * 1000)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "z").write_bytes(b"own")
    tree, layout, image = make(tmp_path)
    a, b, z = (tree.find(path) for path in ("a", "sub/b", "z"))
    attributes = layout.primary.rock_ridge._attributes
    assert layout.file_block(a) == layout.file_block(b) != layout.file_block(z)
    assert attributes.serial(a) == attributes.serial(b) != attributes.serial(z)
    assert [attributes.links(node) for node in (a, b, z)] == [2, 2, 1]
    assert attributes.links(0) == 3
    assert sum(layout.file_sizes) == 6003
    assert image.size == layout.blocks * BLOCK
