"""The directories that the benchmarks serve."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def gibibytes(root: Path, count: int = 1) -> None:
    """1,024 files of 1 MiB in 16 directories, or as often as that."""
    block = random.Random(1).randbytes(1 << 20)
    for directory in range(16 * count):
        folder = root / f"directory-{directory:02}"
        folder.mkdir()
        for number in range(64):
            (folder / f"file-{number:02}.bin").write_bytes(block)


def small_files(root: Path, in_each: int = 1000) -> None:
    """Files of 10 bytes in 100 directories; usually 100,000 in all."""
    for directory in range(100):
        folder = root / f"directory-{directory:02}"
        folder.mkdir()
        for number in range(in_each):
            (folder / f"file-{number:05}.txt").write_bytes(b"ten bytes\n")


def documents(root: Path) -> None:
    """20,000 files of 200 to 12,000 bytes in 200 directories: such as /usr/share/doc."""
    numbers = random.Random(5)
    for directory in range(200):
        folder = root / f"directory-{directory:03}"
        folder.mkdir()
        for number in range(100):
            data = numbers.randbytes(numbers.randrange(200, 12_000))
            (folder / f"file-{number:03}.txt").write_bytes(data)


def directories(root: Path) -> None:
    """60,000 files in 20,000 directories, as sources and modules are kept."""
    for number in range(20_000):
        folder = root / f"package-{number // 100:03}" / f"module-{number:05}"
        folder.mkdir(parents=True)
        for name in ("index.js", "package.json", "README.md"):
            (folder / name).touch()


def million_files(root: Path, directories: int = 1000) -> None:
    """1,000 empty files in each directory; usually 1,000,000 in all."""
    for directory in range(directories):
        folder = root / f"directory-{directory:04}"
        folder.mkdir()
        for number in range(1000):
            os.close(os.open(f"{folder}/file-{number:05}.txt", os.O_CREAT | os.O_WRONLY))


def names_alike(root: Path, count: int = 21_000) -> None:
    """Names that are one name in 8.3; usually as many as a directory of FAT holds."""
    for number in range(count):
        (root / f"collision of names {number:06}").touch()


@contextmanager
def file_system(name: str) -> Iterator[Path]:
    """A new btrfs or XFS in a file, mounted; None can be had without being root."""
    with tempfile.TemporaryDirectory(prefix="vfloppy-bench-") as folder:
        image, mount = Path(folder, "image"), Path(folder, "mount")
        with image.open("wb") as file:
            file.truncate(16 << 30)
        mount.mkdir()
        subprocess.run([f"mkfs.{name}", "-q", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
        try:
            yield mount
        finally:
            subprocess.run(["umount", str(mount)], check=True)
