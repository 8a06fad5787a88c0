"""The transmission phase without sockets."""

from __future__ import annotations

import os
import tracemalloc

import pytest
from compare import assert_same
from fakes import (
    FakeColumns,
    FakeExport,
    FakeFiles,
    assemble,
    chunks,
    content,
    pattern,
    request,
    take_chunk,
    take_simple,
)
from vfloppy.export import Extent, Hole, HostReadError, Kind
from vfloppy.nbd.errors import ProtocolError
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.block_status import (
    FILE_CONTEXT,
    KIND_CONTEXT,
    KIND_NUMBERS,
    MAXIMUM_EXTENTS,
    statuses,
)
from vfloppy.nbd.protocol.reading import BATCH_BYTES, Transfer
from vfloppy.nbd.protocol.session import Session
from vfloppy.synth.host.batch import HostSlice

READ, WRITE, STATUS = wire.NBD_CMD_READ, wire.NBD_CMD_WRITE, wire.NBD_CMD_BLOCK_STATUS
DATA, HOLE = wire.NBD_REPLY_TYPE_OFFSET_DATA, wire.NBD_REPLY_TYPE_OFFSET_HOLE
ERROR_OFFSET = wire.NBD_REPLY_TYPE_ERROR_OFFSET
LARGE = 64 << 10


@pytest.fixture
def files(tmp_path):
    return FakeFiles(tmp_path, [pattern(5000, 1), pattern(300_000, 2), pattern(100, 3)])


@pytest.fixture(params=[FakeExport, FakeColumns])
def export(files, request):
    """0 bytes, 1000 small slice, 6000 short hole, 7000 long hole, 27000 large slice, ..."""
    return request.param(
        [
            pattern(1000, 9),
            HostSlice(files, 0, 0, 5000),
            Hole(1000),
            Hole(20_000),
            HostSlice(files, 1, 0, 300_000),
            HostSlice(files, 2, 0, 100),
            Hole(100_000),
        ]
    )


class Told:
    """A session, and all that it sent."""

    def __init__(self, export, *, structured=True, transfers=True, **options):
        if transfers:
            options["transfer_min_bytes"] = LARGE
        self.reports = []
        self.session = Session(
            export.open(), structured=structured, report=self.reports.append, **options
        )
        self.sent = b""
        self.batches = []
        self.transfers = 0

    def feed(self, stream, step=None):
        while stream:
            space = self.session.space()
            count = min(len(space), len(stream), step or len(stream))
            assert count
            space[:count] = stream[:count]
            stream = stream[count:]
            for item in self.session.received(count):
                if isinstance(item, Transfer):
                    self.transfer(item)
                else:
                    self.batches.append(sum(map(len, item)))
                    self.sent += b"".join(item)
        return self

    def transfer(self, item):
        self.transfers += 1
        self.sent += content([item.slice])
        try:
            item.slice.finish(item.slice.length)
        except HostReadError as error:
            item.error = error

    @property
    def chunks(self):
        return chunks(self.sent)


RANGES = [
    (0, 1),
    (0, 1000),
    (999, 2),
    (1000, 5000),
    (1500, 700),
    (5990, 20),
    (6000, 1000),
    (6500, 15_000),
    (0, 27_000),
    (26_999, LARGE + 1),
    (27_000, LARGE),
    (27_000, 300_000),
    (20_000, 350_000),
    (0, 427_100),
    (427_099, 1),
]


@pytest.mark.parametrize(("offset", "length"), RANGES)
@pytest.mark.parametrize("transfers", [True, False])
def test_structured_reads(export, offset, length, transfers):
    told = Told(export, transfers=transfers).feed(request(READ, offset, length))
    assert_same(assemble(told.chunks, offset, length), export.data[offset : offset + length])
    assert {each.cookie for each in told.chunks} == {7}


@pytest.mark.parametrize(("offset", "length"), RANGES)
def test_unfragmented_reads_are_one_chunk(export, offset, length):
    told = Told(export).feed(request(READ, offset, length, flags=wire.NBD_CMD_FLAG_DF))
    (chunk,) = told.chunks
    assert (chunk.kind, chunk.done, chunk.offset) == (DATA, True, offset)
    assert_same(chunk.payload, export.data[offset : offset + length])


@pytest.mark.parametrize(("offset", "length"), RANGES)
def test_simple_reads(export, offset, length):
    told = Told(export, structured=False).feed(request(READ, offset, length, cookie=2**64 - 1))
    reply, rest = take_simple(told.sent, length)
    assert (reply.cookie, reply.error, rest) == (2**64 - 1, 0, b"")
    assert_same(reply.payload, export.data[offset : offset + length])


def test_the_shape_of_a_fragmented_reply(export):
    told = Told(export).feed(request(READ, 0, 427_100))
    shape = [(each.kind, each.offset, len(each.payload)) for each in told.chunks]
    assert shape == [
        (DATA, 0, 7168),  # bytes, a small slice and a short hole, gathered, up to a whole sector
        (HOLE, 7168, 4),
        (DATA, 27_000, 299_656),  # up to the last whole sector
        (DATA, 326_656, 512),
        (HOLE, 327_168, 4),
    ]
    assert told.transfers == 1


def test_a_transfer_at_the_end_is_followed_by_an_end(export):
    told = Told(export).feed(request(READ, 27_000, LARGE))
    assert [(each.kind, each.done) for each in told.chunks] == [(DATA, False), (0, True)]


@pytest.mark.parametrize("step", [1, 5, 27, 28, 29, 1000])
def test_bytes_may_come_in_any_portions(export, step):
    stream = b"".join(
        [
            request(READ, 10, 20, cookie=1),
            request(WRITE, 0, 100, cookie=2),
            b"w" * 100,
            request(READ, 100, 30, cookie=3),
            request(WRITE, 0, 0, cookie=4),
            request(99, cookie=5),
            request(WRITE, 2**60, 28, cookie=6),
            request(READ, 0, 1),  # the payload of the write, not a request
            request(wire.NBD_CMD_DISC),
        ]
    )
    told = Told(export).feed(stream, step)
    assert {each.cookie: each.error for each in told.chunks} == {
        1: 0,
        2: wire.NBD_EPERM,
        3: 0,
        4: wire.NBD_EPERM,
        5: wire.NBD_EINVAL,
        6: wire.NBD_ENOSPC,
    }
    assert told.session.closed


def test_a_write_is_answered_after_its_payload():
    told = Told(FakeExport([bytes(100)])).feed(request(WRITE, 0, 100) + b"w" * 99)
    assert told.sent == b""
    told.feed(b"w")
    assert told.chunks[0].error == wire.NBD_EPERM


def test_the_payload_of_a_huge_write_is_not_kept():
    told = Told(FakeExport([bytes(100)]))
    portion = bytes(1 << 20)
    tracemalloc.start()
    told.feed(request(WRITE, 0, 0xFFFFFFFF))
    for _ in range(16):
        told.feed(portion)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert told.sent == b""


SIZE = 427_100
END = 1 << 32


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize(
    ("command", "flags", "offset", "length", "error"),
    [
        (wire.NBD_CMD_READ, 0, SIZE, 1, wire.NBD_EINVAL),
        (wire.NBD_CMD_READ, 0, SIZE - 1, 2, wire.NBD_EINVAL),
        (wire.NBD_CMD_READ, 0, 2**64 - 1, 0xFFFFFFFF, wire.NBD_EINVAL),
        (wire.NBD_CMD_READ, 0, SIZE + 1, 0, wire.NBD_EINVAL),
        (wire.NBD_CMD_READ, 0, 0, 0, 0),
        (wire.NBD_CMD_READ, 0, SIZE, 0, 0),
        (wire.NBD_CMD_READ, 1 << 1, 0, 1, wire.NBD_EINVAL),
        (wire.NBD_CMD_READ, wire.NBD_CMD_FLAG_FUA, 0, 1, wire.NBD_EINVAL),
        (wire.NBD_CMD_FLUSH, 0, 0, 0, 0),
        (wire.NBD_CMD_FLUSH, 0, 1, 0, wire.NBD_EINVAL),
        (wire.NBD_CMD_FLUSH, 8, 0, 0, wire.NBD_EINVAL),
        (wire.NBD_CMD_CACHE, 0, 0, SIZE, 0),
        (wire.NBD_CMD_CACHE, 0, 1, SIZE, wire.NBD_EINVAL),
        (wire.NBD_CMD_CACHE, 4, 0, 1, wire.NBD_EINVAL),
        (wire.NBD_CMD_TRIM, 0, 0, 512, wire.NBD_EPERM),
        (wire.NBD_CMD_TRIM, 0, SIZE, 1, wire.NBD_EINVAL),
        (wire.NBD_CMD_WRITE_ZEROES, 0, 0, 512, wire.NBD_EPERM),
        (wire.NBD_CMD_WRITE_ZEROES, wire.NBD_CMD_FLAG_NO_HOLE, 0, 512, wire.NBD_EPERM),
        (wire.NBD_CMD_WRITE_ZEROES, wire.NBD_CMD_FLAG_FAST_ZERO, 0, 9, wire.NBD_EINVAL),
        (wire.NBD_CMD_WRITE_ZEROES, 0, SIZE, 1, wire.NBD_ENOSPC),
        (wire.NBD_CMD_BLOCK_STATUS, 0, 0, 512, wire.NBD_EINVAL),  # not negotiated
        (8, 0, 0, 0, wire.NBD_EINVAL),
        (0xFFFF, 0xFFFF, 2**64 - 1, 0xFFFFFFFF, wire.NBD_EINVAL),
    ],
)
def test_answers_without_data(export, structured, command, flags, offset, length, error):
    told = Told(export, structured=structured)
    told.feed(request(command, offset, length, flags=flags) + request(READ, 0, 1, cookie=8))
    if structured:
        first, last = told.chunks
        assert bool(first.text) == bool(error)
    else:
        first, rest = take_simple(told.sent)
        last, rest = take_simple(rest, 1)
        assert rest == b""
    assert (first.cookie, first.error, first.payload[:0], last.cookie) == (7, error, b"", 8)
    assert (last.error, last.payload) == (0, export.data[:1])


def test_flags_that_need_structured_replies(export):
    told = Told(export, structured=False).feed(request(READ, 0, 9, flags=wire.NBD_CMD_FLAG_DF))
    assert take_simple(told.sent)[0].error == wire.NBD_EINVAL


@pytest.mark.parametrize("command", [wire.NBD_CMD_READ, wire.NBD_CMD_CACHE])
def test_requests_above_the_advertised_maximum(command):
    export = FakeExport([Hole(1 << 40)])
    told = Told(export).feed(request(command, 0, wire.MAXIMUM_BLOCK_BYTES + 1))
    expected = wire.NBD_EINVAL if command == READ else wire.NBD_EOVERFLOW
    assert told.chunks[0].error == expected
    told = Told(export).feed(request(command, 0, wire.MAXIMUM_BLOCK_BYTES))
    assert told.chunks[0].error == 0


def test_a_wrong_magic_ends_the_session_after_what_came_before(export):
    told = Told(export)
    with pytest.raises(ProtocolError, match="magic"):
        told.feed(request(READ, 0, 9) + b"\0" * 28 + request(READ, 0, 9))
    assert len(told.chunks) == 1


def test_nothing_is_answered_after_a_disconnection(export):
    told = Told(export).feed(request(READ, 0, 9) + request(wire.NBD_CMD_DISC) + request(READ, 0, 9))
    assert told.session.closed
    assert len(told.chunks) == 1


@pytest.mark.parametrize("structured", [True, False])
def test_reads_of_all_sizes_in_one_batch(export, structured):
    stream = b"".join(request(READ, *each, cookie=n) for n, each in enumerate(RANGES * 3))
    told = Told(export, structured=structured).feed(stream)
    replies, rest = {}, told.sent
    while rest:
        if structured:
            reply, rest = take_chunk(rest)
        else:
            cookie = wire.SIMPLE_REPLY.unpack_from(rest)[2]
            reply, rest = take_simple(rest, (RANGES * 3)[cookie][1])
        replies.setdefault(reply.cookie, []).append(reply)
    for cookie, (offset, length) in enumerate(RANGES * 3):
        expected = export.data[offset : offset + length]
        if structured:
            assert_same(assemble(replies[cookie], offset, length), expected)
        else:
            assert [each.payload for each in replies[cookie]] == [expected]


# --- the host fails ---


@pytest.mark.parametrize("flags", [0, wire.NBD_CMD_FLAG_DF])
@pytest.mark.parametrize(
    ("offset", "length", "broken", "at"),
    [
        (1000, 5000, 0, 1000),  # one small slice
        (0, 7000, 0, 1000),  # among gathered pieces
        (27_000, LARGE, 1, 27_000),  # one large slice
        (0, 327_050, 1, 27_000),  # a large slice after other chunks
        (0, 327_050, 2, 327_000),  # a small slice after other chunks
    ],
)
def test_a_failing_host_is_an_error_chunk_with_its_words(
    export, files, offset, length, broken, at, flags
):
    files.broken = {broken}
    told = Told(export).feed(request(READ, offset, length, flags=flags) * 2)
    errors = [each for each in told.chunks if each.error]
    assert [(e.kind, e.error, e.offset, e.done) for e in errors] == [
        (ERROR_OFFSET, wire.NBD_EIO, at, True)
    ] * 2
    assert errors[0].text == f"host{broken} has changed since the scan"
    assert told.reports == [errors[0].text]  # once
    if flags:
        assert not any(each.kind in {DATA, HOLE} for each in told.chunks)


@pytest.mark.parametrize(("offset", "length"), [(1000, 5000), (0, 7000), (27_000, 70_000)])
def test_a_failing_host_is_a_simple_error(export, files, offset, length):
    files.broken = {0, 1}
    told = Told(export, structured=False).feed(request(READ, offset, length))
    assert take_simple(told.sent) == ((7, None, True, wire.NBD_EIO, b"", None, ""), b"")


@pytest.mark.parametrize("structured", [True, False])
def test_in_a_batch_only_the_reads_of_the_failing_file_fail(export, files, structured):
    files.broken = {0}
    places = [(1000, 100), (27_000, 100), (0, 100), (2000, 100), (327_000, 100)]
    stream = b"".join(request(READ, *each, cookie=n) for n, each in enumerate(places))
    told = Told(export, structured=structured).feed(stream)
    answers = {}
    rest = told.sent
    while rest:
        if structured:
            replies = told.chunks
            rest = b""
        else:
            reply, rest = take_simple(rest, 100)
            replies = [reply]
        answers.update({each.cookie: each for each in replies})
    assert [answers[n].error for n in range(5)] == [5, 0, 0, 5, 0]
    for number in (1, 2, 4):
        offset = places[number][0]
        assert_same(answers[number].payload, export.data[offset : offset + 100])


def test_a_batch_checks_each_file_twice_however_often_it_reads_it(export, files):
    stream = b"".join(request(READ, 1000 + n, 50, cookie=n) for n in range(100))
    Told(export).feed(stream)
    assert files.verified == [0] * (2 if isinstance(export, FakeColumns) else 100)


def test_a_file_that_nobody_can_change_is_not_checked_again(files):
    export = FakeColumns([pattern(1000, 9), HostSlice(files, 0, 0, 5000)])
    files.leased = {0: files.descriptors[0]}
    files.broken = {0}
    for count in (1, 3):
        told = Told(export).feed(request(READ, 1000, 5000) * count)
        assert files.verified == []
        assert [each.payload for each in told.chunks] == [pattern(5000, 1)] * count


def test_a_batch_in_which_a_file_lost_its_lease_is_read_again_and_checked(files):
    class Breaking(dict):
        def get(self, index):
            files.broken_leases += 1  # as if the signal came just before the read
            files.broken = {0}
            return self.pop(index, None)

    export = FakeColumns([pattern(1000, 9), HostSlice(files, 0, 0, 5000)])
    files.leased = Breaking({0: files.descriptors[0]})
    told = Told(export).feed(request(READ, 1000, 5000) + request(READ, 0, 1000, cookie=8))
    assert {each.cookie: each.error for each in told.chunks} == {7: 5, 8: 0}


def test_a_file_that_became_shorter(export, files):
    os.truncate(f"/proc/self/fd/{files.descriptors[0]}", 2000)
    told = Told(export).feed(request(READ, 1000, 5000) + request(READ, 1000, 2000, cookie=8))
    answers = sorted((each.cookie, each.error, each.text) for each in told.chunks)
    assert answers == [(7, 5, "host0 is shorter than at the scan"), (8, 0, "")]


def test_an_error_of_the_system_becomes_a_number_of_the_protocol(export):
    class Failing(FakeExport):
        def pieces(self, offset, length):
            raise PermissionError(1, "no")

    told = Told(Failing([b"abcd"])).feed(request(READ, 0, 4))
    assert (told.chunks[0].error, told.chunks[0].offset) == (wire.NBD_EPERM, 0)


# --- memory ---


def test_batches_are_bounded(tmp_path):
    files = FakeFiles(tmp_path, [pattern(9000)])
    export = FakeExport([HostSlice(files, 0, 0, 9000), pattern(100), Hole(10)] * 400)
    told = Told(export).feed(request(READ, 0, export.size))
    assert_same(assemble(told.chunks, 0, export.size), export.data)
    assert max(told.batches) < BATCH_BYTES + 20_000
    assert len(told.chunks) > 3
    assert all(each.offset % 512 == 0 for each in told.chunks)
    told = Told(export).feed(request(READ, 0, 9000) * 1000)
    assert max(told.batches) < BATCH_BYTES + 20_000
    assert len(told.chunks) == 1000


# --- block status ---


def status_of(export, offset, length, flags=0):
    told = Told(export, contexts={"base:allocation": 5}).feed(
        request(STATUS, offset, length, flags=flags)
    )
    (chunk,) = told.chunks
    assert (chunk.kind, chunk.done) == (wire.NBD_REPLY_TYPE_BLOCK_STATUS, True)
    assert chunk.payload[:4] == b"\0\0\0\5"
    return list(wire.DESCRIPTOR.iter_unpack(chunk.payload[4:]))


def test_block_status(export):
    assert status_of(export, 0, 427_100) == [(6000, 0), (21_000, 3), (300_100, 0), (100_000, 3)]
    assert status_of(export, 500, 6000) == [(5500, 0), (500, 3)]
    assert status_of(export, 6500, 10) == [(10, 3)]


def test_block_status_of_one_extent(export):
    one = wire.NBD_CMD_FLAG_REQ_ONE
    assert status_of(export, 0, 427_100, one) == [(6000, 0)]
    assert status_of(export, 6000, 427_100 - 6000, one) == [(21_000, 3)]
    assert status_of(export, 6000, 100, one) == [(100, 3)]


@pytest.mark.parametrize(
    ("offset", "length", "flags"), [(0, 0, 0), (427_099, 2, 0), (0, 1, wire.NBD_CMD_FLAG_DF)]
)
def test_block_status_that_is_refused(export, offset, length, flags):
    told = Told(export, contexts={"base:allocation": 5}).feed(
        request(STATUS, offset, length, flags=flags)
    )
    assert told.chunks[0].error == wire.NBD_EINVAL


def test_block_status_looks_at_a_bounded_number_of_extents():
    looked = 0

    def endless():
        nonlocal looked
        while True:
            looked += 1
            yield Extent(1, bool(looked & 1), Kind.FREE)

    class Endless(FakeExport):
        def extents(self, offset, length):
            return endless()

    assert len(statuses("base:allocation", Endless([b"x"]).open(), 0, 9)) == MAXIMUM_EXTENTS
    assert looked == MAXIMUM_EXTENTS + 1
    looked = 0
    assert list(statuses("base:allocation", Endless([b"x"]).open(), 0, 9, most=1)) == [(1, 3)]


@pytest.mark.parametrize("extended", [False, True])
def test_the_status_of_very_many_extents_takes_little_memory(extended):
    """Of 300,000 files, a client gets a part, and asks again."""

    class Many(FakeExport):
        def extents(self, offset, length):
            for number in range(length >> 12):
                yield Extent(1 << 12, bool(number & 1), Kind.FREE)

    many = Many([Hole(300_000 << 12)])
    session = Session(
        many.open(), structured=True, extended=extended, contexts={"base:allocation": 1}
    )
    tracemalloc.start()
    try:
        ask = (wire.NBD_REQUEST_MAGIC, 0, wire.NBD_CMD_BLOCK_STATUS, 7, 0, many.size)
        reply = session._answers.answer(ask)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    head = wire.EXTENDED_CHUNK.size + 8 if extended else wire.CHUNK.size + 4
    one = wire.EXTENDED_DESCRIPTOR.size if extended else wire.DESCRIPTOR.size
    assert len(reply) == head + MAXIMUM_EXTENTS * one
    assert peak < 8 << 20


def test_every_kind_has_a_number():
    assert sorted(KIND_NUMBERS.values()) == list(range(len(Kind)))
    assert KIND_NUMBERS.keys() == set(Kind)


def test_several_contexts_are_a_chunk_each(export):
    contexts = {"base:allocation": 5, KIND_CONTEXT: 6, FILE_CONTEXT: 7}
    told = Told(export, contexts=contexts).feed(request(STATUS, 0, export.size))
    assert [each.payload[:4] for each in told.chunks] == [b"\0\0\0\5", b"\0\0\0\6", b"\0\0\0\7"]
    assert [each.done for each in told.chunks] == [False, False, True]
    kinds, files = (list(wire.DESCRIPTOR.iter_unpack(each.payload[4:])) for each in told.chunks[1:])
    assert kinds == [(export.size, 4)]  # a fake's kind is reserved
    if isinstance(export, FakeColumns):
        ends = [(1000, 0), (5000, 1), (21_000, 0), (300_000, 2), (100, 3), (100_000, 0)]
        assert files == ends
    else:
        assert files == [(export.size, 0)]


# --- extended headers ---


def extended(command: int, offset=0, length=0, *, flags=0, cookie=7, payload=b"") -> bytes:
    head = wire.NBD_EXTENDED_REQUEST_MAGIC << 32 | flags << 16 | command
    return wire.EXTENDED_REQUEST.pack(head, cookie, offset, length) + payload


def test_extended_reads(export):
    stream = b"".join(extended(READ, *each, cookie=n) for n, each in enumerate(RANGES))
    for step in (None, 1, 33):
        told = Told(export, extended=True, contexts={}).feed(stream, step)
        replies: dict[int, list] = {}
        for reply in told.chunks:
            replies.setdefault(reply.cookie, []).append(reply)
        for cookie, (offset, length) in enumerate(RANGES):
            data = assemble(replies[cookie], offset, length)
            assert_same(data, export.data[offset : offset + length])


def test_the_map_of_a_huge_disk_is_one_answer():
    export = FakeExport([Hole(1 << 43), b"x" * 512, Hole(1 << 43)])
    told = Told(export, extended=True, contexts={"base:allocation": 5})
    told.feed(extended(STATUS, 0, export.size))
    (chunk,) = told.chunks
    assert (chunk.kind, chunk.done) == (wire.NBD_REPLY_TYPE_BLOCK_STATUS_EXT, True)
    assert wire.EXTENDED_STATUS.unpack_from(chunk.payload) == (5, 3)
    assert list(wire.EXTENDED_DESCRIPTOR.iter_unpack(chunk.payload[8:])) == [
        (1 << 43, 3), (512, 0), (1 << 43, 3)
    ]  # fmt: skip


PAYLOAD = wire.NBD_CMD_FLAG_PAYLOAD_LEN


@pytest.mark.parametrize("step", [None, 1, 7])
def test_a_payload_chooses_among_the_contexts(export, step):
    told = Told(export, extended=True, contexts={"base:allocation": 5, KIND_CONTEXT: 6})
    payload = wire.STATUS_PAYLOAD.pack(500) + wire.UINT32.pack(6)
    stream = extended(STATUS, 0, len(payload), flags=PAYLOAD, payload=payload)
    told.feed(stream + extended(READ, 0, 9, cookie=8), step)
    status, read = told.chunks
    assert wire.EXTENDED_STATUS.unpack_from(status.payload) == (6, 1)
    assert wire.EXTENDED_DESCRIPTOR.unpack_from(status.payload, 8) == (500, 4)
    assert read.payload == export.data[:9]


@pytest.mark.parametrize(
    ("command", "flags", "payload"),
    [
        (STATUS, PAYLOAD, wire.STATUS_PAYLOAD.pack(500) + wire.UINT32.pack(9)),  # not negotiated
        (STATUS, PAYLOAD, wire.STATUS_PAYLOAD.pack(500)),  # no context
        (STATUS, PAYLOAD, wire.STATUS_PAYLOAD.pack(500) + wire.UINT32.pack(5) * 2),  # twice
        (STATUS, PAYLOAD, wire.STATUS_PAYLOAD.pack(0) + wire.UINT32.pack(5)),  # no bytes
        (STATUS, PAYLOAD, b"12345"),
        (STATUS, PAYLOAD, bytes(5000)),
        (READ, PAYLOAD, b"12345"),
        (wire.NBD_CMD_FLUSH, PAYLOAD, b"12345"),
        (99, PAYLOAD, b"12345"),
    ],
)
def test_payloads_that_are_refused_pass_by(export, command, flags, payload):
    told = Told(export, extended=True, contexts={"base:allocation": 5})
    stream = extended(command, 0, len(payload), flags=flags, payload=payload)
    told.feed(stream + extended(READ, 0, 9, cookie=8))
    refused, read = told.chunks
    assert (refused.cookie, refused.error) == (7, wire.NBD_EINVAL)
    assert refused.text
    assert read.payload == export.data[:9]


@pytest.mark.parametrize("flags", [0, PAYLOAD])
def test_extended_writes_are_refused_behind_their_payload(export, flags):
    told = Told(export, extended=True)
    stream = extended(WRITE, 0, 3000, flags=flags, payload=bytes(3000))
    told.feed(stream + extended(READ, 0, 9, cookie=8), 1000)
    assert [each.error for each in told.chunks] == [wire.NBD_EPERM, 0]


def test_a_payload_without_end_drops_the_client(export):
    with pytest.raises(ProtocolError, match="18446744073709551615 bytes behind it"):
        Told(export, extended=True).feed(extended(WRITE, 0, 2**64 - 1, flags=PAYLOAD))


def test_compact_requests_are_out_of_step_where_extended_ones_were_agreed_on(export):
    with pytest.raises(ProtocolError, match="0x25609513 found, 0x21e41c71 expected"):
        Told(export, extended=True).feed(request(READ, 0, 9) * 2)


# --- reading ahead ---


def test_cache_has_the_host_read_ahead(export, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "vfloppy.synth.host.batch._read_ahead", lambda *given: asked.append(given[1:3])
    )
    told = Told(export).feed(request(wire.NBD_CMD_CACHE, 500, 30_000))
    assert [each.error for each in told.chunks] == [0]
    assert asked == [(0, 5000), (0, 3500)]


def test_cache_of_a_file_that_is_gone_says_so(export, files, monkeypatch):
    monkeypatch.setattr(files, "descriptor", refuse)
    told = Told(export).feed(request(wire.NBD_CMD_CACHE, 500, 30_000))
    assert told.chunks[0].error == wire.NBD_EIO
    assert told.chunks[0].text == "host0 is gone"


def refuse(_index):
    raise HostReadError("host0 is gone")
