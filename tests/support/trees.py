"""Made trees: each shows one thing that directories do and disks find hard."""

from __future__ import annotations

import os
import random
import shutil
import socket
import stat
import sysconfig
from collections.abc import Callable
from pathlib import Path

# Modification times at which FAT's two seconds, hundredths and a summer's day show.
MTIME_NS = 1_720_000_001_230_000_000


def real_trees() -> dict[str, Path]:
    """Directories that nobody made for a test."""
    return {
        "documentation": Path("/usr/share/doc"),
        "python": Path(sysconfig.get_paths()["stdlib"]),
    }


# Some 50,000 files: names rather than bytes.
ALL_OF_PYTHON = "python with all that is installed"
_COPIES: dict[str, Path] = {}


def real_tree(name: str, tmp_path_factory) -> Path:
    """A copy of a real tree, the same one all through a run.

    The tree itself may change at any moment: a package is installed, a module is compiled. Python's
    library comes without what was installed beside it, or, as ALL_OF_PYTHON, with that.
    """
    if name not in _COPIES:
        target: Path = tmp_path_factory.mktemp("real") / "tree"
        source = real_trees()["python" if name == ALL_OF_PYTHON else name]
        if name == "python":
            ignored = shutil.ignore_patterns("site-packages", "__pycache__", "test")
            copy_bounded(source, target, ignored=ignored)
        elif name == ALL_OF_PYTHON:
            copy_bounded(source, target, largest=64 << 10)
        else:
            copy_bounded(source, target)
        _COPIES[name] = target
    return _COPIES[name]


def copy_bounded(
    source: Path,
    target: Path,
    *,
    largest: int = 4 << 20,
    most: int = 400 << 20,
    ignored: Callable[[str, list[str]], set[str]] | None = None,
) -> None:
    """Copy a tree that others may be changing: links as they are, modes and times kept.

    Left out are files of more bytes than `largest`, all files after `most` bytes, what has been
    removed meanwhile, and names for which `ignored` says so, as shutil's are asked.
    """
    target.mkdir()
    left = most
    folders: list[tuple[str, str]] = []
    for folder, directories, files in os.walk(source):
        left_out = ignored(folder, directories + files) if ignored else set()
        directories[:] = sorted(set(directories) - left_out)
        copied = os.path.normpath(target / os.path.relpath(folder, source))
        folders.append((folder, copied))
        links = [each for each in directories if os.path.islink(os.path.join(folder, each))]
        for name in directories:
            if name not in links:
                os.mkdir(os.path.join(copied, name))
        for name in sorted({*files, *links} - left_out):
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
                kept = stat.S_ISLNK(status.st_mode) or status.st_size <= min(largest, left)
                if kept and (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                    shutil.copy2(path, os.path.join(copied, name), follow_symlinks=False)
                    left -= status.st_size
            except FileNotFoundError:
                continue
    for folder, copied in reversed(folders):
        if os.path.isdir(folder):
            shutil.copystat(folder, copied)


def unicode_names(root: Path) -> None:
    """Names in many scripts, combining marks, characters beyond the BMP."""
    for name in (
        "grüße.txt",
        "Ελληνικά",
        "日本語のファイル.dat",
        "😀 smile.txt",
        "e\u0301.txt",
        "é.txt",
        "straße",
        "STRASSE",
        "ﬁ ligature",
        "a" * 12 + "é",
        "נתונים",
        "x.y.z.tar.gz",
    ):
        (root / name).write_text(f"contents of {name}\n")


def long_names(root: Path) -> None:
    """Names around the length of a long-name slot and up to the limit."""
    for length in (1, 8, 9, 12, 13, 14, 25, 26, 27, 39, 254, 255):
        (root / ("n" * length)).write_text(str(length))
    (root / ("ü" * 127)).write_text("127 units, 254 bytes")
    (root / ("😀" * 63)).write_text("126 units, 252 bytes")


def colliding_names(root: Path) -> None:
    """Names that are one name in 8.3, and names that look like generated ones."""
    for number in range(1, 120):
        (root / f"collision-{number}.text").write_text(str(number))
    for name in (
        "COLLIS~1.TEX",
        "COLLI~10.TEX",
        "a+b",
        "a=b",
        "a_b",
        "A_B~1",
        ".profile",
        ".a.b.c",
        "UPPER.TXT",
        "lower.txt",
        "Mixed.Txt",
        "no dots but spaces",
        "two.dots.txt",
    ):
        (root / name).write_text(name)


def troublesome_names(root: Path) -> None:
    """Names that a FAT directory can't hold: each follows its rule."""
    for name in (
        "a:b?",
        "trail.",
        "trail ",
        "con",
        "CON.txt",
        "nul.tar.gz",
        'quo"te',
        "back\\slash",
        "README",
        "Readme",
        "readme",
        "new\nline",
        "a_b_",
        "tab\there",
        "lpt1",
        "com0",
    ):
        (root / name).write_text(name)
    for raw in (b"caf\xe9", b"caf\xe8", b"\xff\xfe", b"\xed\xa0\x80"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + raw)).write_bytes(raw)


def many_files(root: Path, count: int = 20_000) -> None:
    """Many files in one directory."""
    for number in range(count):
        (root / f"file number {number:05}.txt").write_bytes(b"%d" % number)


def deep(root: Path, depth: int = 60) -> None:
    """Directories within directories, a file in each."""
    for level in range(depth):
        (root / f"at level {level}").write_text(str(level))
        root /= f"level-{level}"
        root.mkdir()


def empty_things(root: Path) -> None:
    """Empty files, empty directories, and nothing else."""
    (root / "empty").touch()
    (root / "void").mkdir()
    (root / "void" / "within").mkdir()
    (root / "zero.bin").touch()


def sizes(root: Path) -> None:
    """Files of lengths around a cluster, with contents that tell every byte's place."""
    generator = random.Random(4096)
    for size in (1, 511, 512, 513, 4095, 4096, 4097, 8192, 12_345, 70_000, 1_000_003):
        (root / f"{size}.bin").write_bytes(generator.randbytes(size))


def sparse(root: Path, size: int = 3 << 30) -> None:
    """A file of 3 GiB with three islands of data."""
    with open(root / "sparse.img", "wb") as file:
        for offset in (0, size // 2 + 123, size - 5):
            file.seek(offset)
            file.write(b"here!")


def special_files(root: Path) -> None:
    """What is no file and no directory, beside something that is."""
    (root / "kept.txt").write_text("kept")
    (root / "link").symlink_to("kept.txt")
    (root / "dangling").symlink_to("nowhere")
    (root / "upwards").symlink_to("..")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        before = os.getcwd()
        os.chdir(root)  # the path of a socket may not be long
        try:
            bound.bind("socket")
        finally:
            os.chdir(before)


MADE: dict[str, Callable[[Path], None]] = {
    maker.__name__: maker
    for maker in (
        unicode_names,
        long_names,
        colliding_names,
        troublesome_names,
        many_files,
        deep,
        empty_things,
        sizes,
        sparse,
        special_files,
    )
}


def settle_times(root: Path, time_ns: int = MTIME_NS) -> None:
    """Gives everything below `root` times that depend on its path alone."""
    for folder, directories, files in os.walk(os.fsencode(root), topdown=False):
        for name in directories + files:
            path = os.path.join(folder, name)
            shift = sum(path[len(os.fsencode(root)) :]) * 1_010_000_000
            os.utime(path, ns=(time_ns, time_ns + shift), follow_symlinks=False)
