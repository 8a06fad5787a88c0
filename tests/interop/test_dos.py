"""DOSBox, which mounts whole cylinders only, and takes a label's entry for a file of its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from dosbox import dosbox
from tools import vfloppy


@pytest.fixture
def tree(tmp_path) -> Path:
    """A directory that DOS could have been installed in."""
    root = tmp_path / "tree"
    for folder in ("DOS", "VFLOPPY", "GAMES"):
        (root / folder).mkdir(parents=True)
        (root / folder / f"IN{folder[:3]}.TXT").write_text("x")
    (root / "HELLO.TXT").write_text("hello from the disk")
    return root


@pytest.mark.parametrize(
    "options",
    [
        ("--for", "dos"),
        ("--for", "dos", "--size", "100M"),
        ("--for", "dos", "--size", "500M"),
        ("--for", "dos", "--size", "2G"),
        ("--for", "dos", "--size", "+100M"),
        ("--for", "dos", "--label", ""),
        ("--for", "dos-boot"),
        ("--for", "dos-boot", "--size", "33M"),
        ("--for", "vvfat"),
        ("--for", "vvfat", "--size", "100M", "--whole-cylinders"),
        ("--fat", "16"),
    ],
    ids=" ".join,
)
def test_dosbox_mounts_it_and_finds_each_directory(options, tree, tmp_path):
    image = tmp_path / "disk.img"
    done = vfloppy("build", *options, tree, image)
    assert done.returncode == 0, done.stderr
    commands = ("type c:\\hello.txt", *(rf"dir c:\{name}" for name in ("dos", "vfloppy", "games")))
    printed = dosbox(image, tmp_path / "box", *commands)
    assert "Drive C is mounted" in printed
    assert "hello from the disk" in printed
    assert all(f"IN{name}" in printed.replace("   TXT", "") for name in ("DOS", "VFL", "GAM"))
