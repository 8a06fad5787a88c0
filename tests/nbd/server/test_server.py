"""Real sockets and processes: serving, crashing, ending."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat

import pytest
from compare import assert_same
from fakes import Client, FakeExport, FakeFiles, option, pattern, request
from vfloppy.export import Hole
from vfloppy.nbd import Limits, listen_private, listen_tcp, listen_unix
from vfloppy.nbd.protocol import wire
from vfloppy.process import children
from vfloppy.synth.host.batch import HostSlice

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


def test_a_process_that_fails_before_it_serves_is_told(serve, tmp_path, export, monkeypatch):
    def fail() -> None:
        raise OSError(errno.EBADF, "no such descriptor")

    monkeypatch.setattr(children, "discard_streams", fail)
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"": export})
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(listener.path)
        assert client.recv(1) == b""
    assert running.stop() == 0
    assert "connection 1 can't be served: [Errno 9] no such descriptor" in running.log.read_text()


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


def test_a_private_socket_leaves_nothing_behind(serve, export):
    listener = listen_private()
    directory = os.path.dirname(listener.path)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    running = serve([listener], {"": export})
    with Client(listener.path) as client:
        client.go()
    running.stop()
    assert not os.path.exists(directory)
