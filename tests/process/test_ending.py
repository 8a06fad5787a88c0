"""Ends: of scans that take long, of replies that have begun, of those whose parent is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import sys
import time
from pathlib import Path

import pytest
from fakes import Client, FakeExport, FakeFiles, pattern, request, until
from vfloppy.nbd import Limits, Server, listen_private, listen_tcp, listen_unix
from vfloppy.nbd.errors import ProtocolError
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.exports import ExportTable
from vfloppy.nbd.protocol.handshake import Agreement
from vfloppy.nbd.server.connection import ConnectionLimits, serve_connection
from vfloppy.nbd.server.parking import Parked
from vfloppy.process import loop
from vfloppy.process.children import EndedError, SignalWatch
from vfloppy.synth.forks import Forked
from vfloppy.synth.host.batch import HostSlice

EXPORT = FakeExport([pattern(100_000)])


@pytest.fixture
def listener(tmp_path):
    return listen_unix(tmp_path / "socket")


# --- scans ---


def for_ever(_folder: Path) -> None:
    while True:
        time.sleep(0.01)


def in_a_system_call(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    os.open(folder / "fifo", os.O_RDONLY)


def in_a_helper(folder: Path) -> None:
    def help_for_ever() -> None:
        (folder / "helper").write_text(f"{os.getpid()}")
        while True:
            signal.pause()

    Forked(help_for_ever).result()


def deaf(_folder: Path) -> None:
    """As where an exception is thrown in a `__del__`."""
    try:
        for_ever(_folder)
    except BaseException:
        return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("scan", [for_ever, in_a_system_call, in_a_helper, deaf])
def test_a_signal_ends_a_server_that_scans(serve, tmp_path, scan, number):
    begun = tmp_path / "begun"

    def refresh(_asked):
        begun.touch()
        scan(tmp_path)

    listener = listen_private()
    running = serve([listener], {"disk": EXPORT}, refresh=refresh)
    with Client(listener.path) as client:
        until(begun.exists)
        if scan is in_a_helper:
            until(lambda: (tmp_path / "helper").exists() and (tmp_path / "helper").read_text())
        assert running.stop(number) == 0
        assert client.at_end()
    assert not os.path.lexists(os.path.dirname(listener.path))
    if scan is in_a_helper:
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "helper").read_text()), 0)


def test_a_second_signal_does_not_disturb_the_first_one_s_cleaning_up():
    with SignalWatch() as watch:
        cleaned = False
        with pytest.raises(EndedError), watch.abandoning():  # noqa: PT012
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                cleaned = True
        assert cleaned
        assert watch.seen() == {signal.SIGTERM}


def test_bytes_that_somebody_else_writes_are_no_signals():
    with SignalWatch() as watch:
        watch._sender.send(bytes(range(64)))
        assert watch.seen() == set()


def test_who_comes_during_a_scan_is_greeted_after_it_and_a_hangup_is_not_forgotten(
    serve, tmp_path, listener
):
    begun, gate, asked = tmp_path / "begun", tmp_path / "gate", tmp_path / "asked"

    def refresh(was_asked):
        with open(asked, "a") as file:
            file.write(f"{was_asked} ")
        begun.touch()
        until(gate.exists)

    running = serve([listener], {"disk": EXPORT}, refresh=refresh)
    with Client(listener.path) as first:
        until(begun.exists)
        with Client(listener.path) as second:
            os.kill(running.process_id, signal.SIGHUP)
            gate.touch()
            first.go()
            second.go()
            assert asked.read_text() == "False "
            for each in (first, second):
                each.send(request(wire.NBD_CMD_DISC))
                assert each.at_end()
    with Client(listener.path) as third:
        third.go()
        assert asked.read_text() == "False True "


def test_a_hangup_while_somebody_is_connected_says_when_it_counts(serve, listener):
    running = serve([listener], {"disk": EXPORT}, refresh=lambda _asked: None)
    with Client(listener.path) as first, Client(listener.path) as second:
        first.go()
        second.go()
        os.kill(running.process_id, signal.SIGHUP)
        until(lambda: "look again when the 2 clients have left" in running.log.read_text())
        second.send(request(wire.NBD_CMD_DISC))
        assert second.at_end()
        os.kill(running.process_id, signal.SIGHUP)
        until(lambda: "look again when the client has left" in running.log.read_text())


def test_a_hangup_of_a_server_that_never_looks_again_is_told_of(serve, listener):
    running = serve([listener], {"disk": EXPORT})
    with Client(listener.path) as client:
        client.go()
        os.kill(running.process_id, signal.SIGHUP)
        until(lambda: "never looks again" in running.log.read_text())


def test_a_command_that_ends_during_a_scan_ends_the_server_too(tmp_path):
    begun = tmp_path / "begun"

    def refresh(_asked):
        begun.touch()
        for_ever(tmp_path)

    server = Server([listen_private()], {"": EXPORT}, refresh=refresh)
    connect = (
        "import os, socket, sys, time; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        f"exec('while not os.path.exists({str(begun)!r}): time.sleep(0.01)')"
    )
    command = f'{sys.executable} -c "{connect}" "$unixsocket"; exit 7'
    assert server.run_captive(command) == 7


# --- replies that have begun ---


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_reply_that_has_begun_is_finished(serve, tmp_path, kind):
    """Also where more requests have come that nobody will read: closing must not cut it off."""
    if kind == "unix":
        listener = listen_unix(tmp_path / "socket")
        address = listener.path
    else:
        listener = listen_tcp("127.0.0.1", 0)
        address = ("127.0.0.1", listener.port)
    files = FakeFiles(tmp_path, [pattern(1_000_000, 1) * 20])
    export = FakeExport([HostSlice(files, 0, 0, 20_000_000)])
    running = serve([listener], {"disk": export})
    with Client(address) as client:
        client.go(structured=False)
        client.send(request(wire.NBD_CMD_READ, 0, 20_000_000))
        assert wire.SIMPLE_REPLY.unpack(client.take(16)) == (wire.NBD_SIMPLE_REPLY_MAGIC, 0, 7)
        client.send(request(wire.NBD_CMD_READ, 0, 512) * 100)
        os.kill(running.process_id, signal.SIGTERM)
        data = client.take(20_000_000)
        assert data == export.data, "the reply is another"
        with contextlib.suppress(ConnectionResetError):
            while client.socket.recv(4096):
                pass
    assert running.stop(0) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "killed"])
@pytest.mark.parametrize("state", ["sends", "computes", "waits", "shakes hands"])
def test_whatever_a_connection_is_about_it_ends_with_the_server(serve, listener, state, number):
    class Slow(FakeExport):
        def pieces(self, offset, length):
            if offset == 13:
                for_ever(Path())
            return super().pieces(offset, length)

    running = serve([listener], {"disk": Slow([bytes(30_000_000)])})
    with Client(listener.path) as client:
        if state == "shakes hands":
            client.take(18)
        else:
            client.go()
        if state == "sends":
            client.send(request(wire.NBD_CMD_READ, 0, 30_000_000))  # and nobody reads
            client.take(16)
        elif state == "computes":
            client.send(request(wire.NBD_CMD_READ, 13, 1))
        (child,) = running.children()
        running.stop(number)
        until(lambda: has_ended(child))


def has_ended(process_id: int) -> bool:
    """Whether a process is gone, or only waits for whoever collects orphans."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_where_no_signal_comes_of_a_parent_s_end_a_hangup_tells(serve, listener, monkeypatch):
    """As on macOS."""
    monkeypatch.setattr(loop, "end_with_parent", lambda _parent: False)
    running = serve([listener], {"disk": EXPORT})
    with Client(listener.path) as client:
        client.go()
        (child,) = running.children()
        running.stop(signal.SIGKILL)
        assert client.at_end()
        until(lambda: has_ended(child))


# --- requests that don't go on ---

SOON = Limits(request_timeout_s=0.1)


@pytest.mark.parametrize("part", [1, 27])
def test_half_a_request_does_not_keep_a_process(serve, listener, part):
    running = serve([listener], {"disk": EXPORT}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        whole = request(wire.NBD_CMD_READ, 0, 10)
        client.send(whole + whole[:part])
        assert client.chunk().payload == EXPORT.data[:10]
        assert client.at_end()
    running.stop()
    assert "dropped: half a request came, and not the rest in 0.1 s" in running.log.read_text()


def test_a_drip_of_a_request_does_not_keep_a_process(serve, listener):
    serve([listener], {"disk": EXPORT}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        client.send(request(wire.NBD_CMD_WRITE, 0, 1 << 20))
        with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012
            for _ in range(2000):
                client.send(b"x")
                time.sleep(0.005)


def test_whoever_says_nothing_is_never_dropped(serve, listener):
    serve([listener], {"disk": EXPORT}, limits=SOON._replace(park_after_s=None))
    with Client(listener.path) as client:
        client.go()
        for _ in range(3):
            time.sleep(0.2)
            assert client.read(5, 10) == EXPORT.data[5:15]


def test_a_handshake_may_take_its_time_and_not_all_of_it(serve, listener):
    limits = Limits(handshake_timeout_s=0.2)
    running = serve([listener], {"disk": EXPORT}, limits=limits)
    with Client(listener.path) as client:
        client.take(18)
        client.send(wire.CLIENT_FLAGS.pack(3))
        answered, list_all = 0, wire.OPTION.pack(wire.IHAVEOPT, 99, 0)
        with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012
            for _ in range(1000):
                client.send(list_all)
                client.option_reply()
                answered += 1
                time.sleep(0.05)
    assert answered > 10, "each option has its own time"
    until(lambda: "no export was chosen within 4 s" in running.log.read_text())


class Secret(socket.socket):
    """What of a TLS connection matters: it may have to wait in the middle of a record of ten
    bytes, of which it gives nothing until it has all.
    """

    kept = b""

    def pending(self) -> int:
        return 0

    def recv_into(self, space, *_more):
        with contextlib.suppress(BlockingIOError):
            self.kept += self.recv(10 - len(self.kept))
        if len(self.kept) < 10:
            raise ssl.SSLWantReadError
        space[:10], self.kept = self.kept, b""
        return 10


def test_a_part_of_a_tls_record_does_not_keep_a_process():
    near, far = socket.socketpair()
    wrapped, table = Secret(fileno=near.detach()), ExportTable({"": EXPORT})
    parked = Parked(Agreement(next(iter(table)), False, False, {}))
    with far, wrapped:
        far.settimeout(20)
        far.sendall(b"12345")
        with pytest.raises(ProtocolError, match="half a request came"):
            serve_connection(
                wrapped,
                table,
                print,
                limits=ConnectionLimits(request_timeout_s=0.1),
                resumed=parked,
            )


# --- crowds ---


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_hundreds_who_come_at_once_during_a_scan_are_all_greeted(serve, tmp_path, kind):
    gate, begun = tmp_path / "gate", tmp_path / "begun"

    def refresh(_asked):
        begun.touch()
        until(gate.exists)

    if kind == "unix":
        listener = listen_unix(tmp_path / "socket")
        family, address = socket.AF_UNIX, listener.path
    else:
        listener = listen_tcp("127.0.0.1", 0)
        family, address = socket.AF_INET, ("127.0.0.1", listener.port)
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    if most < 400:
        pytest.skip(f"this kernel lets {most} wait")
    running = serve([listener], {"disk": EXPORT}, refresh=refresh)
    clients = [socket.socket(family) for _ in range(300)]
    try:
        for client in clients:
            client.settimeout(20)
            client.connect(address)
        until(begun.exists)
        gate.touch()
        greeted = [client.recv(18, socket.MSG_WAITALL)[:8] for client in clients]
        assert greeted.count(b"NBDMAGIC") == 300
        assert running.stop() == 0
    finally:
        for client in clients:
            client.close()
