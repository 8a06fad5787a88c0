"""Names: each rule, uniqueness, stability, 8.3 aliases, in linear work."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vfloppy.synth.fat import names
from vfloppy.synth.fat.names import (
    checksums,
    decode,
    fold,
    legal,
    needs_long_entries,
    rename_reason,
    renames,
    short_names,
    slot_counts,
    slots,
    units,
)


def on_disk(*names: bytes | str, normalize: bool = False) -> list[str]:
    """What a directory's names become, in the order given."""
    raw = [name if isinstance(name, bytes) else name.encode() for name in names]
    ordered = sorted(raw)
    changed = renames(b"/".join(ordered), len(ordered), normalize=normalize)
    new = {name: changed.get(at, decode(name)) for at, name in enumerate(ordered)}
    return [new[name] for name in raw]


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("a:b?", "a_b_"),
        ('"*:<>?\\|', "________"),
        ("tab\there", "tab_here"),
        ("trail.", "trail_"),
        ("trail ", "trail_"),
        ("trail. .", "trail___"),
        ("con", "con_"),
        ("CON.txt", "CON_.txt"),
        ("nul.tar.gz", "nul_.tar.gz"),
        ("aux .c", "aux_ .c"),
        ("COM1", "COM1_"),
        ("lpt9.x", "lpt9_.x"),
        ("com\u00b9", "com\u00b9_"),
        ("conin$", "conin$_"),
        (b"caf\xe9", "caf_"),
        (b"\xed\xa0\x80", "___"),  # a lone surrogate, as if it were UTF-8
        ("\uffff", "_"),
        ("a\uffffb", "a_b"),
    ],
)
def test_rules(name, becomes):
    assert on_disk(name) == [becomes]
    assert rename_reason(name if isinstance(name, bytes) else name.encode())


@pytest.mark.parametrize(
    "name",
    ["com0", "com10", "console", "xcon", ".con", "a.con", " lead", "...dots", "a b", "é", "e\u0301",
     "\x7f", "+,;=[]", "😀", "x" * 255],
)  # fmt: skip
def test_names_that_stay(name):
    assert on_disk(name) == [name]


def test_case_twins():
    assert on_disk("README", "Readme", "readme") == ["README", "Readme~2", "readme~3"]
    assert on_disk("GRÜN.txt", "grün.txt") == ["GRÜN.txt", "grün~2.txt"]
    assert on_disk("straße", "STRASSE") == ["straße", "STRASSE"]


def test_a_legal_name_comes_before_one_that_was_changed():
    assert on_disk("a:b", "a_b") == ["a_b~2", "a_b"]
    assert on_disk("a:b", "a?b", "a_b~2") == ["a_b", "a_b~3", "a_b~2"]


def test_a_rename_does_not_depend_on_strangers():
    strangers = [f"stranger {number}" for number in range(100)]
    alone = on_disk("a:b", "A_B", "con")
    assert on_disk("a:b", "A_B", "con", *strangers)[:3] == alone


def test_a_full_name_is_cut_to_make_room():
    twins = on_disk("X" * 251 + ".txt", "x" * 251 + ".txt")
    assert twins[1] == "x" * 249 + "~2.txt"
    assert units(twins[1]) == 255
    assert units(on_disk("Ü" * 127, "ü" * 127)[1]) <= 255


def test_composing_on_request():
    assert on_disk("e\u0301", normalize=True) == ["é"]
    assert on_disk("e\u0301", "é", normalize=True) == ["é~2", "é"]


hostile = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
alike = (
    st.text("aAbB:?._ é", min_size=1, max_size=6)
    .map(str.encode)
    .filter(lambda name: name not in (b".", b".."))
)


@given(st.sets(st.one_of(hostile, alike), min_size=1, max_size=60))
def test_any_names_become_legal_unique_and_have_unique_aliases(raw):
    names = on_disk(*raw)
    assert len({fold(name) for name in names}) == len(names)
    for name in names:
        assert legal(name) == name
        assert 1 <= units(name) <= 255
        assert not re.search('[\x00-\x1f"*/:<>?\\\\|\ud800-\udfff]', name)
        assert name[-1] not in ". "
    check_aliases(names)


def check_aliases(names: list[str]) -> None:
    """What FATGEN asks of 8.3 names, and that no long name is somebody else's alias."""
    aliases = short_names(names)
    assert len(set(aliases)) == len(names)
    long_names = {fold(name): name for name in names}
    for name, alias in zip(names, aliases, strict=True):
        assert len(alias) == 11
        assert alias[0] not in b" \xe5"
        assert re.fullmatch(rb"[A-Z0-9!#$%&'()\-@^_`{}~]+ *", alias[:8])
        assert re.fullmatch(rb"[A-Z0-9!#$%&'()\-@^_`{}~]* *", alias[8:])
        dotted = alias[:8].decode().rstrip() + "." + alias[8:].decode().rstrip()
        assert long_names.get(dotted.rstrip("."), name) == name
        if not needs_long_entries(name):
            assert dotted.rstrip(".") == name


def test_aliases():
    aliases = {
        "README.TXT": b"README  TXT",
        "readme": b"README     ",
        "a.b.c": b"A~1     C  ",
        ".profile": b"PROFIL~1   ",
        "no dot": b"NODOT~1    ",
        "+x": b"_X~1       ",
    }
    assert short_names(list(aliases)) == list(aliases.values())


def test_an_alias_never_takes_the_name_of_another_file():
    names = ["longer name.text", "LONGER~1.TEX", "longer~2.tex"]
    assert short_names(names)[0] == b"LONGER~3TEX"


@pytest.mark.parametrize(
    "names",
    [
        [f"collision number {number:05}.text" for number in range(65_536)],
        [f"{number:05} no beginning in common" for number in range(65_536)],
        [f"FILE~{number}.TXT" for number in range(1, 30_000)]
        + [f"file name {number}.txt" for number in range(30_000)],
    ],
    ids=["one beginning", "many", "taken"],
)
def test_the_work_is_linear_in_the_number_of_names(names):
    """Counted in lines that Python executes for each name, not in time."""
    lines = 0

    def count(_frame, event, _argument):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        aliases = short_names(names)
    finally:
        sys.settrace(before)
    assert len(set(aliases)) == len(names)
    assert lines < 120 * len(names)


def test_many_twins_are_made_unique():
    names = sorted({"".join(c.upper() if number >> at & 1 else c for at, c in
                            enumerate("abcdefghijklm")) for number in range(8192)})  # fmt: skip
    changed = renames("/".join(names).encode(), len(names))
    assert len(changed) == 8191
    assert len({fold(name) for name in changed.values()}) == 8191


@pytest.mark.parametrize(
    ("name", "count"),
    [("A", 1), ("README.TXT", 1), ("readme.txt", 2), ("x" * 13, 2), ("x" * 14, 3), ("x" * 26, 3),
     ("x" * 27, 4), ("x" * 255, 21), ("😀" * 6, 2), ("😀" * 7, 3)],
)  # fmt: skip
def test_slots(name, count):
    assert slots(name) == count
    assert slot_counts(name.encode(), {}) == [count]
    assert slot_counts(b"\xff", {0: name}) == [count]


def test_the_checksum_of_a_known_entry():
    # From FATGEN's figure of "The quick brown.fox", whose alias is THEQUI~1.FOX.
    assert checksum(b"THEQUI~1FOX") == 0x07
    assert checksums([b"THEQUI~1FOX"]) == b"\x07"


def checksum(short):
    """As FATGEN has it."""
    total = 0
    for byte in short:
        total = ((0x80 if total & 1 else 0) + (total >> 1) + byte) % 256
    return total


@given(st.lists(st.binary(min_size=11, max_size=11), min_size=1))
def test_checksums_are_those_of_each_name(shorts):
    assert list(checksums(shorts)) == [checksum(short) for short in shorts]


@given(st.lists(st.text("aBz09.. $_~+,;=[] \x7f", min_size=1, max_size=20), min_size=1))
def test_a_basis_is_the_same_worked_out_for_one_name_or_for_many(listed):
    assert list(names._bases(listed)) == [names._basis(each) for each in listed]


def test_no_short_name_is_what_readers_take_a_long_one_of_other_letters_for():
    """mtools has the dotless i and the long s for I and S."""
    taken = [b"IB~1    TXT", b"S~1        "]
    shorts = short_names(["i b.txt", "\u0131b~1.txt", "\u017f~1", "s+"])
    assert shorts == [b"IB~2    TXT", b"IB~1~1  TXT", b"S~1~1      ", b"S_~1       "]
    assert not set(taken) & set(shorts)
