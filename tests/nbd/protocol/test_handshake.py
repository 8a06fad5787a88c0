"""The handshake without sockets: every option, every refusal, always in step."""

from __future__ import annotations

import pytest
from fakes import FakeExport, contexts, info, option, string
from vfloppy.nbd.errors import ProtocolError
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.exports import ExportTable
from vfloppy.nbd.protocol.handshake import (
    MAXIMUM_OPTION_BYTES,
    MAXIMUM_TALK_BYTES,
    TALK_BYTES_AN_EXPORT,
    UPGRADE,
    negotiate,
)

SIZE = 12345
FLAGS = 0x507  # HAS_FLAGS READ_ONLY SEND_FLUSH CAN_MULTI_CONN SEND_CACHE
FLAGS_STRUCTURED = FLAGS | 0x80
OWN_CONTEXTS = ["base:allocation", "x-vfloppy:kind", "x-vfloppy:file"]
GO = option(wire.NBD_OPT_GO, info())
STRUCTURED = option(wire.NBD_OPT_STRUCTURED_REPLY)


def table(**more: object) -> ExportTable:
    return ExportTable({"disk": FakeExport([bytes(SIZE)])}, {"disk": "a fake disk"}, **more)


class Talk:
    """Drives a negotiation over `stream`; what it left unread tells whether it stayed in step."""

    def __init__(self, stream: bytes, exports: ExportTable | None = None, tls: str = "off") -> None:
        self.upgrades = 0
        self.sent = b""
        self.agreement = None
        self.finished = False
        self.largest_need = 0
        talk = negotiate(exports or table(), tls)
        wish = next(talk)
        try:
            while True:
                if isinstance(wish, bytes):
                    self.sent += wish
                    wish = next(talk)
                    continue
                if wish is UPGRADE:
                    self.upgrades += 1
                    wish = next(talk)
                    continue
                self.largest_need = max(self.largest_need, wish)
                if len(stream) < wish:
                    break
                given, stream = stream[:wish], stream[wish:]
                wish = talk.send(given)
        except StopIteration as end:
            self.agreement = end.value
            self.finished = True
        self.rest = stream

    def replies(self) -> list[tuple[int, int, bytes]]:
        stream = self.sent[wire.GREETING.size :]
        found = []
        while stream:
            magic, number, kind, length = wire.OPTION_REPLY.unpack_from(stream)
            assert magic == wire.NBD_REP_MAGIC
            data, stream = stream[20 : 20 + length], stream[20 + length :]
            assert len(data) == length
            found.append((number, kind, data))
        return found


def after_flags(*options: bytes, flags: int = 3) -> Talk:
    return Talk(wire.CLIENT_FLAGS.pack(flags) + b"".join(options))


def kinds(talk: Talk) -> list[int]:
    return [kind for _, kind, _ in talk.replies()]


def test_greeting_comes_first():
    assert Talk(b"").sent == b"NBDMAGICIHAVEOPT\x00\x03"


@pytest.mark.parametrize("flags", [4, 0x80000000, 7])
def test_unknown_client_flags_drop_the_connection(flags):
    with pytest.raises(ProtocolError, match="client flags"):
        after_flags(flags=flags)


def test_wrong_option_magic_drops_the_connection():
    with pytest.raises(ProtocolError, match="magic"):
        after_flags(b"IHAVEOPX" + bytes(8))


@pytest.mark.parametrize(("flags", "zeroes"), [(3, 0), (1, 124), (0, 124), (2, 0)])
@pytest.mark.parametrize("name", ["", "disk"])
def test_export_name(flags, zeroes, name):
    talk = after_flags(option(wire.NBD_OPT_EXPORT_NAME, name.encode()), b"rest", flags=flags)
    assert talk.sent[18:] == SIZE.to_bytes(8, "big") + FLAGS.to_bytes(2, "big") + bytes(zeroes)
    assert talk.agreement.offer.name == "disk"
    assert not talk.agreement.structured
    assert talk.rest == b"rest"


@pytest.mark.parametrize("name", [b"other", b"\xff", b"x" * 5000])
def test_export_name_can_only_drop_the_connection(name):
    with pytest.raises(ProtocolError, match=r"export name|unknown export|UTF-8"):
        after_flags(option(wire.NBD_OPT_EXPORT_NAME, name))


@pytest.mark.parametrize("data", [b"", b"ignored", bytes(200_000)])
def test_abort_is_acknowledged(data):
    talk = after_flags(option(wire.NBD_OPT_ABORT, data), b"rest")
    assert talk.replies() == [(wire.NBD_OPT_ABORT, wire.NBD_REP_ACK, b"")]
    assert (talk.finished, talk.agreement, talk.rest) == (True, None, b"rest")


def test_list():
    talk = after_flags(option(wire.NBD_OPT_LIST), GO)
    assert talk.replies()[:2] == [
        (wire.NBD_OPT_LIST, wire.NBD_REP_SERVER, string("disk") + b"a fake disk"),
        (wire.NBD_OPT_LIST, wire.NBD_REP_ACK, b""),
    ]


@pytest.mark.parametrize("number", [wire.NBD_OPT_LIST, wire.NBD_OPT_STRUCTURED_REPLY])
def test_options_without_data_refuse_data(number):
    talk = after_flags(option(number, b"x"), GO)
    assert kinds(talk)[0] == wire.NBD_REP_ERR_INVALID
    assert not talk.agreement.structured


@pytest.mark.parametrize("number", [wire.NBD_OPT_INFO, wire.NBD_OPT_GO])
def test_info_answers_what_was_asked_and_the_export(number):
    talk = after_flags(option(number, info("disk", 3, 1, 2, 77)))
    assert [(kind, data) for _, kind, data in talk.replies()] == [
        (wire.NBD_REP_INFO, wire.INFO_EXPORT.pack(0, SIZE, FLAGS)),
        (wire.NBD_REP_INFO, wire.INFO_BLOCK_SIZE.pack(3, 1, 4096, 32 << 20)),
        (wire.NBD_REP_INFO, b"\0\1disk"),
        (wire.NBD_REP_INFO, b"\0\2a fake disk"),
        (wire.NBD_REP_ACK, b""),
    ]
    assert (talk.agreement is not None) == (number == wire.NBD_OPT_GO)


def test_the_default_name_leads_to_the_lone_export_and_its_canonical_name():
    talk = after_flags(option(wire.NBD_OPT_GO, info("", wire.NBD_INFO_NAME)))
    assert talk.replies()[1][2] == b"\0\1disk"


def test_df_is_offered_with_structured_replies_only():
    talk = after_flags(option(wire.NBD_OPT_INFO, info()), STRUCTURED, GO)
    flags = [wire.INFO_EXPORT.unpack(data)[2] for _, kind, data in talk.replies() if kind == 3]
    assert flags == [FLAGS, FLAGS_STRUCTURED]
    assert talk.agreement.structured


@pytest.mark.parametrize("number", [wire.NBD_OPT_INFO, wire.NBD_OPT_GO])
def test_an_unknown_export_is_refused_with_words_and_the_talk_goes_on(number):
    talk = after_flags(option(number, info("other")), GO, b"rest")
    _, kind, data = talk.replies()[0]
    assert (kind, data) == (wire.NBD_REP_ERR_UNKNOWN, b"there is no export named 'other'")
    assert talk.agreement is not None
    assert talk.rest == b"rest"


@pytest.mark.parametrize(
    "number", [wire.NBD_OPT_INFO, wire.NBD_OPT_GO, wire.NBD_OPT_LIST_META_CONTEXT]
)
@pytest.mark.parametrize("data", [b"", b"\0\0\0\1", b"\xff\xff\xff\xff", info("x" * 4097)])
def test_malformed_data_is_refused(number, data):
    talk = after_flags(option(number, data), GO)
    assert kinds(talk)[0] == wire.NBD_REP_ERR_INVALID
    assert talk.replies()[0][2]
    assert talk.agreement is not None


@pytest.mark.parametrize("number", [4, 5, 12, 99, 0xFFFFFFFF])
@pytest.mark.parametrize("length", [0, 1, 70_000])
def test_unknown_options_are_refused_in_step(number, length):
    talk = after_flags(option(number, bytes(length)), GO, b"rest")
    refused, kind, text = talk.replies()[0]
    assert (refused, kind) == (number, wire.NBD_REP_ERR_UNSUP)
    assert text
    assert (talk.agreement is not None, talk.rest) == (True, b"rest")
    assert talk.largest_need <= MAXIMUM_OPTION_BYTES


def test_a_known_option_that_is_too_big_is_refused_in_step():
    talk = after_flags(option(wire.NBD_OPT_GO, bytes(MAXIMUM_OPTION_BYTES + 1)), GO, b"rest")
    assert kinds(talk)[0] == wire.NBD_REP_ERR_TOO_BIG
    assert talk.rest == b"rest"
    assert talk.largest_need <= MAXIMUM_OPTION_BYTES


MOST_BYTES = MAXIMUM_TALK_BYTES + TALK_BYTES_AN_EXPORT * len(table())


def test_somebody_who_types_may_try_many_options():
    assert after_flags(*[option(99)] * 1000, GO).agreement is not None


def drive(stream: bytes, sent: list[bytes], tls: str = "off") -> None:
    """A negotiation over all of the stream; what it sends is there even if it raises."""
    talk = negotiate(table(), tls)
    wish = next(talk)
    while True:
        if isinstance(wish, int):
            if len(stream) < wish:
                return
            given, stream = stream[:wish], stream[wish:]
            wish = talk.send(given)
        else:
            sent.append(wish)
            wish = next(talk)


@pytest.mark.parametrize("length", [0, 60_000])
def test_the_bytes_of_all_options_are_bounded_and_it_is_said(length):
    endless, count = option(99, bytes(length)), MOST_BYTES // (16 + length)
    sent: list[bytes] = []
    drive(wire.CLIENT_FLAGS.pack(3) + endless * count, sent)
    with pytest.raises(ProtocolError, match="without choosing an export"):
        drive(wire.CLIENT_FLAGS.pack(3) + endless * (count + 1), sent)
    assert wire.OPTION_REPLY.unpack_from(sent[-1])[2] == wire.NBD_REP_ERR_TOO_BIG


def test_one_endless_option_is_refused_before_it_comes():
    sent: list[bytes] = []
    with pytest.raises(ProtocolError, match="without choosing an export"):
        drive(wire.CLIENT_FLAGS.pack(3) + wire.OPTION.pack(wire.IHAVEOPT, 99, 0xFFFFFFFF), sent)
    assert wire.OPTION_REPLY.unpack_from(sent[-1])[2] == wire.NBD_REP_ERR_TOO_BIG
    assert b"bytes were sent without choosing an export" in sent[-1]


def test_tls_is_for_clients_of_fixed_newstyle():
    """They alone can read the answers to it."""
    for flags in (0, 2):
        sent: list[bytes] = []
        with pytest.raises(ProtocolError, match="C_FIXED_NEWSTYLE"):
            drive(wire.CLIENT_FLAGS.pack(flags) + option(wire.NBD_OPT_STARTTLS), sent, "on")
        assert len(sent) == 1, "no more than the greeting"


def test_info_and_go_tell_the_same_flags_to_whoever_has_chosen_contexts():
    for style in (EXTENDED, STRUCTURED):
        options = (style, select("", "base:allocation"), option(wire.NBD_OPT_INFO, info()), GO)
        flags = [
            hex(wire.INFO_EXPORT.unpack(data)[2])
            for _, kind, data in after_flags(*options).replies()
            if kind == wire.NBD_REP_INFO
        ]
        assert len(flags) == 2
        assert flags[0] == flags[1]


def listed(*queries: str, name: str = "", number: int = wire.NBD_OPT_LIST_META_CONTEXT) -> Talk:
    return after_flags(STRUCTURED, option(number, contexts(name, *queries)), GO)


@pytest.mark.parametrize(
    ("queries", "found"),
    [
        ((), [*OWN_CONTEXTS]),
        (("base:",), OWN_CONTEXTS[:1]),
        (("base:allocation",), OWN_CONTEXTS[:1]),
        (("x-other:thing", "base:allocation"), OWN_CONTEXTS[:1]),
        (("x-vfloppy:",), OWN_CONTEXTS[1:]),
        (("x-vfloppy:file", "x-vfloppy:"), [OWN_CONTEXTS[2], OWN_CONTEXTS[1]]),
        (("base:other",), []),
        (("x-other:",), []),
        (("",), []),
    ],
)
def test_list_meta_context(queries, found):
    replies = listed(*queries).replies()[1:]
    for name in found:
        assert replies.pop(0)[1:] == (wire.NBD_REP_META_CONTEXT, bytes(4) + name.encode())
    assert replies[0][1:] == (wire.NBD_REP_ACK, b"")


EXTENDED = option(wire.NBD_OPT_EXTENDED_HEADERS)


def test_extended_headers_include_structured_replies():
    for before in ((), (STRUCTURED,)):
        talk = after_flags(*before, EXTENDED, GO)
        assert talk.agreement.structured
        assert talk.agreement.extended
        assert set(kinds(talk)) == {wire.NBD_REP_ACK, wire.NBD_REP_INFO}
    assert told_flags(talk) & wire.NBD_FLAG_SEND_DF


def told_flags(talk: Talk) -> int:
    """The transmission flags of the last information about an export."""
    *_, info_export = (data for _, kind, data in talk.replies() if kind == wire.NBD_REP_INFO)
    return int.from_bytes(info_export[-2:], "big")


@pytest.mark.parametrize(
    ("options", "offered"),
    [
        ((EXTENDED, "base:allocation", GO), True),
        ((EXTENDED, GO), False),  # no context to choose
        ((EXTENDED, "base:allocation", "x-other:y", GO), False),
        ((EXTENDED, option(wire.NBD_OPT_INFO, info())), True),  # there may be one at last
        ((STRUCTURED, "base:allocation", GO), False),
    ],
)
def test_payloads_are_offered_to_whoever_has_contexts_to_choose(options, offered):
    stream = [select("", each) if isinstance(each, str) else each for each in options]
    flags = told_flags(after_flags(*stream))
    assert bool(flags & wire.NBD_FLAG_BLOCK_STATUS_PAYLOAD) == offered


def test_extended_headers_are_agreed_on_once_and_without_data():
    talk = after_flags(EXTENDED, EXTENDED, STRUCTURED, GO)
    assert kinds(talk)[:3] == [
        wire.NBD_REP_ACK,
        wire.NBD_REP_ERR_INVALID,
        wire.NBD_REP_ERR_EXT_HEADER_REQD,
    ]
    assert talk.agreement.extended
    talk = after_flags(option(wire.NBD_OPT_EXTENDED_HEADERS, b"x"), GO)
    assert kinds(talk)[0] == wire.NBD_REP_ERR_INVALID
    assert not talk.agreement.extended


def test_contexts_may_be_selected_after_extended_headers():
    talk = after_flags(EXTENDED, select("", "base:allocation", "x-vfloppy:kind"), GO)
    assert talk.agreement.contexts == {"base:allocation": 1, "x-vfloppy:kind": 2}


@pytest.mark.parametrize(
    ("queries", "found"),
    [((), False), (("base:",), False), (("base:allocation",), True), (("x-other:y",), False)],
)
def test_set_meta_context(queries, found):
    talk = listed(*queries, number=wire.NBD_OPT_SET_META_CONTEXT)
    assert (wire.NBD_REP_META_CONTEXT in kinds(talk)) == found
    assert bool(talk.agreement.contexts) == found
    assert 0 not in talk.agreement.contexts.values()


def select(name: str, *queries: str) -> bytes:
    return option(wire.NBD_OPT_SET_META_CONTEXT, contexts(name, *queries))


def test_contexts_of_another_export_do_not_count():
    exports = ExportTable({"a": FakeExport([b"a"]), "b": FakeExport([b"b"])})
    stream = wire.CLIENT_FLAGS.pack(3) + STRUCTURED + select("a", "base:allocation")
    assert Talk(stream + option(wire.NBD_OPT_GO, info("a")), exports).agreement.contexts
    assert not Talk(stream + option(wire.NBD_OPT_GO, info("b")), exports).agreement.contexts
    assert kinds(Talk(stream + option(wire.NBD_OPT_GO, info("")), exports))[-1] == (
        wire.NBD_REP_ERR_UNKNOWN
    )


@pytest.mark.parametrize("then", [select(""), select("other", "base:allocation"), select("")[:-1]])
def test_every_set_replaces_the_one_before(then):
    number, data = wire.NBD_OPT_SET_META_CONTEXT, then[wire.OPTION.size :]
    talk = after_flags(STRUCTURED, select("", "base:allocation"), option(number, data), GO)
    assert talk.agreement.contexts == {}


def test_contexts_need_structured_replies():
    talk = after_flags(select("", "base:allocation"), STRUCTURED, GO)
    assert kinds(talk)[0] == wire.NBD_REP_ERR_INVALID
    assert talk.agreement.contexts == {}


def test_an_export_named_nothing_is_the_default():
    exports = ExportTable({"": FakeExport([b"abc"]), "b": FakeExport([b"b"])})
    assert exports.find("").export.size == 3
    assert exports.find("b").export.size == 1
    assert exports.find("c") is None


# --- TLS ---


def secured(tls: str, *options_: bytes) -> Talk:
    return Talk(wire.CLIENT_FLAGS.pack(3) + b"".join(options_), tls=tls)


START = option(wire.NBD_OPT_STARTTLS)


@pytest.mark.parametrize("number", [3, 6, 7, 8, 9, 10, 11, 99])
@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_without_tls_nothing_is_said_where_it_is_required(number, data):
    talk = secured("require", option(number, data), option(wire.NBD_OPT_ABORT))
    assert kinds(talk) == [wire.NBD_REP_ERR_TLS_REQD, wire.NBD_REP_ACK]
    assert talk.finished


def test_an_export_name_without_tls_drops_the_client():
    with pytest.raises(ProtocolError, match="without TLS"):
        secured("require", option(wire.NBD_OPT_EXPORT_NAME, b"disk"))


def test_tls_forgets_what_was_agreed_on_in_the_clear():
    before = (STRUCTURED, select("", "base:allocation"), START)
    talk = secured("on", *before, GO)
    assert talk.upgrades == 1
    assert not talk.agreement.structured
    assert talk.agreement.contexts == {}
    talk = secured("require", START, STRUCTURED, select("", "base:allocation"), GO)
    assert talk.agreement.contexts


@pytest.mark.parametrize(
    ("tls", "options_", "refused"),
    [
        ("off", (START,), wire.NBD_REP_ERR_UNSUP),
        ("on", (option(wire.NBD_OPT_STARTTLS, b"x"),), wire.NBD_REP_ERR_INVALID),
        ("on", (START, START), wire.NBD_REP_ERR_INVALID),
    ],
)
def test_tls_that_is_not_started(tls, options_, refused):
    talk = secured(tls, *options_, GO)
    assert refused in kinds(talk)
    assert talk.agreement is not None
    assert talk.upgrades == len(options_) - 1
