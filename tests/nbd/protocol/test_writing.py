"""Writing without sockets: what a client was told is written is, and the stream stays in step."""

from __future__ import annotations

import errno
import gc
import random
import weakref

import pytest
from fakes import FakeExport, FakeReader, assemble, chunks, pattern, request, take_simple
from hypothesis import given, settings
from hypothesis import strategies as st
from vfloppy.export import Hole, Writer
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.exports import ExportTable
from vfloppy.nbd.protocol.handshake import negotiate, transmission_flags
from vfloppy.nbd.protocol.session import Session
from vfloppy.nbd.protocol.writing import WritingSession

READ, WRITE, TRIM = wire.NBD_CMD_READ, wire.NBD_CMD_WRITE, wire.NBD_CMD_TRIM
ZEROES, FLUSH, STATUS = wire.NBD_CMD_WRITE_ZEROES, wire.NBD_CMD_FLUSH, wire.NBD_CMD_BLOCK_STATUS
FUA, NO_HOLE = wire.NBD_CMD_FLAG_FUA, wire.NBD_CMD_FLAG_NO_HOLE
FAST, PAYLOAD = wire.NBD_CMD_FLAG_FAST_ZERO, wire.NBD_CMD_FLAG_PAYLOAD_LEN
SIZE = 2 << 20
BEYOND = SIZE - 512
MIB = 1 << 20


class MemoryWriter(FakeReader, Writer):
    """An export in memory, which notes what is done to it and fails where it should."""

    def __init__(self, size=SIZE):
        super().__init__(FakeExport([pattern(size // 2), Hole(size - size // 2)]))
        self.bytes = bytearray(self.export.data)
        self.done = []
        self.full_from = size
        self.broken = False

    def pieces(self, offset, length):
        return [bytes(self.bytes[offset : offset + length])]

    def write(self, offset, data):
        end = offset + len(data)
        assert 0 <= offset < end <= self.size
        if end > self.full_from:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.bytes[offset:end] = data
        self.done.append(("write", offset, len(data)))

    def zero(self, offset, length, *, may_trim=True, fast=False):
        if fast and not may_trim:
            raise OSError(errno.ENOTSUP, "slow")
        self.bytes[offset : offset + length] = bytes(length)
        self.done.append(("zero", offset, length, may_trim))

    def trim(self, offset, length):
        self.bytes[offset : offset + length] = bytes(length)
        self.done.append(("trim", offset, length))

    def flush(self):
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        self.done.append("flush")


class Told:
    """A session, and all that it sent."""

    def __init__(self, writer=None, **options):
        self.writer = writer or MemoryWriter()
        self.reports = []
        options = {"structured": True, "report": self.reports.append, **options}
        self.session = WritingSession(self.writer, **options)
        self.sent = b""

    def feed(self, stream, step=None):
        while stream and not self.session.closed:
            space = self.session.space()
            count = min(len(space), len(stream), step or len(stream))
            assert count
            space[:count] = stream[:count]
            stream = stream[count:]
            for item in self.session.received(count):
                self.sent += b"".join(item)
        return self

    @property
    def chunks(self):
        return chunks(self.sent)

    @property
    def errors(self):
        return [(each.cookie, each.error) for each in self.chunks]


def write(offset, data, **options):
    return request(WRITE, offset, len(data), **options) + data


def extended(command, offset, length, *, cookie=7, flags=0):
    head = wire.NBD_EXTENDED_REQUEST_MAGIC << 32 | flags << 16 | command
    return wire.EXTENDED_REQUEST.pack(head, cookie, offset, length)


def test_a_client_is_told_what_it_may_do():
    told = transmission_flags(True, writable=True)
    assert told & wire.NBD_FLAG_CAN_MULTI_CONN
    assert not told & wire.NBD_FLAG_READ_ONLY
    assert not told & 1 << 9, "SEND_RESIZE"
    for flag in (
        wire.NBD_FLAG_SEND_FLUSH, wire.NBD_FLAG_SEND_FUA, wire.NBD_FLAG_SEND_TRIM,
        wire.NBD_FLAG_SEND_WRITE_ZEROES, wire.NBD_FLAG_SEND_FAST_ZERO,
    ):  # fmt: skip
        assert told & flag
        assert bool(transmission_flags(True) & flag) == (flag == wire.NBD_FLAG_SEND_FLUSH)


def test_the_handshake_tells_of_each_export_by_itself():
    class Writable(FakeExport):
        @property
        def features(self):
            return super().features._replace(writable=True)

    exports = ExportTable({"w": Writable([Hole(512)]), "r": FakeExport([Hole(512)])})
    for name, is_writable in (("w", True), ("r", False)):
        talk = negotiate(exports)
        next(talk)
        next(talk)
        talk.send(wire.CLIENT_FLAGS.pack(3))
        talk.send(wire.OPTION.pack(wire.IHAVEOPT, wire.NBD_OPT_EXPORT_NAME, 1))
        reply = talk.send(name.encode())
        flags = wire.EXPORT_NAME_REPLY.unpack(reply)[1]
        assert bool(flags & wire.NBD_FLAG_READ_ONLY) != is_writable


@pytest.mark.parametrize("step", [1, 13, 4096, 100_000, None])
@pytest.mark.parametrize("offset", [0, 4096, 1000])
def test_what_is_written_is_read_however_it_comes(step, offset):
    data = pattern(40_000, 3)
    stream = write(offset, data, cookie=1) + request(READ, offset, 40_000, cookie=2)
    told = Told().feed(stream, step)
    first, *others = told.chunks
    assert (first.cookie, first.error, first.done) == (1, 0, True)
    assert assemble(others, offset, 40_000) == data
    assert told.session.is_idle


@pytest.mark.parametrize("style", ["simple", "structured", "extended"])
def test_writes_in_flight_are_answered_one_by_one_in_each_style(style):
    options = {"structured": style != "simple", "extended": style == "extended"}
    make = extended if style == "extended" else request
    flags = PAYLOAD if style == "extended" else 0
    told, stream = Told(**options), b""
    for number in range(20):
        data = pattern(4096, number)
        stream += make(WRITE, number * 4096, 4096, cookie=number, flags=flags) + data
    told.feed(stream)
    assert told.writer.bytes[: 20 * 4096] == b"".join(pattern(4096, n) for n in range(20))
    if style == "simple":
        for number in range(20):
            reply, told.sent = take_simple(told.sent)
            assert (reply.cookie, reply.error) == (number, 0)
        assert not told.sent
    else:
        assert told.errors == [(number, 0) for number in range(20)]


@pytest.mark.parametrize("offset", [BEYOND + 1, SIZE, 1 << 63])
def test_a_write_beyond_the_end_behind_others_is_refused_alone(offset):
    data = pattern(512)
    stream = [write(at, data, cookie=n) for n, at in enumerate((0, 512, offset, 1024))]
    told = Told().feed(b"".join(stream))
    assert told.errors == [(0, 0), (1, 0), (2, wire.NBD_ENOSPC), (3, 0)]
    assert [each[1] for each in told.writer.done] == [0, 512, 1024]


def test_a_large_write_is_never_held_whole():
    told = Told(MemoryWriter(64 * MIB))
    data = pattern(MIB) * 32
    told.feed(write(512, data), 300_001)
    assert told.errors == [(7, 0)]
    assert told.writer.bytes[512 : 512 + len(data)] == data
    lengths = [each[2] for each in told.writer.done]
    assert max(lengths) <= WritingSession.receive_bytes
    ends = [each[1] + each[2] for each in told.writer.done[:-1]]
    assert not any(end % 4096 for end in ends), "no sector is written in two parts"


def test_one_that_is_too_large_is_refused_behind_its_payload():
    told = Told(MemoryWriter(64 * MIB))
    too_much = bytes(32 * MIB + 1)
    told.feed(write(0, too_much, cookie=1) + write(0, b"x", cookie=2))
    assert told.errors == [(1, wire.NBD_EINVAL), (2, 0)]
    assert told.writer.done == [("write", 0, 1)]


@pytest.mark.parametrize(
    ("command", "flags", "offset", "length", "error"),
    [
        (WRITE, 0, BEYOND, 513, wire.NBD_ENOSPC),
        (WRITE, 0, 1 << 63, 512, wire.NBD_ENOSPC),
        (ZEROES, 0, BEYOND, 513, wire.NBD_ENOSPC),
        (TRIM, 0, BEYOND, 513, wire.NBD_EINVAL),
        (READ, 0, BEYOND, 513, wire.NBD_EINVAL),
        (WRITE, 0, SIZE, 0, 0),
        (WRITE, 0, 0, 0, 0),
        (TRIM, 0, 0, 0, 0),
        (ZEROES, 0, 0, 0, 0),
        (WRITE, FUA, 0, 512, 0),
        (ZEROES, FUA | NO_HOLE, 0, 512, 0),
        (ZEROES, FAST, 0, 512, 0),
        (ZEROES, FAST | NO_HOLE, 0, 512, wire.NBD_ENOTSUP),
        (TRIM, FUA, 0, 512, 0),
        (FLUSH, 0, 0, 0, 0),
        (FLUSH, FUA, 0, 0, 0),
        (FLUSH, 0, 512, 0, wire.NBD_EINVAL),
        (READ, FUA, 0, 512, 0),
        (wire.NBD_CMD_CACHE, FUA, 0, 512, 0),
        (WRITE, NO_HOLE, 0, 512, wire.NBD_EINVAL),
        (WRITE, FAST, 0, 512, wire.NBD_EINVAL),
        (TRIM, NO_HOLE, 0, 512, wire.NBD_EINVAL),
        (FLUSH, FAST, 0, 0, wire.NBD_EINVAL),
        (WRITE, PAYLOAD, 0, 512, wire.NBD_EINVAL),
        (99, 0, 0, 512, wire.NBD_EINVAL),
    ],
)
def test_requests_are_carried_out_or_refused_and_the_stream_stays_in_step(
    command, flags, offset, length, error
):
    told = Told()
    payload = bytes(length) if command == WRITE else b""
    stream = request(command, offset, length, cookie=1, flags=flags) + payload
    told.feed(stream + request(READ, 0, 4, cookie=2))
    first, *_, last = told.chunks
    assert (first.cookie, first.error) == (1, error), first.text
    assert (last.cookie, last.error, len(last.payload)) == (2, 0, 4)
    if error:
        assert told.writer.done == []
    assert told.reports == [], "a refusal is no failure of the host"


@pytest.mark.parametrize("command", [WRITE, ZEROES, TRIM, FLUSH])
@pytest.mark.parametrize("flags", [0, FUA])
def test_fua_and_a_flush_are_done_before_they_are_answered(command, flags):
    told = Told()
    length = 0 if command == FLUSH else 512
    payload = bytes(length) if command == WRITE else b""
    told.feed(request(command, 0, length, flags=flags) + payload)
    assert told.errors == [(7, 0)]
    assert (told.writer.done[-1] == "flush") == (command == FLUSH or flags == FUA)
    told.writer.broken = True
    told.sent = b""
    told.feed(request(command, 0, length, flags=flags) + payload)
    fails = command == FLUSH or flags == FUA
    assert [error for _, error in told.errors] == [wire.NBD_EIO if fails else 0]


@pytest.mark.parametrize("step", [1000, None])
def test_a_full_disk_below_is_told_and_what_was_written_stays(step):
    told = Told()
    told.writer.full_from = MIB
    data = pattern(4096, 5)
    told.feed(
        write(MIB - 4096, data, cookie=1)
        + write(MIB, data, cookie=2)
        + write(MIB - 4096 * 30, bytes(4096 * 40), cookie=3)
        + write(0, data, cookie=4)
        + request(READ, MIB - 8192, 8192, cookie=5),
        step,
    )
    full = wire.NBD_ENOSPC
    assert told.errors == [(1, 0), (2, full), (3, full), (4, 0), (5, 0)]
    assert told.chunks[1].text == "[Errno 28] No space left on device"
    assert len(told.reports) == 1, "once for each reason"
    assert told.writer.bytes[:4096] == data


@pytest.mark.parametrize("command", [WRITE, ZEROES, TRIM, FLUSH])
def test_a_failure_leaves_no_cycle_to_be_collected(command):
    """One with an iterator of requests in it would be a crash of Python before 3.13."""

    def run():
        told = Told()
        told.writer.full_from = 0
        told.writer.broken = True
        payload = bytes(512) if command == WRITE else b""
        length = 0 if command == FLUSH else 512
        told.feed(request(command, 0, length, flags=FUA) + payload, 30)
        assert told.errors[0][1]
        return weakref.ref(told.session)

    gc.collect()
    gc.disable()
    try:
        assert run()() is None
    finally:
        gc.enable()


def test_with_extended_headers_zeros_of_any_length_are_one_request():
    told = Told(MemoryWriter(), extended=True)
    told.feed(extended(ZEROES, 0, SIZE) + extended(TRIM, 0, SIZE))
    assert told.errors == [(7, 0), (7, 0)]
    assert told.writer.done == [("zero", 0, SIZE, True), ("trim", 0, SIZE)]


def test_block_status_is_asked_of_the_writer_as_of_any_reader():
    told = Told(contexts={wire.BASE_ALLOCATION: 1})
    told.feed(request(STATUS, 0, SIZE))
    assert told.chunks[0].kind == wire.NBD_REPLY_TYPE_BLOCK_STATUS


def test_reads_of_a_read_only_export_have_the_memory_that_they_had():
    assert Session.receive_bytes == 64 << 10


def test_a_disconnection_behind_writes_ends_the_session_and_keeps_them():
    told = Told()
    stream = write(0, b"a" * 512, cookie=1) + write(512, b"b" * 512, cookie=2)
    told.feed(stream + request(wire.NBD_CMD_DISC) + b"junk")
    assert told.session.closed
    assert told.errors == [(1, 0), (2, 0)]
    assert told.writer.bytes[:1024] == b"a" * 512 + b"b" * 512


def test_half_a_write_keeps_the_session_from_being_idle():
    told = Told().feed(write(0, bytes(5000))[:-1])
    assert not told.session.is_idle
    assert told.feed(b"\0").session.is_idle


STEPS = st.lists(
    st.tuples(
        st.sampled_from([READ, WRITE, WRITE, TRIM, ZEROES, FLUSH, 99]),
        st.sampled_from([0, 0, 0, FUA, NO_HOLE, FAST]),
        st.integers(0, SIZE + 100),
        st.one_of(st.integers(0, 20_000), st.integers(0, 900_000)),
    ),
    max_size=12,
)


@given(steps=STEPS, cut=st.integers(1, 700_000), style=st.booleans())
@settings(deadline=None, max_examples=60)
def test_any_requests_in_any_parts_leave_what_a_bytearray_would_have(steps, cut, style):
    told, model = Told(extended=style), bytearray(MemoryWriter().bytes)
    make = extended if style else request
    stream, expected = b"", []
    for cookie, (command, drawn, *place) in enumerate(steps):
        offset, length = (0, 0) if command == FLUSH else place
        is_write = command == WRITE
        payload = random.Random(cookie).randbytes(length) if is_write else b""
        flags = drawn | (PAYLOAD if is_write and style else 0)
        stream += make(command, offset, length, cookie=cookie, flags=flags) + payload
        allowed = {ZEROES: FUA | NO_HOLE | FAST, WRITE: FUA | PAYLOAD}.get(command, FUA)
        is_good = command != 99 and not flags & ~allowed and offset + length <= SIZE
        is_good = is_good and flags & (NO_HOLE | FAST) != NO_HOLE | FAST
        if is_good and (is_write or command in {TRIM, ZEROES}):
            model[offset : offset + length] = payload or bytes(length)
        expected.append((cookie, is_good))
    told.feed(stream, cut)
    assert told.writer.bytes == model
    seen = {}
    for each in told.chunks:
        seen[each.cookie] = seen.get(each.cookie, True) and not each.error
    assert list(seen.items()) == expected
