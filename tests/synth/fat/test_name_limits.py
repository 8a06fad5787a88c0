"""Names at the limit: no rule makes one too long; twins of all letters."""

from __future__ import annotations

import pytest
from slots import long_slots
from vfloppy.errors import ScanError, VfloppyError
from vfloppy.synth.fat.names import decode, fold, renames, short_names, slot_counts, units
from vfloppy.synth.fat.plan import plan
from vfloppy.synth.names.upcase import capitals
from vfloppy.synth.scanning.merging import Graft
from vfloppy.synth.scanning.scan import scan


def on_disk(*names: str | bytes, normalize: bool = False) -> list[str]:
    raw = [name if isinstance(name, bytes) else name.encode() for name in names]
    assert all(len(name) <= 255 for name in raw), "Linux has no such name"
    ordered = sorted(raw)
    changed = renames(b"/".join(ordered), len(ordered), normalize=normalize)
    new = {name: changed.get(at, decode(name)) for at, name in enumerate(ordered)}
    return [new[name] for name in raw]


@pytest.mark.parametrize(
    "names",
    [
        ["con." + "x" * 251],
        ["CON." + "x" * 251, "con." + "x" * 251],
        ["lpt1" + " " * 251],
        ["x" * 254 + "."],
        ["x" * 251 + ".txt", "X" * 251 + ".txt"],
        ["a." + "x" * 253, "A." + "x" * 253],
        ["." + "x" * 254, "." + "X" * 254],
        ["a:" + "x" * 253, "a_" + "x" * 253],
        [b"\xff" * 255, b"\xfe" * 255],
    ],
    ids=lambda names: str(names[0][:6]),
)
def test_no_rule_makes_a_name_longer_than_255_units(names):
    new = on_disk(*names)
    assert [units(name) for name in new if units(name) > 255] == []
    assert len({fold(name) for name in new}) == len(new)


@pytest.mark.parametrize("character", ["\U0001d160", "\u0958", "\ufb1d"])
def test_composing_makes_no_name_longer_than_255_units(character):
    """Some characters have no composed form: what stands for them is three times as long."""
    name = character * (255 // len(character.encode()))
    assert units(on_disk(name, normalize=True)[0]) <= 255


def test_a_graft_has_a_name_that_fits_or_is_refused(tmp_path):
    (tmp_path / "file").touch()
    grafts = [Graft("x" * 300, str(tmp_path / "file"))]
    try:
        layout = plan(scan([], grafts=grafts))
    except VfloppyError:
        return
    assert units(layout.renamed[1]) <= 255


def test_grafts_that_exclude_each_other_are_refused_or_one_of_them_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    grafts = [Graft("a/b", str(tmp_path / "file")), Graft("a", str(tmp_path / "file"))]
    try:
        tree = scan([], grafts=grafts)
    except ScanError:
        return
    assert tree.skipped, "a graft was dropped without a word"


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "😀" * 63, "日" * 85])
def test_no_name_takes_more_than_20_long_slots(name):
    slots = long_slots(name, b"XXXXXX~1   ")
    assert len(slots) // 32 == -(-units(name) // 13) == slot_counts(name.encode(), {})[0] - 1
    assert len(slots) // 32 <= 20
    assert [slots[at] & 0x3F for at in range(0, len(slots), 32)] == list(
        range(len(slots) // 32, 0, -1)
    )


def test_twins_by_the_table_do_not_stand_together():
    apart = []
    for small, capital in zip(map(chr, range(0x80, 0x10000)), capitals()[0x80:], strict=True):
        if small != capital:
            new = on_disk(small, capital)
            if fold(new[0]) == fold(new[1]):
                apart.append(small + capital)
    assert apart == []


def test_what_a_twin_becomes_is_nobody_s_name_either():
    new = on_disk("A", "a", "a~2", "A~3", "a~4")
    assert len({fold(name) for name in new}) == 5
    assert new[0] == "A"
    assert new[2:] == ["a~2", "A~3", "a~4"]
    assert new[1] == "a~5"


@pytest.mark.parametrize("normalize", [False, True])
def test_a_rename_of_one_pair_is_the_same_in_any_company(normalize):
    pair = ["Straße.txt", "STRAßE.TXT"]
    alone = on_disk(*pair, normalize=normalize)
    assert alone == ["Straße~2.txt", "STRAßE.TXT"]
    company = [chr(code) + str(code) for code in range(0x100, 0x180)] + ["con", "a:b", b"\xff"]
    assert on_disk(*pair, *company, normalize=normalize)[:2] == alone


def test_short_names_go_by_directory_alone(tmp_path):
    """A file's 8.3 name doesn't depend on what stands in other directories."""
    names = ["collision 1.text", "collision 2.text", "COLLIS~1.TEX"]
    assert short_names(names) == [b"COLLIS~2TEX", b"COLLIS~3TEX", b"COLLIS~1TEX"]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("TextFile.Mine.txt", b"TEXTFI~1TXT"),
        ("ver +1.2.text", b"VER_1~1 TEX"),
        (".bashrc.swp", b"BASHRC~1SWP"),
        ("..", None),
        ("ab cd", b"ABCD~1     "),
        ("日本.txt", b"__~1    TXT"),
        ("a.b", b"A       B  "),
        ("archive.tar.gz", b"ARCHIV~1GZ "),
        ("12345678.123", b"12345678123"),
        ("123456789.123", b"123456~1123"),
        ("12345678.1234", b"123456~1123"),
        ("trailing.", b"TRAILI~1   "),
    ],
)
def test_8_3_names_as_fatgen_makes_them(name, short):
    if short:
        assert short_names([name]) == [short]


def test_a_numeric_tail_grows_into_the_beginning():
    names = [f"longfilename {number}" for number in range(1, 1200)]
    shorts = short_names(names)
    assert shorts[8:10] == [b"LONGFI~9   ", b"LONGF~10   "]
    assert shorts[98:100] == [b"LONGF~99   ", b"LONG~100   "]
    assert shorts[998:1000] == [b"LONG~999   ", b"LON~1000   "]
