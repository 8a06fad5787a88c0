"""Whatever a client sends, and in whatever order, the stream stays in step or is closed."""

from __future__ import annotations

from compare import assert_same
from fakes import FakeExport, assemble, chunks, contexts, info, option, pattern, request
from hypothesis import given, settings
from hypothesis import strategies as st
from vfloppy.export import Hole
from vfloppy.nbd.errors import ProtocolError
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.exports import ExportTable
from vfloppy.nbd.protocol.handshake import MAXIMUM_OPTION_BYTES, negotiate
from vfloppy.nbd.protocol.session import Session

EXPORT = FakeExport([pattern(3000), Hole(9000), pattern(100, 5), Hole(50), pattern(5000, 6)])
NAMES = st.sampled_from(["", "disk", "other"])
OPTIONS = st.one_of(
    st.builds(option, st.sampled_from([6, 7]), st.builds(info, NAMES, st.integers(0, 9))),
    st.builds(
        option,
        st.sampled_from([9, 10]),
        st.builds(contexts, NAMES, st.sampled_from(["base:", "base:allocation", "x:", ""])),
    ),
    st.builds(option, st.sampled_from([3, 8])),
    st.builds(option, st.integers(2, 20), st.binary(max_size=40)),
)


@settings(deadline=None)
@given(st.lists(OPTIONS, max_size=30))
def test_options_in_any_order(options):
    talk = negotiate(ExportTable({"disk": EXPORT}))
    stream = wire.CLIENT_FLAGS.pack(3) + b"".join(options)
    sent, wish, ended = b"", next(talk), False
    starts = {4 + sum(map(len, options[:n])) for n in range(len(options) + 1)} | {0}
    position = 0
    while not ended:
        try:
            if isinstance(wish, bytes):
                sent += wish
                wish = next(talk)
                continue
            if wish == wire.OPTION.size and position in starts:
                starts.discard(position)
            if position + wish > len(stream):
                break
            position += wish
            wish = talk.send(stream[position - wish : position])
        except StopIteration:
            ended = True
    # Every option that was passed began where the server looked for one.
    passed = {4 + sum(map(len, options[:n])) for n in range(len(options) + 1)}
    assert not {start for start in starts if 4 <= start < position}
    assert position in passed
    answered = []
    sent = sent[wire.GREETING.size :]
    while sent:
        magic, number, kind, length = wire.OPTION_REPLY.unpack_from(sent)
        assert magic == wire.NBD_REP_MAGIC
        sent = sent[wire.OPTION_REPLY.size + length :]
        if kind == wire.NBD_REP_ACK or kind >> 31:
            answered.append(number)
    count = len([start for start in passed if 4 < start <= position])
    assert answered == [wire.OPTION.unpack_from(each)[1] for each in options[:count]]


PAYLOAD = wire.NBD_CMD_FLAG_PAYLOAD_LEN
REQUESTS = st.tuples(
    st.one_of(st.sampled_from([0, 0, 0, 1, 3, 4, 5, 6, 7]), st.integers(0, 0xFFFF)),
    st.one_of(st.integers(0, EXPORT.size + 10), st.integers(0, 2**64 - 1)),
    st.integers(0, EXPORT.size + 10),
    st.sampled_from([0, 0, 0, 1, 2, 4, 8, 16, 32, 0x8000]),
)


@settings(deadline=None)
@given(
    st.lists(REQUESTS, max_size=30).map(
        lambda requests: [each for each in requests if each[0] != wire.NBD_CMD_DISC]
    ),
    st.lists(st.integers(1, 5000), min_size=1, max_size=8),
    st.sampled_from(["simple", "structured", "extended"]),
)
def test_requests_in_any_order_and_portions(requests, portions, style):
    stream = b""
    structured, extended = style != "simple", style == "extended"
    for cookie, (command, offset, length, flags) in enumerate(requests):
        if extended:
            head = wire.NBD_EXTENDED_REQUEST_MAGIC << 32 | flags << 16 | command
            stream += wire.EXTENDED_REQUEST.pack(head, cookie, offset, length)
        else:
            stream += request(command, offset, length, cookie=cookie, flags=flags)
        if command == wire.NBD_CMD_WRITE or (extended and flags & PAYLOAD):
            stream += b"\x25" * length
    contexts = {"base:allocation": 1} if structured else {}
    session = Session(EXPORT.open(), structured=structured, extended=extended, contexts=contexts)
    sent, turn = b"", 0
    while stream:
        space = session.space()
        count = min(portions[turn % len(portions)], len(space), len(stream))
        turn += 1
        space[:count] = stream[:count]
        stream = stream[count:]
        sent += b"".join(b"".join(item) for item in session.received(count))
    if structured:
        check_structured(sent, requests)
    else:
        check_simple(sent, requests)


def check_structured(sent, requests):
    replies = {cookie: [] for cookie in range(len(requests))}
    for reply in chunks(sent):
        replies[reply.cookie].append(reply)
    for cookie, (command, offset, length, flags) in enumerate(requests):
        assert [each.done for each in replies[cookie]].count(True) == 1
        good = 0 <= offset + length <= EXPORT.size and not flags & ~wire.NBD_CMD_FLAG_DF
        if command == wire.NBD_CMD_READ:
            assert good == (not replies[cookie][-1].error)
            if good and length:
                data = assemble(replies[cookie], offset, length)
                assert_same(data, EXPORT.data[offset : offset + length])


def check_simple(sent, requests):
    seen = set()
    while sent:
        magic, error, cookie = wire.SIMPLE_REPLY.unpack_from(sent)
        assert magic == wire.NBD_SIMPLE_REPLY_MAGIC
        assert cookie not in seen
        seen.add(cookie)
        sent = sent[wire.SIMPLE_REPLY.size :]
        command, offset, length, _flags = requests[cookie]
        if command == wire.NBD_CMD_READ and not error:
            assert_same(sent[:length], EXPORT.data[offset : offset + length])
            sent = sent[length:]
    assert seen == set(range(len(requests)))


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_noise_never_breaks_a_session(noise):
    session = Session(EXPORT.open(), structured=True)
    space = session.space()
    space[: len(noise)] = noise
    try:
        sent = b"".join(b"".join(item) for item in session.received(len(noise)))
    except ProtocolError:
        return
    assert len(noise) < wire.REQUEST.size
    assert sent == b""


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_noise_never_breaks_a_handshake(noise):
    talk = negotiate(ExportTable({"disk": EXPORT}))
    wish = next(talk)
    try:
        while isinstance(wish, bytes) or len(noise) >= wish:
            if isinstance(wish, bytes):
                wish = next(talk)
            else:
                given_bytes, noise = noise[:wish], noise[wish:]
                wish = talk.send(given_bytes)
    except (ProtocolError, StopIteration):
        return
    assert len(noise) < wish <= MAXIMUM_OPTION_BYTES
