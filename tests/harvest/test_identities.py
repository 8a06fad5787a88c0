"""Which file is which: by place, by clusters, by the time of creation; and what nobody may be."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from trees import settle_times
from written import Edited, Guest, Written, harvested, mtools, said


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    (root / "Folder").mkdir(parents=True)
    (root / "Other Folder").mkdir()
    (root / "Folder" / "Within.txt").write_bytes(b"within" * 400)
    (root / "Other Folder" / "Within Other.txt").write_bytes(b"other" * 400)
    (root / "First File.txt").write_bytes(b"first" * 700)
    (root / "Second File.txt").write_bytes(b"second" * 700)
    (root / "Small.txt").write_bytes(b"small")
    settle_times(root)
    return root


@pytest.fixture(params=[{"floppy": "720k"}, {"fat": 32, "cluster_size": "1024", "size": "+1M"}])
def guest(request, tree, tmp_path) -> Guest:
    return Guest(tree, tmp_path, request.param)


@pytest.fixture
def edited(guest) -> Edited:
    return Edited(guest)


def told(guest: Guest) -> list[str]:
    found = harvested(guest.disk, Written.of(guest.served, guest.written))
    assert found.problems == ()
    return [said(each) for each in found.changes]


def test_files_that_change_places_are_renamed(guest):
    for old, new in (("First File.txt", "T"), ("Second File.txt", "First File.txt"),
                     ("T", "Second File.txt")):  # fmt: skip
        mtools(guest, "mmove", f"::/{old}", f"::/{new}")
    assert told(guest) == [
        "renamed Second File.txt -> First File.txt",
        "renamed First File.txt -> Second File.txt",
    ]


def test_directories_that_change_places_are_renamed(guest):
    for old, new in (("Folder", "T"), ("Other Folder", "Folder"), ("T", "Other Folder")):
        mtools(guest, "mmove", f"::/{old}", f"::/{new}")
    assert told(guest) == ["renamed Other Folder -> Folder", "renamed Folder -> Other Folder"]


def test_a_name_that_stays_is_the_same_file_and_a_backup_is_new(guest, tree):
    mtools(guest, "mmove", "::/First File.txt", "::/First File.txt~")
    mtools(guest, "mcopy", str(tree / "Small.txt"), "::/First File.txt")
    assert told(guest) == ["changed First File.txt", "created First File.txt~"]
    found = harvested(guest.disk, Written.of(guest.served, guest.written))
    assert b"".join(found.content(found.changes[1])) == b"first" * 700


def test_names_of_8_3_in_lower_case_are_read_so(guest, tree):
    mtools(guest, "mcopy", str(tree / "Small.txt"), "::/lower.txt")
    assert told(guest) == ["created lower.txt"]


def test_clusters_of_another_file_are_compared_although_nobody_wrote_to_them(edited):
    one, other = edited.slot(b"FIRST"), edited.slot(b"SECOND")
    edited.data[one + 20 : one + 22] = edited.data[other + 20 : other + 22]
    edited.data[one + 26 : one + 28] = edited.data[other + 26 : other + 28]
    edited.data[other - 64] = edited.data[other - 32] = edited.data[other] = 0xE5
    found = edited.harvest()
    assert [said(each) for each in found.changes] == [
        "changed First File.txt",
        "removed Second File.txt",
    ]
    assert b"".join(found.content(found.changes[0])) == (b"second" * 700)[:3500]


@pytest.mark.parametrize("is_same", [True, False])
def test_a_file_in_pieces_is_compared_piece_by_piece(edited, is_same):
    first, free, size = edited.first("First File.txt"), edited.volume.first_free + 2, 1024
    source, target = (edited.volume.offset(each) for each in (first + 1, free))
    edited.data[target : target + size] = edited.data[source : source + size]
    edited.link(first, free)
    edited.link(free, first + 2)
    if not is_same:
        edited.data[edited.volume.offset(first + 2)] ^= 1
    found = edited.harvest()
    assert found.problems == ()
    assert [said(each) for each in found.changes] == ([] if is_same else ["changed First File.txt"])


def test_a_file_that_begins_within_the_clusters_of_another_is_new(edited):
    at = edited.slot(b"FIRST")
    edited.data[at - 64] = edited.data[at - 32] = 0xE5
    cluster = edited.first("First File.txt") + 1
    edited.data[at : at + 11] = b"OTHER   BIN"
    edited.data[at + 20 : at + 22] = struct.pack("<H", cluster >> 16)
    edited.data[at + 26 : at + 32] = struct.pack("<HI", cluster & 0xFFFF, 100)
    found = edited.harvest()
    assert [said(each) for each in found.changes] == ["created OTHER.BIN", "removed First File.txt"]
    assert b"".join(found.content(found.changes[0])) == (b"first" * 700)[1024:1124]


def test_one_cluster_that_nobody_wrote_to_tells_a_file(edited):
    """Its first one was rewritten, and the new name has another time of creation."""
    at = edited.slot(b"FIRST")
    edited.data[at - 64] = edited.data[at - 32] = 0xE5
    edited.data[at : at + 11] = b"OTHER   BIN"
    edited.data[at + 13 : at + 18] = struct.pack("<BHH", 7, 0x6000, 0x5A00)
    offset = edited.volume.offset(edited.first("First File.txt"))
    edited.data[offset : offset + 1024] = bytes(1024)
    assert [said(each) for each in edited.harvest().changes] == [
        "renamed rewritten First File.txt -> OTHER.BIN"
    ]


def test_a_long_name_of_another_short_one_is_none(edited):
    edited.data[edited.slot(b"SMALL") - 32 + 13] ^= 1
    assert [said(each) for each in edited.harvest().changes] == ["renamed Small.txt -> SMALL.TXT"]


def test_a_name_that_begins_with_the_mark_of_what_is_deleted(edited):
    at = edited.slot(b"SMALL")
    edited.data[at - 32] = 0xE5
    edited.data[at] = 0x05
    assert [said(each) for each in edited.harvest().changes] == [
        "renamed Small.txt -> \u03c3MALL.TXT"
    ]


def test_what_may_be_somewhere_else_is_not_removed(edited):
    """It seems to have been moved, but the new entry makes no sense."""
    within, small = edited.volume.offset(edited.first("Folder")), edited.slot(b"SMALL")
    slot = bytearray(edited.data[small : small + 32])
    slot[28:32] = struct.pack("<I", 1 << 20)
    edited.data[within + 128 : within + 160] = slot
    edited.data[small - 32] = edited.data[small] = 0xE5
    found = edited.harvest()
    assert "/Folder/SMALL.TXT: has 1048576 bytes, and clusters for 1024" in found.problems
    assert not found.changes


def test_nothing_is_told_of_a_directory_whose_clusters_another_has_as_well(edited):
    within, small = edited.volume.offset(edited.first("Folder")), edited.slot(b"SMALL")
    folder = edited.slot(b"FOLDER")
    edited.data[within + 64] = edited.data[within + 96] = 0xE5  # Within.txt is gone
    edited.data[small + 20 : small + 22] = edited.data[folder + 20 : folder + 22]
    edited.data[small + 26 : small + 28] = edited.data[folder + 26 : folder + 28]
    found = edited.harvest()
    assert any("shares clusters with /Folder" in each for each in found.problems)
    assert not found.changes


def test_a_table_that_begins_otherwise_is_a_problem(edited):
    for table in edited.volume.tables:
        edited.data[table] ^= 1
    (problem,) = edited.harvest().problems
    assert "does not begin as one does" in problem
