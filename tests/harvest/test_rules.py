"""The rules of harvesting, one by one: what is a change, what is a problem, and what is neither."""

from __future__ import annotations

import os
import random
import struct
import time
from pathlib import Path

import pytest
import vfloppy
from tools import ENVIRONMENT, need_tool
from trees import settle_times
from vfloppy.harvest import walk
from vfloppy.harvest.problems import Problems
from vfloppy.harvest.state import ReformattedError
from written import Edited, Guest, Written, harvested, mtools, said

DISKS = {
    "floppy": {"floppy": "720k"},
    "fat16": {"fat": 16, "cluster_size": "512", "size": "5M"},
    "fat32": {"fat": 32, "cluster_size": "512", "size": "+1M", "partition": "gpt"},
}


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    (root / "many").mkdir(parents=True)
    (root / "Folder").mkdir()
    (root / "Folder" / "Within.txt").write_bytes(b"within" * 400)
    (root / "First File.txt").write_bytes(b"first" * 500)
    (root / "Second File.txt").write_bytes(b"second" * 500)
    (root / "Small.txt").write_bytes(b"small")
    for number in range(30):
        (root / "many" / f"File {number}.txt").write_bytes(b"%d" % number)
    settle_times(root)
    return root


@pytest.fixture(params=DISKS)
def guest(request, tree, tmp_path) -> Guest:
    return Guest(tree, tmp_path, DISKS[request.param])


@pytest.fixture
def edited(guest) -> Edited:
    return Edited(guest)


def test_a_disk_that_nobody_wrote_to_has_no_changes(edited):
    found = edited.harvest()
    assert not found.changes
    assert not found.problems


def test_equal_bytes_are_no_change_whatever_the_time_says(guest, tree):
    mtools(guest, "mcopy", "-o", str(tree / "First File.txt"), "::/First File.txt")
    mtools(guest, "mcopy", "-o", str(tree / "Folder" / "Within.txt"), "::/Folder/Within.txt")
    assert guest.check(guest.written, "same bytes") == []


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("utc", [True, False])
def test_times_are_those_of_the_zone_of_the_disk(tree, tmp_path, monkeypatch, zone, utc):
    source = tmp_path / "source"
    source.write_bytes(b"new")
    when = 1_700_000_000
    os.utime(source, (when, when))
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        guest = Guest(tree, tmp_path, {"floppy": "720k", "utc": utc})
        local = ENVIRONMENT | {"TZ": "UTC" if utc else zone}
        mtools(guest, "mcopy", "-m", str(source), "::/Dated.txt", env=local)
        mtools(guest, "mcopy", "-o", "-m", str(source), "::/Small.txt", env=local)
        found = harvested(guest.disk, Written.of(guest.served, guest.written))
        times = {"/".join(each.path): each.modified_ns for each in found.changes}
        assert times == {"Dated.txt": when * 10**9, "Small.txt": when * 10**9}
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_read_only_attribute_is_a_change_of_its_own(guest):
    mtools(guest, "mattrib", "+r", "::/Small.txt")
    found = harvested(guest.disk, Written.of(guest.served, guest.written))
    (change,) = found.changes
    assert (said(change), change.read_only, change.rewritten) == ("changed Small.txt", True, False)
    assert change.modified_ns is None


def test_what_is_written_in_place_is_found_in_directories_that_nobody_touched(edited):
    at = edited.volume.offset(edited.first("Folder/Within.txt"))
    edited.data[at : at + 3] = b"new"
    (change,) = edited.harvest().changes
    assert said(change) == "changed Folder/Within.txt"
    assert change.modified_ns is None, "nobody has set the time"


def test_bytes_behind_the_end_of_a_file_are_no_change(edited):
    at = edited.volume.offset(edited.first("Small.txt")) + 100
    edited.data[at : at + 3] = b"new"
    assert not edited.harvest().changes


def test_a_trimmed_cluster_that_is_still_somebody_s_is_zeros(edited):
    at = edited.volume.offset(edited.first("First File.txt"))
    edited.data[at : at + 512] = bytes(512)
    found = edited.harvest()
    (change,) = found.changes
    assert b"".join(found.content(change)) == bytes(512) + (b"first" * 500)[512:]


def test_a_lost_chain_is_no_problem(edited):
    free = edited.volume.first_free + 3
    edited.link(free, free + 1)
    edited.link(free + 1, 0x0FFF_FFFF)
    found = edited.harvest()
    assert not found.changes
    assert not found.problems


def test_a_freed_cluster_that_another_file_has_got_is_another_file(guest, tmp_path):
    """As EDK2 hands them out: the same first cluster is not the same file."""
    edited = Edited(guest)
    at = edited.slot(b"SMALL")
    edited.data[at - 32] = edited.data[at] = 0xE5
    first = edited.first("Small.txt")
    end = edited.slot(b"SECOND") + 32
    while edited.data[end]:
        end += 32
    slot = b"OTHER   BIN" + bytes((0x20, 0, 0)) + struct.pack(
        "<HHHHHHHI", 0x6000, 0x5A00, 0, first >> 16, 0x6000, 0x5A00, first & 0xFFFF, 5
    )  # fmt: skip
    edited.data[end : end + 32] = slot
    offset = edited.volume.offset(first)
    edited.data[offset : offset + 5] = b"other"
    found = edited.harvest()
    assert [said(each) for each in found.changes] == ["created OTHER.BIN", "removed Small.txt"]
    assert b"".join(found.content(found.changes[0])) == b"other"


def test_junk_and_what_was_asked_for_are_left_out(guest, tree):
    for each in ("System Volume Information", "$RECYCLE.BIN", ".Trashes", "Folder/Sub"):
        mtools(guest, "mmd", f"::/{each}")
    for each in ("._Small.txt", "NvVars", "Folder/._x", ".Trashes/within", "Folder/Sub/Kept"):
        mtools(guest, "mcopy", str(tree / "Small.txt"), f"::/{each}")
    found = harvested(guest.disk, Written.of(guest.served, guest.written), leave_out=["nvvars"])
    kept = {said(each) for each in found.changes}
    assert kept == {"created Folder/Sub", "created Folder/Sub/Kept"}
    assert not found.problems
    left_out = {each.partition(":")[0] for each in found.left_out}
    assert left_out == {"/System Volume Information", "/$RECYCLE.BIN", "/.Trashes", "/._Small.txt",
                        "/Folder/._x", "/NvVars"}  # fmt: skip


def test_what_was_served_and_is_junk_now_is_removed(guest):
    mtools(guest, "mmd", "::/.Trashes")
    mtools(guest, "mmove", "::/Small.txt", "::/.Trashes/Small.txt")
    found = harvested(guest.disk, Written.of(guest.served, guest.written))
    assert [said(each) for each in found.changes] == ["removed Small.txt"]


def test_that_many_files_are_gone_is_a_problem_unless_it_is_meant(guest):
    mtools(guest, "mdeltree", "::/many")
    snapshot = Written.of(guest.served, guest.written)
    found = harvested(guest.disk, snapshot)
    (problem,) = found.problems
    assert problem.startswith("30 of 34 files are gone")
    assert "allow_removals=True" in problem
    assert harvested(guest.disk, snapshot, allow_removals=True).problems == ()


# --- what makes a disk inconsistent ---


@pytest.mark.parametrize(
    ("place", "text"),
    [("state", "marked as mounted"), ("table", "marked as being written to")],
)
def test_marks_of_use_are_problems_and_hide_nothing(edited, place, text):
    if place == "state":
        edited.data[edited.volume.start + (0x41 if edited.bits == 32 else 0x25)] |= 1
    elif edited.bits == 12:
        pytest.skip("FAT12 has no mark in its table")
    else:
        edited.link(1, 0x07FF_FFFF if edited.bits == 32 else 0x7FFF)
    at = edited.volume.offset(edited.first("Small.txt"))
    edited.data[at] ^= 1
    found = edited.harvest()
    (problem,) = found.problems
    assert text in problem
    assert [said(each) for each in found.changes] == ["changed Small.txt"]


def test_tables_that_differ_are_a_problem(edited):
    edited.data[edited.volume.tables[1] + 8] ^= 0x10
    (problem,) = edited.harvest().problems
    assert "two allocation tables are not the same" in problem


def test_an_empty_file_that_names_a_free_cluster_is_empty(edited):
    """As pyfatfs leaves one that it has cut to nothing."""
    at = edited.slot(b"SMALL")
    edited.data[at + 28 : at + 32] = bytes(4)
    edited.link(edited.first("Small.txt"), 0)
    found = edited.harvest()
    assert not found.problems
    assert [(said(each), each.size) for each in found.changes] == [("changed Small.txt", 0)]


def test_two_names_on_one_chain_are_a_problem_and_neither_is_told(edited):
    at = edited.slot(b"SMALL")
    data = edited.data[edited.slot(b"FIRST") :][:32]
    edited.data[at + 20 : at + 22], edited.data[at + 26 : at + 32] = data[20:22], data[26:32]
    edited.data[edited.volume.offset(edited.first("First File.txt"))] ^= 1
    found = edited.harvest()
    (problem,) = found.problems
    assert "shares clusters with" in problem
    assert "First File.txt" in problem
    assert "Small.txt" in problem
    assert not found.changes


def test_a_chain_that_leads_into_another_is_a_problem(edited):
    """Into a file of a directory that nobody has touched."""
    edited.link(edited.first("First File.txt"), edited.first("Folder/Within.txt") + 1)
    found = edited.harvest()
    assert any("First File.txt: shares clusters with /Folder/Within.txt" in each
               for each in found.problems)  # fmt: skip
    assert not found.changes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "leads to a free cluster"),
        (0x0FFF_FFF7, "a bad cluster"),
        (0x0FFF_FFFF, "bytes, and clusters for"),
        (None, "lead back to themselves"),
        (0x0FF0, "which the disk doesn't have"),
    ],
)
def test_broken_chains_are_problems(edited, value, text):
    first = edited.first("First File.txt")
    if value == 0x0FF0 and edited.volume.end_cluster > value:
        value = edited.volume.end_cluster
    edited.link(first, first if value is None else value)
    found = edited.harvest()
    assert any(text in each for each in found.problems), found.problems
    assert not found.changes


def test_a_directory_whose_chain_is_broken_loses_nothing(edited):
    for chain in ("many", "Folder"):
        edited.link(edited.first(chain), 0)
    found = edited.harvest()
    assert len(found.problems) == 2
    assert not found.changes


def test_a_directory_that_is_none_loses_nothing(edited):
    at = edited.volume.offset(edited.first("many"))
    edited.data[at : at + 512] = random.randbytes(512)
    found = edited.harvest()
    assert any("/many: does not begin with an entry for itself" in each for each in found.problems)
    assert not found.changes


def test_a_directory_within_itself_is_a_problem(edited):
    at = edited.volume.offset(edited.first("Folder"))
    slot = at + 32 * 3  # behind its own two and a part of a long name
    first = edited.first("Folder")
    edited.data[slot + 11] = 0x10
    edited.data[slot + 20 : slot + 22] = struct.pack("<H", first >> 16)
    edited.data[slot + 26 : slot + 28] = struct.pack("<H", first & 0xFFFF)
    assert any("shares clusters" in each for each in edited.harvest().problems)


@pytest.mark.parametrize("name", [b"../X    TXT", b"A/B     TXT", b"A\0B     TXT", b" " * 11])
def test_names_that_lead_elsewhere_are_problems(edited, name):
    at = edited.slot(b"SMALL")
    edited.data[at - 32] = 0xE5
    edited.data[at : at + 11] = name
    found = edited.harvest()
    (problem,) = found.problems
    assert "which is no name" in problem
    assert not found.changes, "what the name was is not known, so nothing is removed"


def test_what_was_in_a_directory_whose_name_is_lost_is_not_removed(edited):
    at = edited.slot(b"FOLDER")
    edited.data[at - 32] = 0xE5
    edited.data[at : at + 11] = b"A/B        "
    found = edited.harvest()
    assert found.problems
    assert not found.changes


def test_half_a_surrogate_is_no_name(edited):
    at = edited.slot(b"SMALL") - 32
    edited.data[at + 1 : at + 3] = b"\x00\xd8"
    (problem,) = edited.harvest().problems
    assert "which is no name" in problem


def test_a_name_that_is_there_twice_is_a_problem(edited):
    one, other = edited.slot(b"FIRST"), edited.slot(b"SECOND")
    edited.data[other - 64 : other + 11] = edited.data[one - 64 : one + 11]
    assert any("twice" in each for each in edited.harvest().problems)


def test_there_are_only_so_many_problems(edited):
    for number in range(400):
        edited.link(2 + number, 1)
    assert len(edited.harvest().problems) <= 101


def test_new_names_are_bounded(guest, tree, monkeypatch):
    monkeypatch.setattr(walk, "MOST_NEW", 8)
    mtools(guest, "mmd", "::/Docs", "::/Docs/Deep")
    for number in range(5):
        mtools(guest, "mcopy", str(tree / "Small.txt"), f"::/Docs/Deep/File {number}.txt")
    found = harvested(guest.disk, Written.of(guest.served, guest.written))
    (problem,) = found.problems
    assert problem.startswith("/Docs/Deep: more is new on the disk")
    assert {said(each) for each in found.changes} >= {"created Docs", "created Docs/Deep"}
    assert len(found.changes) == 3


def test_depth_is_bounded(guest, monkeypatch):
    monkeypatch.setattr(walk, "MOST_DEPTH", 2)
    mtools(guest, "mmd", "::/Docs", "::/Docs/Deep", "::/Docs/Deep/Er")
    found = harvested(guest.disk, Written.of(guest.served, guest.written))
    assert found.problems == ("/Docs/Deep/Er: is more than 2 directories deep",)
    assert {said(each) for each in found.changes} == {"created Docs", "created Docs/Deep"}


def test_the_length_of_a_directory_is_bounded(guest, tree, monkeypatch):
    monkeypatch.setattr(walk, "_MOST_BYTES", 1024)
    for number in range(20):
        mtools(guest, "mcopy", str(tree / "Small.txt"), f"::/Folder/A New File {number}.txt")
    found = harvested(guest.disk, Written.of(guest.served, guest.written))
    (problem,) = found.problems
    assert problem == "/Folder: is longer than a directory may be"
    assert not found.changes


def test_what_is_left_out_is_told_in_a_hundred_lines_at_most(edited):
    found = Problems("names")
    for number in range(250):
        found.add(str(number))
    assert found.all()[-1] == "150 names more"


# --- another disk ---


def test_a_volume_that_was_formatted_anew_is_not_harvested(guest):
    need_tool("mformat")
    mtools(guest, "mformat", "-v", "OTHER", "-N", "12345678", "::")
    with pytest.raises(ReformattedError, match="the guest has formatted it"):
        harvested(guest.disk, Written.of(guest.served, guest.written))


@pytest.mark.parametrize("at", [11, 13, 14, 16, 17, 22])
def test_another_geometry_is_not_harvested(edited, at):
    edited.data[edited.volume.start + at] ^= 1
    with pytest.raises(ReformattedError, match="the geometry"):
        edited.harvest()


def test_another_partition_is_not_harvested(edited):
    if not edited.volume.start:
        pytest.skip("a disk without a partition table")
    edited.data[446 + 8] ^= 1
    with pytest.raises(ReformattedError, match="the partition table"):
        edited.harvest()


def test_what_systems_write_into_boot_sectors_does_no_harm(edited):
    """Windows: a disk signature, and a name of its own in the boot sector."""
    start = edited.volume.start
    edited.data[start + 3 : start + 11] = b"WINDOWS!"
    if start:
        edited.data[440:446] = b"signed"
    assert not edited.harvest().changes


def test_a_disk_of_another_length_is_not_harvested(edited):
    edited.data += bytes(512)
    with pytest.raises(ReformattedError, match="were served"):
        edited.harvest()


def test_a_host_that_has_changed_since_counts_as_a_change(guest, tree):
    """Nobody can say any more if the guest's bytes are those that were served."""
    snapshot = Written.of(guest.served, guest.written, everything=True)
    (tree / "Small.txt").write_bytes(b"other")
    found = harvested(guest.disk, snapshot)
    assert [said(each) for each in found.changes] == ["changed Small.txt"]


def test_an_iso_image_is_not_harvested(tree):
    disk = vfloppy.open_disk(tree, format="iso", writable=True)
    with disk, pytest.raises(vfloppy.OptionError, match="only those of FAT"):
        vfloppy.find_changes(disk)


def test_a_disk_that_is_not_written_to_is_not_harvested(tree):
    with pytest.raises(vfloppy.OptionError, match="not writable"):
        vfloppy.find_changes(vfloppy.open_disk(tree))
