"""Manifests and pidfiles: what is written over, and what is removed, with neighbours about."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click
import pytest
from tools import vfloppy
from vfloppy.cli.commands.serve import _pidfile
from vfloppy.cli.destinations import Destination, write_whole

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def precious(tmp_path) -> Path:
    """Something that nobody means to write to."""
    path: Path = tmp_path / "precious"
    path.write_text("precious")
    return path


def test_nobody_knows_the_name_of_the_temporary_file(tmp_path, precious):
    (tmp_path / f"list.{os.getpid()}").symlink_to(precious)
    write_whole("--manifest", str(tmp_path / "list"), ["text"])
    assert (tmp_path / "list").read_text() == "text"
    assert precious.read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("nameless", [True, False])
def test_who_may_not_read_the_old_file_may_not_read_the_new_one(tmp_path, monkeypatch, nameless):
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "list"
    path.write_text("old")
    path.chmod(0o4600)
    modes = []

    def parts():
        modes.extend(stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob(".vfloppy-*"))
        yield "new"

    write_whole("--manifest", str(path), parts())
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not set(modes) - {0o600}
    assert modes or nameless


@as_root
def test_a_link_that_a_neighbour_made_is_not_written_through(tmp_path, precious):
    (tmp_path / "list").symlink_to(precious)
    os.chown(tmp_path / "list", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(click.ClickException, match=r"--manifest .* is a link that somebody else"):
        write_whole("--manifest", str(tmp_path / "list"), ["text"])
    done = vfloppy("build", tmp_path, tmp_path / "list")
    assert done.returncode == 1
    assert b"is a link that somebody else" in done.stderr
    assert precious.read_text() == "precious"


def test_the_users_own_links_and_pipes_are_written_through(tmp_path, precious):
    (tmp_path / "list").symlink_to("precious")
    write_whole("--manifest", str(tmp_path / "list"), ["text"])
    assert (tmp_path / "list").is_symlink()
    assert precious.read_text() == "text"
    reader, writer = os.pipe()
    write_whole("--manifest", f"/dev/fd/{writer}", ["text"])
    os.close(writer)
    assert os.read(reader, 10) == b"text"
    os.close(reader)


def test_a_pidfile_goes_at_the_end(tmp_path):
    (tmp_path / "link").symlink_to("pid")
    with _pidfile(str(tmp_path / "link")) as write:
        write()
        assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    assert os.listdir(tmp_path) == ["link"]


@pytest.mark.parametrize("kind", ["file", "link", "fifo", "none"])
def test_a_pidfile_that_is_not_ours_stays(tmp_path, precious, kind):
    path = tmp_path / "pid"
    with _pidfile(str(path)) as write:
        if kind == "none":
            path.write_text("another server's\n")  # and this one was never ready
        else:
            write()
            path.unlink()
            if kind == "file":
                path.write_text("another server's\n")
            elif kind == "link":
                path.symlink_to(precious)
            else:
                os.mkfifo(path)
    assert os.path.lexists(path)
    assert precious.read_text() == "precious"


def test_a_device_stays(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    with _pidfile(str(tmp_path / "null")) as write:
        write()
    assert (tmp_path / "null").is_char_device()


def test_a_pidfile_that_a_child_wrote_is_removed(tmp_path):
    """As with --run."""
    with _pidfile(str(tmp_path / "pid")) as write:
        child = os.fork()
        if not child:
            write()
            os._exit(0)
        os.waitpid(child, 0)
        assert (tmp_path / "pid").read_text() == f"{child}\n"
    assert not os.listdir(tmp_path)


def test_a_directory_that_is_not_there_is_told(tmp_path):
    for path in ("nowhere/list", "new/"):
        with pytest.raises(click.ClickException, match=f"--manifest .*{path}: No such file"):
            Destination("--manifest", f"{tmp_path}/{path}")
