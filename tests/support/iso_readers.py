"""Foreign readers of ISO 9660 images, and what of a directory of the host they should find."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pycdlib
from tools import output, run

NEUTRAL_LINK = 0o777


class Found(NamedTuple):
    """What is at a path. Where a reader doesn't know something, the expectation is cut too."""

    kind: str
    """One letter, as `ls -l` shows it, `-` for files."""
    mode: int
    mtime: int
    data: bytes | None = None
    """Of a file its bytes, of a link where it leads."""


Tree = dict[bytes, Found]


def neutral(mode: int) -> int:
    """Permissions that let all read and nobody write."""
    if stat.S_ISDIR(mode):
        return 0o555
    if stat.S_ISLNK(mode):
        return NEUTRAL_LINK
    return 0o555 if mode & 0o111 else 0o444


def host(root: Path, *, preserved: bool = False, contents: bool = True) -> Tree:
    """What a directory holds."""
    tree: Tree = {}
    top = os.fsencode(root)
    for folder, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            data = None
            if stat.S_ISLNK(status.st_mode):
                data = os.readlink(path)
            elif stat.S_ISREG(status.st_mode) and contents:
                data = Path(os.fsdecode(path)).read_bytes()
            mode = status.st_mode & 0o7777 if preserved else neutral(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                mode = NEUTRAL_LINK
            tree[os.path.relpath(path, top)] = Found(
                stat.filemode(status.st_mode)[0], mode, int(status.st_mtime), data
            )
    return tree


def without_sockets(tree: Tree) -> Tree:
    """What an archive can hold."""
    return {path: each for path, each in tree.items() if each.kind != "s"}


def in_xorriso(tree: Tree) -> Tree:
    """What xorriso copies out: no devices, no times of links, and no two slashes in them."""
    return {
        path: each._replace(mtime=0, data=re.sub(rb"//+", b"/", each.data or b""))
        if each.kind == "l"
        else each
        for path, each in tree.items()
        if each.kind not in "bcs"
    }


def xorriso_tree(image: Path, target: Path) -> Tree:
    """What xorriso copies out of an image: modes, times and links, but no devices."""
    output(
        "xorriso", "-report_about", "WARNING", "-osirrox", "on:sort_lba_off", "-indev", str(image),
        "-extract", "/", str(target),
    )  # fmt: skip
    return host(target, preserved=True)


def bsdtar_tree(image: Path, archive: Path) -> Tree:
    """What libarchive reads of an image, by way of a tar file."""
    output("bsdtar", "-cf", str(archive), "--format", "pax", f"@{image}")
    return tar_tree(archive)


def isoinfo_names(image: Path, *options: str) -> set[bytes]:
    """The paths that isoinfo lists."""
    done = run("isoinfo", "-i", str(image), "-f", *options)
    assert done.returncode == 0, done.stderr
    return {line[1:] for line in done.stdout.split(b"\n") if line}


def tar_tree(path: Path) -> Tree:
    """What a tar file holds."""
    tree: Tree = {}
    letters = {
        tarfile.DIRTYPE: "d",
        tarfile.SYMTYPE: "l",
        tarfile.FIFOTYPE: "p",
        tarfile.CHRTYPE: "c",
        tarfile.BLKTYPE: "b",
    }
    with tarfile.open(path, errors="surrogateescape") as archive:
        for member in archive:
            name = os.fsencode(member.name.removeprefix("./").rstrip("/"))
            if name in {b"", b"."}:
                continue
            if member.islnk():
                tree[name] = tree[os.fsencode(member.linkname.removeprefix("./"))]
                continue
            file = archive.extractfile(member) if member.isfile() else None
            data = file.read() if file else None
            if member.issym():
                data = os.fsencode(member.linkname)
            mode = NEUTRAL_LINK if member.issym() else member.mode
            tree[name] = Found(letters.get(member.type, "-"), mode, int(member.mtime), data)
    return tree


def pycdlib_trees(image: Path) -> dict[str, dict[bytes, bytes | None]]:
    """The names of each facet with their bytes, or where a link leads; None for all else.

    By its records, without its search by path for every file.
    """
    iso = pycdlib.PyCdlib()
    iso.open(str(image))
    trees = {"iso": _pycdlib_tree(iso, iso.pvd.root_directory_record(), rock_ridge=False)}
    if iso.has_rock_ridge():
        trees["rr"] = _pycdlib_tree(iso, iso.pvd.root_directory_record(), rock_ridge=True)
    if iso.has_joliet():
        trees["joliet"] = _pycdlib_tree(iso, iso.joliet_vd.root_directory_record(), False)
    iso.close()
    return trees


def _pycdlib_tree(iso: Any, root: Any, rock_ridge: bool) -> dict[bytes, bytes | None]:
    tree: dict[bytes, bytes | None] = {}
    waiting = [(b"", root)]
    while waiting:
        folder, directory = waiting.pop()
        skip = False
        for record in directory.children:
            if record.is_dot() or record.is_dotdot():
                continue
            continues, skip = skip, record.data_continuation is not None
            if continues:
                continue
            name = record.rock_ridge.name() if rock_ridge else record.file_identifier()
            path = folder + name
            tree[path] = None
            if record.is_dir():
                waiting.append((path + b"/", record))
            elif rock_ridge and record.rock_ridge.is_symlink():
                # pycdlib loses the slash of a link to the root.
                tree[path] = record.rock_ridge.symlink_path() or b"/"
            elif record.get_data_length():
                iso._cdfp.seek(record.extent_location() * 2048)
                tree[path] = iso._cdfp.read(record.get_data_length())
            else:
                tree[path] = b""
    return tree
