"""Every message, both directions: whole, byte by byte, and with others behind it."""

from __future__ import annotations

import re

import pytest
from fakes import FakeExport
from vfloppy.export import Hole
from vfloppy.nbd.protocol.exports import ExportTable
from vfloppy.nbd.protocol.handshake import negotiate
from vfloppy.nbd.protocol.session import Session

from . import vectors
from .vectors import Vector

DISK = FakeExport(
    [
        bytes(n % 251 for n in range(vectors.DATA_BYTES)),
        Hole(vectors.SIZE - vectors.DATA_BYTES),
    ]
)
GREETING = bytes.fromhex("4e42444d41474943 49484156454F5054 0003")
FLAGS = bytes.fromhex("00000003")
STEPS = [None, 1, 3, 7]


def pattern(expected: str) -> re.Pattern[bytes]:
    """What must be heard; where words stand for a human, any will do, and their lengths."""
    found = b""
    for part in re.split("(:+|w)", expected.replace(" ", "")):
        if part == vectors.WORDS:
            found += b".{2,}?"
        elif part.startswith(":"):
            found += b".{%d}" % (len(part) // 2)
        else:
            found += re.escape(bytes.fromhex(part))
    return re.compile(found, re.DOTALL)


def said(vector: Vector) -> bytes:
    return bytes.fromhex(vector.says)


def shake_hands(stream: bytes, step: int | None) -> tuple[bytes, object, bytes]:
    """What is heard, what was agreed on (or None), and what was left unread."""
    talk = negotiate(ExportTable({"disk": DISK}, {"disk": "what it is"}))
    heard, buffered = b"", b""
    wish = next(talk)
    try:
        while True:
            if isinstance(wish, bytes):
                heard += wish
                wish = next(talk)
            elif len(buffered) >= wish:
                given, buffered = buffered[:wish], buffered[wish:]
                wish = talk.send(given)
            elif stream:
                count = step or len(stream)
                buffered, stream = buffered + stream[:count], stream[count:]
            else:
                return heard, "waiting", buffered
    except StopIteration as end:
        return heard, end.value, buffered + stream


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("vector", vectors.OPTIONS, ids=lambda each: each.name)
def test_options(vector, step):
    trailing = said(vectors.OPTIONS[2])  # an unknown option, which must be answered in its turn
    for behind, answer in ((b"", ""), (trailing, vectors.OPTIONS[2].hears)):
        heard, end, rest = shake_hands(FLAGS + said(vector) + behind, step)
        expected = vector.hears + ("" if vector.ends else answer)
        assert pattern(GREETING.hex() + expected).fullmatch(heard)
        assert (end is None) == vector.ends
        assert rest == (behind if vector.ends else b"")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("vector", vectors.CHOICES, ids=lambda each: each.name)
def test_choices(vector, step):
    heard, agreement, rest = shake_hands(FLAGS + said(vector) + b"a request", step)
    assert pattern(GREETING.hex() + vector.hears).fullmatch(heard)
    assert agreement.offer.name == "disk"
    assert rest == b"a request"


STYLES = {
    "simple": (vectors.SIMPLE, {"structured": False}),
    "structured": (vectors.STRUCTURED, {"structured": True, "contexts": {"base:allocation": 1}}),
    "extended": (
        vectors.EXTENDED,
        {"structured": True, "extended": True, "contexts": {"base:allocation": 1}},
    ),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("style", "vector"),
    [(style, vector) for style, (table, _) in STYLES.items() for vector in table],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_requests(style, vector, step):
    table, agreed = STYLES[style]
    flush = next(each for each in table if each.name == "flush")
    for behind, answer in ((b"", ""), (said(flush), flush.hears)):
        session = Session(DISK.open(), **agreed)
        stream, heard = said(vector) + behind, b""
        while stream and not session.closed:
            space = session.space()
            count = min(step or len(stream), len(space), len(stream))
            space[:count] = stream[:count]
            stream = stream[count:]
            heard += b"".join(b"".join(each) for each in session.received(count))
        assert pattern(vector.hears + ("" if vector.ends else answer)).fullmatch(heard)
        assert session.closed == vector.ends
