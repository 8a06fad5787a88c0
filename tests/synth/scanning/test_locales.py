"""The same tree gives the same bytes in any locale: names are bytes, and sorted as such."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tools import ENVIRONMENT, output
from vfloppy.synth.names.upcase import fold
from vfloppy.synth.scanning.merging import Graft
from vfloppy.synth.scanning.scan import ScanOptions, scan

NAMES = [
    "plain", "Grüße", "GRÜSSE", "grüße", "\ue000", "\uffee", "😀", "😀b", "\ud7ff", "e\u0301", "é",
    "É",
]  # fmt: skip
STRAY = [
    b"\x80",
    b"\xff",
    b"\xf0\x9f",
    b"\xef\xbf",
    b"\xee\x80",
    b"caf\xe9",
    b"\xf0\x9f\x98\x80\xff",
]
LOCALES = {
    "C.UTF-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C"},
    "UTF-8 mode": {"LC_ALL": "C", "PYTHONUTF8": "1"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin 1": {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.fixture
def roots(tmp_path):
    """Two directories with names whose order as text and as bytes are different."""
    found = []
    for root in ("one", "two"):
        folder = os.fsencode(tmp_path / root)
        for inner in (folder, os.path.join(folder, "Ünter".encode())):
            os.mkdir(inner)
            for name in [each.encode() for each in NAMES] + STRAY:
                with open(os.path.join(inner, name), "wb") as file:
                    file.write(root.encode() + name)
                os.utime(os.path.join(inner, name), (1_700_000_000, 1_700_000_000))
        os.rename(os.path.join(folder, b"plain"), os.path.join(folder, root.encode()))
        os.utime(inner, (1_700_000_000, 1_700_000_000))
        found.append(folder)
    os.rename(os.path.join(found[1], "Ünter".encode()), os.path.join(found[1], "ünter".encode()))
    return found


def test_names_are_in_the_order_of_their_bytes(roots):
    for sources in (roots[:1], roots):
        for processes in (1, 3):
            options = ScanOptions(fold=fold, processes=processes)
            tree = scan([os.fsdecode(root) for root in sources], options)
            for ordinal in range(len(tree.directories)):
                names = [tree.name(node) for node in tree.children(ordinal)]
                assert names == sorted(names)


def test_links_among_names_of_any_bytes_are_noted_at_their_place(tmp_path):
    root = os.fsencode(tmp_path)
    for number, name in enumerate([b"\xff", "😀".encode(), b"\x80", "\uffee".encode()]):
        os.symlink(b"to %d" % number, os.path.join(root, name))
        open(os.path.join(root, name + b"x"), "wb").close()
    tree = scan(str(tmp_path), ScanOptions(symlinks="keep"))
    assert {tree.name(node): target for node, target in tree.targets.items()} == {
        name: os.readlink(os.path.join(root, name))
        for name in os.listdir(root)
        if not name.endswith(b"x")
    }


FORMATS = [
    ("--fat", "16"),
    ("--fat", "16", "--normalize", "nfc"),
    ("--format", "iso"),
    ("--format", "iso", "--no-rock-ridge"),
    ("--fat", "16", "--exclude", "caf?", "--exclude", "gr?\u00dfe"),
]


@pytest.mark.parametrize("options", FORMATS, ids=" ".join)
def test_the_bytes_do_not_depend_on_the_locale(roots, tmp_path, options):
    images = {}
    for locale, variables in LOCALES.items():
        if not exists(variables):
            continue
        image = tmp_path / "image"
        output(
            sys.executable, "-m", "vfloppy", "build", "-q", *(each.encode() for each in options),
            "--graft", "ÜNTER/é=".encode() + roots[0] + b"/one", *roots, image,
            env=ENVIRONMENT | variables,
        )  # fmt: skip
        images[locale] = image.read_bytes()
    assert len(images) >= 4
    assert [locale for locale, data in images.items() if data != images["C.UTF-8"]] == []


def exists(variables: dict[str, str]) -> bool:
    """Whether this system has a locale."""
    program = "import locale; locale.setlocale(locale.LC_ALL, '')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT | variables, capture_output=True,
        check=False,
    )  # fmt: skip
    return done.returncode == 0


def test_grafts_and_sources_are_merged_by_their_characters(roots):
    graft = Graft("ÜNTER/é", os.fsdecode(roots[0] + b"/one"))
    tree = scan([os.fsdecode(root) for root in roots], ScanOptions(fold=fold), [graft])
    assert [tree.name(node).decode() for node in tree.directories] == ["", "Ünter"]
