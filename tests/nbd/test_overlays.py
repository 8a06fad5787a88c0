"""Overlays served to several connections, by processes: what was written is there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import threading

import pytest
from compare import assert_same
from fakes import (
    Client,
    FakeColumns,
    FakeExport,
    FakeFiles,
    assemble,
    contexts,
    info,
    option,
    parked,
    pattern,
    request,
    until,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tools import need_tool, output, run
from vfloppy.export import Hole
from vfloppy.filters import store
from vfloppy.filters.overlay import Overlay
from vfloppy.filters.store import OverlayFile
from vfloppy.nbd import Limits, Sandbox, listen_tcp, listen_unix
from vfloppy.nbd.protocol import wire
from vfloppy.synth.host.batch import HostSlice

READ, WRITE, TRIM = wire.NBD_CMD_READ, wire.NBD_CMD_WRITE, wire.NBD_CMD_TRIM
ZEROES, FLUSH = wire.NBD_CMD_WRITE_ZEROES, wire.NBD_CMD_FLUSH
FUA, NO_HOLE = wire.NBD_CMD_FLAG_FUA, wire.NBD_CMD_FLAG_NO_HOLE
MIB = 1 << 20


@pytest.fixture
def base(tmp_path):
    """Pieces of all kinds: bytes, files that are read in batches, holes."""
    (tmp_path / "files").mkdir()
    files = FakeFiles(tmp_path / "files", [pattern(MIB, 1), pattern(300_000, 2)])
    return FakeColumns(
        [
            pattern(10_000, 3),
            HostSlice(files, 0, 0, MIB),
            Hole(500_000),
            HostSlice(files, 1, 0, 300_000),
            Hole(4 * MIB + 6),
        ]
    )


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "overlay")


@pytest.fixture(params=["unix", "tcp"])
def listener(request, tmp_path):
    if request.param == "unix":
        return listen_unix(tmp_path / "socket")
    return listen_tcp("127.0.0.1", 0)


def connected(listener, **options) -> Client:
    client = Client(listener.path or ("127.0.0.1", listener.port))
    client.go(**options)
    return client


def ask(client: Client, command: int, offset=0, length=0, *, flags=0, payload=b"") -> int:
    """The error of a request that has no data in its reply."""
    client.send(request(command, offset, length or len(payload), flags=flags) + payload)
    reply = client.chunk()
    assert reply.done
    return reply.error


def write(client: Client, offset: int, data: bytes, flags: int = 0) -> int:
    return ask(client, WRITE, offset, flags=flags, payload=data)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["write", "write", "zero", "allocate", "trim", "flush", "read", "many"]),
        st.integers(0, 6 * MIB),
        st.one_of(st.integers(0, 5000), st.integers(0, 700_000)),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)


def apply(clients, disk: bytearray, number: int, step) -> None:
    """A step on one connection, and on the model."""
    which, kind, drawn, wanted, fua = step
    client, flags = clients[which], FUA if fua else 0
    offset = drawn % len(disk)
    length = min(wanted, len(disk) - offset)
    end = offset + length
    if kind == "write":
        data = random.Random(number).randbytes(length)
        assert write(client, offset, data, flags) == 0
        disk[offset:end] = data
    elif kind in {"zero", "allocate"}:
        keeps = NO_HOLE if kind == "allocate" else 0
        assert ask(client, ZEROES, offset, length, flags=flags | keeps) == 0
        disk[offset:end] = bytes(length)
    elif kind == "trim":
        assert ask(client, TRIM, offset, length, flags=flags) == 0
        first, last = -(-offset // 512) * 512, end if end == len(disk) else end // 512 * 512
        disk[first:last] = bytes(max(last - first, 0))
    elif kind == "flush":
        assert ask(client, FLUSH) == 0
    elif kind == "many":  # several writes in flight, between reads of them
        stream, expected = b"", []
        for share in range(4):
            at = (offset + share * 4096) % (len(disk) - 4096)
            data = random.Random(number * 4 + share).randbytes(4096 - share * 100)
            stream += request(WRITE, at, len(data), cookie=1) + data
            disk[at : at + len(data)] = data
            stream += request(READ, at, 4096, cookie=2)
            expected.append((at, bytes(disk[at : at + 4096])))
        client.send(stream)
        for at, right in expected:
            assert client.chunk().error == 0
            replies = [client.chunk()]
            while not replies[-1].done:
                replies.append(client.chunk())
            assert_same(assemble(replies, at, 4096), right)
    if length:
        assert_same(client.read(offset, length), bytes(disk[offset:end]))


@given(steps=STEPS)
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_connections_see_one_disk_that_is_a_bytearray(steps, base, serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    file = OverlayFile.temporary(base.size)
    listener = listen_unix(folder / "socket")
    running = serve([listener], {"": Overlay(base, file)})
    clients = [connected(listener) for _ in range(3)]
    try:
        disk = bytearray(base.data)
        for number, step in enumerate(steps):
            apply(clients, disk, number, step)
        for client in clients:
            for start in range(0, len(disk), MIB):
                length = min(MIB, len(disk) - start)
                assert_same(client.read(start, length), bytes(disk[start : start + length]))
    finally:
        for client in clients:
            client.socket.close()
        running.stop()
        file.close()


def test_a_parked_connection_has_written_and_goes_on_writing(base, listener, path, serve):
    file = OverlayFile.create(path, base.size)
    running = serve([listener], {"": Overlay(base, file)}, limits=Limits(park_after_s=0.05))
    with connected(listener) as one, connected(listener) as other:
        data = pattern(6000, 8)
        assert write(one, 9000, data) == 0
        parked(running)
        assert_same(other.read(9000, 6000), data)
        parked(running)
        assert write(one, 9100, b"again") == 0
        parked(running)
        assert_same(other.read(9000, 6000), data[:100] + b"again" + data[105:])
        assert ask(one, FLUSH) == 0
    running.stop()
    file.close()
    with OverlayFile.open(path) as kept, base.open() as below:
        assert_same(kept.read(below, 9100, 5), b"again")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_is_killed_loses_nothing_that_was_answered(
    base, path, tmp_path, serve, number
):
    """Four connections write sectors of their own until the server is gone."""
    file = OverlayFile.create(path, base.size)
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"": Overlay(base, file)})
    file.close()
    answered: list[list[int]] = [[] for _ in range(4)]

    def fill(which: int) -> None:
        with connected(listener) as client:
            try:
                for turn in range(100_000):
                    sector = (turn * 4 + which) % 8000
                    if write(client, sector * 512, mark(which, turn)) == 0:
                        answered[which].append(turn)
            except (OSError, EOFError):
                return

    threads = [threading.Thread(target=fill, args=(which,)) for which in range(4)]
    for each in threads:
        each.start()
    until(lambda: all(len(each) > 300 for each in answered))
    processes = [running.process_id, *running.children()]
    if number == signal.SIGKILL:  # all of them at once: nobody can put anything in order
        for each in processes:
            os.kill(each, number)
    running.stop(number)
    for each in threads:
        each.join()
    with OverlayFile.open(path) as kept, base.open() as below:
        for which, turns in enumerate(answered):
            last = {(turn * 4 + which) % 8000: turn for turn in turns}
            for sector, turn in last.items():
                found = kept.read(below, sector * 512, 512)
                later = mark(which, turns[-1] + 1)  # was written perhaps, and not answered
                assert found in {mark(which, turn), later}


def mark(which: int, turn: int) -> bytes:
    return f"{which} {turn} ".encode().ljust(512, b".")


@pytest.fixture
def small(tmp_path):
    """A file system of 8 MiB."""
    if os.geteuid():
        pytest.skip("only root may mount")
    place = tmp_path / "small"
    place.mkdir()
    output("mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place))
    yield place
    output("umount", "-l", str(place))


@pytest.fixture
def small_ext4(tmp_path):
    """Likewise, an ext4 of 16 MiB."""
    if os.geteuid():
        pytest.skip("only root may mount")
    need_tool("mkfs.ext4")
    place, disk = tmp_path / "ext4", tmp_path / "ext4.disk"
    place.mkdir()
    with open(disk, "wb") as file:
        file.truncate(16 * MIB)
    output("mkfs.ext4", "-q", "-m", "0", str(disk))
    done = run("mount", "-o", "loop", str(disk), str(place))
    if done.returncode:
        pytest.skip(f"can't be mounted here: {done.stderr.decode().strip()}")
    yield place
    output("umount", "-l", str(place))


@pytest.mark.parametrize("kind", ["small", "small_ext4"])
def test_a_full_file_system_below_is_enospc_and_reading_goes_on(kind, request, tmp_path, serve):
    place = request.getfixturevalue(kind)
    base = FakeExport([Hole(MIB), random.Random(5).randbytes(31 * MIB)])
    file = OverlayFile.create(str(place / "overlay"), base.size)
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"": Overlay(base, file)})
    file.close()
    block = random.Random(1).randbytes(65536)
    disk = bytearray(base.data)
    with connected(listener) as client:
        errors = {}
        for number in random.Random(2).sample(range(500), 500):
            offset = number * 65536
            errors[offset] = write(client, offset, block)
            if errors[offset] == 0:
                disk[offset : offset + 65536] = block
        assert set(errors.values()) == {0, wire.NBD_ENOSPC}
        full = [offset for offset, error in errors.items() if error]
        for offset, error in errors.items():
            if not error:
                assert_same(client.read(offset, 65536), block)
        # Of a block that did not fit, sectors are the old ones or the new ones.
        for offset in full[:50]:
            found = client.read(offset, 65536)
            for at in range(0, 65536, 512):
                old = bytes(disk[offset + at : offset + at + 512])
                assert found[at : at + 512] in {old, block[at : at + 512]}
        # What is trimmed makes room.
        good = [offset for offset, error in errors.items() if not error]
        for offset in good[: len(good) // 2]:
            assert ask(client, TRIM, offset, 65536) == 0
        assert ask(client, FLUSH) == 0
        assert write(client, full[0], block) == 0
        assert_same(client.read(full[0], 65536), block)
    log = running.log.read_text()
    assert "can't be written: No space left on device" in log
    assert log.count("No space left") == 1, "told once"
    assert not [line for line in log.splitlines() if "ended by" in line], "no SIGBUS"
    running.stop()
    OverlayFile.open(str(place / "overlay"), writable=True).close()


@pytest.fixture
def failing_disk(tmp_path):
    """A file system on a device of 64 MiB, and a call after which nothing new can be written to it.

    The device is a sparse file, for which there is no room left then.
    """
    if os.geteuid():
        pytest.skip("only root may mount")
    need_tool("mkfs.ext2")
    host, place = tmp_path / "host", tmp_path / "failing"
    for each in (host, place):
        each.mkdir()
    output("mount", "-t", "tmpfs", "-o", "size=8m", "none", str(host))
    try:
        with open(host / "disk", "wb") as file:
            file.truncate(64 * MIB)
        output("mkfs.ext2", "-q", str(host / "disk"))
        done = run("mount", "-o", "loop", "-t", "ext2", str(host / "disk"), str(place))
        if done.returncode:
            pytest.skip(f"can't be mounted here: {done.stderr.decode().strip()}")

        def fail() -> None:
            with open(host / "rest", "wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass

        yield place, fail
        output("umount", "-l", str(place))
    finally:
        output("umount", "-l", str(host))


def test_a_failing_disk_below_is_eio_at_the_flush_and_from_then_on(failing_disk, tmp_path, serve):
    place, fail = failing_disk
    base = FakeExport([random.Random(3).randbytes(4 * MIB)])
    file = OverlayFile.create(str(place / "overlay"), base.size)
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"": Overlay(base, file)})
    file.close()
    with connected(listener) as one, connected(listener) as other:
        assert write(one, 0, pattern(65536, 5)) == 0
        assert ask(one, FLUSH) == 0
        fail()
        assert write(one, MIB, pattern(65536, 6)) == 0
        assert ask(one, FLUSH) in {wire.NBD_EIO, wire.NBD_ENOSPC}, "as the kernel has it"
        assert ask(one, FLUSH) == wire.NBD_EIO, "the kernel says so once, and forgets the pages"
        assert ask(other, FLUSH) == wire.NBD_EIO
        assert write(other, 2 * MIB, b"x" * 512, FUA) == wire.NBD_EIO
        assert_same(other.read(3 * MIB, 4096), base.data[3 * MIB : 3 * MIB + 4096])
    running.stop()


class Faults:
    """System calls of the store that fail from a moment on."""

    def __init__(self, monkeypatch) -> None:
        self.number = 0
        for name in ("pread", "pwrite"):
            real = getattr(os, name)
            monkeypatch.setattr(f"vfloppy.filters.store.os.{name}", self._failing(real))

    def _failing(self, real):
        def call(*arguments):
            if self.number:
                raise OSError(self.number, os.strerror(self.number))
            return real(*arguments)

        return call


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EIO, wire.NBD_EIO),
        (errno.ENOSPC, wire.NBD_ENOSPC),
        (errno.EDQUOT, wire.NBD_ENOSPC),
        (errno.EFBIG, wire.NBD_ENOSPC),
    ],
)
def test_failures_of_the_host_are_told_by_number(number, told, base, monkeypatch, tmp_path):
    from vfloppy.nbd.server.threads import ThreadedServer  # noqa: PLC0415

    file = OverlayFile.temporary(base.size)
    with ThreadedServer(listen_unix(tmp_path / "socket"), {"": Overlay(base, file)}) as server:
        listener = server._listener
        with connected(listener) as client:
            assert write(client, 0, pattern(512, 4)) == 0
            faults = Faults(monkeypatch)
            faults.number = number
            assert write(client, 0, b"y" * 512) == told
            assert write(client, 100, b"y") in {told, wire.NBD_EIO}
            client.send(request(READ, 0, 512))
            assert client.chunk().error == wire.NBD_EIO
            faults.number = 0
            assert_same(client.read(0, 512), pattern(512, 4))
    file.close()


def test_in_its_sandbox_a_connection_writes_to_the_overlay_and_to_nothing_else(
    base, path, tmp_path, serve, monkeypatch
):
    monkeypatch.setattr(store.OverlayFile, "sync", _attempts(tmp_path, path))
    file = OverlayFile.create(path, base.size)
    listener = listen_unix(tmp_path / "socket")
    sandbox = Sandbox([str(tmp_path / "files")])
    running = serve([listener], {"": Overlay(base, file)}, sandbox=sandbox)
    with connected(listener) as client:
        assert write(client, 512, b"w" * 5000) == 0
        assert ask(client, TRIM, 0, MIB) == 0
        assert ask(client, FLUSH) == 0
        assert_same(client.read(0, 512), bytes(512))
    running.stop()
    tried = json.loads(base.files.paths and file.read(base.open(), 2 * MIB, 4096).rstrip(b"\0"))
    if sandbox._abi:
        assert set(tried.values()) == {"PermissionError"}
    file.close()
    sandbox.close()


def _attempts(tmp_path, path):
    """What a connection tries when it should flush; what became of it is written to the disk."""
    attempts = {
        "new file": (tmp_path / "new").touch,
        "the overlay by its name": lambda: os.open(path, os.O_RDWR),
        "a file that is served": lambda: os.open(tmp_path / "files" / "host0", os.O_RDWR),
        "truncating": lambda: os.truncate(path, 0),
        "removing": lambda: os.unlink(path),
    }

    def sync(file):
        results = {}
        for name, attempt in attempts.items():
            try:
                attempt()
                results[name] = "done"
            except OSError as error:
                results[name] = type(error).__name__
        file.put(2 * MIB, json.dumps(results).encode().ljust(4096, b"\0"))

    return sync


def test_block_status_tells_trimmed_and_zeroed_ranges_as_holes(base, listener, serve):
    file = OverlayFile.temporary(base.size)
    running = serve([listener], {"": Overlay(base, file)})
    client = Client(listener.path or ("127.0.0.1", listener.port))
    client.take(wire.GREETING.size)
    client.send(
        wire.CLIENT_FLAGS.pack(3)
        + option(wire.NBD_OPT_STRUCTURED_REPLY)
        + option(wire.NBD_OPT_SET_META_CONTEXT, contexts("", "base:allocation"))
        + option(wire.NBD_OPT_GO, info())
    )
    while client.option_reply()[:2] != (wire.NBD_OPT_GO, wire.NBD_REP_ACK):
        pass
    with client:
        assert ask(client, TRIM, 512 * 40, 512 * 10) == 0
        assert ask(client, ZEROES, 512 * 60, 512 * 10) == 0
        assert ask(client, ZEROES, 512 * 80, 512 * 10, flags=NO_HOLE) == 0
        assert write(client, 5 * MIB, b"d" * 512) == 0
        client.send(request(wire.NBD_CMD_BLOCK_STATUS, 0, base.size))
        found = client.chunk().payload[4:]
        edge = 10_000 + MIB
        lengths = [wire.DESCRIPTOR.unpack_from(found, at) for at in range(0, len(found), 8)]
        assert lengths == [
            (512 * 40, 0), (512 * 10, 3), (512 * 10, 0), (512 * 10, 3),
            (edge - 512 * 70, 0), (500_000, 3), (300_000, 0),
            (5 * MIB - edge - 800_000, 3), (512, 0), (base.size - 5 * MIB - 512, 3),
        ]  # fmt: skip
    running.stop()
    file.close()
