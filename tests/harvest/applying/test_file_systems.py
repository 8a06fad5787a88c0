"""Applying on real file systems: a full one, one below another, layers, one that folds letters."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest
from guests import T1, Guest, grown, plant, settled, trashed
from tools import need_tool, output, run
from vfloppy.errors import ApplyError
from vfloppy.harvest.applying.apply import apply
from vfloppy.harvest.applying.calls import Calls
from vfloppy.harvest.applying.folders import Folders

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
FILES = {"a": b"first", "b": b"second", "d/x": b"x", "d/e/y": b"y"}


@contextmanager
def mounted(place, kind="tmpfs", *options):
    place.mkdir(exist_ok=True)
    if kind == "tmpfs":
        output("mount", "-t", kind, *options, "none", place)
    else:
        need_tool(f"mkfs.{kind}")
        disk = place.with_name(f"{place.name}.disk")
        with open(disk, "wb") as file:
            file.truncate(400 << 20)
        output(f"mkfs.{kind}", "-q", disk)
        done = run("mount", "-o", "loop", "-t", kind, disk, place)
        if done.returncode:
            pytest.skip(f"can't be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        output("umount", "-l", place)


def all_sorts(root):
    guest = Guest(root).rename("a", "b").rename("b", "a").change("d/x", b"X", modified_ns=T1)
    guest.rename("d", "D").mkdir("n").create("n/z", b"z" * 100_000).remove("d/e/y")
    return guest


def check_all_sorts(root):
    plant(root, FILES)
    guest = all_sorts(root)
    guest.changed[2] = guest.changed[2].__class__(
        **{name: getattr(guest.changed[2], name) for name in guest.changed[2].__slots__}
        | {"path": ("D", "x")}
    )
    settled(guest, root)
    assert grown(root) == {"a": b"second", "b": b"first", "D": None, "D/x": b"X", "D/e": None,
                           "n": None, "n/z": b"z" * 100_000}  # fmt: skip
    assert trashed(root) == {"d/e/y": b"y"}


@root_only
@pytest.mark.parametrize("kind", ["tmpfs", "ext2", "ext4", "xfs", "btrfs"])
def test_on(tmp_path, kind):
    with mounted(tmp_path / "m", kind) as place:
        check_all_sorts(place / "root")
        plant(place, {"c": b"1"})  # in the mounted directory itself, too
        settled(Guest(place).rename("c", "C"), place)


@root_only
def test_on_layers(tmp_path):
    with mounted(tmp_path / "m") as place:
        for name in ("lower", "upper", "work", "merged"):
            (place / name).mkdir()
        plant(place / "lower/root", FILES)
        layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        done = run("mount", "-t", "overlay", "-o", layers, "none", place / "merged")
        if done.returncode:
            pytest.skip(f"can't be mounted here: {done.stderr.decode().strip()}")
        try:
            root = place / "merged/root"
            guest = Guest(root).change("a", b"new").remove("b").create("d/new", b"n")
            guest.rename("d/x", "d/z")
            apply(guest.changes, guest.places)
            assert grown(root) == {"a": b"new", "d": None, "d/z": b"x", "d/new": b"n",
                                   "d/e": None, "d/e/y": b"y"}  # fmt: skip
            assert trashed(root) == {"b": b"second"}
        finally:
            output("umount", "-l", place / "merged")


@root_only
def test_a_full_disk_leaves_all_as_it_was_and_later_goes_on(tmp_path):
    with mounted(tmp_path / "m", "tmpfs", "-o", "size=4m") as place:
        root = place / "root"
        plant(root, FILES)
        (place / "other").write_bytes(bytes(3 << 20))
        guest = Guest(root).rename("a", "z").create("big", bytes(range(256)) * (8 << 10))
        guest.remove("b")
        before = grown(root)
        with pytest.raises(ApplyError, match="No space left on device; nothing was applied"):
            apply(guest.changes, guest.places)
        assert grown(root) == before
        assert not (root / ".vfloppy").exists()
        (place / "other").unlink()
        settled(guest, root)
        assert grown(root) == {"z": b"first", "big": bytes(range(256)) * (8 << 10), "d": None,
                               "d/x": b"x", "d/e": None, "d/e/y": b"y"}  # fmt: skip


@root_only
def test_a_file_system_below_another(tmp_path):
    """Its state is its own; files move there as copies, and directories stay where they were."""
    root = tmp_path / "root"
    plant(root, {"a": b"first", "b": b"second", "dir/x": b"x", "gone": b"g"})
    (root / "a").chmod(0o751)
    os.utime(root / "a", ns=(T1, T1))
    with mounted(root / "m"):
        plant(root / "m", {"in/y": b"y", "old": b"o"})
        guest = Guest(root).rename("a", "m/in/a").rename("b", "m/b", b"anew").rename("dir", "m/dir")
        guest.change("m/in/y", b"why").create("m/new", b"n").remove("m/old").rename("m/in", "m/IN")
        guest.remove("gone").create("m/dir/new", b"n")
        changes = [
            change.__class__(
                **{name: getattr(change, name) for name in change.__slots__}
                | {"path": tuple("IN" if name == "in" else name for name in change.path)}
            )
            for change in guest.changed
        ]
        guest.changed = changes
        applied = settled(guest, root)
        assert grown(root / "m") == {"IN": None, "IN/a": b"first", "IN/y": b"why", "b": b"anew",
                                     "new": b"n"}  # fmt: skip
        assert (root / "m/IN/a").stat().st_mtime_ns == T1
        assert (root / "m/IN/a").stat().st_mode & 0o777 == 0o751
        assert trashed(root / "m") == {"old": b"o"}
        assert {deed.path for deed in applied.of("kept")} == {"m/dir"}
        assert not apply(guest.changes, guest.places).of("conflict")
        found = set(grown(root / "dir"))
        assert found == {"x", "new"}
        assert trashed(root) == {"gone": b"g"}
        output("rm", "-r", root / "m/.vfloppy")
    with mounted(root / "m"):
        # What is mounted isn't renamed, nor removed.
        guest = Guest(root).rename("m", "M").create("M/new", b"n")
        applied = settled(guest, root)
        assert grown(root / "m") == {"new": b"n"}
        assert {deed.path for deed in applied.of("kept")} == {"M"}


class Folding(Calls):
    """A file system to which letters are the same, capital or small."""

    def move(self, source, name, target, new_name):
        folded = new_name.lower()
        if any(os.fsencode(each).lower() == folded for each in os.listdir(target)):
            raise FileExistsError
        super().move(source, name, target, new_name)


def test_letters_of_a_name_change_where_they_are_the_same(tmp_path, monkeypatch):
    plant(tmp_path, {"readme": b"1", "dir/x": b"2"})
    status = Folders.status

    def folding(self, place):
        folder, name = place
        if self.all[folder].inode:
            for each in map(os.fsencode, os.listdir(self.descriptor(folder))):
                if each.lower() == name.lower():
                    name = each
        return status(self, (folder, name))

    monkeypatch.setattr(Folders, "status", folding)
    guest = Guest(tmp_path).rename("readme", "README").rename("dir", "DIR")
    assert apply(guest.changes, guest.places, calls=Folding()).is_complete
    assert grown(tmp_path) == {"README": b"1", "DIR": None, "DIR/x": b"2"}
