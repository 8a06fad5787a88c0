"""The trees that all interop tests share, built once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from firmware import GRUB, ISOLINUX, NOTE, SCRIPT, SYSLINUX_MODULES
from readers import Contents, host_paths
from tools import missing_dependency, need_tool, output, vfloppy
from trees import ALL_OF_PYTHON, MADE, real_tree, real_trees, settle_times

# The disk's first and last moment. FAT counts two seconds at a time.
FIRST = int(datetime(1980, 1, 1, tzinfo=UTC).timestamp())
LAST = int(datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC).timestamp())


class Built:
    """A tree as a disk."""

    def __init__(self, directory: Path, image: Path) -> None:
        self.directory = directory
        self.image = image

    @cached_property
    def report(self) -> dict[str, Any]:
        """What `vfloppy map --json` tells."""
        report: dict[str, Any] = json.loads(output_of_map(self.directory))
        return report

    @cached_property
    def origins(self) -> dict[str, Path]:
        """The host's files by their paths on the disk: the host's, but those that were renamed."""
        renamed = {each["path"]: each["name"] for each in self.report["renamed"]}
        origins = {}
        for path in host_paths(self.directory)[0]:
            steps = path.split("/")
            for depth, _ in enumerate(steps):
                name = renamed.get(printed("/".join(path.split("/")[: depth + 1])))
                steps[depth] = name or steps[depth]
            origins["/".join(steps)] = self.directory / path
        return origins

    @cached_property
    def expected(self) -> Contents:
        """What a reader should find."""
        return {
            name: None if path.is_dir() else path.read_bytes()
            for name, path in self.origins.items()
        }

    @cached_property
    def times(self) -> dict[str, int]:
        """The modification times that a reader should find."""
        seconds = {name: int(path.stat().st_mtime) for name, path in self.origins.items()}
        return {
            name: min(max(second - second % 2, FIRST), LAST) for name, second in seconds.items()
        }


def output_of_map(directory: Path) -> str:
    done = vfloppy("map", "--json", directory)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def printed(path: str) -> str:
    """A path as messages show it."""
    from vfloppy.synth.tree.columns import printable  # noqa: PLC0415

    return printable(path.encode("utf-8", "surrogateescape"))


def dates(root: Path) -> None:
    """Files from all of FAT's time, and from before and after it."""
    for moment in (
        "1970-01-01T00:00:01", "1979-12-31T23:59:59", "1980-01-01T00:00:00", "1980-01-01T00:00:03",
        "2000-02-29T23:59:59", "2024-12-31T12:34:57", "2038-01-19T03:14:08", "2100-02-28T23:59:58",
        "2107-12-31T23:59:59", "2108-01-01T00:00:00",
    ):  # fmt: skip
        second = int(datetime.fromisoformat(moment + "+00:00").timestamp())
        path = root / moment.replace(":", ".")
        path.touch()
        os.utime(path, ns=(0, second * 10**9 + 990_000_000))
        folder = root / f"{path.name} directory"
        folder.mkdir()
        os.utime(folder, ns=(0, second * 10**9))


def changed_long_names(root: Path) -> None:
    """Names of 255 bytes that can't stay: what they become may be no longer."""
    for name in (
        "con." + "x" * 251, "nul." + "y" * 251, "b" * 254 + ":", "." * 255, " " * 255,
        "n" * 254 + ".", "n" * 254 + "_", "N" * 254 + "_", "a" * 250 + ".text", "A" * 250 + ".text",
        "\u00fc" * 127 + ":", "\u00c9" * 127, "\u00e9" * 127, "q" * 100 + "." + "w" * 154,
        "Q" * 100 + "." + "w" * 154,
    ):  # fmt: skip
        (root / name).write_text(name)


MAKERS: dict[str, Callable[[Path], None]] = MADE | {"changed_long_names": changed_long_names}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Makes the trees by name and builds their disks, as they are asked for."""
    builds: dict[str, Built] = {}

    def directory(name: str) -> Path:
        if name in real_trees() or name == ALL_OF_PYTHON:
            return real_tree(name, tmp_path_factory)
        root: Path = tmp_path_factory.mktemp(name) / "tree"
        root.mkdir()
        if name == "dates":
            dates(root)
        else:
            MAKERS[name](root)
            settle_times(root)
        return root

    def build(name: str) -> Built:
        if name not in builds:
            source = directory(name)
            image = tmp_path_factory.mktemp("image") / "disk.img"
            done = vfloppy("build", "-q", source, image)
            assert (done.returncode, done.stderr) == (0, b"")
            builds[name] = Built(source, image)
        return builds[name]

    return build


@pytest.fixture
def isolinux(tmp_path) -> Path:
    """A tree that ISOLINUX starts from: it shows the note and resets."""
    if not (ISOLINUX / "isolinux.bin").exists() or not SYSLINUX_MODULES.exists():
        missing_dependency("not installed: isolinux, syslinux-common")
    folder = tmp_path / "tree" / "isolinux"
    folder.mkdir(parents=True)
    shutil.copy(ISOLINUX / "isolinux.bin", folder)
    for module in ("ldlinux.c32", "libcom32.c32", "libutil.c32", "cat.c32", "reboot.c32"):
        shutil.copy(SYSLINUX_MODULES / module, folder)
    (folder / "note.txt").write_text(NOTE)
    (folder / "isolinux.cfg").write_text(
        "serial 0 115200\ntimeout 1\ndefault show\nontimeout reset\n"
        "label show\n  com32 cat.c32\n  append note.txt\nlabel reset\n  com32 reboot.c32\n"
    )
    return tmp_path / "tree"


@pytest.fixture
def grub(tmp_path) -> Path:
    """A tree that GRUB starts from, likewise."""
    need_tool("grub-mkimage")
    if not (GRUB / "cdboot.img").exists():
        missing_dependency("not installed: grub-pc-bin")
    root = tmp_path / "tree"
    (root / "boot").mkdir(parents=True)
    (root / "A note.txt").write_text(NOTE)
    (tmp_path / "grub.cfg").write_text(
        "serial --unit=0 --speed=115200\nterminal_output serial\necho grub runs\n"
        'search --set=root --file "/A note.txt"\ncat "/A note.txt"\nreboot\n'
    )
    output(
        "grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/boot", "-c", str(tmp_path / "grub.cfg"),
        "-o", str(root / "boot" / "grub.img"), "biosdisk", "iso9660", "part_msdos", "part_gpt",
        "serial", "terminal", "echo", "cat", "reboot", "search", "search_fs_file",
    )  # fmt: skip
    return root


@pytest.fixture
def esp(tmp_path) -> Path:
    """A directory that becomes the image for UEFI."""
    folder = tmp_path / "esp"
    folder.mkdir()
    (folder / "startup.nsh").write_text(SCRIPT)
    (folder / "note.txt").write_text(NOTE)
    return folder
