"""Comparing what is large: the first few differences in a few lines, however much there is.

pytest's own account of two trees, buffers or lists compares every line with every other, which for
a directory of documentation takes longer than anybody waits.
"""

from __future__ import annotations

import reprlib
from array import array
from collections.abc import Iterator, Mapping, Set
from itertools import islice
from typing import Any

LINES = 9
_ABSENT = object()


class _Short(reprlib.Repr):
    """Representations that are cut before they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 3
        self.maxstring = self.maxother = 60

    def repr_bytes(self, value: bytes, _level: int) -> str:
        return repr(value) if len(value) <= 24 else f"{value[:24]!r}... ({len(value):,} bytes)"

    def repr_bytearray(self, value: bytearray, level: int) -> str:
        return self.repr_bytes(bytes(value), level)

    def repr_memoryview(self, value: memoryview, level: int) -> str:
        return self.repr_bytes(bytes(value), level)


_short = _Short().repr


def assert_same(found: Any, expected: Any, what: object = "") -> None:
    """Raise AssertionError, with the first differences, unless the two are equal.

    `what` is what they are of, and begins the message: options, a number, a seed.
    """
    __tracebackhide__ = True
    if found == expected:
        return
    lines = differences(found, expected)
    told = list(islice(lines, LINES))
    rest = sum(1 for _ in lines)
    head = f"{what}: differs from what was expected" if what else "differs from what was expected"
    end = [f"... and {rest:,} differences more"] if rest else []
    raise AssertionError(
        "\n".join([head, *(told or [f"{_short(found)} != {_short(expected)}"]), *end])
    )


def differences(found: Any, expected: Any, at: str = "") -> Iterator[str]:
    """A line for each difference: where, what was expected, what was found."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        yield from _of_mappings(found, expected, at)
    elif isinstance(found, Set) and isinstance(expected, Set):
        yield from (_line(f"{at}{_short(each)}", _ABSENT, "it") for each in expected - found)
        yield from (_line(f"{at}{_short(each)}", "it", _ABSENT) for each in found - expected)
    elif _are(bytes | bytearray | memoryview, found, expected):
        yield from _of_bytes(bytes(found), bytes(expected), at)
    elif _are(str, found, expected) and ("\n" in found or "\n" in expected):
        yield from _of_sequences(found.splitlines(), expected.splitlines(), f"{at}line ", 1)
    elif _are(tuple, found, expected) and hasattr(found, "_fields"):
        for name, one, other in zip(found._fields, found, expected, strict=False):
            yield from differences(one, other, f"{at}.{name} ") if one != other else ()
    elif _are(list | tuple | array | range, found, expected):  # type: ignore[arg-type]
        yield from _of_sequences(found, expected, at)
    elif found != expected:
        yield _line(at, found, expected)


def _are(kind: Any, *values: object) -> bool:
    return all(isinstance(value, kind) for value in values)


def _of_mappings(found: Mapping[Any, Any], expected: Mapping[Any, Any], at: str) -> Iterator[str]:
    for key in [*expected, *(key for key in found if key not in expected)]:
        one, other = found.get(key, _ABSENT), expected.get(key, _ABSENT)
        if one is _ABSENT or other is _ABSENT:
            yield _line(f"{at}{_short(key)}", one, other)
        elif one != other:
            yield from differences(one, other, f"{at}{_short(key)} ")


def _of_sequences(found: Any, expected: Any, at: str, first: int = 0) -> Iterator[str]:
    if len(found) != len(expected):
        yield f"{at}length: expected {len(expected):,}, found {len(found):,}"
    for number in range(max(len(found), len(expected))):
        one = found[number] if number < len(found) else _ABSENT
        other = expected[number] if number < len(expected) else _ABSENT
        place = f"{at}[{number + first}]"
        if one is _ABSENT or other is _ABSENT:
            yield _line(place, one, other)
        elif one != other:
            yield from differences(one, other, f"{place} ")


def _of_bytes(found: bytes, expected: bytes, at: str) -> Iterator[str]:
    """One line: the first byte that differs, with some bytes from there on."""
    same, end = 0, min(len(found), len(expected))
    while same < end:  # by bisection, since a byte at a time is slow
        middle = (same + end + 1) // 2
        if found[same:middle] == expected[same:middle]:
            same = middle
        else:
            end = middle - 1
    lengths = f"{len(expected):,} bytes"
    if len(found) != len(expected):
        lengths = f"expected {len(expected):,} bytes, found {len(found):,}"
    yield (
        f"{at or ''}({lengths}) from byte {same:,} on: "
        f"expected {expected[same : same + 16]!r}, found {found[same : same + 16]!r}"
    )


def _line(at: str, found: object, expected: object) -> str:
    at = at.rstrip() or "the whole"
    if found is _ABSENT:
        return f"{at}: expected, not found" + (f": {_short(expected)}" if expected != "it" else "")
    if expected is _ABSENT:
        return f"{at}: found, not expected" + (f": {_short(found)}" if found != "it" else "")
    return f"{at}: expected {_short(expected)}, found {_short(found)}"
