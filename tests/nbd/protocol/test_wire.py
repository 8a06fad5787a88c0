"""Golden messages, packed and unpacked; hex as the document lays the fields out."""

from __future__ import annotations

import errno

import pytest
from fakes import contexts, info, string
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.replies import ExtendedReplies, Replies, SimpleReplies

COOKIE = 0x0102030405060708

# name, struct, fields, bytes
COMPACT, EXTENDED = Replies(), ExtendedReplies()
GOLDEN = [
    (
        "greeting",
        wire.GREETING,
        (wire.NBDMAGIC, wire.IHAVEOPT, 3),
        b"NBDMAGICIHAVEOPT\x00\x03",
    ),
    ("client flags", wire.CLIENT_FLAGS, (3,), "00000003"),
    ("option go", wire.OPTION, (wire.IHAVEOPT, 7, 6), "49484156454f5054 00000007 00000006"),
    (
        "option reply",
        wire.OPTION_REPLY,
        (wire.NBD_REP_MAGIC, 7, wire.NBD_REP_ERR_UNKNOWN, 0),
        "0003e889045565a9 00000007 80000006 00000000",
    ),
    ("export name reply", wire.EXPORT_NAME_REPLY, (1 << 40, 0x505), "0000010000000000 0505"),
    ("info export", wire.INFO_EXPORT, (0, 1 << 20, 0x587), "0000 0000000000100000 0587"),
    (
        "info block size",
        wire.INFO_BLOCK_SIZE,
        (3, 1, 4096, 32 << 20),
        "0003 00000001 00001000 02000000",
    ),
    (
        "read",
        wire.REQUEST,
        (wire.NBD_REQUEST_MAGIC, 4, 0, COOKIE, 1 << 33, 4096),
        "25609513 0004 0000 0102030405060708 0000000200000000 00001000",
    ),
    (
        "simple reply",
        wire.SIMPLE_REPLY,
        (wire.NBD_SIMPLE_REPLY_MAGIC, 22, COOKIE),
        "67446698 00000016 0102030405060708",
    ),
    (
        "none chunk",
        wire.CHUNK,
        (wire.NBD_STRUCTURED_REPLY_MAGIC, 1, 0, COOKIE, 0),
        "668e33ef 0001 0000 0102030405060708 00000000",
    ),
    (
        "extended read",
        wire.EXTENDED_REQUEST,
        (wire.NBD_EXTENDED_REQUEST_MAGIC << 32 | 4 << 16, COOKIE, 1 << 33, 1 << 34),
        "21e41c71 0004 0000 0102030405060708 0000000200000000 0000000400000000",
    ),
    (
        "extended chunk",
        wire.EXTENDED_CHUNK,
        (wire.NBD_EXTENDED_REPLY_MAGIC, 1, 0, COOKIE, 1 << 33, 0),
        "6e8a278c 0001 0000 0102030405060708 0000000200000000 0000000000000000",
    ),
    ("descriptor", wire.DESCRIPTOR, (4096, 3), "00001000 00000003"),
]
MESSAGES = [
    (
        "option refusal",
        wire.pack_option_reply(99, wire.NBD_REP_ERR_UNSUP, b"no"),
        "0003e889045565a9 00000063 80000001 00000002 6e6f",
    ),
    ("server", wire.pack_server("ab", "cd"), "00000002 6162 6364"),
    (
        "data chunk",
        COMPACT.data_header(1, COOKIE, 7, 1 << 33, 512),
        "668e33ef 0001 0001 0102030405060708 00000208 0000000200000000",
    ),
    (
        "extended data chunk",
        EXTENDED.data_header(1, COOKIE, 7, 1 << 33, 512),
        "6e8a278c 0001 0001 0102030405060708 0000000000000007 0000000000000208 0000000200000000",
    ),
    (
        "hole chunk",
        COMPACT.hole(0, COOKIE, 7, 1 << 33, 8192),
        "668e33ef 0000 0002 0102030405060708 0000000c 0000000200000000 00002000",
    ),
    (
        "extended hole chunk",
        EXTENDED.hole(0, COOKIE, 7, 1 << 33, 8192),
        "6e8a278c 0000 0002 0102030405060708 0000000000000007 000000000000000c 0000000200000000 "
        "00002000",
    ),
    (
        "block status chunk",
        COMPACT.status(1, COOKIE, 7, 1, [(4096, 3), (512, 0)]),
        "668e33ef 0001 0005 0102030405060708 00000014 00000001 00001000 00000003 00000200 00000000",
    ),
    (
        "extended block status chunk",
        EXTENDED.status(1, COOKIE, 7, 1, [(1 << 43, 3)]),
        "6e8a278c 0001 0006 0102030405060708 0000000000000007 0000000000000018 00000001 00000001 "
        "0000080000000000 0000000000000003",
    ),
    (
        "extended error chunk",
        EXTENDED.error(COOKIE, 7, 22, "no"),
        "6e8a278c 0001 8001 0102030405060708 0000000000000007 0000000000000008 00000016 0002 6e6f",
    ),
    (
        "simple error",
        SimpleReplies().error_at(COOKIE, 7, 5, "no", 9),
        "67446698 00000005 0102030405060708",
    ),
    (
        "error chunk",
        COMPACT.error(COOKIE, 7, 22, "no"),
        "668e33ef 0001 8001 0102030405060708 00000008 00000016 0002 6e6f",
    ),
    (
        "error offset chunk",
        COMPACT.error_at(COOKIE, 7, 5, "no", 1 << 33),
        "668e33ef 0001 8002 0102030405060708 00000010 00000005 0002 6e6f 0000000200000000",
    ),
]


def raw(golden: str | bytes) -> bytes:
    return golden if isinstance(golden, bytes) else bytes.fromhex(golden)


@pytest.mark.parametrize(("_name", "layout", "fields", "golden"), GOLDEN, ids=lambda v: v)
def test_structs_match_the_document(_name, layout, fields, golden):
    assert layout.pack(*fields) == raw(golden)
    assert layout.unpack(raw(golden)) == fields
    assert layout.unpack_from(raw(golden) + b"trailing") == fields


@pytest.mark.parametrize(("_name", "packed", "golden"), MESSAGES, ids=lambda v: str(v)[:20])
def test_messages_match_the_document(_name, packed, golden):
    assert packed == raw(golden)


def test_info_request():
    golden = raw("00000002 6162 0002 0001 0003")
    assert info("ab", 1, 3) == golden
    assert wire.unpack_info_request(golden) == ("ab", (1, 3))


def test_context_query():
    golden = raw("00000001 61 00000002 00000005 626173653a 00000000")
    assert contexts("a", "base:", "") == golden
    assert wire.unpack_context_query(golden) == ("a", ("base:", ""))


@pytest.mark.parametrize(
    ("unpack", "whole"),
    [
        (wire.unpack_info_request, info("ab", 1, 3)),
        (wire.unpack_context_query, contexts("a", "base:", "x:y")),
    ],
)
def test_data_cut_anywhere_or_continued_is_malformed(unpack, whole):
    unpack(whole)
    for end in range(len(whole)):
        with pytest.raises(wire.MalformedError):
            unpack(whole[:end])
    with pytest.raises(wire.MalformedError):
        unpack(whole + b"x")


@pytest.mark.parametrize("name", [b"\xff", b"a\0b", b"x" * 4097])
def test_strings_that_the_protocol_forbids(name):
    with pytest.raises(wire.MalformedError):
        wire.unpack_info_request(string(name) + b"\0\0")


def test_a_string_of_4096_bytes_is_allowed():
    assert wire.unpack_info_request(string("x" * 4096) + b"\0\0").name == "x" * 4096


def test_long_texts_are_cut_between_characters():
    assert wire.short_text("é" * 3000) == "é".encode() * 2048
    assert wire.short_text("a" + "é" * 3000) == b"a" + "é".encode() * 2047
    assert wire.short_text("\udcff") == b"\\udcff"


@pytest.mark.parametrize(
    ("host", "protocol"),
    [(errno.EIO, 5), (errno.EROFS, 1), (errno.EDQUOT, 28), (errno.ENOENT, 5), (errno.EINVAL, 22)],
)
def test_host_errors_become_numbers_of_the_protocol(host, protocol):
    assert wire.error_number(OSError(host, "x")) == protocol
