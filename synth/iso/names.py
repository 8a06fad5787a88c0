r"""Names: what they become where only some characters exist, and never twice the same.

In the primary tree (ECMA-119, 7.5 and 7.6), for each directory on its own:

1. Letters become capitals; what is not A-Z, 0-9 or _ becomes `_`, character by character. So do
   dots, but for the last one of a file's name, which separates the extension (none at the start).
2. Level 1: 8 characters, and 3 of an extension. Levels 2 and 3: 30 in all, at most 15 of them of
   an extension; a directory's name has 31.
3. Of names that became one, the first in byte order stays, the others' ends become numbers.

In Joliet's tree: control characters and * / : ; ? \ , what is no UTF-8 and what is beyond U+FFFF
become `_`, as do dots and spaces at the end, which readers drop; 64 characters (103 in the long
relaxation), at most 16 of an extension kept; of names that became one, one that nothing changed
stays, else the first; the others get `~2`, `~3`, ... before the extension.

With Rock Ridge, every name is also there byte by byte. All of this takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress

JOLIET_CHARACTERS = 64  # Joliet, "Allowed Character Set" and what follows
JOLIET_LONG_CHARACTERS = 103  # as mkisofs and xorriso relax it: a record has no room for more
VERSION = ";1"

_CAPITALS = bytes(
    code if chr(code) in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./" else ord("_")
    for code in bytes(range(256)).upper()
)
# Names of files that stay as they are: 30 characters and one dot, with an extension of 15 or less.
_PLAIN_FILES = re.compile(r"[A-Z0-9_]+\.[A-Z0-9_]{1,15}(?:/[A-Z0-9_]+\.[A-Z0-9_]{1,15})*")
_LONGEST_PLAIN_FILE = 31
_VERSION_END = f"{VERSION}/"
_NO_CAPITAL = re.compile("[^A-Z0-9_./]")
_NOT_JOLIET = re.compile("[\x00-\x1f*:;?\\\\\ud800-\udfff\U00010000-\U0010ffff]")
_TRAILING = re.compile(r"[. ]+(?=/|\Z)")
_LONGEST_JOLIET_EXTENSION = 16


def primary_identifiers(joined: bytes, is_directory: Sequence[bool], level: int) -> list[str]:
    """The identifiers of a directory's entries, files' with version, in the order of the names.

    `joined` is their names with `/` between them.
    """
    if joined.isascii():
        text = joined.translate(_CAPITALS).decode("ascii")
    else:
        text = _NO_CAPITAL.sub("_", joined.decode("utf-8", "surrogateescape").upper())
    if level > 1 and not any(is_directory) and _PLAIN_FILES.fullmatch(text):
        names = text.split("/")
        if max(map(len, names)) <= _LONGEST_PLAIN_FILE and len(set(names)) == len(names):
            return f"{text.replace('/', _VERSION_END)}{VERSION}".split("/")
    most, most_extension = (8, 3) if level == 1 else (30, 15)
    most_directory = 8 if level == 1 else 31
    stems: list[str] = []
    extensions: list[str] = []
    for name, directory in zip(text.split("/"), is_directory, strict=True):
        stem, dot, extension = ("", "", name) if directory else name.rpartition(".")
        if not stem:
            stem, extension = dot + extension, ""
        extension = extension[:most_extension]
        room = most_directory if directory else most if level == 1 else most - len(extension)
        stems.append(stem.replace(".", "_")[:room])
        extensions.append(extension)
    _make_unique(stems, extensions, most if level == 1 else None)
    return [
        stem if directory else f"{stem}.{extension}{VERSION}"
        for stem, extension, directory in zip(stems, extensions, is_directory, strict=True)
    ]


def _make_unique(stems: list[str], extensions: list[str], most: int | None) -> None:
    """Applies rule 3. A directory and a file without extension differ by nothing but a dot."""
    keys = set(zip(stems, extensions, strict=True))
    if len(keys) == len(stems):
        return
    seen: set[tuple[str, str]] = set()
    # A counter for each stem that is cut to the same, so that no number is tried twice.
    counters: dict[tuple[str, str, int], int] = {}
    for position, key in enumerate(zip(stems, extensions, strict=True)):
        if key not in seen:
            seen.add(key)
            continue
        stem, extension = key
        room = most or 30 - len(extension)
        digits = 1
        while True:
            prefix = stem[: room - digits]
            counter = (prefix, extension, digits)
            number = counters.get(counter, 10 ** (digits - 1))
            while number < 10**digits and (f"{prefix}{number}", extension) in keys:
                number += 1
            counters[counter] = number + 1
            if number < 10**digits:
                break
            digits += 1
        stems[position] = f"{prefix}{number}"
        keys.add((stems[position], extension))


def joliet_names(joined: bytes, *, most: int = JOLIET_CHARACTERS) -> list[str]:
    """The names of a directory's entries in Joliet's tree, without version."""
    text = joined.decode("utf-8", "surrogateescape")
    names = _fill_ends(_NOT_JOLIET.sub("_", text)).split("/")
    if max(map(len, names)) > most:
        names = [name if len(name) <= most else _cut(name, most) for name in names]
    taken = set(names)
    if len(taken) == len(names):
        return names
    stay = [new == old for new, old in zip(names, text.split("/"), strict=True)]
    seen = set(compress(names, stay))
    counters: dict[str, int] = {}
    for position, name in enumerate(names):
        if stay[position]:
            continue
        if name not in seen:
            seen.add(name)
            continue
        number = counters.get(name, 2)
        while (numbered := _cut(name, most, f"~{number}")) in taken:
            number += 1
        counters[name] = number + 1
        taken.add(numbered)
        names[position] = numbered
    return names


def _fill_ends(text: str) -> str:
    """Names joined by `/`, with `_` for what readers drop from their ends."""
    if "./" in text or " /" in text or text.endswith((".", " ")):
        return _TRAILING.sub(lambda match: "_" * len(match[0]), text)
    return text


def _cut(name: str, most: int, tail: str = "") -> str:
    """A name with `tail` before its extension, the stem cut so that all has `most` characters."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > _LONGEST_JOLIET_EXTENSION:
        stem, dot, extension = name, "", ""
    room = most - len(tail) - len(dot) - len(extension)
    return _fill_ends(stem[:room] + tail + dot + extension)


def joliet_key(name: str, *, is_directory: bool) -> tuple[str, str]:
    """What Joliet's tree is sorted by: the name, then the extension (ECMA-119, 9.3)."""
    if is_directory:
        return name, ""
    stem, dot, extension = name.rpartition(".")
    return (stem, extension) if dot else (name, "")
