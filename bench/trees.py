"""The directories that the benchmarks serve."""

from __future__ import annotations

import random
from pathlib import Path


def one_gibibyte(root: Path) -> None:
    """1,024 files of 1 MiB in 16 directories."""
    block = random.Random(1).randbytes(1 << 20)
    for directory in range(16):
        folder = root / f"directory-{directory:02}"
        folder.mkdir()
        for number in range(64):
            (folder / f"file-{number:02}.bin").write_bytes(block)


def small_files(root: Path) -> None:
    """100,000 files of 10 bytes in 100 directories."""
    for directory in range(100):
        folder = root / f"directory-{directory:02}"
        folder.mkdir()
        for number in range(1000):
            (folder / f"file-{number:05}.txt").write_bytes(b"ten bytes\n")


def names_alike(root: Path) -> None:
    """As many files as a directory of FAT holds with names that are one name in 8.3."""
    for number in range(21_000):
        (root / f"collision of names {number:06}").touch()
