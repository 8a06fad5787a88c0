"""What no guest may do to the host: names, links, rights, git's directory, other users' state."""

from __future__ import annotations

import fcntl
import os
import stat
import traceback

import pytest
from guests import Guest, grown, mode_of, plant, settled
from tools import need_tool, output
from vfloppy.errors import ApplyError
from vfloppy.harvest.applying.apply import apply, resume
from vfloppy.harvest.applying.naming import beside, refusal

HOSTILE = {
    "parent": (("..", "x"), "is no name"),
    "itself": (("d", "."), "is no name"),
    "nothing": (("", "etc"), "is no name"),
    "slash": (("d/../../x",), "is no name"),
    "absolute": (("/etc/passwd",), "is no name"),
    "NUL": (("a\0b",), "is no name"),
    "line": (("a\nb",), "is no name"),
    "escape": (("a\x1b[31m",), "is no name"),
    "surrogate": (("a\ud800",), "half a character"),
    "stray byte": (("a\udc80",), "half a character"),
    "long": (("ä" * 128,), "256 bytes, 255 are possible"),
    "deep": (("d",) * 251, "has 251 names"),
    "git": ((".git", "hooks", "post-commit"), "repository of git"),
    "git in letters": (("d", ".GiT", "config"), "repository of git"),
    "git with a dot": ((".git. .", "config"), "repository of git"),
    "git as FAT has it": (("GIT~1", "config"), "repository of git"),
    "git with what is ignored": ((".g\u200cit", "config"), "repository of git"),
    "own": ((".vfloppy", "journal"), "is where vfloppy keeps"),
    "own in letters": ((".VFloppy", "journal"), "is where vfloppy keeps"),
}


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "around" / "root"
    plant(path, {"a": b"first", "d/b": b"second"})
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_none_is_refused_and_all_else_applied(root, name):
    path, reason = HOSTILE[name]
    guest = Guest(root).create(path, b"evil").create("good", b"g").mkdir(path)
    guest.rename("a", path)
    applied = settled(guest, root)
    assert grown(root.parent) == {
        "root": None, "root/a": b"first", "root/d": None, "root/d/b": b"second", "root/good": b"g",
    }  # fmt: skip
    assert applied.of("refused")
    assert all(reason in deed.reason for deed in applied.of("refused"))
    assert not applied.is_complete


def test_names_of_the_longest_and_of_all_sorts_are_taken(root):
    names = ["ä" * 127, "x" * 255, "con", "a\\b", "日本", "\u0301", ".gitignore", "git", "🎈" * 63]
    guest = Guest(root)
    for name in names:
        guest.create(name, name.encode())
    assert settled(guest, root).is_complete
    assert {name: data for name, data in grown(root).items() if name in names} == {
        name: name.encode() for name in names
    }
    assert refusal(("d",) * 250, allow_git=False) is None


def test_git_s_own_is_written_to_if_asked_for_only(root):
    plant(root, {".git/config": b"c", "sub/.git": b"gitdir: elsewhere"})
    guest = Guest(root).change(".git/config", b"evil").remove("sub/.git")
    applied = settled(guest, root)
    assert {deed.path for deed in applied.of("refused")} == {".git/config", "sub/.git"}
    assert grown(root)[".git/config"] == b"c"
    settled(guest, root, allow_git=True, trash=False)
    assert grown(root)[".git/config"] == b"evil"
    assert "sub/.git" not in grown(root)


def test_what_the_guest_changed_is_set_user_id_no_more(root):
    (root / "a").chmod(0o6755)
    (root / "d/b").chmod(0o6755)
    guest = Guest(root).change("a", b"evil").rename("d/b", "d/c", b"evil")
    settled(guest, root)
    assert mode_of(root / "a") == mode_of(root / "d/c") == 0o755


def test_rights_of_a_file_that_were_given_to_its_bytes_are_dropped(root):
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    try:
        os.setxattr(root / "a", "security.capability", capability)
    except PermissionError:
        pytest.skip("only root may give capabilities")
    settled(Guest(root).change("a", b"evil").rename("d/b", "b"), root)
    assert "security.capability" not in os.listxattr(root / "a")


def test_owner_and_extended_attributes_stay(root):
    if os.geteuid():
        pytest.skip("only root may give files away")
    os.chown(root / "a", 1234, 5678)
    os.setxattr(root / "a", "user.comment", b"of the host")
    settled(Guest(root).change("a", b"new"), root)
    status = (root / "a").stat()
    assert (status.st_uid, status.st_gid) == (1234, 5678)
    assert os.getxattr(root / "a", "user.comment") == b"of the host"


def acl(path):
    return output("getfacl", "--omit-header", "--numeric", path).split()


def test_access_lists_stay_and_are_inherited_as_always(root):
    need_tool("setfacl", "getfacl")
    output("setfacl", "--modify", "user:1234:r", root / "a")
    wanted = acl(root / "a")
    # The file was there before the directory got a default, so it has none of it.
    output("setfacl", "--default", "--modify", "user:4321:rwx", root / "d")
    plain = acl(root / "d/b")
    guest = Guest(root).change("a", b"new").change("d/b", b"new").create("d/new", b"n")
    guest.mkdir("d/sub").create("d/sub/deep", b"n").create("top", b"n")
    settled(guest, root)
    assert acl(root / "a") == wanted
    assert acl(root / "d/b") == plain
    for name, act in (("new", "touch"), ("sub", "mkdir"), ("sub/deep", "touch")):
        other = root / "d" / name.replace("sub", "by-hand").replace("new", "by-hand-file")
        output(act, other)
        assert acl(root / "d" / name) == acl(other), name
    assert "user:4321:rwx" not in acl(root / "top")


def test_directories_that_give_their_group_away_do_so(root):
    if os.geteuid():
        pytest.skip("only root may give directories away")
    os.chown(root / "d", 0, 5678)
    (root / "d").chmod(0o2775)
    settled(Guest(root).create("d/x", b"").mkdir("d/y").create("d/y/z", b""), root)
    assert [(root / name).stat().st_gid for name in ("d/x", "d/y", "d/y/z")] == [5678] * 3
    assert mode_of(root / "d/y") & stat.S_ISGID
    assert not mode_of(root / "d/x") & stat.S_ISGID


def test_hard_links_are_told_of_and_the_others_keep_the_old_content(root):
    os.link(root / "a", root / "d/other")
    applied = settled(Guest(root).change("a", b"new"), root)
    assert grown(root) == {"a": b"new", "d": None, "d/b": b"second", "d/other": b"first"}
    ((note,)) = applied.of("note")
    assert note.reason == "had 2 hard links; the others keep the old content"


@pytest.mark.parametrize("trash", [True, False])
def test_names_of_one_file_are_moved_and_removed_each_by_itself(root, trash):
    os.link(root / "a", root / "c")
    os.link(root / "a", root / "e")
    guest = Guest(root).rename("a", "c").remove("c").rename("e", "d/e")
    settled(guest, root, trash=trash)
    assert grown(root) == {"c": b"first", "d": None, "d/b": b"second", "d/e": b"first"}
    assert (root / "c").stat().st_nlink == (3 if trash else 2)
    guest = Guest(root).rename("c", "d/e").rename("d/e", "c", kind="moved")
    apply(guest.changes, guest.places)
    assert grown(root) == {"c": b"first", "d": None, "d/b": b"second", "d/e": b"first"}


def test_nothing_that_is_no_file_is_opened(root):
    """A pipe would keep whoever opens it waiting, a device do things."""
    guest = Guest(root).change("a", b"new").create("p", b"x").create("q", b"")
    (root / "a").unlink()
    os.mkfifo(root / "a")
    os.mkfifo(root / "p")
    os.mkfifo(root / "q")
    settled(guest, root)
    assert all(stat.S_ISFIFO((root / name).lstat().st_mode) for name in ("a", "p", "q"))
    found = [(root / f"{name}.conflict-1").read_bytes() for name in ("a", "p", "q")]
    assert found == [b"new", b"x", b""]


def test_a_state_directory_that_is_a_link_is_not_followed(root, tmp_path):
    plant(tmp_path / "elsewhere", {"journal": b"{}\n"})
    guest = Guest(root).create("x", b"x")
    (root / ".vfloppy").symlink_to(tmp_path / "elsewhere")
    assert resume(root) is None
    with pytest.raises(ApplyError, match=r"\.vfloppy"):
        apply(guest.changes, guest.places)
    assert grown(tmp_path / "elsewhere") == {"journal": b"{}\n"}
    assert not (root / "x").exists()


def test_a_state_directory_that_others_may_write_to_is_not_believed(root):
    (root / ".vfloppy").mkdir(mode=0o755)
    (root / ".vfloppy").chmod(0o777)
    guest = Guest(root).create("x", b"x")
    with pytest.raises(ApplyError, match=r"others than its owner may read or write there.*777"):
        apply(guest.changes, guest.places)
    (root / ".vfloppy").chmod(0o700)
    (root / ".vfloppy/journal").write_bytes(b'{"version": 1}\n')
    (root / ".vfloppy/journal").chmod(0o666)
    with pytest.raises(ApplyError, match="others may have written to it"):
        apply(guest.changes, guest.places)
    (root / ".vfloppy/journal").chmod(0o600)
    with pytest.raises(ApplyError, match="is no journal of this version"):
        apply(guest.changes, guest.places)
    (root / ".vfloppy/journal").unlink()
    apply(guest.changes, guest.places)
    assert (root / "x").exists()


def test_a_state_directory_of_another_user_is_not_believed(root):
    if os.geteuid():
        pytest.skip("only root may give directories away")
    (root / ".vfloppy").mkdir(mode=0o700)
    os.chown(root / ".vfloppy", 1234, 1234)
    with pytest.raises(ApplyError, match="belongs to the user 1234"):
        resume(root)


def test_one_process_at_a_time(root):
    guest = Guest(root).create("x", b"x")
    (root / ".vfloppy").mkdir(mode=0o700)
    opened = os.open(root / ".vfloppy", os.O_RDONLY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    with pytest.raises(ApplyError, match="another process applies changes there"):
        apply(guest.changes, guest.places)
    os.close(opened)
    settled(guest, root)


def test_an_ordinary_user_in_a_directory_of_several(quick):
    """Files of others are replaced by own ones where the directory allows that, which is told."""
    if os.geteuid():
        pytest.skip("only root may be another user")
    root = quick / "root"
    plant(root, {"theirs": b"1", "closed/x": b"2"})
    os.chown(root, 1234, 1234)
    quick.chmod(0o755)

    def do(say):
        os.setgid(1234)
        os.setuid(1234)
        guest = Guest(root).change("theirs", b"one")
        for deed in apply(guest.changes, guest.places).deeds:
            say(f"{deed.outcome.value} {deed.path} {deed.reason}")
        guest = Guest(root).create("new", b"n").create("closed/new", b"n")
        with pytest.raises(ApplyError) as raised:
            apply(guest.changes, guest.places)
        say(str(raised.value))

    told = _in_child(do, quick / "told")
    assert "changed theirs" in told
    assert "note theirs does not keep the owner" in told
    assert "closed: may not be written to; nothing was applied" in told
    assert grown(root) == {"theirs": b"one", "closed": None, "closed/x": b"2"}


def test_a_directory_where_everybody_has_own_files(quick):
    """As /tmp: a guest may not rename those of others, which is told before anything is done."""
    if os.geteuid():
        pytest.skip("only root may be another user")
    root = quick / "root"
    plant(root, {"theirs": b"1"})
    root.chmod(0o1777)
    quick.chmod(0o755)

    def do(say):
        os.setgid(1234)
        os.setuid(1234)
        guest = Guest(root).rename("theirs", "mine").create("new", b"n")
        with pytest.raises(ApplyError) as raised:
            apply(guest.changes, guest.places)
        say(str(raised.value))

    told = _in_child(do, quick / "told")
    assert "only the owner of theirs may rename or remove it there; nothing was applied" in told
    assert grown(root) == {"theirs": b"1"}


def _in_child(do, told):
    with told.open("w") as file:
        child = os.fork()
        if not child:
            try:
                do(lambda text: print(text, file=file, flush=True))
                os._exit(0)
            finally:
                traceback.print_exc(file=file)
                file.flush()
                os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, told.read_text()
    return told.read_text()


def test_names_beside():
    assert beside(b"a.txt", 0) == b"a.txt"
    assert beside(b"a.txt", 12) == b"a.txt.conflict-12"
    assert len(beside(b"x" * 255, 1)) == 255
