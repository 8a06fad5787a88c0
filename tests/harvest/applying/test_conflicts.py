"""Conflicts: the host has changed since it was served, and both versions are kept."""

from __future__ import annotations

import os

import pytest
from guests import T0, T1, Guest, grown, is_whole, mode_of, outcomes, plant, settled
from vfloppy.harvest.applying.apply import apply
from vfloppy.harvest.applying.calls import Calls

FILES = {"a": b"first", "d/b": b"second", "d/e/c": b"third"}
ALL = FILES | {"d": None, "d/e": None}


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    plant(path, FILES)
    return path


def edit(root, path="a", data=b"by the host"):
    (root / path).write_bytes(data)


def replace(root, path="a", data=b"by the host"):
    (root / "tmp").write_bytes(data)
    (root / "tmp").rename(root / path)


def back_date(root, path="a"):
    """Other bytes of the same size, and the old time of modification."""
    (root / path).write_bytes(b"FIRST")
    os.utime(root / path, ns=(T0, T0))


def conflicts(applied):
    return {(deed.path, os.path.basename(deed.host)) for deed in applied.of("conflict")}


HOSTS = {"edit": edit, "replace": replace, "back_date": back_date}


@pytest.mark.parametrize("host", HOSTS)
def test_changed_on_both_sides(root, host):
    os.umask(old := os.umask(0o077))
    os.umask(0o027)
    (root / "a").chmod(0o640)
    guest = Guest(root).change("a", b"by the guest", modified_ns=T1)
    HOSTS[host](root)
    os.umask(old)
    host_s = (root / "a").read_bytes()
    applied = settled(guest, root)
    assert grown(root) == ALL | {"a": host_s, "a.conflict-1": b"by the guest"}
    assert conflicts(applied) == {("a", "a.conflict-1")}
    assert not applied.is_complete
    assert mode_of(root / "a.conflict-1") == 0o640
    assert (root / "a.conflict-1").stat().st_mtime_ns == T1


def test_a_mode_that_the_host_has_changed_is_no_conflict(root):
    guest = Guest(root).change("a", b"by the guest").remove("d/b")
    (root / "a").chmod(0o600)
    (root / "d/b").chmod(0o600)
    applied = settled(guest, root, trash=False)
    assert applied.is_complete
    assert mode_of(root / "a") == 0o600
    assert "d/b" not in grown(root)


def test_the_same_change_on_both_sides_is_none(root):
    guest = Guest(root).change("a", b"same").create("new", b"same")
    edit(root, "a", b"same")
    edit(root, "new", b"same")
    applied = settled(guest, root)
    assert applied.deeds == ()
    assert grown(root) == ALL | {"a": b"same", "new": b"same"}


def test_another_conflict_gets_another_number(root):
    guest = Guest(root).change("a", b"by the guest")
    edit(root)
    plant(root, {"a.conflict-1": b"of another day"})
    applied = settled(guest, root)
    assert conflicts(applied) == {("a", "a.conflict-2")}
    assert (root / "a.conflict-1").read_bytes() == b"of another day"


def test_a_name_beside_a_long_one_is_shorter(tmp_path):
    root, name = tmp_path / "root", "ä" * 127
    plant(root, {name: b"1"})
    guest = Guest(root).change(name, b"2")
    edit(root, name)
    applied = settled(guest, root)
    ((_, found),) = conflicts(applied)
    assert found == "ä" * 122 + ".conflict-1"
    assert len(found.encode()) == 255


def test_removed_by_the_host_and_changed_by_the_guest(root):
    guest = Guest(root).change("a", b"by the guest").rename("d/b", "d/B", b"too")
    (root / "a").unlink()
    (root / "d/b").unlink()
    applied = apply(guest.changes, guest.places)
    assert grown(root) == {"a": b"by the guest", "d": None, "d/B": b"too", "d/e": None,
                           "d/e/c": b"third"}  # fmt: skip
    assert {path for path, _ in conflicts(applied)} == {"a", "d/B"}


def test_a_directory_that_the_host_has_removed_is_made_again_for_what_the_guest_wrote(root):
    guest = Guest(root).change("d/e/c", b"by the guest").create("d/e/new", b"new")
    (root / "d/e/c").unlink()
    (root / "d/e").rmdir()
    applied = apply(guest.changes, guest.places)
    assert grown(root) == ALL | {"d/e/c": b"by the guest", "d/e/new": b"new"}
    assert conflicts(applied) == {("d/e/c", "c")}


def test_a_directory_that_was_replaced_is_another(root):
    guest = Guest(root).change("d/b", b"by the guest").create("d/new", b"new").remove("d/e/c")
    (root / "d").rename(root / "old")
    plant(root, {"d/b": b"by the host", "d/e/c": b"too"})
    applied = apply(guest.changes, guest.places)
    found = grown(root)
    assert found.pop("old/b") == b"second"
    assert {name: data for name, data in found.items() if not name.startswith("old")} == {
        "a": b"first", "d": None, "d/b": b"by the host", "d/b.conflict-1": b"by the guest",
        "d/new": b"new", "d/e": None, "d/e/c": b"too",
    }  # fmt: skip
    assert not applied.is_complete


def test_removed_by_the_guest_and_changed_by_the_host(root):
    guest = Guest(root).remove("a").remove("d/e/c").remove("d/e")
    edit(root)
    replace(root, "d/e/c")
    applied = settled(guest, root)
    assert grown(root) == ALL | {"a": b"by the host", "d/e/c": b"by the host"}
    assert outcomes(applied) == {("conflict", "a"), ("conflict", "d/e/c"), ("kept", "d/e")}


def test_removed_by_both_is_done(root):
    guest = Guest(root).remove("a")
    (root / "a").unlink()
    assert settled(guest, root).deeds == ()


def test_made_by_both(root):
    guest = Guest(root).create("new", b"by the guest").mkdir("dir").create("dir/x", b"x")
    guest.create("sub", b"by the guest").mkdir("file").create("file/y", b"y")
    plant(root, {"new": b"by the host", "dir/z": b"z", "sub/k": b"k", "file": b"by the host"})
    applied = settled(guest, root)
    assert grown(root) == ALL | {
        "new": b"by the host", "new.conflict-1": b"by the guest", "dir": None, "dir/x": b"x",
        "dir/z": b"z", "sub": None, "sub/k": b"k", "sub.conflict-1": b"by the guest",
        "file": b"by the host", "file.conflict-1": None, "file.conflict-1/y": b"y",
    }  # fmt: skip
    assert {path for path, _ in conflicts(applied)} == {"new", "sub", "file"}


def test_what_the_disk_did_not_have_is_in_the_way_of_a_name(root):
    guest = Guest(root).rename("a", "x").create("y", b"new").rename("d/e", "d/z").mkdir("w")
    plant(root, {"x": b"excluded"})
    (root / "y").symlink_to("/etc/passwd")
    os.mkfifo(root / "d/z")
    (root / "w").symlink_to(root / "d")
    applied = settled(guest, root)
    assert conflicts(applied) == {
        ("x", "x.conflict-1"), ("y", "y.conflict-1"), ("d/z", "z.conflict-1"),
        ("w", "w.conflict-1"),
    }  # fmt: skip
    assert (root / "x").read_bytes() == b"excluded"
    assert (root / "x.conflict-1").read_bytes() == b"first"
    assert (root / "y.conflict-1").read_bytes() == b"new"
    assert (root / "d/z.conflict-1/c").read_bytes() == b"third"
    assert (root / "w.conflict-1").is_dir()
    assert (root / "y").is_symlink()
    assert (root / "w").is_symlink()


def test_renamed_by_the_guest_and_edited_by_the_host_is_both(root):
    guest = Guest(root).rename("a", "x")
    edit(root)
    applied = settled(guest, root)
    assert grown(root) == {"x": b"by the host", "d": None, "d/b": b"second", "d/e": None,
                           "d/e/c": b"third"}  # fmt: skip
    assert applied.is_complete


def test_renamed_by_the_guest_and_replaced_by_the_host(root):
    guest = Guest(root).rename("a", "x")
    replace(root)
    applied = settled(guest, root)
    assert grown(root) == ALL | {"a": b"by the host"}
    assert outcomes(applied) == {("conflict", "x")}


def test_renamed_by_both(root):
    guest = Guest(root).rename("a", "x").rename("d/e", "d/E")
    (root / "a").rename(root / "z")
    (root / "d/e").rename(root / "d/elsewhere")
    applied = settled(guest, root)
    assert (root / "z").read_bytes() == b"first"
    assert (root / "d/elsewhere/c").read_bytes() == b"third"
    assert outcomes(applied) == {("conflict", "x"), ("conflict", "d/E")}


@pytest.mark.parametrize("host", [edit, replace])
def test_renamed_and_rewritten_by_the_guest_and_changed_by_the_host(root, host):
    guest = Guest(root).rename("a", "x", b"by the guest")
    host(root)
    applied = apply(guest.changes, guest.places)
    assert grown(root) == ALL | {"a": b"by the host", "x": b"by the guest"}
    assert conflicts(applied) == {("x", "x")}


def test_a_file_that_became_a_link_or_a_directory_is_not_written_through(root, tmp_path):
    (tmp_path / "outside").write_bytes(b"outside")
    guest = Guest(root).change("a", b"by the guest").change("d/b", b"too").remove("d/e/c")
    for path in ("a", "d/b", "d/e/c"):
        (root / path).unlink()
    (root / "a").symlink_to(tmp_path / "outside")
    (root / "d/b").mkdir()
    os.mkfifo(root / "d/e/c")
    applied = settled(guest, root)
    assert conflicts(applied) == {("a", "a.conflict-1"), ("d/b", "b.conflict-1"), ("d/e/c", "c")}
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert (root / "a.conflict-1").read_bytes() == b"by the guest"
    assert is_whole(root)


def test_a_directory_that_became_a_link_is_not_followed(root, tmp_path):
    outside = tmp_path / "outside"
    plant(outside, {"b": b"second", "e/c": b"third"})
    guest = Guest(root).change("d/b", b"by the guest").create("d/new", b"n").remove("d/e/c")
    (root / "d").rename(tmp_path / "away")
    (root / "d").symlink_to(outside)
    applied = apply(guest.changes, guest.places)
    assert grown(outside) == {"b": b"second", "e": None, "e/c": b"third"}
    assert (root / "d.conflict-1/b").read_bytes() == b"by the guest"
    assert (root / "d.conflict-1/new").read_bytes() == b"n"
    assert not applied.is_complete


class Meanwhile(Calls):
    """Does something just before the first call of a name."""

    def __init__(self, call, act):
        self.waiting, self.act = call, act

    def before(self, call):
        if call == self.waiting:
            self.waiting = None
            self.act()


def test_a_file_that_comes_to_a_name_in_the_last_moment_stays(root):
    guest = Guest(root).create("new", b"by the guest")
    applied = apply(guest.changes, guest.places, calls=Meanwhile("move", lambda: edit(root, "new")))
    assert grown(root) == ALL | {"new": b"by the host", "new.conflict-1": b"by the guest"}
    assert conflicts(applied) == {("new", "new.conflict-1")}


@pytest.mark.parametrize("host", [edit, replace])
def test_a_file_that_changes_in_the_last_moment_before_it_is_replaced_stays(root, host):
    guest = Guest(root).change("a", b"by the guest")
    applied = apply(guest.changes, guest.places, calls=Meanwhile("exchange", lambda: host(root)))
    assert set(grown(root).values()) == {*ALL.values(), b"by the host", b"by the guest"} - {
        b"first"
    }
    assert len(applied.of("conflict")) == 1
    assert os.path.exists(applied.of("conflict")[0].host)
    assert is_whole(root)


def test_a_file_that_changed_between_plan_and_journal_stays(root):
    guest = Guest(root).change("a", b"by the guest").remove("d/b").rename("d/e/c", "c", b"too")

    def change():
        for path in ("a", "d/b", "d/e/c"):
            edit(root, path, f"host {path}".encode())

    applied = apply(guest.changes, guest.places, calls=Meanwhile("create_nameless", change))
    found = grown(root)
    assert {b"host a", b"by the guest", b"host d/b", b"host d/e/c", b"too"} <= set(found.values())
    assert (found["a"], found["d/b"]) == (b"host a", b"host d/b")
    assert {path for path, _ in conflicts(applied)} >= {"a", "d/b"}
    assert is_whole(root)


def test_a_directory_that_fills_in_the_last_moment_stays(root):
    guest = Guest(root).remove("d/e/c").remove("d/e")
    act = Meanwhile("rmdir", lambda: edit(root, "d/e/new"))
    applied = apply(guest.changes, guest.places, calls=act)
    assert (root / "d/e/new").read_bytes() == b"by the host"
    assert ("kept", "d/e") in outcomes(applied)


def test_what_goes_in_the_last_moment_is_told(root):
    guest = Guest(root).rename("a", "x").remove("d/b")

    def remove():
        (root / "a").unlink()
        (root / "d/b").unlink()

    applied = apply(guest.changes, guest.places, calls=Meanwhile("mkdir", remove))
    assert {path for path, _ in conflicts(applied)} == {"x"}
    assert grown(root) == {"d": None, "d/e": None, "d/e/c": b"third"}


class Stopped(BaseException):
    """Where a process would have been killed."""


def test_a_file_that_was_replaced_in_the_last_moment_before_a_crash_is_brought_back(root):
    guest = Guest(root).change("a", b"by the guest")
    counts = iter(range(9))

    class Crashing(Calls):
        def before(self, call):
            if call == "exchange":
                if next(counts):
                    raise Stopped  # before it is exchanged again
                replace(root)

    with pytest.raises(Stopped):
        apply(guest.changes, guest.places, calls=Crashing())
    applied = apply(guest.changes, guest.places)
    assert grown(root) == ALL | {"a": b"by the guest", "a.conflict-1": b"by the host"}
    assert ("a.conflict-1", "a.conflict-1") in conflicts(applied)
    assert is_whole(root)
