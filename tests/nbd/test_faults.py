"""Faults from below and from clients: after each one the server lives and its bytes are right."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from compare import assert_same
from disks import files_of
from fakes import Client, answers, pattern, request
from vfloppy.export import FileSlice
from vfloppy.nbd import listen_unix
from vfloppy.nbd.protocol import reading, session, wire
from vfloppy.nbd.server import sending
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import plan
from vfloppy.synth.host import batch as host_batch
from vfloppy.synth.host import directories
from vfloppy.synth.host import files as host
from vfloppy.synth.scanning.scan import scan

CONTENT = pattern(300_000, 1)
FAULTS = [
    errno.EIO,
    errno.EINTR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.EACCES,
]


@pytest.fixture
def served(tmp_path, serve, monkeypatch):
    """Starts a server of one file: its socket, where the file begins, and its process."""

    def start(below=os, *, leases=False):
        root = tmp_path / "root"
        root.mkdir()
        (root / "file").write_bytes(CONTENT)
        tree = scan(str(root))
        image = disk(plan(tree), tree, files_of(tree, leases=leases))
        position = 0
        for piece in image.open().pieces(0, image.size):
            if isinstance(piece, FileSlice):
                break
            position += len(piece) if isinstance(piece, bytes) else piece.length
        listener = listen_unix(tmp_path / "socket")
        for module in (host, host_batch, directories, session, reading, sending):
            if hasattr(module, "os"):
                monkeypatch.setattr(module, "os", below)
        return listener.path, position, serve([listener], {"": image})

    return start


class Seldom:
    """A system call that succeeds every third time: a failed read is tried once more."""

    def __init__(self, call, fault):
        self.call = call
        self.fault = fault
        self.count = 0

    def __call__(self, *arguments, **options):
        self.count += 1
        if self.count % 3:
            if self.fault == "short":
                descriptor, length, offset = arguments
                return self.call(descriptor, max(1, length // 3), offset)
            raise OSError(self.fault, os.strerror(self.fault))
        return self.call(*arguments, **options)


class FaultyOs:
    """The module os as `synth.host` sees it, with one call replaced."""

    def __init__(self, name, fault):
        setattr(self, name, Seldom(getattr(os, name), fault))

    def __getattr__(self, name):
        return getattr(os, name)


@pytest.mark.parametrize(
    ("call", "fault"),
    [("pread", "short"), ("sendfile", errno.EIO), ("sendfile", errno.ENOMEM)]
    + [(call, fault) for call in ("open", "pread", "fstat") for fault in FAULTS],
)
def test_a_fault_below_gives_the_bytes_or_eio(served, figures, call, fault):
    path, at, running = served(FaultyOs(call, fault))
    right = failed = 0
    for _ in range(4):
        with Client(path) as client:
            client.go()
            for length in (512, 10_000, 300_000, 512, 10_000):
                for chunks in answers(client, [(at, length)]) + answers(client, [(at, length)] * 3):
                    if errors := {each.error for each in chunks if each.error}:
                        assert errors == {wire.NBD_EIO}
                        failed += 1
                        continue
                    wrong = b"".join(each.payload for each in chunks) != CONTENT[:length]
                    figures["wrong bytes"] += wrong
                    assert not wrong
                    right += 1
    figures["reads with faults below"] += right + failed
    end_well(running, figures)
    assert failed if fault != "short" else not failed
    assert right


def end_well(running, figures):
    """No process of the server has died."""
    status = running.stop()
    text = running.log.read_text()
    deaths = bool(status) + text.count("ended by") + text.count("failed:")
    figures["deaths"] += deaths
    assert not deaths, text


def test_signals_in_the_middle_of_reads_change_nothing(served, figures):
    """SIGIO is what leases are broken by, and has a handler: system calls stop and go on."""
    path, at, running = served(leases=True)
    with Client(path) as client:
        client.go()
        assert_same(client.read(at, 300_000), CONTENT)
        (child,) = running.children()
        for number in range(300):
            client.send(request(wire.NBD_CMD_READ, at, 300_000))
            for _ in range(number % 7):
                os.kill(child, signal.SIGIO)
            chunks = [client.chunk()]
            while not chunks[-1].done:
                chunks.append(client.chunk())
            wrong = b"".join(each.payload for each in chunks) != CONTENT
            figures["wrong bytes"] += wrong
            assert not wrong
    figures["signals"] += sum(number % 7 for number in range(300))
    end_well(running, figures)


def test_a_writer_waits_for_no_client_and_changes_no_reply(served, figures):
    """Bytes are lent to the kernel from a mapping of the file; the client takes them late."""
    path, at, running = served(leases=True)
    places = [at + 4096 * (number % 70) for number in range(2000)]
    with Client(path) as client:
        client.go()
        for _ in range(3):
            answers(client, [(place, 4096) for place in places[:70]])
        (child,) = running.children()
        file = Path(path).parent / "root" / "file"
        if str(file) not in Path(f"/proc/{child}/maps").read_text():
            pytest.skip("no leases to be had on this file system")
        client.send(
            b"".join(
                request(wire.NBD_CMD_READ, place, 4096, cookie=cookie)
                for cookie, place in enumerate(places)
            )
        )
        program = f"open({str(file)!r}, 'r+b').write(bytes({len(CONTENT)}))"
        # Less than the time after which the kernel lets a writer in by force.
        subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
        failed = 0
        for _ in places:
            reply = client.chunk()
            failed += bool(reply.error)
            offset = places[reply.cookie] - at
            wrong = not reply.error and reply.payload != CONTENT[offset : offset + 4096]
            figures["wrong bytes"] += wrong
            assert not wrong
    assert 0 < failed < len(places)
    end_well(running, figures)


HALF = request(wire.NBD_CMD_READ, 0, 512)[:13]
HUGE = [0xFFFFFFFF, 0x80000000, 0x10000000]


def leave_in_a_reply(client, at):
    client.send(request(wire.NBD_CMD_READ, at, 300_000) * 50)
    client.take(1000)


def never_read(client, at):
    client.socket.setblocking(False)
    try:
        while True:
            client.socket.send(request(wire.NBD_CMD_READ, at, 300_000))
    except BlockingIOError:
        return


def reset(client, at):
    client.send(request(wire.NBD_CMD_READ, at, 300_000))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


CLIENTS = {
    "leaves in the middle of a reply": leave_in_a_reply,
    "never reads": never_read,
    "sends half a header": lambda client, at: client.send(HALF),
    "sends noise": lambda client, at: client.send(b"\xff" * 28),
    "resets": reset,
    **{
        f"asks for {length:#x} bytes": (
            lambda client, at, length=length: client.send(
                request(wire.NBD_CMD_READ, at, length) + request(wire.NBD_CMD_WRITE, at, length)
            )
        )
        for length in HUGE
    },
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_that_misbehaves_harms_nobody(served, figures, kind):
    path, at, running = served()
    with Client(path) as neighbour:
        neighbour.go()
        for _ in range(5):
            client = Client(path)
            client.go()
            CLIENTS[kind](client, at)
            assert_same(neighbour.read(at, 300_000), CONTENT)
            client.socket.close()
        with Client(path) as late:
            late.go()
            assert_same(late.read(at, 300_000), CONTENT)
    figures["clients that misbehave"] += 5
    end_well(running, figures)


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("length", [4096, 65_536, 300_000])
def test_a_client_that_never_reads_costs_little_memory(served, structured, length):
    path, at, running = served()
    with Client(path) as client:
        client.go(structured=structured)
        client.send(request(wire.NBD_CMD_READ, at, 512))
        client.take((28 if structured else 16) + 512)
        (child,) = running.children()
        client.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(4000):
                client.socket.sendall(request(wire.NBD_CMD_READ, at, length) * 64)
        status = Path(f"/proc/{child}/status").read_text()
        peak_kib = int(re.search(r"VmHWM:\s+(\d+)", status)[1])
        parent = Path(f"/proc/{running.process_id}/status").read_text()
        usual_kib = int(re.search(r"VmHWM:\s+(\d+)", parent)[1])
        assert peak_kib < usual_kib + (24 << 10)
    assert running.stop() == 0
