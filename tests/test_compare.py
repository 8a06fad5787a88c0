"""The comparison of what is large tells the first differences, quickly and in a few lines."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import NamedTuple

import pytest
from compare import LINES, assert_same


class Record(NamedTuple):
    mode: int
    data: bytes


def told(found: object, expected: object, what: object = "") -> list[str]:
    with pytest.raises(AssertionError) as caught:
        assert_same(found, expected, what)
    lines = str(caught.value).splitlines()
    assert len(lines) <= LINES + 2
    assert max(map(len, lines)) < 400
    return lines


@pytest.mark.parametrize(
    "value", [{"a": b"x"}, [1, 2], b"abc", {1, 2}, "text", None, array("q", [1]), Record(1, b"")]
)
def test_what_is_equal_passes(value):
    assert_same(value, value)


def test_a_tree_tells_the_path_and_both_sides():
    expected = {"kept": b"same", "changed": b"x" * 100, "lost": b"gone", "folder": None}
    found = {"kept": b"same", "changed": b"x" * 50 + b"y" * 50, "new": None, "folder": None}
    assert told(found, expected, "FAT12") == [
        "FAT12: differs from what was expected",
        f"'changed' (100 bytes) from byte 50 on: expected {b'x' * 16!r}, found {b'y' * 16!r}",
        "'lost': expected, not found: b'gone'",
        "'new': found, not expected: None",
    ]


@pytest.mark.parametrize(
    ("found", "expected", "line"),
    [
        (b"abcd", b"ab", "(expected 2 bytes, found 4) from byte 2 on: expected b'', found b'cd'"),
        (b"", b"ab", "(expected 2 bytes, found 0) from byte 0 on: expected b'ab', found b''"),
        (bytearray(b"a"), b"b", "(1 bytes) from byte 0 on: expected b'b', found b'a'"),
        ([1, 2, 3], [1, 5, 3], "[1]: expected 5, found 2"),
        ([1], [1, 2], "length: expected 2, found 1"),
        (array("q", [1, 2]), array("q", [1, 3]), "[1]: expected 3, found 2"),
        ({1, 2}, {2}, "1: found, not expected"),
        ({2: 0}.keys(), {2, 3}, "3: expected, not found"),
        ("a\nb", "a\nc", "line [2]: expected 'c', found 'b'"),
        ({"f": Record(1, b"x")}, {"f": Record(2, b"x")}, "'f' .mode: expected 2, found 1"),
        (Counter("aab"), Counter("ab"), "'a': expected 1, found 2"),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, "'a' 'b' [0]: expected 2, found 1"),
        (1, "1", "the whole: expected '1', found 1"),
        ({"a": b""}, {"a": None}, "'a': expected None, found b''"),
    ],
)  # fmt: skip
def test_one_difference_is_one_line(found, expected, line):
    assert told(found, expected)[1] == line


def test_many_differences_are_a_few_lines():
    """As many as there are: for a comparison of each line with each other, days."""
    count = 100_000
    found = {f"directory/file {number}": b"%d" % number for number in range(count)}
    lines = told(found, dict.fromkeys(found, b"another" * 10_000))
    assert lines[-1] == f"... and {count - LINES:,} differences more"
    lines = told([b"x" * 1000] * count, [b"y" * 1000] * count)
    assert lines[-1] == f"... and {count - LINES:,} differences more"


def test_a_large_buffer_is_one_line():
    expected = bytes(50 << 20)
    found = bytearray(expected)
    found[33_333_333] = 1
    assert len(told(found, expected)) == 2
    assert " from byte 33,333,333 on: " in told(found, expected)[1]
