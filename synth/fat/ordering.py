"""The order of the entries of directories: by name, by the numbers in names, by a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from ...errors import OptionError
from ..names.patterns import Pattern, lines_of, pattern_of
from .options import BY_NAME, NATURAL

_NUMBER = re.compile(rb"(\d+)")


def patterns_of(words: Iterable[str], files: Iterable[bytes]) -> list[Pattern]:
    """Return the patterns among an order's words, then those in files. Raise OptionError."""
    found = [order_pattern(word, "order") for word in words if word not in {BY_NAME, NATURAL}]
    for line in chain(*map(lines_of, files)):
        try:
            found.append(order_pattern(line, "order_from"))
        except ValueError as error:
            raise OptionError(str(error), "order_from") from None
    return [pattern for pattern in found if pattern]


def order_pattern(line: str, option: str) -> Pattern | None:
    """Return the pattern of a line of an order; None for a comment or an empty line.

    Raise OptionError, and ValueError for one that excludes nothing.
    """
    pattern = pattern_of(line, option, any_case=True)
    if pattern is not None and not pattern.excludes:
        raise ValueError(f"{line!r} says what does not match, which is no place in an order")
    return pattern


class NamesInOrder:
    """Entries that match an earlier pattern come first; those of one pattern, and those of none,
    by their names.
    """

    def __init__(self, patterns: Sequence[Pattern], natural: bool = False) -> None:
        self._natural = natural
        self._ends = len(patterns)
        # By the name or the path, so that a long list costs no more than a short one.
        self._names: dict[tuple[bytes, bool], int] = {}
        self._paths: dict[tuple[bytes, bool], int] = {}
        self._others: list[tuple[int, Pattern]] = []
        for place, pattern in enumerate(patterns):
            if pattern.literal is None:
                self._others.append((place, pattern))
                continue
            places = self._names if pattern.of_names else self._paths
            places.setdefault((pattern.literal.upper(), True), place)
            if not pattern.for_directories:
                places.setdefault((pattern.literal.upper(), False), place)

    def key_in(self, directory: bytes) -> Callable[[bytes, bool], Any]:
        """Return what gives the names in a directory, and whether they are directories, their keys
        to be sorted by.
        """
        prefix = directory + b"/" if directory else b""
        by = _natural if self._natural else bytes

        def key(name: bytes, is_directory: bool) -> tuple[int, Any, bytes]:
            return self._place(name, prefix + name, is_directory), by(name), name

        return key

    def _place(self, name: bytes, path: bytes, is_directory: bool) -> int:
        place = min(
            self._names.get((name.upper(), is_directory), self._ends),
            self._paths.get((path.upper(), is_directory), self._ends),
        )
        for other, pattern in self._others:
            if other > place:
                break
            if pattern.matches(path, is_directory):
                return other
        return place


def _natural(name: bytes) -> list[bytes | int]:
    """Return a name's parts, text and numbers in turn, whatever the case of the text."""
    parts: list[bytes | int] = list(_NUMBER.split(name.upper()))
    parts[1::2] = map(int, parts[1::2])
    return parts
