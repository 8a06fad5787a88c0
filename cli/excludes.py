"""Excludes: what .gitignore's patterns say of a path in the tree."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import click

_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "digit": "0-9", "lower": "a-z", "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CLASS = re.compile(r"\[:(\w+):\]")
_BOM = "\ufeff"
_DEEPER = re.compile(r"(?<=[^/!])/\*\*/ *$")  # whose directories are in those of `/*/`
_ANY_DIRECTORY = "(?P<ps_d>/)"  # as pathspec has `*/`


def lines_of(data: bytes) -> list[str]:
    """The patterns in a file's bytes, a line each."""
    text = os.fsdecode(data).removeprefix(os.fsdecode(_BOM.encode()))
    return [line.removesuffix("\r") for line in text.split("\n")]


def excluded_by(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    """Tells whether a path (a directory's ends with `/`) is left out; None if nothing is.

    The last pattern that matches a path decides. Whoever asks doesn't ask about what is in a
    directory that is left out. Raises UsageError.
    """
    if not patterns:
        return None
    from pathspec import GitIgnoreSpec  # noqa: PLC0415  slow to import, and most runs need none

    rules: list[_Rule] = []
    for line in patterns:
        pattern = _CLASS.sub(_members, _as_utf8(line))
        for_directories = pattern.rstrip(" ").endswith("/")
        pattern = _DEEPER.sub("/*/", pattern)
        try:
            compiled = GitIgnoreSpec.from_lines([pattern]).patterns
        except ValueError as error:
            raise click.UsageError(f"--exclude: {error}") from None
        rules += [
            _Rule(each.regex, for_directories, each.include)
            for each in compiled
            if each.include is not None and each.regex is not None
        ]
    rules.reverse()

    def excluded(path: str) -> bool:
        return next((rule.excludes for rule in rules if rule.is_about(path)), False)

    return excluded


class _Rule(NamedTuple):
    regex: re.Pattern[str]
    for_directories: bool
    excludes: bool

    def is_about(self, path: str) -> bool:
        """Whether it matches a path itself, and not only a directory above it."""
        if not self.for_directories:
            path = path.removesuffix("/")
        elif not path.endswith("/"):
            return False
        found = self.regex.search(path)
        if found and self.regex.pattern == _ANY_DIRECTORY:
            return True
        return found is not None and all(
            found.end(name) in {-1, len(path)} for name in self.regex.groupindex
        )


def _as_utf8(line: str) -> str:
    """Return a pattern as the scan has paths, whatever the locale."""
    try:
        return os.fsencode(line).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # not from this locale, but from a configuration file
        return line


def _members(match: re.Match[str]) -> str:
    """A POSIX class of characters, written out."""
    if match[1] not in _CLASSES:
        known: Iterable[str] = sorted(_CLASSES)
        raise click.UsageError(f"--exclude: {match[0]} is not known; {', '.join(known)} are")
    return _CLASSES[match[1]]
