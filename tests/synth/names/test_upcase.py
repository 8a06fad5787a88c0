"""The table of capitals is the one of exFAT disks, and no version of Unicode has a say in it."""

from __future__ import annotations

import hashlib
import struct
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools import need_tool, output
from vfloppy.synth.fat.names import renames, short_names
from vfloppy.synth.iso.names import joliet_names, primary_identifiers
from vfloppy.synth.names.composing import composed, is_composed
from vfloppy.synth.names.upcase import capitals, fold

# fmt: off
GREEK = [chr(code) for first in (0x1F80, 0x1F90, 0x1FA0) for code in range(first, first + 8)] + [
    "\u1fb3", "\u1fc3", "\u1ff3"]
# fmt: on


def test_it_is_the_table_that_mkfs_exfat_writes(tmp_path):
    need_tool("mkfs.exfat")
    path = tmp_path / "exfat.img"
    with open(path, "wb") as file:
        file.truncate(8 << 20)
    output("mkfs.exfat", path)
    words = [word for (word,) in struct.iter_unpack("<H", written_table(path.read_bytes()))]
    expected: list[int] = []
    at = 0
    while at < len(words):
        if words[at] == 0xFFFF and at + 1 < len(words):  # so many units that stay
            expected += range(len(expected), len(expected) + words[at + 1])
            at += 2
        else:
            expected.append(words[at])
            at += 1
    expected += range(len(expected), 1 << 16)
    found = [ord(each) for each in capitals()]
    assert [code for code in range(1 << 16) if found[code] != expected[code]] == []


def written_table(image: bytes) -> bytes:
    """The up-case table of an exFAT volume (specification, 3.1 and 7.2)."""
    heap, root = struct.unpack_from("<I4xI", image, 88)
    sector_shift, cluster_shift = image[108:110]

    def place(cluster: int) -> int:
        return (heap << sector_shift) + (cluster - 2 << sector_shift + cluster_shift)

    entries = image[place(root) :][: 1 << sector_shift]
    for at in range(0, len(entries), 32):
        if entries[at] == 0x82:
            cluster, length = struct.unpack_from("<20xIQ", entries, at)
            return image[place(cluster) :][:length]
    raise AssertionError("no up-case table in the root directory")


def test_capitals_have_no_other_capitals():
    assert [code for code, each in enumerate(capitals()) if fold(each) != each] == []


@given(st.text())
def test_names_keep_their_length_and_are_folded_character_by_character(text):
    assert fold(text) == "".join(map(fold, text))
    assert len(fold(text).encode("utf-16-le", "surrogatepass")) == len(
        text.encode("utf-16-le", "surrogatepass")
    )


def changed(*names: str) -> dict[int, str]:
    ordered = sorted(name.encode() for name in names)
    return renames(b"/".join(ordered), len(ordered))


def test_what_windows_keeps_apart_stays():
    assert changed("10\u00b5m.txt", "10\u03bcm.txt") == {}
    assert changed("\u0131", "I") == {}
    assert changed("\u017f", "s") == {}
    assert changed("\u1e9e", "\u00df") == {}


@pytest.mark.parametrize("small", GREEK)
def test_what_windows_takes_for_one_is_told_apart(small):
    assert changed(fold(small), small) == {1: f"{small}~2"} or changed(fold(small), small) == {
        1: f"{fold(small)}~2"
    }


def test_what_is_no_character_yet_is_no_capital_later():
    """Python 3.13 knows pairs that 3.11 doesn't: U+A7CC beside U+A7CD, say."""
    for small, capital in (
        ("\ua7cd", "\ua7cc"),
        ("\ua7db", "\ua7da"),
        ("\U00010d70", "\U00010d50"),
    ):
        assert changed(small, capital) == {}


def test_capitals_of_the_primary_tree_are_those_of_unicode():
    for code in range(0x80, 0x1_0000):
        character = chr(code)
        if unicodedata.ucd_3_2_0.category(character) in {"Cn", "Cs"}:
            continue  # a later version may give it others
        old = "".join(each if each.isascii() else "_" for each in character.upper())
        assert primary_identifiers(f"a{character}b".encode(), [True], 3) == [f"A{old}B"], hex(code)


def test_short_names_of_other_letters_are_those_of_unicode():
    for code in range(0x80, 0x1_0000):
        character = chr(code)
        if unicodedata.ucd_3_2_0.category(character) in {"Cn", "Cs"}:
            continue
        upper = character.upper()
        expected = upper.encode() if upper.isascii() and len(upper) == 1 else b"_"
        assert short_names([f"{character}x"]) == [expected + b"X~1".ljust(10)], hex(code)


def test_composing_goes_by_unicode_3_2():
    assert composed("e\u0301") == "\u00e9"
    assert composed("\u1100\u1161\u11a8") == "\uac01"
    assert composed("a\u0323\u0307") == "\u1ea1\u0307"
    assert composed("a\u0307\u0323") == "\u1ea1\u0307"
    # Balinese and Kirat Rai came later, Kirat Rai after Python 3.13.
    for later in ("\u1b05\u1b35", "\U00016d63\U00016d67", "e\u0301\u1b05\u1b35"):
        assert composed(later) == later.replace("e\u0301", "\u00e9")
    assert composed("e\u1dfb\u0301") == "e\u1dfb\u0301"  # a mark of Unicode 9 between them


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_composing_twice_changes_nothing_more(text):
    once = composed(text)
    assert composed(once) == once
    assert is_composed(once)
    assert is_composed(text) == (once == text)


@given(st.text(st.characters(max_codepoint=0x36F, exclude_categories=["Cn"])))
def test_composing_is_nfc_for_what_unicode_3_2_has(text):
    if all(unicodedata.ucd_3_2_0.category(each) != "Cn" for each in text):
        assert composed(text) == unicodedata.normalize("NFC", text)


def test_no_version_of_unicode_changes_a_name():
    """A digest of what becomes of names of all characters, made by Python 3.11 to 3.13 alike."""
    digest = hashlib.sha256()
    codes = [*range(0x20, 0xD800), *range(0xE000, 0x11000), *range(0x16100, 0x17000),
             *range(0x1D100, 0x1D200), *range(0x1E000, 0x1F000)]  # fmt: skip
    names = [f"{chr(code)}a\u0301{chr(code)}\u0323.e\u0301{chr(code)}" for code in codes]
    names = sorted(name.encode() for name in names if "/" not in name)
    joined = b"/".join(names)
    for normalize in (False, True):
        changed = renames(joined, len(names), normalize=normalize)
        digest.update("/".join(f"{at} {changed[at]}" for at in sorted(changed)).encode())
    texts = [name.decode() for name in names]
    digest.update(b"".join(short_names(texts)))
    for level in (1, 3):
        digest.update("/".join(primary_identifiers(joined, [False] * len(names), level)).encode())
    digest.update("/".join(joliet_names(joined)).encode())
    assert digest.hexdigest() == "1f7760652d19f8ee618d677ff5c01ff61d9b5f72fb29727e9eb889e73ab82c0a"
