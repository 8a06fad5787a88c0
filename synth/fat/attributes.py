"""DIR_Attr where modes alone don't say it: hidden dot files, and what patterns give to paths."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..names.patterns import Pattern, pattern_of
from ..tree.columns import Tree
from .records import ATTR_ARCHIVE, ATTR_HIDDEN, ATTR_READ_ONLY, ATTR_SYSTEM
from .slots import attributes_of

_LETTERS = {"r": ATTR_READ_ONLY, "h": ATTR_HIDDEN, "s": ATTR_SYSTEM, "a": ATTR_ARCHIVE}
_CHANGES = re.compile(r"(?:[+-][rhsa]+)+", re.IGNORECASE)
_DOT_FILE = re.compile(rb"(?<=/)\.")


class AttributeRule(NamedTuple):
    """Attributes that what matches a pattern has, and those that it hasn't."""

    pattern: Pattern
    given: int
    taken: int


def attribute_rule(text: str) -> AttributeRule:
    """Return the rule of `PATTERN=+h+s-r`. Raise ValueError, and OptionError for the pattern."""
    line, equals, changes = text.rpartition("=")
    if not equals or not _CHANGES.fullmatch(changes):
        raise ValueError(
            f"{text!r} is no pattern with attributes; expected one like '*.SYS=+h+s-r', of the "
            "letters r, h, s and a"
        )
    pattern = pattern_of(line, "attrib", any_case=True)
    if pattern is None or not pattern.excludes:
        raise ValueError(f"{line!r} is no pattern of paths; expected one like '*.SYS'")
    bits = {"+": 0, "-": 0}
    for each in re.finditer(r"([+-])([a-z]+)", changes.lower()):
        sign, other = each[1], "-" if each[1] == "+" else "+"
        for letter in each[2]:
            bits[sign] |= _LETTERS[letter]
            bits[other] &= ~_LETTERS[letter]
    return AttributeRule(pattern, bits["+"], bits["-"])


def attributes(
    tree: Tree, renamed: Mapping[int, str], hide_dotfiles: bool, rules: Sequence[AttributeRule]
) -> array[int] | None:
    """Return DIR_Attr by node; None where the modes say it. The last rule that matches counts."""
    if not hide_dotfiles and not rules:
        return None
    of_modes = {mode: attributes_of(mode) for mode in set(tree.modes)}
    column = array("B", [of_modes[mode] for mode in tree.modes])
    if hide_dotfiles:
        _hide_dotfiles(tree, renamed, column)
    if rules:
        for ordinal, directory in enumerate(tree.directories):
            _apply(tree, ordinal, tree.path(directory), rules, column)
    return column


def _hide_dotfiles(tree: Tree, renamed: Mapping[int, str], column: array[int]) -> None:
    for found in _DOT_FILE.finditer(tree.names):
        node = bisect_left(tree.name_ends, found.start())
        if renamed.get(node, ".").startswith("."):
            column[node] |= ATTR_HIDDEN


def _apply(
    tree: Tree, ordinal: int, folder: bytes, rules: Sequence[AttributeRule], column: array[int]
) -> None:
    """Apply the rules to the entries of a directory."""
    prefix = folder + b"/" if folder else b""
    for node in tree.children(ordinal):
        path, is_directory = prefix + tree.name(node), tree.is_directory(node)
        for rule in rules:
            if rule.pattern.matches(path, is_directory):
                column[node] = column[node] & ~rule.taken | rule.given
