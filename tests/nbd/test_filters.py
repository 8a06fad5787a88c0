"""Filters: an export around another sees every read, and what it changes is changed for everyone.

A filter overrides what it must and no more; all else is made of that.
"""

from __future__ import annotations

import io
import mmap
import random
from typing import BinaryIO

import pytest
from disks import files_of, has_leases
from exports import SelfReading
from fakes import Client, parked, request
from tools import ENVIRONMENT, need_tool, run
from vfloppy.export import Export, Reader, piece_bytes
from vfloppy.nbd import Limits, listen_tcp, listen_unix
from vfloppy.nbd.protocol import wire
from vfloppy.synth.fat.disk import disk as fat_disk
from vfloppy.synth.fat.plan import FatOptions
from vfloppy.synth.fat.plan import plan as fat_plan
from vfloppy.synth.iso.disk import disk as iso_disk
from vfloppy.synth.iso.plan import plan as iso_plan
from vfloppy.synth.output import writer as write
from vfloppy.synth.scanning.scan import scan

MIB = 1 << 20
READS = 200_000
DEPTH = 32
PARTS = 5
"""After each of them the client is silent until it is parked."""
UNIT = 256
"""Each read begins in a unit of its own, so that it can be told from any other."""
LARGE = (100_000, 700_000)  # by sendfile, on TCP in parts


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Large files, small ones, and one with holes: not more than can be handed over."""
    root = tmp_path_factory.mktemp("tree")
    generator = random.Random(1)
    for number in range(4):
        (root / f"large {number}").write_bytes(generator.randbytes(13 * MIB + number))
    for number in range(200):
        (root / f"small {number}").write_bytes(generator.randbytes(generator.randrange(9000)))
    with open(root / "holes", "wb") as file:
        file.truncate(4 * MIB)
        file.seek(2 * MIB)
        file.write(b"data")
    return scan(str(root))


@pytest.fixture(scope="module", params=["fat", "iso"])
def image(request, tree):
    if request.param == "fat":
        return fat_disk(fat_plan(tree, FatOptions(fat_bits=16)), tree, files_of(tree))
    return iso_disk(iso_plan(tree), tree, files_of(tree))


@pytest.fixture(scope="module")
def whole(image):
    with image.open() as reader:
        return reader.read(0, image.size)


@pytest.fixture(params=["unix", "tcp"])
def connect(request, tmp_path):
    """A listener, and what connects to it."""
    if request.param == "unix":
        listener = listen_unix(tmp_path / "socket")
        return listener, lambda: Client(listener.path)
    listener = listen_tcp("127.0.0.1", 0)
    return listener, lambda: Client(("127.0.0.1", listener.port))


# --- one that counts ---


class Filter(Export):
    """Passes an export on by readers of a kind of its own."""

    def __init__(self, inner: Export, reader_of) -> None:
        self.inner = inner
        self.reader_of = reader_of

    @property
    def size(self):
        return self.inner.size

    @property
    def features(self):
        return self.inner.features

    def open(self, alerts=None):
        return self.reader_of(self.inner.open(alerts))


class Marks:
    """What a filter has seen, in memory that all processes share."""

    def __init__(self, size: int) -> None:
        self.units = mmap.mmap(-1, size // UNIT + 1)
        self.lent = mmap.mmap(-1, 1)

    def add(self, offset: int) -> None:
        """Mark the unit in which a read begins."""
        self.units[offset // UNIT] = 1

    def take(self) -> set[int]:
        """The numbers of the units that are marked, and then no more."""
        found = {number for number, mark in enumerate(self.units[:]) if mark}
        self.units[:] = bytes(len(self.units))
        return found


class Noting(Reader):
    """Overrides what a filter must: batches and all else are made of `pieces`."""

    def __init__(self, inner: Reader, marks: Marks) -> None:
        self.size = inner.size
        self.inner = inner
        self.marks = marks

    def pieces(self, offset, length):
        self.marks.add(offset)
        return self.inner.pieces(offset, length)

    def close(self):
        self.inner.close()


class PassingOn(Noting):
    """Passes batches on as well, which may be lent, and what is open to who comes after it."""

    def read_batch(self, ranges, *, lends=False):
        for offset, _ in ranges:
            self.marks.add(offset)
        batch = self.inner.read_batch(ranges, lends=lends)
        if any(isinstance(each, memoryview) for each in batch.buffers):
            self.marks.lent[0] = 1
        return batch

    def read_simple(self, offset, length):
        self.marks.add(offset)
        return self.inner.read_simple(offset, length)

    def detach(self):
        return self.inner.detach()

    def adopt(self, detached):
        self.inner.adopt(detached)


def read(client: Client, incoming: BinaryIO, places: list[tuple[int, int]]) -> list[bytearray]:
    """The bytes of some ranges that are asked for at once, without losing time over it."""
    client.send(
        b"".join(request(wire.NBD_CMD_READ, *each, cookie=n) for n, each in enumerate(places))
    )
    found = [bytearray(length) for _, length in places]
    left = len(places)
    while left:
        _, flags, kind, cookie, length = wire.CHUNK.unpack(incoming.read(wire.CHUNK.size))
        payload = incoming.read(length)
        if kind == wire.NBD_REPLY_TYPE_OFFSET_DATA:
            at = int.from_bytes(payload[:8], "big") - places[cookie][0]
            found[cookie][at : at + length - 8] = payload[8:]
        else:
            assert kind in {wire.NBD_REPLY_TYPE_NONE, wire.NBD_REPLY_TYPE_OFFSET_HOLE}
        left -= flags & wire.NBD_REPLY_FLAG_DONE
    return found


def drawn(size: int, count: int) -> list[list[tuple[int, int]]]:
    """Rounds of reads anywhere, each beginning in a unit of its own: many small ones at once,
    single ones, large ones; `count` in all.
    """
    generator = random.Random(2)
    last = size - LARGE[1]
    places = [
        (unit * UNIT + generator.randrange(UNIT), generator.choice((1, 100, 512, 512, 4096)))
        for unit in generator.sample(range(last // UNIT), count)
    ]
    rounds = []
    while places:
        dice = generator.random()
        share = DEPTH if dice < 0.5 else 1
        some, places = places[:share], places[share:]
        if dice > 0.97:
            some = [(offset, generator.choice(LARGE)) for offset, _ in some]
        rounds.append(some)
    return rounds


def check(places, found, whole) -> None:
    """Each range is what it is of the whole."""
    for (offset, length), data in zip(places, found, strict=True):
        is_right = data == whole[offset : offset + length]
        assert is_right, f"{length} bytes at {offset} are wrong"


@pytest.mark.parametrize("kind", [Noting, PassingOn])
def test_a_filter_sees_every_read(serve, image, whole, connect, kind, tmp_path):
    marks = Marks(image.size)
    listener, client_of = connect
    filtered = Filter(image, lambda inner: kind(inner, marks))
    running = serve([listener], {"": filtered}, limits=Limits(park_after_s=0.1))
    rounds = drawn(image.size, READS)
    with client_of() as client, client.socket.makefile("rb", MIB) as incoming:
        client.go()
        for part in range(PARTS):
            wanted = set()
            for places in rounds[part::PARTS]:
                wanted |= {offset // UNIT for offset, _ in places}
                check(places, read(client, incoming, places), whole)
            seen = marks.take()
            assert len(wanted - seen) == 0, "not all reads were seen"
            assert len(seen - wanted) == 0, "reads were seen that nobody asked for"
            parked(running)
    assert bool(marks.lent[0]) == (kind is PassingOn and has_leases(tmp_path))
    assert running.stop() == 0
    assert "failed" not in running.log.read_text()


# --- one that changes bytes ---

CHANGED = bytes(each ^ 0x55 for each in range(256))


class Changing(Reader):
    """Every byte is another one, those of holes as well."""

    def __init__(self, inner: Reader) -> None:
        self.size = inner.size
        self.inner = inner

    def pieces(self, offset, length):
        for piece in self.inner.pieces(offset, length):
            yield piece_bytes(piece).translate(CHANGED)

    def close(self):
        self.inner.close()


@pytest.fixture(scope="module")
def changed(whole):
    return whole.translate(CHANGED)


@pytest.fixture
def places(tree, image):
    """Reads anywhere, at both ends, and within and across large files and holes."""
    with image.open() as reader:
        edges, position = [0, image.size - LARGE[1]], 0
        for run in reader.files(0, image.size):
            if run.length > LARGE[0]:
                edges.append(position)
            position += run.length
    return [
        (offset, length)
        for edge in edges
        for offset in {edge, max(edge - 1000, 0), edge + 5000}
        for length in (1, 512, 4096, 40_000, *LARGE)
        if offset + length <= image.size
    ]


def test_what_a_filter_changes_no_reader_walks_around(image, whole, changed, places):
    with Filter(image, Changing).open() as reader:
        check(places, [reader.read(*each) for each in places], changed)
        check(places, [reader.read_simple(*each) for each in places], changed)
        for lends in (False, True):
            batch = reader.read_batch(places, lends=lends)
            assert batch.commit()
            check(places, batch.buffers, changed)
            batch.release()
        assert not any(extent.hole for extent in reader.extents(0, image.size))
    twice = Filter(Filter(image, Changing), Changing)
    with twice.open() as reader:
        check(places, [reader.read(*each) for each in places], whole)


@pytest.mark.parametrize("structured", [True, False], ids=["structured", "simple"])
def test_what_a_filter_changes_no_client_walks_around(
    serve, image, changed, places, connect, structured
):
    listener, client_of = connect
    serve([listener], {"": Filter(image, Changing)})
    with client_of() as client, client.socket.makefile("rb", MIB) as incoming:
        client.go(structured=structured)
        read_some = read if structured else read_simply
        for _ in range(3):  # what is read often might be mapped
            for first in range(0, len(places), DEPTH):
                some = places[first : first + DEPTH]
                check(some, read_some(client, incoming, some), changed)
            for each in places:
                check([each], read_some(client, incoming, [each]), changed)


def read_simply(client: Client, incoming: BinaryIO, places: list[tuple[int, int]]) -> list[bytes]:
    """As `read`, by simple replies."""
    client.send(
        b"".join(request(wire.NBD_CMD_READ, *each, cookie=n) for n, each in enumerate(places))
    )
    found = {}
    for _ in places:
        magic, error, cookie = wire.SIMPLE_REPLY.unpack(incoming.read(wire.SIMPLE_REPLY.size))
        assert (magic, error) == (wire.NBD_SIMPLE_REPLY_MAGIC, 0)
        found[cookie] = incoming.read(places[cookie][1])
    return [found[number] for number in range(len(places))]


def test_what_a_filter_changes_is_copied(serve, image, changed, connect, tmp_path):
    """By a client that asks for holes, and leaves them out."""
    need_tool("nbdcopy")
    listener, _ = connect
    running = serve([listener], {"": Filter(image, Changing)})
    done = run("nbdcopy", running.server.uri(), str(tmp_path / "copy"), env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr.decode()
    is_right = (tmp_path / "copy").read_bytes() == changed
    assert is_right


@pytest.mark.parametrize("processes", [1, 3])
def test_what_a_filter_changes_is_built(image, changed, tmp_path, monkeypatch, processes):
    monkeypatch.setattr(write, "_SHARED_BYTES", 1)
    write.write_file(Filter(image, Changing), str(tmp_path / "built"), processes=processes)
    is_right = (tmp_path / "built").read_bytes() == changed
    assert is_right
    out = io.BytesIO()
    out.name = "a stream"
    write.write_stream(Filter(image, Changing), out)
    is_right = out.getvalue() == changed
    assert is_right


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("length", [512, 100_000])
def test_an_export_that_answers_with_another_length_fails_its_reads_and_nothing_else(
    serve, tmp_path, length, more
):
    class Wrong(SelfReading):
        size = 1 << 20

        def pieces(self, offset, length):
            return [bytes(length + more)] if offset else [bytes(length)]

    listener = listen_unix(tmp_path / "s")
    serve([listener], {"": Wrong()})
    with Client(str(tmp_path / "s")) as client:
        client.go()
        client.send(request(wire.NBD_CMD_READ, 4096, length))
        reply = client.chunk()
        while not reply.done:
            reply = client.chunk()
        assert reply.error == 5
        assert "an export answered a read" in reply.text
        assert client.read(0, 512) == bytes(512)
