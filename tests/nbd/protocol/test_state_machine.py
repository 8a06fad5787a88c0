"""A client that does anything in any order: the stream stays in step, or the connection ends."""

from __future__ import annotations

from compare import assert_same
from fakes import FakeExport, contexts, info, option, request, take_chunk
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from vfloppy.export import Hole
from vfloppy.nbd.errors import ProtocolError
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.exports import ExportTable
from vfloppy.nbd.protocol.handshake import UPGRADE, negotiate
from vfloppy.nbd.protocol.session import Session

EXPORT = FakeExport([bytes(range(256)) * 8, Hole(60_000), b"x" * 1000])
NAMES = st.sampled_from(["", "disk", "other", "é" * 10])
QUERIES = st.lists(
    st.sampled_from(["base:", "base:allocation", "x-vfloppy:kind", "x-vfloppy:", "x:y", ""]),
    max_size=3,
)
OFFSETS = st.integers(0, EXPORT.size + 5)
FLAGS = st.sampled_from([0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 0x8000])


class Client(RuleBasedStateMachine):
    """Talks to a server without sockets; `pending` says what it still has to be told."""

    def __init__(self) -> None:
        super().__init__()
        self.connect()

    def connect(self) -> None:
        """A new connection."""
        self.talk = negotiate(ExportTable({"disk": EXPORT}), "on")
        self.wish = next(self.talk)
        self.session: Session | None = None
        self.agreement = None
        self.over = False
        self.unread = b""  # of what the server must have taken
        self.heard = b""
        self.expected: list[int] = []  # options that were sent, and are to be answered
        self.cookies: list[int] = []  # likewise requests
        self.next_cookie = 1
        self.feed(wire.CLIENT_FLAGS.pack(3))
        self.heard = self.heard[wire.GREETING.size :]

    # --- the wire ---

    def feed(self, data: bytes) -> None:
        """Sends bytes, in whatever phase the server is."""
        try:
            if self.session is None:
                self.unread += data
                self._shake_hands()
                data, self.unread = (self.unread, b"") if self.session else (b"", self.unread)
            if self.session is not None:
                self._transmit(data)
        except ProtocolError:
            self.over = True

    def _shake_hands(self) -> None:
        try:
            while True:
                if isinstance(self.wish, bytes):
                    self.heard += self.wish
                    self.wish = next(self.talk)
                elif self.wish is UPGRADE:
                    self.wish = next(self.talk)
                elif len(self.unread) >= self.wish:
                    given, self.unread = self.unread[: self.wish], self.unread[self.wish :]
                    self.wish = self.talk.send(given)
                else:
                    return
        except StopIteration as end:
            self.agreement = end.value
            if end.value is None:
                self.over = True
                return
            self.read_answers()
            self.session = Session(
                end.value.offer.export.open(), structured=end.value.structured,
                extended=end.value.extended, contexts=end.value.contexts,
            )  # fmt: skip

    def _transmit(self, data: bytes) -> None:
        assert self.session is not None
        while data and not self.session.closed:
            space = self.session.space()
            count = min(len(space), len(data))
            space[:count] = data[:count]
            data = data[count:]
            for batch in self.session.received(count):
                self.heard += b"".join(batch)
        self.over = self.session.closed

    # --- what it does ---

    @precondition(lambda self: self.session is None and not self.over)
    @rule(number=st.sampled_from([3, 4, 5, 8, 11, 12, 99]), data=st.binary(max_size=9))
    def any_option(self, number, data):
        self.say_option(number, data)

    @precondition(lambda self: self.session is None and not self.over)
    @rule(number=st.sampled_from([3, 5, 8, 11]))
    def bare_option(self, number):
        self.say_option(number, b"")

    @precondition(lambda self: self.session is None and not self.over)
    @rule(
        number=st.sampled_from([6, 7]), name=NAMES, wanted=st.lists(st.integers(0, 5), max_size=3)
    )
    def ask_or_go(self, number, name, wanted):
        self.say_option(number, info(name, *wanted))

    @precondition(lambda self: self.session is None and not self.over)
    @rule(number=st.sampled_from([9, 10]), name=NAMES, queries=QUERIES)
    def select(self, number, name, queries):
        self.say_option(number, contexts(name, *queries))

    def say_option(self, number, data):
        self.expected.append(number)
        self.feed(option(number, data))

    @precondition(lambda self: self.session is not None and not self.over)
    @rule(
        command=st.sampled_from([0, 0, 0, 1, 3, 4, 5, 6, 7, 7, 99]), offset=OFFSETS, length=OFFSETS,
        flags=FLAGS, split=st.integers(1, 50),
    )  # fmt: skip
    def ask(self, command, offset, length, flags, split):
        cookie, self.next_cookie = self.next_cookie, self.next_cookie + 1
        self.cookies.append(cookie)
        payload = b""
        if self.agreement.extended:
            head = wire.NBD_EXTENDED_REQUEST_MAGIC << 32 | flags << 16 | command
            stream = wire.EXTENDED_REQUEST.pack(head, cookie, offset, length)
            if command == wire.NBD_CMD_WRITE or flags & wire.NBD_CMD_FLAG_PAYLOAD_LEN:
                payload = b"\x21" * length
        else:
            stream = request(command, offset, length, cookie=cookie, flags=flags)
            payload = b"\x25" * length if command == wire.NBD_CMD_WRITE else b""
        stream += payload
        self.feed(stream[:split])
        if stream[split:]:
            self.feed(stream[split:])
        self.asked = (command, offset, length, flags)

    @precondition(lambda self: self.session is not None and not self.over)
    @rule(noise=st.binary(min_size=32, max_size=40))
    def say_noise(self, noise):
        if not noise.startswith((b"\x25\x60\x95\x13", b"\x21\xe4\x1c\x71")):
            self.feed(noise)
            assert self.over

    @precondition(lambda self: self.over)
    @rule()
    def come_again(self):
        self.connect()

    # --- what must hold ---

    @invariant()
    def every_message_was_answered(self):
        if self.session is None:
            self.read_answers()
        else:
            self.read_replies()
        if not self.over:
            assert self.expected == []
            assert self.cookies == []

    def read_answers(self) -> None:
        """Each option gets one last answer, in order, and infos or the like before it."""
        while self.heard:
            magic, number, kind, length = wire.OPTION_REPLY.unpack_from(self.heard)
            assert magic == wire.NBD_REP_MAGIC
            assert number == self.expected[0]
            end = wire.OPTION_REPLY.size + length
            assert len(self.heard) >= end
            self.heard = self.heard[end:]
            if kind == wire.NBD_REP_ACK or kind >> 31:
                self.expected.pop(0)

    def read_replies(self) -> None:
        """Each request gets one last reply; simple ones bring as many bytes as were asked for."""
        while self.heard:
            if self.agreement.structured:
                reply, self.heard = take_chunk(self.heard)
                assert reply.cookie == self.cookies[0]
                done = reply.done
            else:
                magic, error, cookie = wire.SIMPLE_REPLY.unpack_from(self.heard)
                assert magic == wire.NBD_SIMPLE_REPLY_MAGIC
                assert cookie == self.cookies[0]
                command, offset, length, _ = self.asked
                data = length if command == wire.NBD_CMD_READ and not error else 0
                end = wire.SIMPLE_REPLY.size + data
                found = self.heard[wire.SIMPLE_REPLY.size : end]
                assert_same(found, EXPORT.data[offset : offset + data])
                self.heard, done = self.heard[end:], True
            if done:
                self.cookies.pop(0)


TestClient = Client.TestCase
TestClient.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
