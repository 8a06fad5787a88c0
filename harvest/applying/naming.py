"""Names that a guest gave, for the host: which are refused, and which are free beside another."""

from __future__ import annotations

import os
import re
import unicodedata

from ...synth.scanning.decision import STATE as IN_SCANS

STATE = os.fsencode(IN_SCANS)
"""The directory in a root that holds the journal, new files, and the trash. Scans leave it out."""
MOST_NAME_BYTES = 255
MOST_LEVELS = 250
"""Directories below each other; no path of the host could name what is deeper, by far."""

_CONTROL = re.compile("[\x00-\x1f\x7f/]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_GIT = frozenset({".git", "git~1"})  # the second is what FAT calls the first


def refusal(path: tuple[str, ...], *, allow_git: bool) -> str | None:  # noqa: PLR0911
    """Return why a path of the guest is not written to, None if it may be."""
    if not path or len(path) > MOST_LEVELS:
        return f"has {len(path)} names, where 1 to {MOST_LEVELS} are possible"
    for name in path:
        if name in {"", ".", ".."} or _CONTROL.search(name):
            return f"{name!a} is no name of a file"
        if _SURROGATE.search(name):
            return f"{name!a} holds half a character"
        if len(name.encode()) > MOST_NAME_BYTES:
            return f"a name has {len(name.encode())} bytes, {MOST_NAME_BYTES} are possible"
        folded = _folded(name)
        if folded in _GIT and not allow_git:
            return "is in a repository of git, where files can be run"
        if folded == IN_SCANS:
            return "is where vfloppy keeps what it is about to apply"
    return None


def beside(name: bytes, number: int) -> bytes:
    """Return the `number`th name beside one that is taken: NAME.conflict-1."""
    if not number:
        return name
    end = b".conflict-%d" % number
    start = name[: MOST_NAME_BYTES - len(end)]
    if len(start) < len(name):  # no character is cut in two
        start = start.decode(errors="ignore").encode()
    return start + end


def _folded(name: str) -> str:
    """Return what any file system might take a name for: letters folded, what is ignored gone."""
    text = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in text if unicodedata.category(c) not in {"Cf", "Mn"}).rstrip(". ")
