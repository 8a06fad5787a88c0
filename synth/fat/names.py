r"""Names: which a FAT directory can hold as they are, what the others become, and 8.3 aliases.

The rules, in order, for each directory on its own (FATGEN, "Long Directory Entry Structure"):

1. Bytes that are not UTF-8, control characters, U+FFFF (which fills the slots of long names) and
   " * : < > ? \\ | become `_`.
2. Each dot or space at the end becomes `_`: Win32 cannot open such a name.
3. A device name (CON, PRN, AUX, NUL, COM1-9, LPT1-9, with any extension) gets `_` after it.
4. On request, names are composed (see `composing`); else they stay as they are.
5. Names equal but for case (see `upcase`) may not stand together. Names that nothing above changed
   come first, in byte order; a name that is taken gets `~2`, `~3`, ... before its extension.

What a name becomes depends on the names it collides with, never on the rest of the directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..names.composing import composed, is_composed
from ..names.numbering import Counters, first_free
from ..names.upcase import fold
from .records import MOST_NAME_UNITS, UNITS_PER_LONG_ENTRY

# What rules 1 to 3 are about, sought in all names of a directory at once, joined by "/".
_ILLEGAL_BYTES = bytes(range(0x20)) + b'"*:<>?\\|'
_FILLER = "\uffff".encode()
_DEVICE_BYTES = re.compile(  # without IGNORECASE, which takes ten times as long
    rb"""/(?: [Cc][Oo][Nn] (?: [Ii][Nn]\$ | [Oo][Uu][Tt]\$ )? | [Pp][Rr][Nn] | [Aa][Uu][Xx]
    | [Nn][Uu][Ll] | (?: [Cc][Oo][Mm] | [Ll][Pp][Tt] ) [1-9] ) \x20* (?: [./] | \Z )""",
    re.VERBOSE,
)
_ILLEGAL = re.compile('[\x00-\x1f"*:<>?\\\\|\ud800-\udfff\uffff]')
_TRAILING = re.compile(r"(?<![. ])[. ]++\Z")  # no dot is looked at twice
_DEVICE = re.compile(
    r"(con|prn|aux|nul|com[1-9\u00b9\u00b2\u00b3]|lpt[1-9\u00b9\u00b2\u00b3]|conin\$|conout\$)"
    r"(?= *(?:\.|\Z))",
    re.IGNORECASE | re.ASCII,
)
_DEVICE_IN_LATIN = re.compile(
    "[\u00b9\u00b2\u00b3]"
)  # the superscripts that Windows takes for digits

_LONGEST_EXTENSION = 200  # units; what is longer is no extension, and leaves no room for a tail

SHORT_CHARACTERS = r"A-Z0-9!#$%&'()\-@^_`{}~"
"""The characters of 8.3 names, as a regular expression has them in brackets."""
_IS_SHORT = re.compile(rf"[{SHORT_CHARACTERS}]{{1,8}}(?:\.[{SHORT_CHARACTERS}]{{1,3}})?")
LONGEST_SHORT = 12
"""Characters of an 8.3 name, with the dot."""
_IS_SHORT_BYTES = re.compile(_IS_SHORT.pattern.encode())
# An upper-case ASCII name without what 8.3 has no place for; dots and the `/` between names stay.
_SHORTENED = {
    code: None if chr(code) == " " else "_"
    for code in range(128)
    if not re.match(rf"[{SHORT_CHARACTERS}./]", chr(code))
}
# What some readers (mtools) take for capitals of ASCII: the dotless i, the long s, the Kelvin sign.
_LIKE_ASCII = {0x131: "I", 0x17F: "S", 0x212A: "K"}
_CAPITALS = {code: code - 32 for code in range(ord("a"), ord("z") + 1)} | {0x131: "I", 0x17F: "S"}
_ROTATED = bytes(code >> 1 | (code & 1) << 7 for code in range(256))
_NOT_SHORT = re.compile(rf"[^{SHORT_CHARACTERS}]")


def decode(name: bytes) -> str:
    """Return a host name as text; bytes that are not UTF-8 are lone surrogates."""
    return name.decode("utf-8", "surrogateescape")


def legal(name: str) -> str:
    """Return a name after rules 1 to 3."""
    name = _ILLEGAL.sub("_", name)
    name = _fill_end(name)
    return _fit(_DEVICE.sub(r"\1_", name, count=1)) if _DEVICE.match(name) else name


def renames(joined: bytes, count: int, *, normalize: bool = False) -> dict[int, str]:
    """Return which of a directory's names can't stay, and what they become.

    `joined` is the directory's `count` names in byte order with `/` between them. Return the new
    names by position. Linear in the number of names, whatever collides.
    """
    stays = not normalize or joined.isascii() or is_composed(decode(joined))
    if stays and not _is_suspect(joined) and _all_differ(joined, count):
        return {}
    names = [decode(name) for name in joined.split(b"/")]
    wanted = [legal(name) for name in names]
    if normalize:
        wanted = [_fit(composed(name)) for name in wanted]
    changed = [position for position, name in enumerate(names) if wanted[position] != name]
    taken: set[str] = set()
    renamed: dict[int, str] = {}
    twins: list[int] = []
    for position, name in enumerate(names):
        if wanted[position] == name:
            key = fold(name)
            if key in taken:
                twins.append(position)
            taken.add(key)
    counters: Counters = {}
    for position in sorted(twins + changed):
        renamed[position] = name = _unique(wanted[position], taken, counters)
        taken.add(fold(name))
    return renamed


def _is_suspect(joined: bytes) -> bool:
    """Return whether rules 1 to 3 may be about one of the names."""
    return (
        len(joined.translate(None, _ILLEGAL_BYTES)) != len(joined)
        or b"./" in joined
        or b" /" in joined
        or joined.endswith((b".", b" "))
        or _FILLER in joined
        or _DEVICE_BYTES.search(b"/" + joined) is not None
    )


def rename_reason(name: bytes) -> str:
    """Return why a host name that `renames` changes can't stay."""
    text = decode(name)
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8"
    if _ILLEGAL.search(text):
        return "has characters that FAT doesn't"
    if _TRAILING.search(text):
        return "ends with a dot or a space"
    if _DEVICE.match(text):
        return "is a device's name"
    if not is_composed(text):
        return "was to be composed"
    return "is another name but for case"


def _all_differ(joined: bytes, count: int) -> bool:
    """Return whether no two names are equal but for case, and all are what rule 1 wants."""
    if joined.isascii():
        return len(set(joined.upper().split(b"/"))) == count
    try:
        text = joined.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if _DEVICE_IN_LATIN.search(text):
        return False
    return len(set(fold(text).split("/"))) == count


def _unique(name: str, taken: set[str], counters: Counters) -> str:
    """Return `name`, or the first of `name~2`, `name~3`, ... that nobody has."""
    if fold(name) not in taken:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or units(extension) > _LONGEST_EXTENSION:
        stem, dot, extension = name, "", ""
    end = dot + extension
    room, folded_end = MOST_NAME_UNITS - units(end), fold(end)
    _, number = first_free(
        lambda digits: fold(_cut(stem, room - 1 - digits)),
        folded_end,
        lambda beginning, number: f"{beginning}~{number}{folded_end}" in taken,
        counters,
        least=2,
    )
    return f"{_cut(stem, room - 1 - len(str(number)))}~{number}{end}"


def _fill_end(name: str) -> str:
    """Apply rule 2: `_` for each dot or space at the end, which some readers drop."""
    return _TRAILING.sub(lambda match: "_" * len(match[0]), name)


def _fit(name: str) -> str:
    """Return a name that a rule may have made too long, cut to what there is room for."""
    return name if units(name) <= MOST_NAME_UNITS else _fill_end(_cut(name, MOST_NAME_UNITS))


def _cut(text: str, most: int) -> str:
    """Return the longest beginning of `text` that has at most `most` UTF-16 units."""
    return text.encode("utf-16-le")[: 2 * max(most, 0)].decode("utf-16-le", "ignore")


def units(name: str) -> int:
    """Return the length of a name in UTF-16 units."""
    return len(name) if name.isascii() else len(name.encode("utf-16-le")) // 2


def slots(name: str) -> int:
    """Return how many directory entries a legal name takes: its 8.3 entry and the long ones before
    it.

    A name that is an upper-case 8.3 name takes no long entry.
    """
    if _IS_SHORT.fullmatch(name):
        return 1
    return (units(name) + UNITS_PER_LONG_ENTRY - 1) // UNITS_PER_LONG_ENTRY + 1


def slot_counts(joined: bytes, renamed: dict[int, str]) -> list[int]:
    """Return the `slots` of each of a directory's names; `joined` and `renamed` as in `renames`."""
    names = joined.split(b"/")
    if joined.isascii():
        is_short = _IS_SHORT_BYTES.fullmatch
        # (length + 12) // 13 + 1, as one division
        counts = [
            1 if length <= LONGEST_SHORT and is_short(name) else (length + 25) // 13
            for name, length in zip(names, map(len, names), strict=True)
        ]
        for position, new_name in renamed.items():
            counts[position] = slots(new_name)
        return counts
    return [slots(renamed.get(at) or decode(name)) for at, name in enumerate(names)]


def counts_if_plain(joined: bytes, lengths: Iterable[int]) -> list[int] | None:
    """Return the `slot_counts` of the names of some directories, which have so many each.

    None when names may have to change, or there are others than of ASCII.
    """
    if not joined.isascii() or _is_suspect(joined):
        return None
    uppers, start = joined.upper().split(b"/"), 0
    for length in lengths:
        if length > 1 and len(set(uppers[start : start + length])) != length:
            return None
        start += length
    return slot_counts(joined, {})


def needs_long_entries(name: str) -> bool:
    """Return whether a legal name is more than its 8.3 entry says."""
    return not _IS_SHORT.fullmatch(name)


def short_names(names: Sequence[str]) -> list[bytes]:
    """Return the 8.3 names of a directory's legal names, as the 11 bytes of a directory entry.

    A name that is an 8.3 name but for case keeps it; any other gets a numeric tail, `~1` and on,
    that no other entry has. Linear in the number of names, whatever collides.
    """
    shorts: list[bytes | None] = []
    taken: set[bytes] = set()
    for name in names:
        short = None
        # Few names of other letters are such a name to readers; they keep it from the others.
        if len(name) <= LONGEST_SHORT and _IS_SHORT.fullmatch(upper := _short_form(name)):
            base, _, extension = upper.partition(".")
            taken.add(form := b"%-8b%-3b" % (base.encode(), extension.encode()))
            short = form if name.isascii() else None
        shorts.append(short)
    tails = _Tails(taken)
    # A directory has fewer names than there are numeric tails of one basis.
    return [short or next(tails[basis]) for basis, short in zip(_bases(names), shorts, strict=True)]


def _short_form(name: str) -> str:
    """Return what a name is to those readers that see the most names in it."""
    return name.upper() if name.isascii() else fold(name).translate(_LIKE_ASCII)


def _bases(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the `_basis` of each name."""
    joined = "/".join(names)
    if not joined.isascii():
        yield from map(_basis, names)
        return
    for upper in joined.upper().translate(_SHORTENED).split("/"):
        bare = upper.lstrip(".")
        base, _, extension = bare.partition(".")
        if "." in extension:
            extension = extension.rpartition(".")[2]
        yield base[:8] or "_", extension[:3]


def _basis(name: str) -> tuple[str, str]:
    """Return at most 8 characters from before the first dot and 3 from after the last one.

    FATGEN, "The Basis-Name Generation Algorithm".
    """
    upper = name.translate(_CAPITALS).replace(" ", "").lstrip(".")
    base = _NOT_SHORT.sub("_", upper.partition(".")[0][:8]) or "_"
    return base, _NOT_SHORT.sub("_", upper.rpartition(".")[2][:3]) if "." in upper else ""


class _Tails(dict[tuple[str, str], Iterator[bytes]]):
    """The names of a directory that `~` and a number make of a basis, one after the other.

    FATGEN, "The Numeric-Tail Generation Algorithm". Tails of one length are counted for each
    beginning that they leave room for, so no number is tried twice: two names with tails of the
    same length differ in their beginning or in their number.

    With `collision-1.text` and on, then `collider-1.text` and on, the bases are COLLISIO and
    COLLIDER, both with TEX. One digit leaves room for COLLIS and COLLID, which are counted apart:
    COLLIS~1 to COLLIS~9, COLLID~1 to COLLID~9. Two digits leave room for COLLI, which they share:
    the tenth of the former is COLLI~10, the tenth of the latter COLLI~11.
    """

    def __init__(self, taken: set[bytes]) -> None:
        super().__init__()
        self._taken = taken
        self._numbers: dict[tuple[int, str, str], Iterator[int]] = {}

    def __missing__(self, basis: tuple[str, str]) -> Iterator[bytes]:
        names = self[basis] = self._all(*basis)
        return names

    def _all(self, base: str, extension: str) -> Iterator[bytes]:
        for digits in range(1, 7):
            beginning = base[: 7 - digits]
            key = (digits, beginning, extension)
            numbers = self._numbers.setdefault(key, iter(range(10 ** (digits - 1), 10**digits)))
            whole = f"{beginning}~{'?' * digits}".ljust(8) + extension.ljust(3)
            form = whole.replace("%", "%%").replace("?" * digits, "%d").encode("ascii")
            for number in numbers:
                short = form % number
                if short not in self._taken:
                    yield short


def checksums(shorts: Sequence[bytes]) -> bytes:
    """Return what the long entries of each 8.3 name bear (FATGEN, "ChkSum"), worked out byte by
    byte for all of them at once.

    A column of bytes is a large number: adding the lower seven bits of each byte never carries
    into the next byte, and the upper bits are added without carry. So 0xFF + 0x02 in one byte is
    0x7F + 0x02 = 0x81, then the upper bits 0x80 ^ 0x00 change its own: 0x01, as it is modulo 256.
    """
    blob, count = b"".join(shorts), len(shorts)
    low_bits = int.from_bytes(b"\x7f" * count, "little")
    high_bits = int.from_bytes(b"\x80" * count, "little")
    totals = blob[::11]
    for column in range(1, 11):
        rotated = int.from_bytes(totals.translate(_ROTATED), "little")
        added = int.from_bytes(blob[column::11], "little")
        sums = (rotated & low_bits) + (added & low_bits) ^ (rotated ^ added) & high_bits
        totals = sums.to_bytes(count, "little")
    return totals
