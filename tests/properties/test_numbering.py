"""Numbers for names that are taken: those that trying each in turn gives, in linear work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import compress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vfloppy.synth.fat import names as fat
from vfloppy.synth.fat.names import fold, legal, renames, short_names, units
from vfloppy.synth.iso import names as iso
from vfloppy.synth.iso.names import joliet_names, primary_identifiers

quick = settings(max_examples=300, deadline=None)


def fat_in_turn(names: list[str]) -> list[str]:
    """What `renames` makes of names, each number tried in turn."""
    wanted = [legal(name) for name in names]
    taken: set[str] = set()
    late = []
    for at, (name, want) in enumerate(zip(names, wanted, strict=True)):
        if want != name or fold(name) in taken:
            late.append(at)
        if want == name:
            taken.add(fold(name))
    for at in late:
        number, name = 1, wanted[at]
        stem, dot, extension = name.rpartition(".")
        if not stem or units(extension) > 200:
            stem, dot, extension = name, "", ""
        while fold(name) in taken:
            number += 1
            tail = f"~{number}{dot}{extension}"
            name = fat._cut(stem, 255 - units(tail)) + tail
        taken.add(fold(name))
        wanted[at] = name
    return wanted


def joliet_in_turn(old_names: list[str], most: int) -> list[str]:
    """What `joliet_names` makes of names, each number tried in turn."""
    filled = [iso._fill_ends(iso._NOT_JOLIET.sub("_", name)) for name in old_names]
    names = [name if len(name) <= most else iso._cut(name, most) for name in filled]
    taken = set(names)
    stay = [new == old for new, old in zip(names, old_names, strict=True)]
    seen = set(compress(names, stay))
    for at, name in enumerate(names):
        if stay[at]:
            continue
        if name not in seen:
            seen.add(name)
            continue
        stem, dot, extension = name.rpartition(".")
        if not stem or len(extension) > 16:
            stem, dot, extension = name, "", ""
        number = 2
        while True:
            tail = f"~{number}{dot}{extension}"
            numbered = iso._fill_ends(stem[: most - len(tail)] + tail)
            if numbered not in taken:
                break
            number += 1
        taken.add(numbered)
        names[at] = numbered
    return names


def primary_in_turn(stems: list[str], extensions: list[str], most: int) -> list[str]:
    """What rule 3 makes of stems, each number tried in turn."""
    keys = set(zip(stems, extensions, strict=True))
    seen = set()
    new = []
    for key in zip(stems, extensions, strict=True):
        if key not in seen:
            seen.add(key)
            new.append(key[0])
            continue
        number = 1
        while True:
            made = key[0][: most - len(str(number))] + str(number), key[1]
            if made not in keys:
                break
            number += 1
        keys.add(made)
        new.append(made[0])
    return new


# Endings that make names alike, and like those that numbers make.
_ENDS = st.text("aA:~29.", min_size=1, max_size=5)


def _listed(fills: list[str]) -> st.SearchStrategy[list[str]]:
    names = st.builds("{}{}{}".format, st.sampled_from(fills), _ENDS, st.sampled_from(["", ".txt"]))
    names = names.filter(lambda name: len(name) <= 255 and name.strip("."))
    return st.sets(names, min_size=1, max_size=60).map(lambda each: sorted(each, key=str.encode))


@quick
@given(_listed(["", "é", "x" * 246, "x" * 248, "X" * 248, "x" * 250]))
def test_fat_names_are_those_of_trying_in_turn(names):
    changed = renames("/".join(names).encode(), len(names))
    assert [changed.get(at, name) for at, name in enumerate(names)] == fat_in_turn(names)


@quick
@given(_listed(["", "é", "x" * 20, "x" * 22, "x" * 30]), st.sampled_from([24, 25, 64]))
def test_joliet_names_are_those_of_trying_in_turn(names, most):
    found = joliet_names("/".join(names).encode(), most=most)
    assert found == joliet_in_turn(names, most)


@quick
@given(st.lists(st.text("A19_", min_size=1, max_size=8), min_size=1, max_size=40))
def test_primary_names_are_those_of_trying_in_turn(stems):
    found = primary_identifiers("/".join(stems).encode(), [True] * len(stems), 1)
    assert found == primary_in_turn(stems, [""] * len(stems), 8)


@pytest.mark.parametrize("count", [2, 12, 102, 1002])
def test_numbers_of_more_digits_follow(count):
    names = [f"{'n' * 70}{number:04}" for number in range(count)]
    assert joliet_names("/".join(names).encode()) == joliet_in_turn(names, 64)
    names = [f"{'n' * 250}:{chr(0x4E00 + number)}" for number in range(count)]
    changed = renames("/".join(names).encode(), count)
    assert [changed[at] for at in range(count)] == fat_in_turn(names)


COUNT = 4_000
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def _ends(count: int = COUNT) -> list[str]:
    return [a + b + c for a in _LETTERS for b in _LETTERS for c in _LETTERS][:count]


# By what a neighbour may have in mind: names that become one, and names that numbers make.
HOSTILE: dict[str, tuple[Callable[[list[str]], object], list[str]]] = {
    "joliet, cut to pairs": (
        lambda names: joliet_names("/".join(names).encode()),
        [f"{'n' * 61}{end}{more}" for end in _ends() for more in ("", "x")],
    ),
    "joliet, what numbers make is there": (
        lambda names: joliet_names("/".join(names).encode()),
        [f"{'n' * 61}{end}x" for end in _ends()]
        + [f"{'n' * 61}{end}y" for end in _ends()]
        + [f"{'n' * (62 - len(str(number)))}~{number}" for number in range(2, COUNT)],
    ),
    "fat, of 255 characters": (
        lambda names: renames("/".join(names).encode(), len(names)),
        sorted(f"{first}{'n' * 251}{end}" for end in _ends() for first in "nN"),
    ),
    "fat, what numbers make is there": (
        lambda names: renames("/".join(names).encode(), len(names)),
        sorted(
            [f"{first}{'n' * 251}{end}" for end in _ends() for first in "nN"]
            + [f"{'n' * (254 - len(str(number)))}~{number}" for number in range(2, COUNT)]
        ),
    ),
    "primary": (
        lambda names: primary_identifiers("/".join(names).encode(), [False] * len(names), 3),
        [f"{'n' * 27}{end}{more}" for end in _ends() for more in ("a", "b")]
        + [f"{'n' * (30 - len(str(number)))}{number}" for number in range(1, COUNT)],
    ),
    "primary, level 1": (
        lambda names: primary_identifiers("/".join(names).encode(), [True] * len(names), 1),
        [f"{'n' * 5}{end}{more}" for end in _ends() for more in ("a", "b")]
        + [f"{'n' * (8 - len(str(number)))}{number}" for number in range(1, COUNT)],
    ),
    "8.3": (
        short_names,
        [f"{end}{more}+" for end in _ends() for more in ("aaaaaa", "bbbbbb")]
        + [f"{end}aaaaaa"[: 7 - len(str(number))] + f"~{number}"
           for end, number in zip(_ends(), range(1, COUNT), strict=False)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_the_work_is_linear_whatever_a_neighbour_calls_files(what):
    """Counted in lines that Python executes for each name, not in time."""
    work, names = HOSTILE[what]
    lines, most = 0, 150 * len(names)

    def count(_frame, event, _argument):
        nonlocal lines
        lines += event == "line"
        if lines > most:
            raise AssertionError(f"{lines} lines for {len(names)} names")
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work(names)
    finally:
        sys.settrace(before)
