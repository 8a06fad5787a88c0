"""Socket files, with neighbours who may write in their directory."""

from __future__ import annotations

import os
import socket
import stat

import pytest
from vfloppy.nbd import ListenError, listen_unix

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
