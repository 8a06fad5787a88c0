"""8.3 names of very many long names by numpy: those that `names.short_names` gives, sooner.

A column is what stands at one place of each name; so names are (length, rows) and 8.3 names are
(11, rows). Only such names come here as `bulk` says.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .names import LONGEST_SHORT, SHORT_CHARACTERS

Bytes: TypeAlias = NDArray[np.uint8]
Numbers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

_PAD, _DOT, _ZERO, _UNDERSCORE, _TILDE = b" .0_~"
_IS_SHORT = np.array([bool(re.match(f"[{SHORT_CHARACTERS}]", chr(code))) for code in range(128)])
_SHORTENED = bytes(
    code if _IS_SHORT[code] else _UNDERSCORE for code in bytes(range(128)).upper()
).ljust(256, b"_")
# The characters of 8.3 names, and zero for the space that fills them, in six bits.
_CODES = np.where(_IS_SHORT, np.cumsum(_IS_SHORT), 0).astype(np.uint64)
_CODE_BITS = 6
_KEY_COLUMNS = (0, 1, 2, 3, 4, 5, 8, 9, 10)
MOST_DIRECTORIES = 1 << 64 - _CODE_BITS * len(_KEY_COLUMNS)
"""As many as what is left of a key tells apart."""


class Group(NamedTuple):
    """The rows of a stretch whose names take as many slots."""

    rows: slice | Numbers
    slots: int
    lengths: Numbers | int
    """Of the names, in characters; one number if all are alike."""
    characters: Bytes
    """(longest, rows), zero behind the end of a name."""


def is_constant(column: Bytes) -> bool:
    """Return whether all of a column is alike."""
    return bool(column[0] == column[-1]) and bool((column == column[0]).all())


def bases(group: Group) -> tuple[Bytes, Numbers | int, Flags]:
    """Return what 8.3 names are made of, (11, rows); how much of it comes before a dot; and which
    names are 8.3 names but for case.
    """
    lengths, characters = group.lengths, group.characters
    longest, count = characters.shape
    basis = np.full((11, count), _PAD, np.uint8)
    is_dot = characters == _DOT
    columns = np.flatnonzero(is_dot.any(axis=1)).tolist()
    first: Numbers | int = lengths
    last: Numbers | int = lengths
    if isinstance(lengths, int) and all(is_dot[column].all() for column in columns):
        if columns:
            first, last = columns[0], columns[-1]
    else:
        first, last = np.full((2, count), lengths)
        for column in columns:
            last[is_dot[column]] = column
        for column in reversed(columns):
            first[is_dot[column]] = column
    # translate takes a tenth of the time that indexing takes
    text = characters.tobytes().translate(_SHORTENED)
    shortened = np.frombuffer(text, np.uint8).reshape(characters.shape)
    for at in range(min(8, longest)):
        basis[at] = np.where(at < first, shortened[at], _PAD)
    for at in range(3):
        basis[8 + at] = _behind(shortened, lengths, last + 1 + at)
    head, was = shortened[:LONGEST_SHORT], characters[:LONGEST_SHORT]
    may_be = (head != _UNDERSCORE) | (was == _UNDERSCORE) | (was == _DOT)
    may_be |= np.arange(len(head))[:, None] >= np.asarray(lengths)
    fits = may_be.all(axis=0) & (lengths <= LONGEST_SHORT)
    fits &= (first <= 8) & (first == last) & (lengths - last <= 4)
    return basis, np.minimum(first, 8), fits


def _behind(shortened: Bytes, lengths: Numbers | int, places: Numbers | int) -> Bytes | int:
    """Return the characters at some places of names, a place a row, or padding behind a name."""
    longest, count = shortened.shape
    if isinstance(places, int):
        return shortened[places] if places < longest else _PAD
    found = shortened[np.minimum(places, longest - 1), np.arange(count)]
    return np.where(places < lengths, found, _PAD)


def add_tails(
    shorts: Bytes, lengths: Numbers, directories: NDArray[np.uint64], rows: Numbers
) -> None:
    """Put numeric tails at the bases of some rows: those that `names.short_names` gives.

    `shorts` is (11, rows) and `lengths` says how many of the first 8 are of the basis. A number of
    so many digits is given once to what begins alike with that number (see `names`).
    """
    flat, count = shorts.reshape(-1), shorts.shape[1]
    keys, bits = directories[rows], 0
    for column in _KEY_COLUMNS:
        bits += _CODE_BITS
        if not is_constant(shorts[column]):
            keys = keys << np.uint64(bits) | _CODES[shorts[column][rows]]
            bits = 0
    keys <<= np.uint64(bits)
    for digits in range(1, 7):
        before = _equal_before(keys)
        fits = before < 9 * 10 ** (digits - 1)
        numbers = (before[fits] + 10 ** (digits - 1)).astype(np.uint16)
        own = rows[fits]
        places = (np.minimum(lengths[own], 7 - digits) + digits) * count + own
        for _ in range(digits):
            rest = numbers // np.uint16(10)
            flat[places] = numbers - rest * np.uint16(10) + np.uint16(_ZERO)
            numbers = rest
            places -= count
        flat[places] = _TILDE
        if fits.all():
            return
        # One digit more leaves room for one character less.
        left = ~fits
        keys, rows = keys[left] & ~np.uint64(63 << 18 + _CODE_BITS * (digits - 1)), rows[left]


def _equal_before(keys: NDArray[np.uint64]) -> Numbers:
    """Return how many equal ones stand before each."""
    order = None
    starts = _starts(keys)
    heads = keys[starts]
    if (heads[1:] <= heads[:-1]).any():  # equal ones may not stand together
        order = np.argsort(keys, kind="stable")
        starts = _starts(keys[order])
    lengths = np.diff(starts, append=len(keys))
    counts: Numbers = np.arange(len(keys)) - np.repeat(starts, lengths)
    if order is None:
        return counts
    found = np.empty_like(counts)
    found[order] = counts
    return found


def _starts(keys: NDArray[np.uint64]) -> Numbers:
    """Return where a key differs from the one before it."""
    return np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1))


def checksums(shorts: Bytes) -> Bytes:
    """Return what the long entries of each 8.3 name bear (FATGEN, "ChkSum")."""
    totals: Bytes = shorts[0]
    for column in shorts[1:]:
        totals = (totals >> 1 | totals << 7) + column
    return totals
