"""A fake export over a list of pieces, and a small client: what the tests here share."""

from __future__ import annotations

import os
import socket
import struct
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vfloppy.export import (
    MOST_DESCRIPTORS,
    Detached,
    Export,
    Extent,
    FileRun,
    FileSlice,
    Hole,
    HostReadError,
    Kind,
    Piece,
    Reader,
)
from vfloppy.nbd.protocol import wire
from vfloppy.synth.host.batch import HostBatch

MAGIC = wire.NBD_REQUEST_MAGIC
PATIENCE_S = 20.0


def pattern(length: int, seed: int = 0) -> bytes:
    """Bytes that differ at every offset a test could confuse."""
    words = range(seed, seed + length // 4 + 1)
    return struct.pack(f">{len(words)}I", *((each * 2654435761) % 2**32 for each in words))[:length]


class FakeFiles:
    """Host files by number; `broken` ones fail as a changed file does."""

    def __init__(self, directory: str | os.PathLike[str], contents: list[bytes]) -> None:
        self.descriptors = []
        self.paths: list[str] = []
        self.broken: set[int] = set()
        self.verified: list[int] = []
        self.leased: dict[int, int] = {}
        self.mapped: dict[int, memoryview] = {}
        self.pinned = False
        self.broken_leases = 0
        self.reads_changed = False
        self.open_count = 0
        self.held: dict[int, int] = {}  # what is handed over
        for number, content in enumerate(contents):
            path = os.path.join(directory, f"host{number}")
            with open(path, "wb") as file:
                file.write(content)
            self.paths.append(path)
            self.descriptors.append(os.open(path, os.O_RDONLY))

    def read(self, index: int, offset: int, length: int) -> bytes:
        data = os.pread(self.descriptors[index], length, offset)
        if index not in self.leased:
            self.verify(index)
        if len(data) != length:
            raise HostReadError(f"host{index} is shorter than at the scan")
        return data

    def descriptor(self, index: int) -> int:
        return self.descriptors[index]

    def count(self, index: int, length: int) -> None:
        pass

    def adopt(self, nodes: Sequence[int], adopted: Sequence[int]) -> None:
        descriptors = dict(zip(nodes, adopted, strict=True))
        assert descriptors.keys() in (self.held.keys(), set())
        for number, each in descriptors.items():
            assert os.path.samestat(os.fstat(each), os.fstat(self.held[number]))

    def pin(self) -> None:
        self.pinned = True

    def unpin(self) -> None:
        self.pinned = False

    def verify(self, index: int) -> None:
        self.verified.append(index)
        if index in self.broken:
            raise HostReadError(f"host{index} has changed since the scan")


class FakeExport(Export):
    """Regions in a row; `data` is what the whole reads as."""

    def __init__(self, regions: list[Piece]) -> None:
        self.regions = regions
        self._size = sum(_length(each) for each in regions)

    @property
    def size(self) -> int:
        return self._size

    def open(self, alerts: Any = None) -> Reader:
        return FakeReader(self)

    def pieces(self, offset: int, length: int) -> list[Piece]:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError((offset, length))
        found: list[Piece] = []
        start = 0
        for region in self.regions:
            first, last = max(offset, start), min(offset + length, start + _length(region))
            if first < last:
                found.append(_part(region, first - start, last - first))
            start += _length(region)
        return found

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        for piece in self.pieces(offset, length):
            yield Extent(_length(piece), isinstance(piece, Hole), Kind.RESERVED)

    @property
    def data(self) -> bytes:
        return content(self.regions)


class FakeReader(Reader):
    """Asks the export for everything."""

    def __init__(self, export: FakeExport) -> None:
        self.export = export
        self.size = export.size

    def pieces(self, offset: int, length: int) -> list[Piece]:
        return self.export.pieces(offset, length)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        return self.export.extents(offset, length)

    def prefetch(self, offset: int, length: int) -> None:
        for piece in self.pieces(offset, length):
            if isinstance(piece, FileSlice):
                piece.prefetch()


class FakeColumns(FakeExport):
    """The same, with files that are read in batches, lent, numbered and handed over."""

    @property
    def files(self) -> FakeFiles:
        return next(each.files for each in self.regions if isinstance(each, FileSlice))

    def open(self, alerts: Any = None) -> Reader:
        return FakeColumnsReader(self)


class FakeColumnsReader(FakeReader):
    """What is of one file, with zeros behind it or not, goes by batches."""

    def __init__(self, export: FakeColumns) -> None:
        super().__init__(export)
        self.fake_files = export.files
        self.batch = HostBatch(self.fake_files)

    def files(self, offset: int, length: int) -> Iterator[FileRun]:
        for piece in self.pieces(offset, length):
            yield FileRun(_length(piece), piece.index + 1 if isinstance(piece, FileSlice) else 0)

    def read_batch(self, ranges: Sequence[tuple[int, int]], *, lends: bool = False) -> HostBatch:
        batch = self.batch
        batch.begin(lends)
        for offset, length in ranges:
            piece, *others = self.pieces(offset, length)
            if not isinstance(piece, FileSlice) or not all(isinstance(o, Hole) for o in others):
                batch.buffers.append(self.read_simple(offset, length))
                batch.may_have_gaps = True
            elif not others and (view := batch.views.get(piece.index)):
                batch.buffers.append(view[piece.offset : piece.offset + length])
            else:
                data = batch.read(piece.index, piece.offset, piece.length)
                batch.buffers.append(data and data.ljust(length, b"\0"))
        return batch

    def detach(self) -> Detached | None:
        if self.fake_files.open_count > MOST_DESCRIPTORS:
            return None
        held = self.fake_files.held
        return Detached(array("Q", held).tobytes(), tuple(held.values()))

    def adopt(self, detached: Detached) -> None:
        self.fake_files.adopt(array("Q", detached.state), detached.descriptors)


def until(condition: Callable[[], object]) -> None:
    """Waits for it, within a bound."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def parked(running: Any) -> None:
    """Waits until no connection has a process."""
    until(lambda: not running.children())


def is_mapped(file: Path, running: Any) -> bool:
    """Whether a process of the server has a file mapped, to lend it."""
    return any(str(file) in Path(f"/proc/{each}/maps").read_text() for each in running.children())


def content(pieces: Iterable[Piece]) -> bytes:
    parts = []
    for piece in pieces:
        if isinstance(piece, bytes):
            parts.append(piece)
        elif isinstance(piece, Hole):
            parts.append(bytes(piece.length))
        else:
            descriptor = piece.files.descriptor(piece.index)
            parts.append(os.pread(descriptor, piece.length, piece.offset))
    return b"".join(parts)


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.length


def _part(piece: Piece, start: int, length: int) -> Piece:
    if isinstance(piece, bytes):
        return piece[start : start + length]
    if isinstance(piece, Hole):
        return Hole(length)
    return piece.part(start, length)


def request(
    command: int, offset: int = 0, length: int = 0, *, cookie: int = 7, flags: int = 0
) -> bytes:
    return wire.REQUEST.pack(MAGIC, flags, command, cookie, offset, length)


class Reply(NamedTuple):
    """One message of the transmission phase."""

    cookie: int
    kind: int | None  # None: a simple reply
    done: bool
    error: int
    payload: bytes
    offset: int | None = None
    text: str = ""


def take_simple(stream: bytes, data_bytes: int = 0) -> tuple[Reply, bytes]:
    magic, error, cookie = wire.SIMPLE_REPLY.unpack_from(stream)
    assert magic == wire.NBD_SIMPLE_REPLY_MAGIC
    end = wire.SIMPLE_REPLY.size + (0 if error else data_bytes)
    assert len(stream) >= end
    return Reply(cookie, None, True, error, stream[wire.SIMPLE_REPLY.size : end]), stream[end:]


def take_chunk(stream: bytes) -> tuple[Reply, bytes]:
    """A chunk of structured replies, with compact or extended header."""
    if stream[:4] == wire.UINT32.pack(wire.NBD_EXTENDED_REPLY_MAGIC):
        header = wire.EXTENDED_CHUNK
        _, flags, kind, cookie, _at, length = header.unpack_from(stream)
    else:
        header = wire.CHUNK
        magic, flags, kind, cookie, length = header.unpack_from(stream)
        assert magic == wire.NBD_STRUCTURED_REPLY_MAGIC
    assert flags in {0, wire.NBD_REPLY_FLAG_DONE}
    end = header.size + length
    assert len(stream) >= end
    payload = stream[header.size : end]
    error, offset, text = 0, None, ""
    if kind in {wire.NBD_REPLY_TYPE_OFFSET_DATA, wire.NBD_REPLY_TYPE_OFFSET_HOLE}:
        offset = int.from_bytes(payload[:8], "big")
        payload = payload[8:]
        assert payload
    elif kind & 1 << 15:
        error, size = wire.ERROR.unpack_from(payload)
        text = payload[6 : 6 + size].decode()
        if kind == wire.NBD_REPLY_TYPE_ERROR_OFFSET:
            offset = int.from_bytes(payload[6 + size :], "big")
        else:
            assert len(payload) == 6 + size
        assert error
        assert len(text.encode()) <= 4096
    elif kind == wire.NBD_REPLY_TYPE_NONE:
        assert flags == wire.NBD_REPLY_FLAG_DONE
        assert not payload
    return Reply(cookie, kind, bool(flags), error, payload, offset, text), stream[end:]


def chunks(stream: bytes) -> list[Reply]:
    """All of a stream of structured replies; it must end where a chunk does."""
    found = []
    while stream:
        reply, stream = take_chunk(stream)
        found.append(reply)
    return found


def assemble(replies: Iterable[Reply], offset: int, length: int) -> bytes:
    """What a client reads from the chunks of one request, which must cover it exactly once."""
    covered = bytearray(length)
    data = bytearray(length)
    finished = False
    for reply in replies:
        assert not finished, "a chunk after the last"
        assert not reply.error, reply.text
        finished = reply.done
        if reply.kind == wire.NBD_REPLY_TYPE_OFFSET_DATA:
            part = reply.payload
        elif reply.kind == wire.NBD_REPLY_TYPE_OFFSET_HOLE:
            part = bytes(int.from_bytes(reply.payload, "big"))
        else:
            continue
        assert reply.offset is not None
        at = slice(reply.offset - offset, reply.offset - offset + len(part))
        assert 0 <= at.start <= at.stop <= length
        assert covered.count(0, at.start, at.stop) == len(part), "chunks overlap"
        covered[at] = b"\1" * len(part)
        data[at] = part
    assert finished
    assert not covered.count(0)
    return bytes(data)


class Client:
    """Just enough of a client to say what it likes, in step or out of it."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(address)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_details: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def take(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            part = self.socket.recv(count - len(received))
            if not part:
                raise EOFError(f"{len(received)} of {count} bytes came")
            received += part
        return bytes(received)

    def at_end(self) -> bool:
        try:
            return not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def option_reply(self) -> tuple[int, int, bytes]:
        magic, option, kind, length = wire.OPTION_REPLY.unpack(self.take(wire.OPTION_REPLY.size))
        assert magic == wire.NBD_REP_MAGIC
        return option, kind, self.take(length)

    def go(self, name: str = "", *, structured: bool = True) -> None:
        """The whole handshake."""
        self.take(wire.GREETING.size)
        self.send(wire.CLIENT_FLAGS.pack(3))
        if structured:
            self.send(option(wire.NBD_OPT_STRUCTURED_REPLY))
            assert self.option_reply()[1] == wire.NBD_REP_ACK
        self.send(option(wire.NBD_OPT_GO, info(name)))
        while (reply := self.option_reply())[1] == wire.NBD_REP_INFO:
            pass
        assert reply[1] == wire.NBD_REP_ACK, reply

    def chunk(self) -> Reply:
        header = self.take(wire.CHUNK.size)
        return take_chunk(header + self.take(wire.CHUNK.unpack(header)[4]))[0]

    def read(self, offset: int, length: int) -> bytes:
        self.send(request(wire.NBD_CMD_READ, offset, length))
        replies = [self.chunk()]
        while not replies[-1].done:
            replies.append(self.chunk())
        return assemble(replies, offset, length)


def answers(client: Client, places: Sequence[tuple[int, int]]) -> list[list[Reply]]:
    """The chunks of the replies to some reads that are asked for at once."""
    client.send(
        b"".join(
            request(wire.NBD_CMD_READ, *each, cookie=cookie) for cookie, each in enumerate(places)
        )
    )
    found: list[list[Reply]] = [[] for _ in places]
    while not all(chunks and chunks[-1].done for chunks in found):
        chunk = client.chunk()
        found[chunk.cookie].append(chunk)
    return found


def option(number: int, data: bytes = b"") -> bytes:
    return wire.OPTION.pack(wire.IHAVEOPT, number, len(data)) + data


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return wire.UINT32.pack(len(raw)) + raw


def info(name: str = "", *wanted: int) -> bytes:
    return string(name) + struct.pack(f">H{len(wanted)}H", len(wanted), *wanted)


def contexts(name: str = "", *queries: str) -> bytes:
    return string(name) + wire.UINT32.pack(len(queries)) + b"".join(map(string, queries))
