"""Listening: paths and addresses that can't be had, and neighbours who may write in a directory."""

from __future__ import annotations

import errno
import os
import socket
import stat

import pytest
from vfloppy.nbd import ListenError, listen_private, listen_tcp, listen_unix

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def on_bind(monkeypatch):
    """What to do right after a socket file was made, given its path."""
    actions = []

    class Socket(socket.socket):
        def bind(self, address):
            super().bind(address)
            for act in actions:
                act(address)

    monkeypatch.setattr(socket, "socket", Socket)
    return actions.append


@pytest.mark.parametrize("mode", [0o600, 0o666, 0o660], ids=oct)
def test_a_socket_has_its_permissions_from_the_start(tmp_path, on_bind, mode):
    modes = []
    on_bind(lambda path: modes.append(stat.S_IMODE(os.stat(path).st_mode)))
    before = os.umask(0o027)
    try:
        listen_unix(str(tmp_path / "socket"), mode=mode).close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert modes == [mode]


@as_root
@pytest.mark.parametrize("kind", ["link", "hard link", "file"])
def test_what_a_neighbour_puts_in_its_place_is_not_given_away(tmp_path, on_bind, kind):
    victim = tmp_path / "victim"
    if kind == "hard link":
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(victim))
    else:
        victim.write_text("private")
    victim.chmod(0o600)

    def replace(path):
        if path == str(tmp_path / "socket"):
            os.unlink(path)
            if kind == "link":
                os.symlink(victim, path)
            elif kind == "hard link":
                os.link(victim, path)
            else:
                os.rename(victim, path)

    on_bind(replace)
    with pytest.raises(ListenError, match="replaced in this moment"):
        listen_unix(str(tmp_path / "socket"), mode=0o666, owner=(NOBODY, NOBODY))
    assert os.path.lexists(tmp_path / "socket")
    there = os.stat(victim if victim.exists() else tmp_path / "socket")
    assert (there.st_uid, stat.S_IMODE(there.st_mode)) == (0, 0o600)


@as_root
def test_a_socket_is_given_away(tmp_path):
    listener = listen_unix(str(tmp_path / "socket"), mode=0o600, owner=(NOBODY, -1))
    found = os.stat(tmp_path / "socket")
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (NOBODY, 0, 0o600)
    listener.close()
    assert not os.listdir(tmp_path)


def test_another_server_s_socket_is_not_removed(tmp_path):
    """Though it may have the inode that the first one had."""
    path = tmp_path / "socket"
    first = listen_unix(str(path))
    path.unlink()
    second = listen_unix(str(path))
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()


# --- addresses and paths ---


def test_a_long_temporary_directory_does_not_matter(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    listener = listen_private()
    listener.close()
    assert list(deep.iterdir()) == []


def test_a_socket_path_that_is_too_long(tmp_path):
    with pytest.raises(ListenError, match=r"has \d+ bytes, and a socket's path can have 107"):
        listen_unix(tmp_path / ("s" * 108))


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = listen_unix(path)
    with pytest.raises(ListenError, match="a running server listens there"):
        listen_unix(path)
    listener.close()
    listener.close()
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_nothing_but_a_stale_socket_is_removed(tmp_path, kind):
    path = tmp_path / "socket"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(ListenError, match="is not a socket"):
        listen_unix(path)
    assert os.path.lexists(path)


def test_another_server_s_socket_is_not_removed_at_the_end(tmp_path):
    path = tmp_path / "socket"
    first = listen_unix(path)
    path.unlink()
    second = listen_unix(path)
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


def test_a_socket_that_cannot_be_given_to_its_owner_is_not_left_behind(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(ListenError, match="Operation not permitted"):
        listen_unix(tmp_path / "socket", owner=(0, 0))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory(tmp_path):
    with pytest.raises(ListenError, match=r"missing/socket: No such file or directory\.$"):
        listen_unix(tmp_path / "missing" / "socket")


def test_a_port_in_use():
    listener = listen_tcp("127.0.0.1", 0)
    with pytest.raises(ListenError, match=f"port {listener.port}: another program listens there"):
        listen_tcp("127.0.0.1", listener.port)
    listener.close()


def test_an_address_of_another_computer():
    with pytest.raises(ListenError, match="does not have that address"):
        listen_tcp("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70])
def test_a_host_without_an_address(host):
    with pytest.raises(ListenError, match="Cannot find the address"):
        listen_tcp(host, 0)
