"""Changes of a guest come home by the rules: what is written, moved and removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from guests import T0, T1, Guest, grown, is_whole, mode_of, outcomes, plant, settled, trashed
from vfloppy.errors import ApplyError
from vfloppy.harvest.applying.apply import apply

FILES = {"a": b"first", "b": b"second", "d/c": b"third", "d/e/f": b"fourth", "empty": None}
ALL = FILES | {"d": None, "d/e": None}


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    plant(path, FILES)
    return path


def less(*names):
    return {name: content for name, content in ALL.items() if name not in names}


@pytest.fixture
def umask():
    os.umask(old := os.umask(0o027))
    os.umask(0o027)
    yield 0o027
    os.umask(old)


def test_what_is_new_has_the_guest_s_times_and_no_rights_of_its_own(root, umask):
    guest = Guest(root).mkdir("new").create("new/x", b"content" * 300_000, modified_ns=T1)
    guest.create("d/y", b"", modified_ns=T1).create("d/z", b"z", read_only=True)
    applied = settled(guest, root)
    new = {"new": None, "new/x": b"content" * 300_000, "d/y": b"", "d/z": b"z"}
    assert grown(root) == ALL | new
    assert (root / "new/x").stat().st_mtime_ns == (root / "d/y").stat().st_mtime_ns == T1
    assert mode_of(root / "new/x") == 0o640
    assert mode_of(root / "d/z") == 0o440
    assert mode_of(root / "new") == 0o750
    assert outcomes(applied) == {("created", path) for path in ("new", "new/x", "d/y", "d/z")}
    assert {deed.host for deed in applied.deeds} == {str(root / path) for path in new}
    assert applied.is_complete
    assert not (root / ".vfloppy").exists()


def test_what_was_changed_keeps_its_mode_and_has_the_guest_s_time(root):
    (root / "a").chmod(0o751)
    (root / "d/c").chmod(0o600)
    applied = settled(
        Guest(root).change("a", b"anew", modified_ns=T1).change("d/c", b"other"), root
    )
    assert grown(root) == ALL | {"a": b"anew", "d/c": b"other"}
    assert (mode_of(root / "a"), mode_of(root / "d/c")) == (0o751, 0o600)
    assert (root / "a").stat().st_mtime_ns == T1
    # The guest's time is the one that was served, so it is the host's to the nanosecond.
    assert (root / "d/c").stat().st_mtime_ns == T0
    assert outcomes(applied) == {("changed", "a"), ("changed", "d/c")}
    assert is_whole(root)


def test_what_has_the_same_bytes_is_not_touched(root):
    before = (root / "a").stat()
    guest = Guest(root).change("a", b"first", modified_ns=T1)
    guest.rename("b", "moved", b"second", modified_ns=T1)
    settled(guest, root)
    after = (root / "a").stat()
    assert (before.st_ino, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_ino,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
    assert (root / "moved").stat().st_mtime_ns == T0


def test_a_file_of_the_same_size_and_time_with_other_bytes_is_changed(root):
    settled(Guest(root).change("a", b"FIRST"), root)
    assert (root / "a").read_bytes() == b"FIRST"


def test_the_read_only_attribute_is_the_right_to_write(root):
    (root / "b").chmod(0o444)
    guest = Guest(root).change("a", b"first", read_only=True)
    guest.change("b", b"second", read_only=False).change("d/c", b"more", read_only=True)
    settled(guest, root)
    assert (mode_of(root / "a"), mode_of(root / "b")) == (0o444, 0o644)
    assert mode_of(root / "d/c") & 0o222 == 0
    assert grown(root) == ALL | {"d/c": b"more"}


MOVES = {
    "rename": (lambda g: g.rename("a", "z"), less("a") | {"z": b"first"}),
    "move": (lambda g: g.rename("a", "d/e/a"), less("a") | {"d/e/a": b"first"}),
    "letters": (lambda g: g.rename("a", "A"), less("a") | {"A": b"first"}),
    "swap": (lambda g: g.rename("a", "b").rename("b", "a"), ALL | {"a": b"second", "b": b"first"}),
    "circle": (
        lambda g: g.rename("a", "b").rename("b", "d/c").rename("d/c", "a"),
        ALL | {"a": b"third", "b": b"first", "d/c": b"second"},
    ),
    "chain": (
        lambda g: g.rename("a", "b").rename("b", "d/c").rename("d/c", "z"),
        less("a") | {"b": b"first", "d/c": b"second", "z": b"third"},
    ),
    "chain and a new file": (
        lambda g: g.rename("a", "b").rename("b", "z").create("a", b"new"),
        ALL | {"b": b"first", "z": b"second", "a": b"new"},
    ),
    "over what is removed": (
        lambda g: g.rename("a", "b").remove("b"),
        less("a") | {"b": b"first"},
    ),
    "directory": (
        lambda g: g.rename("d", "empty/D"),
        {"a": b"first", "b": b"second", "empty": None, "empty/D": None, "empty/D/c": b"third",
         "empty/D/e": None, "empty/D/e/f": b"fourth"},
    ),
    "directory and what is in it": (
        lambda g: g.rename("d", "D").rename("d/c", "D/C", kind="moved").change(
            "D/e/f", b"x", served="d/e/f"),
        {"a": b"first", "b": b"second", "empty": None, "D": None, "D/C": b"third", "D/e": None,
         "D/e/f": b"x"},
    ),
    "inside out": (
        lambda g: g.rename("d/e", "e").rename("d", "e/d"),
        {"a": b"first", "b": b"second", "empty": None, "e": None, "e/f": b"fourth", "e/d": None,
         "e/d/c": b"third"},
    ),
    "inside out with the name": (
        lambda g: g.rename("d/e", "d").rename("d", "d/e"),
        {"a": b"first", "b": b"second", "empty": None, "d": None, "d/f": b"fourth", "d/e": None,
         "d/e/c": b"third"},
    ),
    "swapped directories": (
        lambda g: g.rename("d", "empty").rename("empty", "d").create("empty/new", b"n").create(
            "d/new", b"m"),
        {"a": b"first", "b": b"second", "empty": None, "d": None, "empty/c": b"third",
         "empty/e": None, "empty/e/f": b"fourth", "empty/new": b"n", "d/new": b"m"},
    ),
    "a directory and a file swapped": (
        lambda g: g.rename("d", "a").rename("a", "d"),
        {"a": None, "b": b"second", "empty": None, "d": b"first", "a/c": b"third", "a/e": None,
         "a/e/f": b"fourth"},
    ),
    "a file takes its directory's place": (
        lambda g: g.rename("d/c", "d").remove("d/e/f").remove("d/e").remove("d"),
        {"a": b"first", "b": b"second", "empty": None, "d": b"third"},
    ),
    "a directory of an old name": (
        lambda g: g.rename("d", "old").mkdir("d").create("d/c", b"new").rename(
            "d/c", "d/third", kind="moved"),
        {"a": b"first", "b": b"second", "empty": None, "old": None, "old/e": None,
         "old/e/f": b"fourth", "d": None, "d/c": b"new", "d/third": b"third"},
    ),
    "into a new directory": (
        lambda g: g.mkdir("n").mkdir("n/m").rename("d", "n/m/d").create("n/m/d/x", b"x"),
        {"a": b"first", "b": b"second", "empty": None, "n": None, "n/m": None, "n/m/d": None,
         "n/m/d/c": b"third", "n/m/d/e": None, "n/m/d/e/f": b"fourth", "n/m/d/x": b"x"},
    ),
    "rewritten and moved": (
        lambda g: g.rename("a", "d/x", b"other"), less("a") | {"d/x": b"other"},
    ),
    "rewritten, in the place of another": (
        lambda g: g.rename("a", "b", b"other").rename("b", "a"),
        ALL | {"b": b"other", "a": b"second"},
    ),
    "removed and made again": (
        lambda g: g.create("a", b"again").remove("a"), ALL | {"a": b"again"},
    ),
    "removed, and made in another directory of that name": (
        lambda g: g.rename("d", "empty").rename("empty", "d").create("d/c", b"new").remove("d/c"),
        {"a": b"first", "b": b"second", "empty": None, "empty/e": None, "empty/e/f": b"fourth",
         "d": None, "d/c": b"new"},
    ),
    "a file becomes a directory": (
        lambda g: g.mkdir("a").create("a/x", b"x").remove("a"), ALL | {"a": None, "a/x": b"x"},
    ),
    "a directory becomes a file": (
        lambda g: g.create("empty", b"x").remove("empty"), ALL | {"empty": b"x"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("trash", [True, False])
@pytest.mark.parametrize("name", MOVES)
def test_moves(root, name, trash):
    do, wanted = MOVES[name]
    inodes = {content: (root / path).stat().st_ino for path, content in FILES.items() if content}
    guest = Guest(root)
    do(guest)
    applied = settled(guest, root, trash=trash)
    assert grown(root) == wanted
    assert applied.is_complete, applied.deeds
    moved = {content: (root / path).stat().st_ino for path, content in wanted.items() if content}
    kept = inodes.keys() & moved.keys()
    assert {each: inodes[each] for each in kept} == {each: moved[each] for each in kept}
    assert is_whole(root)


def test_a_file_that_is_written_anew_under_its_name_keeps_its_mode(root):
    (root / "a").chmod(0o755)
    settled(Guest(root).create("a", b"again").remove("a"), root)
    assert mode_of(root / "a") == 0o755
    assert not (root / ".vfloppy").exists()


def test_what_was_removed_is_in_the_trash_under_its_path(root):
    guest = Guest(root).remove("a").remove("d/c").remove("d/e/f").remove("d/e").remove("d")
    applied = settled(guest, root)
    assert grown(root) == {"b": b"second", "empty": None}
    assert trashed(root) == {"a": b"first", "d/c": b"third", "d/e/f": b"fourth"}
    assert sorted(Path(path).read_bytes() for path in applied.trash) == [
        b"first", b"fourth", b"third",
    ]  # fmt: skip
    assert mode_of(root / ".vfloppy") == 0o700


def test_without_trash_what_was_removed_is_gone(root):
    applied = settled(Guest(root).remove("a").remove("empty"), root, trash=False)
    assert grown(root) == less("a", "empty")
    assert applied.trash == ()
    assert not (root / ".vfloppy").exists()


def test_a_directory_stays_that_holds_what_the_disk_did_not_have(root):
    (root / "d/link").symlink_to("nowhere")
    guest = Guest(root).remove("d/c").remove("d/e/f").remove("d/e").remove("d")
    applied = settled(guest, root, trash=False)
    assert grown(root) == less("d/c", "d/e/f", "d/e") | {"d/link": b"-> nowhere"}
    assert ("kept", "d") in outcomes(applied)
    assert applied.is_complete


def test_what_the_disk_did_not_have_goes_along_with_its_directory(root):
    (root / "d/link").symlink_to("nowhere")
    settled(Guest(root).rename("d", "D"), root)
    assert (root / "D/link").is_symlink()


def test_a_disk_that_is_not_consistent_is_not_applied(root):
    guest = Guest(root).create("x", b"x").remove("a")
    guest.problems = ("d: is in a loop", "e: too")
    with pytest.raises(ApplyError, match=r"d: is in a loop \(and 1 more\).*partial=True"):
        apply(guest.changes, guest.places)
    assert grown(root) == ALL
    applied = settled(guest, root, partial=True)
    assert grown(root) == ALL | {"x": b"x"}
    assert outcomes(applied) == {("created", "x"), ("kept", "a")}
    assert applied.problems == guest.problems
    assert not applied.is_complete


def test_partial_removes_from_a_disk_that_is_consistent(root):
    settled(Guest(root).remove("a"), root, partial=True)
    assert grown(root) == less("a")


def test_what_was_left_out_is_told(root):
    guest = Guest(root)
    changes = guest.changes
    object.__setattr__(changes, "left_out", ("System Volume Information: of Windows",))
    assert apply(changes, guest.places).left_out == changes.left_out
    assert grown(root) == ALL


def test_names_that_the_disk_could_not_have_are_the_host_s_again(tmp_path):
    root = tmp_path / "root"
    plant(root, {"con": b"1", "aux/x?": b"2", "nul": b"3", "what?/y": b"4"})
    names = {("con_",): "con", ("aux_",): "aux", ("aux_", "x_"): "aux/x?", ("nul_",): "nul",
             ("what_",): "what?", ("what_", "y"): "what?/y"}  # fmt: skip
    guest = Guest(root, names=names)
    guest.change("con_", b"one").change("aux_/x_", b"two").create("aux_/new", b"n")
    guest.rename("nul_", "nothing").mkdir("what_/sub").create("what_/sub/z", b"z").remove("what_/y")
    settled(guest, root, trash=False)
    assert grown(root) == {
        "con": b"one", "aux": None, "aux/x?": b"two", "aux/new": b"n", "nothing": b"3",
        "what?": None, "what?/sub": None, "what?/sub/z": b"z",
    }  # fmt: skip


def test_nothing_to_do_makes_nothing(root):
    before = root.stat().st_mtime_ns
    told = []
    applied = apply(Guest(root).changes, Guest(root).places, token="t", finished=told.append)
    assert applied.deeds == ()
    assert told == [applied]
    assert applied.token == "t"
    assert root.stat().st_mtime_ns == before


def test_a_content_that_is_shorter_than_its_size_is_not_applied(root):
    guest = Guest(root).create("x", b"12345").create("y", b"1")
    changes = guest.changes
    object.__setattr__(changes.changes[0], "size", 6)
    with pytest.raises(ApplyError, match="the disk holds 5 bytes of it"):
        apply(changes, guest.places)
    assert grown(root) == ALL
    assert not (root / ".vfloppy").exists()


def test_a_disk_that_can_t_be_read_leaves_all_as_it_was(root):
    guest = Guest(root).create("x", b"12345").remove("a")
    changes = guest.changes

    def read(offset, length):
        raise OSError(5, "Input/output error")

    object.__setattr__(changes, "read", read)
    with pytest.raises(ApplyError, match="Input/output error; nothing was applied"):
        apply(changes, guest.places)
    assert grown(root) == ALL
    assert not (root / ".vfloppy").exists()
