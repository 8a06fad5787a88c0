"""Foreign readers of FAT images: each gives back paths with their bytes, None for directories."""

from __future__ import annotations

import os
import tarfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from tools import ENVIRONMENT, output, run

Contents = dict[str, bytes | None]


def host_paths(root: Path) -> tuple[list[str], list[str]]:
    """What a directory holds that a disk can hold, and what it holds beside that."""
    kept, left_out = [], []
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(folder, name)
            fits = not path.is_symlink() and (path.is_dir() or path.is_file())
            (kept if fits else left_out).append(str(path.relative_to(root)))
    return kept, left_out


def host_tree(root: Path) -> Contents:
    """What a directory holds that a disk can hold, with its bytes."""
    paths = {path: root / path for path in host_paths(root)[0]}
    return {name: None if path.is_dir() else path.read_bytes() for name, path in paths.items()}


def volume_of(image: Path, volume: Path, offset: int, length: int | None = None) -> Path:
    """The file system of a disk as a file of its own, as sparse as it was."""
    length = image.stat().st_size - offset if length is None else length
    with image.open("rb") as source, volume.open("wb") as target:
        target.truncate(length)
        end = 0
        while end < length:
            try:
                start = os.lseek(source.fileno(), offset + end, os.SEEK_DATA) - offset
            except OSError:  # no data from here on
                break
            end = min(os.lseek(source.fileno(), offset + start, os.SEEK_HOLE) - offset, length)
            while start < end:
                start += os.copy_file_range(
                    source.fileno(), target.fileno(), end - start, offset + start, start
                )
    return volume


def fsck(volume: Path) -> None:
    """Asserts that fsck.fat has nothing to say against a volume."""
    done = run("fsck.fat", "-n", str(volume))
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, lines
    assert len(lines) == 2, lines  # its version, and the count of files and clusters


def mtools_tree(image: Path, offset: int, target: Path) -> Contents:
    """What mcopy copies out of a disk; mtools gets names in the user's character set."""
    target.mkdir()
    output("mcopy", "-s", "-n", "-i", f"{image}@@{offset}", "::", str(target))
    return host_tree(target)


def seven_zip_tree(image: Path, kind: str, target: Path) -> Contents:
    """What 7-Zip extracts of a file system; `kind` is FAT or iso."""
    done = run(
        "7zz", "x", f"-t{kind}", "-snl", f"-o{target}", str(image), env=ENVIRONMENT | {"TZ": "UTC"}
    )
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, text
    assert "Everything is Ok" in text
    assert "WARNING" not in text
    return host_tree(target)


def pyfatfs_tree(image: Path, offset: int) -> Contents:
    """What pyfatfs reads from a disk: its parsers, without its search by path for every file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyfatfs.PyFat import PyFat  # noqa: PLC0415

        contents: Contents = {}
        disk = PyFat(offset=offset)
        disk.open(str(image), read_only=True)
        folders = [("", disk.root_dir)]
        while folders:
            folder, entry = folders.pop()
            directories, files, _ = entry.get_entries()
            for child in directories:
                contents[folder + repr(child)] = None
                folders.append((f"{folder}{child!r}/", child))
            for child in files:
                contents[folder + repr(child)] = _pyfatfs_file(disk, child)
        disk.close()
    return contents


def _pyfatfs_file(disk: Any, entry: Any) -> bytes:
    """A file's clusters, cut to its size."""
    if not entry.get_size():
        return b""
    chain = disk.get_cluster_chain(entry.get_cluster())
    return b"".join(map(disk.read_cluster_contents, chain))[: entry.get_size()]


class Listed(NamedTuple):
    """What a listing says of a file or directory."""

    size: int | None
    """None for directories."""
    mtime: int


def sleuthkit_listing(image: Path, sector: int) -> dict[str, Listed]:
    """All that The Sleuth Kit finds on a disk whose file system starts at a sector."""
    text = output(
        "fls", "-r", "-p", "-u", "-m", "", "-o", str(sector), str(image),
        env=ENVIRONMENT | {"TZ": "UTC"},
    )  # fmt: skip
    listing = {}
    for line in text.splitlines():
        _, path, _, mode, _, _, size, _, mtime, *_ = line.split("|")
        virtual = mode[0] in "vV" or path.endswith("(Volume Label Entry)")
        if not virtual:
            listing[path[1:]] = Listed(None if mode[0] == "d" else int(size), int(mtime))
    return listing


def sleuthkit_files(image: Path, sector: int, target: Path) -> Contents:
    """The files that The Sleuth Kit copies out of a disk; those that have bytes."""
    target.mkdir()
    output("tsk_recover", "-a", "-o", str(sector), str(image), str(target))
    return {path: data for path, data in host_tree(target).items() if data is not None}


def grub_reads(image: Path, partition: str, path: str, host: Path) -> bool:
    """Whether GRUB finds a file by its name, with the bytes of a host file."""
    device_path = f"(loop0{partition})/{path}"
    return run("grub-fstest", str(image), "cmp", device_path, str(host)).returncode == 0


def guestfish(drives: list[str], *script: str) -> None:
    """Runs guestfish over read-only drives (paths or URIs), one appliance for all of them."""
    command = ["guestfish", "--ro", "--format=raw"]
    for drive in drives:
        command += ["-a", drive]
    done = run(*command, input="\n".join(["run", *script]).encode(), env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr.decode()


def device(number: int) -> str:
    """The name of a drive in the appliance."""
    letters = ""
    while number >= 0:
        number, letter = divmod(number, 26)
        letters = chr(ord("a") + letter) + letters
        number -= 1
    return f"/dev/sd{letters}"


def tar_times(path: Path) -> dict[str, int]:
    """The modification times of what a tar file holds."""
    with tarfile.open(path) as archive:
        names = ((each.name.removeprefix("./").rstrip("/"), int(each.mtime)) for each in archive)
        return {name: mtime for name, mtime in names if name not in ("", ".")}


def tar_tree(path: Path) -> Contents:
    """What a tar file holds."""
    contents: Contents = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if name in ("", "."):
                continue
            file = archive.extractfile(member) if member.isfile() else None
            contents[name] = file.read() if file else None
    return contents
