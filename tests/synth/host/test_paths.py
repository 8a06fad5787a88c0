"""What a path leads to at the first look and later: links that came since are not followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from vfloppy.errors import ScanError
from vfloppy.synth.host.paths import NamedPaths, open_as_it_is

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def shared(tmp_path) -> Path:
    """A directory where everybody may write."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def where(named: NamedPaths, path: object, **options: bool) -> str:
    with named.find(os.fspath(path), **options) as found:  # type: ignore[call-overload]
        return os.fsdecode(found.path)


def test_links_are_followed_as_they_were_at_first(tmp_path, shared):
    (shared / "real" / "deeper").mkdir(parents=True)
    (shared / "link").symlink_to("real")
    named = NamedPaths()
    assert where(named, shared / "link/deeper") == f"{shared}/real/deeper"
    assert where(named, shared / "link/deeper") == f"{shared}/real/deeper"
    (shared / "link").unlink()
    (shared / "link").symlink_to(tmp_path)
    with pytest.raises(ScanError, match="led to real at the start; start again"):
        named.find(str(shared / "link/deeper"))


@pytest.mark.parametrize("at", ["root", "root/inner"], ids=str)
def test_what_becomes_a_link_is_refused_where_others_may_write(tmp_path, shared, at):
    (shared / "root" / "inner").mkdir(parents=True)
    named = NamedPaths()
    where(named, shared / "root/inner")
    os.rename(shared / at, tmp_path / "moved")
    (shared / at).symlink_to(tmp_path / "moved")
    with pytest.raises(ScanError, match=r"is a link to .*moved and was none at the start"):
        named.find(str(shared / "root/inner"))


def test_a_new_directory_is_taken(shared):
    (shared / "root").mkdir()
    named = NamedPaths()
    where(named, shared / "root")
    os.rename(shared / "root", shared / "old")
    (shared / "root" / "new").mkdir(parents=True)
    assert where(named, shared / "root") == f"{shared}/root"
    with named.find(str(shared / "root")) as found:
        assert os.listdir(f"/proc/self/fd/{found.descriptor}") == ["new"]


def test_a_new_link_of_our_own_is_followed_where_only_we_may_write(tmp_path):
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    (tmp_path / "current").symlink_to("1")
    named = NamedPaths()
    assert where(named, tmp_path / "current") == f"{tmp_path}/1"
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("2")
    assert where(named, tmp_path / "current") == f"{tmp_path}/2"


@as_root
def test_a_link_of_somebody_else_is_no_place_to_write(tmp_path, shared):
    (tmp_path / "precious").write_text("mine")
    (shared / "out").symlink_to(tmp_path / "precious")
    assert where(NamedPaths(), shared / "out", to_write=True) == f"{tmp_path}/precious"
    os.chown(shared / "out", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(ScanError, match="is a link that somebody else made"):
        NamedPaths().find(str(shared / "out"), to_write=True)


def test_paths_lead_where_the_system_says(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    (tmp_path / "up").symlink_to("a/b/..")
    (tmp_path / "absolute").symlink_to(tmp_path / "a" / ".." / "a")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "dangling").symlink_to("a/new")
    monkeypatch.chdir(tmp_path)
    for path in ("a", "./a//b/", "up/file", "absolute/b", "/", "/..", "up/b/../file", "."):
        assert where(NamedPaths(), path) == os.path.realpath(path), path
    for path, error in (
        ("nothing", FileNotFoundError), ("a/nothing/b", FileNotFoundError),
        ("a/file/", NotADirectoryError), ("a/file/..", NotADirectoryError), ("circle", OSError),
        ("dangling", FileNotFoundError),
    ):  # fmt: skip
        with pytest.raises(error):
            NamedPaths().find(path)
    assert where(NamedPaths(), "dangling", to_write=True) == f"{tmp_path}/a/new"
    with pytest.raises(FileNotFoundError):
        NamedPaths().find("new/", to_write=True)


def test_a_file_is_read_with_a_bound_and_a_fifo_is_not_waited_for(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    os.mkfifo(tmp_path / "fifo")
    assert NamedPaths().read(str(tmp_path / "file"), 5) == b"12345"
    with pytest.raises(ScanError, match="has more than 4 bytes"):
        NamedPaths().read(str(tmp_path / "file"), 4)
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        with pytest.raises(ScanError, match="is no regular file"):
            NamedPaths().read(str(path), 5)


def test_a_pipe_that_the_shell_gave_is_read_once_and_remembered():
    reader, writer = os.pipe()
    os.write(writer, b"*.o\n")
    os.close(writer)
    named = NamedPaths()
    assert named.read(f"/dev/fd/{reader}", 100) == b"*.o\n"
    os.close(reader)
    assert named.read(f"/dev/fd/{reader}", 100) == b"*.o\n"


def test_nothing_stays_open(tmp_path):
    (tmp_path / "link").symlink_to("circle")
    (tmp_path / "circle").symlink_to("link")
    (tmp_path / "file").touch()
    before = os.listdir("/proc/self/fd")
    where(NamedPaths(), tmp_path / "file")
    NamedPaths().read(str(tmp_path / "file"), 1)
    for path in ("circle", "nothing", "file/x"):
        with pytest.raises(OSError):
            NamedPaths().find(str(tmp_path / path))
    assert os.listdir("/proc/self/fd") == before


def test_a_path_without_links_is_opened_by_no_link(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    opened = open_as_it_is(os.fsencode(tmp_path / "a/b"))
    assert os.path.samestat(os.fstat(opened), os.stat(tmp_path / "a/b"))
    os.close(opened)
    with pytest.raises(OSError):
        open_as_it_is(os.fsencode(tmp_path / "link/b"))


def test_an_absolute_path_needs_no_working_directory(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert where(NamedPaths(), tmp_path) == str(tmp_path)
    finally:
        os.chdir("/")
