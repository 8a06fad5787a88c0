"""Composing: what names from a Mac become on request, the same whatever Unicode's version is.

Macs take names apart as Unicode 3.2 says, so that is what is put together again (NFC). A character
that 3.2 has not stays as it is, and nothing is composed across it: what newer versions make of
such ones differs from Python to Python; of the others, Unicode has promised that it never will.
"""

from __future__ import annotations

from itertools import groupby
from unicodedata import is_normalized, normalize, ucd_3_2_0


def composed(name: str) -> str:
    """Return a name composed."""
    if is_normalized("NFC", name):
        return name
    runs = groupby(name, _is_known)
    return "".join(normalize("NFC", "".join(run)) if known else "".join(run) for known, run in runs)


def is_composed(name: str) -> bool:
    """Return whether a name, or several with `/` between them, would stay."""
    return is_normalized("NFC", name) or composed(name) == name


def _is_known(character: str) -> bool:
    return ucd_3_2_0.category(character) != "Cn"
