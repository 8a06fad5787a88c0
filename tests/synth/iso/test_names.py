"""Names in the primary tree and in Joliet's: characters, lengths, and never twice the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vfloppy.synth.iso.names import joliet_key, joliet_names, primary_identifiers


def primary(*names: str, level: int = 3, directories: bool = False) -> list[str]:
    joined = "/".join(names).encode("utf-8", "surrogateescape")
    return primary_identifiers(joined, [directories] * len(names), level)


def joliet(*names: str, **options: int) -> list[str]:
    return joliet_names("/".join(names).encode("utf-8", "surrogateescape"), **options)


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("README", 3, "README.;1"),
        ("readme.txt", 3, "README.TXT;1"),
        ("a.tar.gz", 3, "A_TAR.GZ;1"),
        (".profile", 3, "_PROFILE.;1"),
        ("..x", 3, "_.X;1"),
        ("trailing.", 3, "TRAILING.;1"),
        ("grüße.txt", 3, "GR_SSE.TXT;1"),  # capital ß is SS
        ("\udcff.txt", 3, "_.TXT;1"),
        ("a b+c", 3, "A_B_C.;1"),
        ("n" * 40, 3, "N" * 30 + ".;1"),
        ("n" * 40 + ".html", 3, "N" * 26 + ".HTML;1"),
        ("x." + "e" * 40, 3, "X." + "E" * 15 + ";1"),
        ("index.html", 1, "INDEX.HTM;1"),
        ("averylongname.c", 1, "AVERYLON.C;1"),
    ],
)
def test_files_have_one_dot_and_a_version(name, level, expected):
    assert primary(name, level=level) == [expected]


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("sub.d", 3, "SUB_D"),
        ("n" * 40, 3, "N" * 31),
        ("averylongname", 1, "AVERYLON"),
        (".git", 3, "_GIT"),
    ],
)
def test_directories_have_neither_dot_nor_version(name, level, expected):
    assert primary(name, level=level, directories=True) == [expected]


def test_of_names_that_become_one_the_first_stays():
    assert primary("A.txt", "a+", "a-", "a.TXT") == ["A.TXT;1", "A_.;1", "A_1.;1", "A1.TXT;1"]


def test_made_names_avoid_those_that_are_there():
    found = primary("a", "A", "a0", "A0", "a1")
    assert len(set(found)) == 5
    assert found[0] == "A.;1"


def test_a_file_and_a_directory_are_never_the_same_but_for_the_dot():
    found = primary_identifiers(b"A/a", [True, False], 3)
    assert found[0] == "A"
    assert found[1] != "A.;1"


@pytest.mark.parametrize("level", [1, 3])
def test_65000_names_that_collide_take_linear_work(level):
    """Quadratic work would take minutes here, and the test would be noticed."""
    names = [f"{'same name' * 4}{number:06}" for number in range(65_000)]
    found = primary(*names, level=level)
    assert len(set(found)) == len(found)
    assert max(map(len, found)) <= (8 if level == 1 else 30) + len(".;1")
    found = joliet(*("n" * 100 + name for name in names))
    assert len(set(found)) == len(found)
    assert max(map(len, found)) == 64


NAMES = st.lists(
    st.text(
        st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=40
    ),
    min_size=1,
    max_size=12,
)


def _is_file_name(name: str) -> bool:
    """Whether a host could give that name: surrogates stand for bytes that are no UTF-8."""
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return name not in {".", ".."} and len(raw) <= 255 and b"/" not in raw and b"\0" not in raw


@given(NAMES, st.integers(1, 3), st.data())
def test_any_names_become_valid_and_unique(names, level, data):
    names = [name for name in dict.fromkeys(names) if _is_file_name(name)] or ["x"]
    flags = [data.draw(st.booleans()) for _ in names]
    joined = "/".join(names).encode("utf-8", "surrogateescape")
    found = primary_identifiers(joined, flags, level)
    stem, extension = (8, 3) if level == 1 else (30, 15)
    for identifier, is_directory in zip(found, flags, strict=True):
        if is_directory:
            most = 8 if level == 1 else 31
            assert re.fullmatch(f"[A-Z0-9_]{{1,{most}}}", identifier)
        else:
            match = re.fullmatch(
                rf"([A-Z0-9_]{{1,{stem}}})\.([A-Z0-9_]{{0,{extension}}});1", identifier
            )
            assert match
            assert len(match[1] + match[2]) <= (11 if level == 1 else 30)
    assert len({each.removesuffix(";1").removesuffix(".") for each in found}) == len(found)


@given(NAMES, st.sampled_from([64, 103]))
def test_any_names_become_valid_and_unique_in_joliet(names, most):
    names = [name for name in dict.fromkeys(names) if _is_file_name(name)] or ["x"]
    found = joliet_names("/".join(names).encode("utf-8", "surrogateescape"), most=most)
    assert len(set(found)) == len(found)
    for name in found:
        assert 1 <= len(name) <= most
        assert not set(name) & set("*/:;?\\")
        assert all(" " <= each <= "\uffff" and not "\ud800" <= each <= "\udfff" for each in name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grüße.txt", "grüße.txt"),
        ("what?.txt", "what_.txt"),
        ("😀", "_"),
        ("\udcff", "_"),
        ("tab\t", "tab_"),
        ("n" * 80, "n" * 64),
        ("n" * 80 + ".jpeg", "n" * 59 + ".jpeg"),
        ("n." + "e" * 80, "n." + "e" * 62),
    ],
)
def test_joliet_keeps_what_it_can(name, expected):
    assert joliet(name) == [expected]


def test_joliet_numbers_the_later_ones_before_the_extension():
    assert joliet("a*.txt", "a:.txt", "a;.txt", "a_~2.txt") == [
        "a_.txt",
        "a_~3.txt",
        "a_~4.txt",
        "a_~2.txt",
    ]


def test_in_joliet_a_name_that_nothing_changed_is_nobody_else_s():
    """Whoever opens `a_b_` gets that file, not the one that is `a:b?` on the host."""
    assert joliet("a:b?", "a_b_", "n" * 64, "n" * 65) == [
        "a_b_~2",
        "a_b_",
        "n" * 64,
        f"{'n' * 62}~2",
    ]


def test_in_joliet_nothing_stands_at_the_end_that_readers_drop():
    """Linux and 7-Zip drop dots, Windows spaces as well."""
    assert joliet("v", "v.", "v..", "a . ", "b. c") == ["v", "v_", "v__", "a___", "b. c"]
    assert joliet("x" * 63 + ".y", most=64) == ["x" * 62 + ".y"]
    assert joliet("x" * 63 + " and more", most=64) == ["x" * 63 + "_"]
    assert joliet("v.", "v_", "w.") == ["v_~2", "v_", "w_"]


def test_joliet_sorts_by_name_then_by_extension():
    names = ["a.b", "a", "a1.a", "a.a"]
    ordered = sorted(names, key=lambda name: joliet_key(name, is_directory=False))
    assert ordered == ["a", "a.a", "a.b", "a1.a"]


def test_joliet_names_may_have_any_two_bytes(tmp_path, make):
    """U+0100 beside U+2F00 has the bytes of a slash, but not its place."""
    names = ["\u0100\u2f00", "\u0100\u2f00.txt", "a"]
    for name in names:
        (tmp_path / name).touch()
    tree, layout, _ = make(tmp_path)
    found = layout.joliet.identifiers(tree.children(0))
    assert [each.decode("utf-16-be") for each in found] == sorted(names)
