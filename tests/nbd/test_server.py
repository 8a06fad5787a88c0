"""Real sockets and processes: listening, serving, crashing, ending."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat

import pytest
from compare import assert_same
from vfloppy.export import Hole
from vfloppy.nbd import Limits, ListenError, listen_private, listen_tcp, listen_unix
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.uris import uri_of
from vfloppy.synth.host.batch import HostSlice

from .fakes import Client, FakeExport, FakeFiles, option, pattern, request

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def files(tmp_path):
    return FakeFiles(tmp_path, [pattern(3_000_000, 1)])


@pytest.fixture
def export(files):
    return FakeExport([pattern(1000), HostSlice(files, 0, 0, 3_000_000), Hole(1 << 20), b"end"])


@pytest.fixture(params=["unix", "tcp"])
def address(request, tmp_path):
    """A listener and what a client connects to."""
    if request.param == "unix":
        listener = listen_unix(tmp_path / "socket")
        return listener, listener.path
    listener = listen_tcp("127.0.0.1", 0)
    return listener, ("127.0.0.1", listener.port)


def test_everything_reads_the_same_on_four_connections(serve, address, export):
    serve([address[0]], {"disk": export})
    data = export.data
    clients = [Client(address[1]) for _ in range(4)]
    for client in clients:
        client.go()
    for offset in range(0, export.size, 700_001):
        length = min(700_001, export.size - offset)
        for client in clients:
            assert_same(client.read(offset, length), data[offset : offset + length])
    for client in clients:
        assert_same(client.read(0, export.size), data)
        client.socket.close()


def test_simple_replies(serve, address, export):
    serve([address[0]], {"disk": export})
    with Client(address[1]) as client:
        client.go("disk", structured=False)
        client.send(request(wire.NBD_CMD_READ, 500, 2_000_000))
        assert wire.SIMPLE_REPLY.unpack(client.take(16)) == (wire.NBD_SIMPLE_REPLY_MAGIC, 0, 7)
        assert_same(client.take(2_000_000), export.data[500:2_000_500])


def test_a_file_that_shrinks_is_padded_and_told(serve, address, export, files):
    """The chunk's length is promised before its bytes are moved."""
    running = serve([address[0]], {"disk": export})
    os.truncate(f"/proc/self/fd/{files.descriptors[0]}", 1_000_000)
    with Client(address[1]) as client:
        client.go()
        client.send(request(wire.NBD_CMD_READ, 1000, 2_000_000) * 2)
        for _ in range(2):
            chunk = client.chunk()
            assert_same(chunk.payload[:1_000_000], pattern(1_000_000, 1))
            assert_same(chunk.payload[1_000_000:], bytes(1_000_000))
            failure = client.chunk()
            assert (failure.error, failure.offset, failure.done) == (wire.NBD_EIO, 1000, True)
            assert "shorter" in failure.text
        assert client.read(0, 100) == export.data[:100]
    running.stop()
    assert running.log.read_text().count("shorter") == 1


def test_a_file_that_changed_is_told_after_its_bytes(serve, address, export, files):
    files.broken = {0}
    serve([address[0]], {"disk": export})
    with Client(address[1]) as client:
        client.go()
        client.send(request(wire.NBD_CMD_READ, 1000, 2_000_000))
        assert len(client.chunk().payload) == 2_000_000
        failure = client.chunk()
        assert (failure.error, failure.offset, failure.done) == (wire.NBD_EIO, 1000, True)
        assert failure.text == "host0 has changed since the scan"
        assert client.read(0, 100) == export.data[:100]


def test_a_host_error_is_logged_once_for_all_connections(serve, tmp_path, export, files):
    listener = listen_unix(tmp_path / "socket")
    files.broken = {0}
    running = serve([listener], {"disk": export})
    for _ in range(3):
        with Client(listener.path) as client:
            client.go()
            client.send(request(wire.NBD_CMD_READ, 1000, 100))
            assert client.chunk().text == "host0 has changed since the scan"
    running.stop()
    assert running.log.read_text().count("host0 has changed") == 1


def test_a_crash_harms_no_other_connection(serve, tmp_path, export):
    class Crashing(FakeExport):
        def pieces(self, offset, length):
            if offset == 13:
                raise RuntimeError("thirteen")
            return super().pieces(offset, length)

    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"disk": Crashing(export.regions)})
    with Client(listener.path) as first, Client(listener.path) as second:
        first.go()
        second.go()
        first.send(request(wire.NBD_CMD_READ, 13, 1))
        assert first.at_end()
        assert second.read(0, 10) == export.data[:10]
        os.kill(running.children()[-1], signal.SIGKILL)
        assert second.at_end()
    with Client(listener.path) as third:
        third.go()
    running.stop()
    log = running.log.read_text()
    assert "connection 1 failed: RuntimeError: thirteen" in log
    assert "connection 2 was ended by SIGKILL" in log


def test_clients_that_leave_the_protocol_are_dropped_and_noted(serve, tmp_path, export):
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"disk": export})
    with Client(listener.path) as client:
        client.take(18)
        client.send(wire.CLIENT_FLAGS.pack(0x80))
        assert client.at_end()
    with Client(listener.path) as client:
        client.take(18)
        client.send(wire.CLIENT_FLAGS.pack(3) + option(wire.NBD_OPT_EXPORT_NAME, b"nothing"))
        assert client.at_end()
    with Client(listener.path) as client:
        client.go()
        client.send(b"x" * 28)
        assert client.at_end()
    running.stop()
    log = running.log.read_text()
    assert "connection 1 dropped: unknown client flags 0x80" in log
    assert "connection 2 dropped: an unknown export was asked for: b'nothing'" in log
    assert "connection 3 dropped: request magic 0x78787878 found" in log


def test_a_client_that_never_shakes_hands_is_dropped(serve, tmp_path, export):
    listener = listen_unix(tmp_path / "socket")
    serve([listener], {"disk": export}, limits=Limits(handshake_timeout_s=0.05))
    with Client(listener.path) as client:
        client.take(18)
        assert client.at_end()


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_end_it_cleanly(serve, tmp_path, export, number):
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"disk": export})
    with Client(listener.path) as client:
        client.go()
        assert len(running.children()) == 1
        (child,) = running.children()
        assert running.stop(number) == 0
        assert client.at_end()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not os.path.lexists(listener.path)


def test_ended_connections_leave_no_zombies(serve, tmp_path, export):
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"disk": export})
    for _ in range(5):
        with Client(listener.path) as client:
            client.go()
            client.send(request(wire.NBD_CMD_DISC))
            assert client.at_end()
    with Client(listener.path) as client:
        client.go()
        # A child closes its socket just before it ends, so the last may still be on its way.
        while len(running.children()) > 1:
            client.read(0, 1)


# --- listening ---


def test_a_private_socket_leaves_nothing_behind(serve, export):
    listener = listen_private()
    directory = os.path.dirname(listener.path)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    running = serve([listener], {"": export})
    with Client(listener.path) as client:
        client.go()
    running.stop()
    assert not os.path.exists(directory)


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


@pytest.mark.parametrize(
    ("host", "uri_host"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("", "localhost")],
)
def test_tcp_uris(host, uri_host):
    listener = listen_tcp(host, 0)
    assert uri_of(listener, "a b/ü") == f"nbd://{uri_host}:{listener.port}/a%20b%2F%C3%BC"
    listener.close()


def test_ipv6_uris_have_brackets():
    try:
        listener = listen_tcp("::1", 0)
    except ListenError:
        pytest.skip("this computer has no IPv6")
    assert uri_of(listener) == f"nbd://[::1]:{listener.port}/"
    listener.close()


def test_unix_uris_are_percent_encoded(tmp_path):
    listener = listen_unix(tmp_path / "a b&c#?%")
    assert uri_of(listener, "x&y") == f"nbd+unix:///x%26y?socket={tmp_path}/a%20b%26c%23%3F%25"
    listener.close()
