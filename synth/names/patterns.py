"""Patterns of .gitignore: what they say of a path in the tree, byte by byte as git reads them.

A pattern becomes a regular expression. See gitignore(5); what it leaves open (sets that nobody
closes, backslashes, stars in odd places) is as git's matcher has it.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...errors import OptionError

_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(32), 127))),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}
_BOM = "\ufeff"
_SLASH = ord("/")
_SPECIAL = re.compile(rb"[*?[\\]")
_NOTHING = b"(?!)"


def lines_of(data: bytes) -> list[str]:
    """Return the patterns in a file's bytes, a line each."""
    text = os.fsdecode(data).removeprefix(os.fsdecode(_BOM.encode()))
    return [line.removesuffix("\r") for line in text.split("\n")]


def excluded_by(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    """Return what tells whether a path (a directory's ends with `/`) is left out.

    Return None if nothing is. The last pattern that matches a path decides. Whoever asks doesn't
    ask about what is in a directory that is left out. Raise OptionError.
    """
    if not patterns:
        return None
    found = (pattern_of(line, "exclude") for line in reversed(patterns))
    rules = [rule for rule in found if rule]

    def excluded(path: str) -> bool:
        is_directory = path.endswith("/")
        whole = path.removesuffix("/").encode("utf-8", "surrogateescape")  # as a scan has it
        name = whole[whole.rfind(b"/") + 1 :]
        for rule in rules:
            if is_directory or not rule.for_directories:
                subject = name if rule.of_names else whole
                if rule.regex.fullmatch(subject):
                    return rule.excludes
        return False

    return excluded


class Pattern(NamedTuple):
    """A line of patterns, as a regular expression."""

    regex: re.Pattern[bytes]
    of_names: bool
    """It is held against the last name of a path only."""
    for_directories: bool
    excludes: bool
    """It does not begin with `!`."""
    literal: bytes | None
    """The one name or path that matches; None: there may be several."""

    def matches(self, path: bytes, is_directory: bool) -> bool:
        """Return whether the pattern is one of a path in the tree, without a slash at its ends."""
        if self.for_directories and not is_directory:
            return False
        subject = path[path.rfind(b"/") + 1 :] if self.of_names else path
        return self.regex.fullmatch(subject) is not None


def pattern_of(line: str, option: str, *, any_case: bool = False) -> Pattern | None:
    """Return a line's pattern; None for a comment or an empty line.

    With `any_case`, letters of ASCII match in either case. Raise OptionError, about `option`.
    """
    pattern = _encoded(line)
    if pattern.startswith(b"#"):
        return None
    pattern = _without_trailing_spaces(pattern)
    if not pattern:
        return None
    excludes = not pattern.startswith(b"!")
    pattern = pattern if excludes else pattern[1:]
    for_directories = pattern.endswith(b"/")
    pattern = pattern[:-1] if for_directories else pattern
    of_names = b"/" not in pattern
    pattern = pattern.removeprefix(b"/")
    regex = _Translation(pattern, option).regex()
    flags = re.DOTALL | (re.IGNORECASE if any_case else 0)
    literal = None if _SPECIAL.search(pattern) else pattern
    return Pattern(re.compile(regex, flags), of_names, for_directories, excludes, literal)


def _encoded(line: str) -> bytes:
    """Return a pattern as the host has names, whatever the locale."""
    try:
        return os.fsencode(line)
    except UnicodeEncodeError:  # not from this locale, but from a configuration file
        return line.encode("utf-8", "surrogateescape")


def _without_trailing_spaces(pattern: bytes) -> bytes:
    """Return a pattern less the spaces, and nothing else, at its end; a backslash keeps one."""
    at = end = 0
    while at < len(pattern):
        if pattern[at] == ord(" "):
            at += 1
        else:
            at += 2 if pattern[at] == ord("\\") else 1
            end = at
    return pattern[:end]


class _Translation:
    """A pattern without its marks, read from left to right. Raise OptionError."""

    def __init__(self, pattern: bytes, option: str) -> None:
        self._pattern = pattern
        self._option = option
        self._at = 0

    def regex(self) -> bytes:
        """Return the regular expression for whole paths, or for names where it has no slash."""
        pattern = self._pattern
        special = _SPECIAL.search(pattern)
        # What comes before is compared by itself, and what comes then begins anew.
        self._at = begin = special.start() if special else len(pattern)
        parts = [re.escape(pattern[:begin])]
        while self._at < len(pattern):
            parts.append(self._next(begin))
        return b"".join(parts)

    def _next(self, begin: int) -> bytes:
        """Return the expression of the pattern's next element."""
        pattern = self._pattern
        byte = pattern[self._at : self._at + 1]
        if byte == b"*":
            return self._stars(begin)
        self._at += 1
        if byte == b"?":
            return b"[^/]"
        if byte == b"[":
            return self._set()
        if byte == b"\\":
            byte = pattern[self._at : self._at + 1]
            self._at += 1
            return re.escape(byte) if byte else _NOTHING
        return re.escape(byte)

    def _stars(self, begin: int) -> bytes:
        """Return the expression of one star, anything in a name, or of two: any directories."""
        pattern, first = self._pattern, self._at
        while pattern[self._at : self._at + 1] == b"*":
            self._at += 1
        rest = pattern[self._at : self._at + 2]
        begins = first == begin or pattern[first - 1] == _SLASH
        ends = not rest or rest.startswith(b"/") or rest == b"\\/"
        if self._at - first == 1 or not (begins and ends):
            return b"[^/]*"
        if rest.startswith(b"/"):
            self._at += 1
            return b"(?:.*/)?"
        return b".*"

    def _set(self) -> bytes:
        """Return the expression of a set: one byte, or nothing at all where it isn't closed."""
        members: set[int] = set()
        negated = self._peek() in {ord("!"), ord("^")}
        self._at += negated
        previous: int | None = None  # what a range may begin with
        is_first = True
        while is_first or self._peek() != ord("]"):
            is_first = False
            byte = self._peek()
            self._at += 1
            if byte == ord("-") and previous is not None and self._peek() not in {None, ord("]")}:
                last = self._literal(self._take())
                if last is None:
                    return self._unclosed()
                members.update(range(previous, last + 1))
                previous = None
            elif byte == ord("[") and self._peek() == ord(":"):
                end = self._pattern.find(b"]", self._at + 1)
                if end < 0:
                    return self._unclosed()
                if end - 2 < self._at or self._pattern[end - 1] != ord(":"):
                    members.add(byte)  # an ordinary member
                    previous = byte
                    continue
                members.update(_class(self._pattern[self._at + 1 : end - 1], self._option))
                self._at = end + 1
                previous = None
            else:
                previous = self._literal(byte)
                if previous is None:
                    return self._unclosed()
                members.add(previous)
        self._at += 1
        members = set(range(256)) - members if negated else members
        members.discard(_SLASH)
        if not members:
            return _NOTHING
        return b"[%s]" % b"".join(b"\\x%02x" % each for each in sorted(members))

    def _peek(self) -> int | None:
        return self._pattern[self._at] if self._at < len(self._pattern) else None

    def _take(self) -> int | None:
        byte = self._peek()
        self._at += 1
        return byte

    def _literal(self, byte: int | None) -> int | None:
        """Return a byte, or the one behind a backslash; None at the end."""
        return self._take() if byte == ord("\\") else byte

    def _unclosed(self) -> bytes:
        self._at = len(self._pattern)
        return _NOTHING


def _class(name: bytes, option: str) -> bytes:
    """Return the members of a POSIX class of characters. Raise OptionError."""
    text = os.fsdecode(name)
    if text not in _CLASSES:
        known = ", ".join(sorted(_CLASSES))
        raise OptionError(f"[:{text}:] is not known; {known} are", option)
    return _CLASSES[text].encode()
