"""File systems to be changed under a reader's eyes: made in files, mounted, and a place in each.

All of it needs root. The command runs in a mount namespace of its own, so nothing stays mounted,
however it ends.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools import run

_MIB = 1 << 20
_BLOCK = {
    # What is so small has small blocks and inodes otherwise, and these note no births.
    "ext4": (["mkfs.ext4", "-q", "-F", "-b", "4096", "-I", "256"], 128 * _MIB),
    "xfs": (["mkfs.xfs", "-q"], 320 * _MIB),
    "btrfs": (["mkfs.btrfs", "-q"], 256 * _MIB),
    "f2fs": (["mkfs.f2fs", "-q"], 128 * _MIB),
    "jfs": (["mkfs.jfs", "-q"], 64 * _MIB),
    "bcachefs": (["bcachefs", "format", "-q"], 256 * _MIB),
}
REQUIRED = ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuse")
"""The ones that every distribution's kernel has; others are tried if the kernel knows them."""
NAMES = (*REQUIRED, "f2fs", "jfs", "bcachefs")
TOOLS = ("mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "bindfs", "mount", "umount", "unshare")
_NUMBERS = itertools.count()
# Without these, the kernel asks nobody for a file's status within a second, and what was written
# behind the file system's back is heard of late. docs/promises.md: "A file system whose times come
# from another machine (NFS) tells of changes when it has heard."
_BINDFS = ("-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0")


class UnavailableError(Exception):
    """A file system can't be had here, and why."""


@dataclass(frozen=True)
class Place:
    """The place of a round: `root` is scanned, `spare` is beside it, on the same disk."""

    file_system: str
    top: Path
    layers: dict[str, Path] = field(default_factory=dict)
    """The directories that `top` is made of: `lower` and `upper`, or `behind`."""

    @property
    def root(self) -> Path:
        return self.top / "root"

    @property
    def spare(self) -> Path:
        return self.top / "spare"

    def spare_name(self) -> Path:
        """Return a name beside the root that nothing has yet."""
        self.spare.mkdir(exist_ok=True)
        return self.spare / f"{next(_NUMBERS)}"

    def start(self, directory: Path, *, in_lower: bool) -> Path:
        """Return the path at which to make `directory`: in the lower layer, or as it is seen."""
        if in_lower and "lower" in self.layers:
            return self.layers["lower"] / directory.relative_to(self.top)
        return directory


@contextlib.contextmanager
def mounted(name: str, work: Path) -> Iterator[Path]:
    """Mount an empty file system; for overlay and FUSE the one below, for `here` just a directory.

    Raise UnavailableError.
    """
    mount = work / name
    mount.mkdir()
    if name == "here":
        yield mount
        return
    below = "ext4" if name in {"overlay", "fuse"} else name
    _check_known(name)
    if below == "tmpfs":
        _do("mount", "-t", "tmpfs", "-o", "size=256m", "none", str(mount))
    else:
        make, size = _BLOCK[below]
        if shutil.which(make[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            raise UnavailableError(f"{make[0]} is not installed")
        disk = work / f"{name}.disk"
        with disk.open("wb") as out:
            out.truncate(size)
        _do(*make, str(disk))
        _do("mount", "-t", below, "-o", "loop", str(disk), str(mount))
    try:
        yield mount
    finally:
        run("umount", "-l", str(mount))


@contextlib.contextmanager
def place(name: str, mount: Path, number: int) -> Iterator[Place]:
    """Make an empty place for round `number`; it is gone afterwards."""
    folder = mount / f"r{number}"
    top = folder / "top"
    top.mkdir(parents=True)
    layers: dict[str, Path] = {}
    try:
        if name == "overlay":
            layers = {each: folder / each for each in ("lower", "upper")}
            for each in (*layers.values(), folder / "work"):
                each.mkdir()
        elif name == "fuse":
            layers = {"behind": folder / "behind"}
            layers["behind"].mkdir()
            _do("bindfs", *_BINDFS, str(layers["behind"]), str(top))
        found = Place(name, top, layers)
        yield found
    finally:
        if layers:
            run("umount", "-l", str(top))
        shutil.rmtree(folder, ignore_errors=True)


def stack(found: Place) -> None:
    """Mount the layers of overlayfs on each other; the lower one must have its files by then."""
    if found.file_system == "overlay":
        folder = found.top.parent
        options = ",".join(
            f"{each}={folder / name}"
            for each, name in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"))
        )
        options += ",redirect_dir=on"  # else directories can't be renamed
        _do("mount", "-t", "overlay", "-o", options, "overlay", str(found.top))


def _check_known(name: str) -> None:
    """Raise UnavailableError for what the kernel does not know, its modules included."""
    run("sh", "-c", f"modprobe -q {name} 2>/dev/null")
    lines = Path("/proc/filesystems").read_text().splitlines()
    if name not in {line.split("\t")[-1] for line in lines}:
        raise UnavailableError(f"the kernel knows no {name}")


def _do(*command: str) -> None:
    done = run(*command)
    if done.returncode:
        text = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise UnavailableError(f"{command[0]}: {text}")
