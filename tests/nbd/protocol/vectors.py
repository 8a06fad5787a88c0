"""Conversations byte by byte, from the protocol document: what a client says, what it must hear.

The disk is 4,096 bytes long: byte n is n modulo 251 up to 1,024, all behind it is a hole. Its name
is `disk`, its description `what it is`.
"""

from __future__ import annotations

from typing import NamedTuple

WORDS, ANY_4 = "w", "::::::::"
"""A sentence for a human, and four bytes that say how long it is."""
SIZE = 4096
DATA_BYTES = 1024


class Vector(NamedTuple):
    """One exchange. In hexadecimal; spaces are for the eye."""

    name: str
    says: str
    hears: str
    ends: bool = False
    """Whether the connection is over afterwards."""


def _option(number: int, data: str = "") -> str:
    length = len(bytes.fromhex(data))
    return f"49484156454F5054 {number:08x} {length:08x} {data}"


def _reply(number: int, kind: int, data: str = "") -> str:
    size = ANY_4 if WORDS in data else f"{len(bytes.fromhex(data)):08x}"
    return f"0003e889045565a9 {number:08x} {kind:08x} {size} {data}"


def _text(text: str) -> str:
    return text.encode().hex()


ACK, SERVER, INFO, META = 1, 2, 3, 4
UNSUP, INVALID, UNKNOWN, EXT_REQD = 0x80000001, 0x80000003, 0x80000006, 0x8000000A
NAME = f"00000004 {_text('disk')}"
# Flags: HAS_FLAGS READ_ONLY SEND_FLUSH CAN_MULTI_CONN SEND_CACHE; DF with structured replies,
# BLOCK_STATUS_PAYLOAD with extended headers and a context.
EXPORT, EXPORT_DF, EXPORT_EXT = (
    f"0000 0000000000001000 {flags:04x}" for flags in (0x507, 0x587, 0x1587)
)
BLOCK_SIZES = "0003 00000001 00001000 02000000"
ALLOCATION, KIND, FILE = map(_text, ("base:allocation", "x-vfloppy:kind", "x-vfloppy:file"))


def _query(name: str, *queries: str) -> str:
    raw = [bytes.fromhex(each) for each in queries]
    listed = " ".join(f"{len(each):08x} {each.hex()}" for each in raw)
    return f"{name} {len(raw):08x} {listed}"


# ruff: noqa: E501
# Between the client's flags and the choice of an export.
OPTIONS = [
    Vector("list", _option(3), _reply(3, SERVER, f"{NAME} {_text('what it is')}") + _reply(3, ACK)),
    Vector("list with data", _option(3, "00"), _reply(3, INVALID, WORDS)),
    Vector("an unknown option", _option(99, "0102030405"), _reply(99, UNSUP, WORDS)),
    Vector("starttls where there is none", _option(5), _reply(5, UNSUP, WORDS)),
    Vector("info", _option(6, f"{NAME} 0000"), _reply(6, INFO, EXPORT) + _reply(6, ACK)),
    Vector("info of the default", _option(6, "00000000 0000"), _reply(6, INFO, EXPORT) + _reply(6, ACK)),
    Vector(
        "info of everything",
        _option(6, f"{NAME} 0003 0001 0002 0003"),
        _reply(6, INFO, EXPORT)
        + _reply(6, INFO, f"0001 {_text('disk')}")
        + _reply(6, INFO, f"0002 {_text('what it is')}")
        + _reply(6, INFO, BLOCK_SIZES)
        + _reply(6, ACK),
    ),
    Vector("info of what nobody knows", _option(6, f"{NAME} 0001 7777"), _reply(6, INFO, EXPORT) + _reply(6, ACK)),
    Vector("info of no export", _option(6, f"00000001 {_text('x')} 0000"), _reply(6, UNKNOWN, WORDS)),
    Vector("info that is cut", _option(6, f"{NAME} 00"), _reply(6, INVALID, WORDS)),
    Vector("structured replies", _option(8), _reply(8, ACK)),
    Vector("structured replies with data", _option(8, "00"), _reply(8, INVALID, WORDS)),
    Vector("extended headers", _option(11), _reply(11, ACK)),
    Vector("extended headers with data", _option(11, "00"), _reply(11, INVALID, WORDS)),
    Vector(
        "info with extended headers",
        _option(11) + _option(6, f"{NAME} 0000"),
        _reply(11, ACK) + _reply(6, INFO, EXPORT_EXT) + _reply(6, ACK),
    ),
    Vector("structured replies after extended headers", _option(11) + _option(8), _reply(11, ACK) + _reply(8, EXT_REQD, WORDS)),
    Vector(
        "list all contexts",
        _option(9, _query(NAME)),
        _reply(9, META, f"00000000 {ALLOCATION}") + _reply(9, META, f"00000000 {KIND}")
        + _reply(9, META, f"00000000 {FILE}") + _reply(9, ACK),
    ),
    Vector("list a namespace", _option(9, _query(NAME, _text("base:"))), _reply(9, META, f"00000000 {ALLOCATION}") + _reply(9, ACK)),
    Vector("set before structured replies", _option(10, _query(NAME, ALLOCATION)), _reply(10, INVALID, WORDS)),
    Vector(
        "set a context",
        _option(8) + _option(10, _query(NAME, ALLOCATION, _text("x:y"))),
        _reply(8, ACK) + _reply(10, META, f"00000001 {ALLOCATION}") + _reply(10, ACK),
    ),
    Vector("abort", _option(2), _reply(2, ACK), ends=True),
    Vector("abort with data", _option(2, "010203"), _reply(2, ACK), ends=True),
]  # fmt: skip

# How an export is chosen.
CHOICES = [
    Vector("export name", _option(1, _text("disk")), "0000000000001000 0507"),
    Vector("go", _option(7, f"{NAME} 0000"), _reply(7, INFO, EXPORT) + _reply(7, ACK)),
    Vector(
        "go with structured replies",
        _option(8) + _option(7, f"{NAME} 0001 0003"),
        _reply(8, ACK) + _reply(7, INFO, EXPORT_DF) + _reply(7, INFO, BLOCK_SIZES) + _reply(7, ACK),
    ),
    Vector(
        "go with extended headers",
        _option(11) + _option(7, f"{NAME} 0000"),
        _reply(11, ACK) + _reply(7, INFO, EXPORT_DF) + _reply(7, ACK),
    ),
    Vector(
        "go with extended headers and a context",
        _option(11) + _option(10, _query(NAME, ALLOCATION)) + _option(7, f"{NAME} 0000"),
        _reply(11, ACK)
        + _reply(10, META, f"00000001 {ALLOCATION}")
        + _reply(10, ACK)
        + _reply(7, INFO, EXPORT_EXT)
        + _reply(7, ACK),
    ),
]

_C = "0102030405060708"
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)


def _request(command: int, offset: int, length: int, flags: int = 0) -> str:
    return f"25609513 {flags:04x} {command:04x} {_C} {offset:016x} {length:08x}"


def _extended(command: int, offset: int, length: int, flags: int = 0) -> str:
    return f"21e41c71 {flags:04x} {command:04x} {_C} {offset:016x} {length:016x}"


def _simple(error: int = 0) -> str:
    return f"67446698 {error:08x} {_C}"


def _chunk(kind: int, payload: str = "", done: int = 1) -> str:
    size = ANY_4 if WORDS in payload else f"{len(bytes.fromhex(payload)):08x}"
    return f"668e33ef {done:04x} {kind:04x} {_C} {size} {payload}"


def _wide(kind: int, at: int, payload: str = "", done: int = 1) -> str:
    size = ANY_4 * 2 if WORDS in payload else f"{len(bytes.fromhex(payload)):016x}"
    return f"6e8a278c {done:04x} {kind:04x} {_C} {at:016x} {size} {payload}"


def _data(offset: int, length: int) -> str:
    return bytes(n % 251 if n < DATA_BYTES else 0 for n in range(offset, offset + length)).hex()


_BEYOND = 4096 - 4
_ERROR = "8001"
EINVAL, ENOSPC, EPERM, EOVERFLOW = 22, 28, 1, 75

SIMPLE = [
    Vector("read", _request(READ, 10, 4), _simple() + _data(10, 4)),
    Vector("read into the hole", _request(READ, 1020, 8), _simple() + _data(1020, 8)),
    Vector("read beyond", _request(READ, _BEYOND, 5), _simple(EINVAL)),
    Vector("read nothing", _request(READ, 10, 0), _simple()),
    Vector("flush", _request(FLUSH, 0, 0), _simple()),
    Vector("flush of something", _request(FLUSH, 1, 0), _simple(EINVAL)),
    Vector("write", _request(WRITE, 0, 4) + "ffffffff", _simple(EPERM)),
    Vector("write beyond", _request(WRITE, _BEYOND, 5) + "ffffffffff", _simple(ENOSPC)),
    Vector("trim", _request(TRIM, 0, 512), _simple(EPERM)),
    Vector("trim beyond", _request(TRIM, _BEYOND, 5), _simple(EINVAL)),
    Vector("zeroes", _request(ZEROES, 0, 512), _simple(EPERM)),
    Vector("zeroes beyond", _request(ZEROES, _BEYOND, 5), _simple(ENOSPC)),
    Vector("cache", _request(CACHE, 0, 512), _simple()),
    Vector("cache beyond", _request(CACHE, _BEYOND, 5), _simple(EINVAL)),
    Vector("an unknown command", _request(77, 0, 0), _simple(EINVAL)),
    Vector("an unknown flag", _request(READ, 0, 4, 0x8000), _simple(EINVAL)),
    Vector("DF without structured replies", _request(READ, 0, 4, 4), _simple(EINVAL)),
    Vector("block status without structured replies", _request(STATUS, 0, 4), _simple(EINVAL)),
    Vector("leave", _request(DISC, 0, 0), "", ends=True),
]
STRUCTURED = [
    Vector("read", _request(READ, 10, 4), _chunk(1, f"{10:016x} {_data(10, 4)}")),
    Vector("read with DF", _request(READ, 1020, 8, 4), _chunk(1, f"{1020:016x} {_data(1020, 8)}")),
    Vector("read nothing", _request(READ, 10, 0), _chunk(0)),
    Vector("read beyond", _request(READ, _BEYOND, 5), _chunk(0x8001, "00000016 " + WORDS)),
    Vector("write", _request(WRITE, 0, 4) + "ffffffff", _chunk(0x8001, "00000001 " + WORDS)),
    Vector("cache", _request(CACHE, 0, 512), _chunk(0)),
    Vector("cache of too much", _request(CACHE, 0, 0xFFFFFFFF), _chunk(0x8001, "00000016 " + WORDS)),
    Vector("flush", _request(FLUSH, 0, 0), _chunk(0)),
    Vector(
        "block status",
        _request(STATUS, 0, 4096),
        _chunk(5, "00000001 00000400 00000000 00000c00 00000003"),
    ),
    Vector("one extent", _request(STATUS, 0, 4096, 8), _chunk(5, "00000001 00000400 00000000")),
    Vector("block status of nothing", _request(STATUS, 0, 0), _chunk(0x8001, "00000016 " + WORDS)),
    Vector("payload length without extended headers", _request(READ, 0, 4, 0x20), _chunk(0x8001, "00000016 " + WORDS)),
    Vector("leave", _request(DISC, 0, 0), "", ends=True),
]  # fmt: skip
EXTENDED = [
    Vector("read", _extended(READ, 10, 4), _wide(1, 10, f"{10:016x} {_data(10, 4)}")),
    Vector("read nothing", _extended(READ, 10, 0), _wide(0, 10)),
    Vector("read beyond", _extended(READ, _BEYOND, 5), _wide(0x8001, _BEYOND, "00000016 " + WORDS)),
    Vector(
        "write", _extended(WRITE, 0, 4, 0x20) + "ffffffff", _wide(0x8001, 0, "00000001 " + WORDS)
    ),
    Vector("flush", _extended(FLUSH, 0, 0), _wide(0, 0)),
    Vector(
        "block status",
        _extended(STATUS, 0, 4096),
        _wide(6, 0, f"00000001 00000002 {0x400:016x} {0:016x} {0xC00:016x} {3:016x}"),
    ),
    Vector(
        "block status with payload",
        _extended(STATUS, 0, 12, 0x20) + f"{2000:016x} 00000001",
        _wide(6, 0, f"00000001 00000002 {0x400:016x} {0:016x} {2000 - 0x400:016x} {3:016x}"),
    ),
    Vector(
        "block status of a context twice",
        _extended(STATUS, 0, 16, 0x20) + f"{2000:016x} 00000001 00000001",
        _wide(0x8001, 0, "00000016 " + WORDS),
    ),
    Vector(
        "a payload that is none",
        _extended(STATUS, 0, 3, 0x20) + "010203",
        _wide(0x8001, 0, "00000016 " + WORDS),
    ),
    Vector("leave", _extended(DISC, 0, 0), "", ends=True),
]
