"""Each file goes where it came from: merged directories, grafts, links; what is new to the last."""

from __future__ import annotations

import os

import pytest
from guests import Guest, grown, outcomes, plant, settled
from vfloppy.harvest.applying.apply import apply
from vfloppy.synth.scanning.merging import Graft
from vfloppy.synth.scanning.options import ScanOptions

LOWER, UPPER = {"a": b"1", "d/x": b"2", "l": None}, {"b": b"3", "d/y": b"4", "D2/z": b"5"}


@pytest.fixture
def two(tmp_path):
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    plant(lower, LOWER)
    plant(upper, UPPER)
    return lower, upper


def test_files_go_back_to_their_source_and_new_ones_to_the_last(two):
    lower, upper = two
    guest = Guest(lower, upper).change("a", b"A").change("d/x", b"X").change("d/y", b"Y")
    guest.create("new", b"n").create("d/new", b"n").create("l/new", b"n").remove("b")
    settled(guest, lower, upper, trash=False)
    assert grown(lower) == {"a": b"A", "d": None, "d/x": b"X", "l": None, "l/new": b"n"}
    assert grown(upper) == {"d": None, "d/y": b"Y", "D2": None, "D2/z": b"5", "new": b"n",
                            "d/new": b"n"}  # fmt: skip


def test_a_merged_directory_is_renamed_in_each_source(two):
    lower, upper = two
    guest = (
        Guest(lower, upper).rename("d", "e").create("e/new", b"n").change("e/x", b"X", served="d/x")
    )
    settled(guest, lower, upper)
    assert grown(lower) == {"a": b"1", "l": None, "e": None, "e/x": b"X"}
    assert grown(upper) == {"b": b"3", "D2": None, "D2/z": b"5", "e": None, "e/y": b"4",
                            "e/new": b"n"}  # fmt: skip


def test_a_merged_directory_is_removed_in_each_source(two):
    lower, upper = two
    guest = Guest(lower, upper).remove("d/x").remove("d/y").remove("d")
    settled(guest, lower, upper, trash=False)
    assert "d" not in grown(lower) | grown(upper)


def test_what_is_moved_stays_below_its_root_where_the_directory_is_there(tmp_path):
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    plant(lower, {"a": b"1", "both/x": b"2"})
    plant(upper, {"b": b"3", "both/y": b"4", "up": None})
    guest = Guest(lower, upper).rename("a", "both/a").rename("both/x", "up/x")
    settled(guest, lower, upper)
    assert grown(lower) == {"both": None, "both/a": b"1"}
    assert grown(upper) == {"b": b"3", "both": None, "both/y": b"4", "up": None, "up/x": b"2"}


def test_names_that_are_one_to_the_disk_are_each_their_own(tmp_path):
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    plant(lower, {"Read": b"1", "Dir/a": b"2"})
    plant(upper, {"READ": b"3", "DIR/b": b"4"})
    guest = Guest(lower, upper, options=ScanOptions(fold=str.casefold))
    guest.change("Read", b"new").change("Dir/b", b"new").remove("Dir/a").create("Dir/c", b"c")
    settled(guest, lower, upper, trash=False)
    assert grown(lower) == {"Read": b"1", "Dir": None}
    assert grown(upper) == {"READ": b"new", "DIR": None, "DIR/b": b"new", "DIR/c": b"c"}


def test_grafts_are_written_where_they_came_from_and_stay_there(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    plant(root, {"a": b"1", "d/x": b"2"})
    plant(other, {"file": b"3", "gone": b"4", "dir/y": b"5", "dir/z": b"6"})
    grafts = [
        Graft("f", f"{other}/file"),
        Graft("g", f"{other}/gone"),
        Graft("d/graft", f"{other}/dir"),
        Graft("efi/boot/app", f"{other}/gone"),
    ]
    guest = Guest(root, grafts=grafts)
    guest.change("f", b"three").rename("g", "h").change("d/graft/y", b"five")
    guest.create("d/graft/new", b"n").create("efi/boot/new", b"n").create("efi/x", b"x")
    guest.remove("d/graft/z").remove("efi/boot/app")
    applied = settled(guest, root, other, trash=False)
    assert grown(root) == {"a": b"1", "d": None, "d/x": b"2", "efi": None, "efi/x": b"x",
                           "efi/boot": None, "efi/boot/new": b"n"}  # fmt: skip
    assert grown(other) == {"file": b"three", "gone": b"4", "dir": None, "dir/y": b"five",
                            "dir/new": b"n"}  # fmt: skip
    assert {deed.path for deed in applied.of("kept")} == {"h", "efi/boot/app"}


def test_a_graft_that_was_moved_and_rewritten_is_written_where_it_came_from(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    plant(root, {"d": None})
    plant(other, {"file": b"3"})
    guest = Guest(root, grafts=[Graft("f", f"{other}/file")]).rename("f", "d/f", b"new")
    settled(guest, root, other)
    assert grown(other) == {"file": b"new"}
    assert grown(root) == {"d": None}


def test_a_grafted_directory_is_neither_removed_nor_renamed(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    plant(root, {"a": b"1"})
    plant(other, {"dir/y": b"5", "two/z": b"6"})
    grafts = [Graft("g", f"{other}/dir"), Graft("h", f"{other}/two")]
    guest = Guest(root, grafts=grafts).remove("g/y").remove("g").rename("h", "i")
    guest.change("i/z", b"new", served="h/z").create("i/new", b"n")
    applied = settled(guest, root, other, trash=False)
    assert grown(other) == {"dir": None, "two": None, "two/z": b"new", "two/new": b"n"}
    assert {("kept", "g"), ("kept", "i")} <= outcomes(applied)


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_followed_links_are_written_where_they_lead_and_stay(tmp_path, where):
    root = tmp_path / "root"
    ends = root / "z" if where == "inside" else tmp_path / "outside"
    plant(root, {"a": b"1", "z": None})
    plant(ends, {"file": b"2", "gone": b"3", "dir/x": b"4", "dir/y": b"5"})
    (root / "f").symlink_to(ends / "file")
    (root / "g").symlink_to(ends / "gone")
    (root / "d").symlink_to(ends / "dir")
    (root / "A").symlink_to("a")
    before = {name: os.readlink(root / name) for name in ("f", "g", "d", "A")}
    guest = Guest(root, options=ScanOptions(symlinks="follow-all"))
    guest.change("f", b"two").change("d/x", b"four").create("d/new", b"n")
    guest.rename("A", "B").remove("g").remove("d/y")
    applied = settled(guest, root, ends, trash=False)
    assert {name: os.readlink(root / name) for name in before} == before
    assert grown(ends) == {"file": b"two", "gone": b"3", "dir": None, "dir/x": b"four",
                           "dir/new": b"n"}  # fmt: skip
    assert (root / "a").read_bytes() == b"1"
    assert {("kept", "g"), ("kept", "B")} <= outcomes(applied)


def test_a_disk_without_a_directory_of_the_host_takes_nothing_new(tmp_path):
    plant(tmp_path / "other", {"file": b"3"})
    guest = Guest(grafts=[Graft("f", f"{tmp_path}/other/file")]).change("f", b"new")
    apply(guest.changes, guest.places)
    assert grown(tmp_path / "other") == {"file": b"new"}
    guest.create("new", b"n").mkdir("dir").create("dir/x", b"x")
    applied = apply(guest.changes, guest.places)
    assert {deed.path for deed in applied.of("refused")} == {"new", "dir", "dir/x"}


@pytest.mark.parametrize("source", ["lower", "upper"])
def test_a_merged_directory_that_became_a_link_is_not_followed(two, tmp_path, source):
    """Which inode each of them had is not noted."""
    outside = tmp_path / "outside"
    plant(outside, {"x": b"2", "y": b"4"})
    guest = Guest(*two).change("d/x", b"X").change("d/y", b"Y").create("d/new", b"n")
    (tmp_path / source / "d").rename(tmp_path / "away")
    (tmp_path / source / "d").symlink_to(outside)
    apply(guest.changes, guest.places)
    assert grown(outside) == {"x": b"2", "y": b"4"}
    written = set(grown(two[0]).values()) | set(grown(two[1]).values())
    assert written >= {b"X", b"Y", b"n"}
