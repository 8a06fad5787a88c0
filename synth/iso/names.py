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

from ..names.numbering import Counters, first_free

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
# Characters that have several capitals, or one in A-Z, and what becomes of them; written down, as
# Python's own tables change with Unicode's versions.
_SEVERAL = {
    **dict.fromkeys(map(chr, (0x390, 0x3B0, 0x1F52, 0x1F54, 0x1F56, 0x1FB7, 0x1FC7, 0x1FD2, 0x1FD3,
                              0x1FD7, 0x1FE2, 0x1FE3, 0x1FE7, 0x1FF7)), "___"),
    **dict.fromkeys(map(chr, (0x587, 0x1F50, *range(0x1F80, 0x1FB0), *range(0x1FB2, 0x1FB5), 0x1FB6,
                              0x1FBC, *range(0x1FC2, 0x1FC5), 0x1FC6, 0x1FCC, 0x1FD6, 0x1FE4,
                              0x1FE6, *range(0x1FF2, 0x1FF5), 0x1FF6, 0x1FFC,
                              *range(0xFB13, 0xFB18))), "__"),
    "\u00df": "SS", "\u0131": "I", "\u0149": "_N", "\u017f": "S", "\u01f0": "J_", "\u1e96": "H_",
    "\u1e97": "T_", "\u1e98": "W_", "\u1e99": "Y_", "\u1e9a": "A_", "\ufb00": "FF", "\ufb01": "FI",
    "\ufb02": "FL", "\ufb03": "FFI", "\ufb04": "FFL", "\ufb05": "ST", "\ufb06": "ST",
}  # fmt: skip
_HAS_SEVERAL = re.compile(f"[{''.join(_SEVERAL)}]")
_NOT_JOLIET = re.compile("[\x00-\x1f*:;?\\\\\ud800-\udfff\U00010000-\U0010ffff]")
_TRAILING = re.compile(r"(?<![. ])[. ]++(?=/|\Z)")  # no dot is looked at twice
_LONGEST_JOLIET_EXTENSION = 16


def primary_identifiers(joined: bytes, is_directory: Sequence[bool], level: int) -> list[str]:
    """Return the identifiers of a directory's entries, files' with version, in the order of the
    names.

    `joined` is their names with `/` between them.
    """
    if not joined.isascii():
        text = joined.decode("utf-8", "surrogateescape")
        text = _HAS_SEVERAL.sub(lambda match: _SEVERAL[match[0]], text)
        joined = text.encode("ascii", "replace")
    text = joined.translate(_CAPITALS).decode("ascii")
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
    """Apply rule 3. A directory and a file without extension differ by nothing but a dot.

    A number takes the place of a name's end: of the last character if there is no room behind it.
    On level 1, `readme-draft.txt`, `readme-final.txt` and `readme-first.txt` are README_D, README_F
    and README_F, and the last becomes README_1; a third README_F would be README_2, and the tenth
    after the first README10. On level 2, directories `a-b` and `a_b` are A_B and A_B1.
    """
    keys = set(zip(stems, extensions, strict=True))
    if len(keys) == len(stems):
        return
    seen: set[tuple[str, str]] = set()
    counters: Counters = {}
    for position, key in enumerate(zip(stems, extensions, strict=True)):
        if key not in seen:
            seen.add(key)
            continue
        stem, extension = key
        room = most or 30 - len(extension)
        stems[position] = _numbered_stem(stem, extension, room, keys, counters)
        keys.add((stems[position], extension))


def _numbered_stem(
    stem: str, extension: str, room: int, taken: set[tuple[str, str]], counters: Counters
) -> str:
    """Return the stem with the first number from 1 on that no name with the extension has."""
    beginning, number = first_free(
        lambda digits: stem[: room - digits],
        extension,
        lambda beginning, number: (f"{beginning}{number}", extension) in taken,
        counters,
        least=1,
    )
    return f"{beginning}{number}"


def joliet_names(joined: bytes, *, most: int = JOLIET_CHARACTERS) -> list[str]:
    """Return the names of a directory's entries in Joliet's tree, without version."""
    text = joined.decode("utf-8", "surrogateescape")
    names = _fill_ends(_NOT_JOLIET.sub("_", text)).split("/")
    if max(map(len, names)) > most:
        names = [name if len(name) <= most else _cut(name, most) for name in names]
    taken = set(names)
    if len(taken) == len(names):
        return names
    stay = [new == old for new, old in zip(names, text.split("/"), strict=True)]
    seen = set(compress(names, stay))
    counters: Counters = {}
    for position, name in enumerate(names):
        if stay[position]:
            continue
        if name not in seen:
            seen.add(name)
            continue
        names[position] = numbered = _numbered(name, most, taken, counters)
        taken.add(numbered)
    return names


def _numbered(name: str, most: int, taken: set[str], counters: Counters) -> str:
    """Return the first of `name~2`, `name~3`, ... that nobody has."""
    stem, end = _split(name)
    beginning, number = first_free(
        lambda digits: stem[: most - 1 - digits - len(end)],
        end,
        lambda beginning, number: f"{beginning}~{number}{end}" in taken,
        counters,
        least=2,
    )
    return f"{beginning}~{number}{end}"


def _fill_ends(text: str) -> str:
    """Return names joined by `/`, with `_` for what readers drop from their ends."""
    if "./" in text or " /" in text or text.endswith((".", " ")):
        return _TRAILING.sub(lambda match: "_" * len(match[0]), text)
    return text


def _cut(name: str, most: int) -> str:
    """Return a name whose stem is cut so that all has `most` characters."""
    stem, end = _split(name)
    return _fill_ends(stem[: most - len(end)] + end)


def _split(name: str) -> tuple[str, str]:
    """Return the stem of a name, and its extension with the dot before it if it is kept."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > _LONGEST_JOLIET_EXTENSION:
        return name, ""
    return stem, dot + extension


def joliet_key(name: str, *, is_directory: bool) -> tuple[str, str]:
    """Return what Joliet's tree is sorted by: the name, then the extension (ECMA-119, 9.3)."""
    if is_directory:
        return name, ""
    stem, dot, extension = name.rpartition(".")
    return (stem, extension) if dot else (name, "")
