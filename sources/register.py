"""The register of sources, and the words by which people ask for them: `memory:64M`, `disk.img`."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .source import Source


class Kind(NamedTuple):
    """A kind of source."""

    help: str
    home: str
    """The module and the class, which is made of the word."""


KINDS: Mapping[str, Kind] = {
    "memory": Kind(
        "SIZE: a disk in memory, zeros at first, that all may write to.", "memory:Memory"
    ),
    "script": Kind(
        "FILE or -: a disk that a script answers for, as of nbdkit's sh.", "script:Script"
    ),
}
"""Kinds of sources that are given as NAME:WORD, by name."""

FILES: Mapping[str, Kind] = {
    ".xz": Kind("A raw image that xz has compressed.", "xz:XzFile"),
    "": Kind("A raw image, or a block device.", "image:ImageFile"),
}
"""Kinds of sources that are given as a file, by the end of its name."""


def is_source(word: str) -> bool:
    """Return whether a word stands for a source; a directory of that name goes before."""
    try:
        mode = os.stat(word).st_mode
    except (OSError, ValueError):
        return word.partition(":")[0] in KINDS and ":" in word
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def opened(word: str) -> Source:
    """Return the source that a word stands for. Raise OptionError and SourceError."""
    name, colon, rest = word.partition(":")
    if colon and name in KINDS and not os.path.exists(word):
        return _made(KINDS[name], rest)
    ending = next(each for each in FILES if word.lower().endswith(each))
    return _made(FILES[ending], word)


def _made(kind: Kind, word: str) -> Source:
    module, _, name = kind.home.partition(":")
    made: Source = getattr(import_module(f".{module}", __package__), name)(word)
    return made
