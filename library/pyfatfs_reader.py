"""FAT images read back by pyfatfs."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, BinaryIO

from .reading import PART_BYTES, UNREADABLE, Found, ReaderError, Shared, imported, unreadable

_SMALL_BASE, _SMALL_EXTENSION = 0x08, 0x10  # bits of DIR_NTRes


def is_sure(image: BinaryIO) -> bool:  # noqa: ARG001
    """Return False: what else could have a FAT in it. See `reading.ImageReader`."""
    return False


def volume_end(image: BinaryIO) -> int:
    """Return where the file system ends, as it says itself. Raise ReaderError if none is there."""
    offset = _volume_offset(image)
    image.seek(offset)
    sector = image.read(512)
    count_16, count_32 = struct.unpack_from("<H11xI", sector, 19)  # BPB_TotSec16, BPB_TotSec32
    return offset + int(count_16 or count_32) * int.from_bytes(sector[11:13], "little")


def read_back(image: BinaryIO) -> dict[str, Callable[[], Iterator[Found]]]:
    """Return what pyfatfs finds, by long names. See `reading.ImageReader`."""
    return {"long names": lambda: _files(image)}


def _files(image: BinaryIO) -> Iterator[Found]:
    """Yield what pyfatfs finds. Raise ReaderError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = imported("pyfatfs.PyFat", "pyfatfs")
        errors = (*UNREADABLE, module.PyFATException)
        try:
            disk = module.PyFat(offset=_volume_offset(image))
            disk.set_fp(Shared(image))
            folders = [("", disk.root_dir)]
            seen = {0}  # what leads to the root, with FAT12 and FAT16
            while folders:
                folder, entry = folders.pop()
                directories, children, _ = entry.get_entries()
                for child in (*directories, *children):
                    path = folder + _name(child)
                    if child.is_directory():
                        if child.get_cluster() in seen:
                            raise ReaderError(f"{path!r} is a directory that was there before")
                        seen.add(child.get_cluster())
                        folders.append((f"{path}/", child))
                    yield Found(
                        path,
                        bool(child.is_directory()),
                        child.get_size(),
                        datetime(*child.get_mtime().timetuple()[:6]),
                        None,
                        _Parts(disk, child, errors),
                    )
        except errors as error:
            raise unreadable("pyfatfs", error) from error


def _name(entry: Any) -> str:
    """Return the long name; else the short one, with the letters that Windows NT notes as small."""
    if entry.lfn_entry is not None:
        return str(entry.get_long_name())
    short: str = entry.get_short_name()
    base, dot, extension = short.partition(".")
    base = base.lower() if entry.ntres & _SMALL_BASE else base
    return base + dot + (extension.lower() if entry.ntres & _SMALL_EXTENSION else extension)


class _Parts:
    """Reads a file's clusters, cut to its size."""

    def __init__(self, disk: Any, entry: Any, errors: tuple[type[Exception], ...]) -> None:
        self._disk = disk
        self._entry = entry
        self._errors = errors

    def __call__(self) -> Iterator[bytes]:
        left = self._entry.get_size()
        part = bytearray()
        try:
            chain = self._disk.get_cluster_chain(self._entry.get_cluster()) if left else ()
            for cluster in chain:
                part += self._disk.read_cluster_contents(cluster)
                if len(part) >= min(PART_BYTES, left):
                    yield bytes(part[:left])
                    left -= len(part[:left])
                    part.clear()
        except self._errors as error:
            raise unreadable("pyfatfs", error) from error
        if part:
            yield bytes(part[:left])


def _volume_offset(image: BinaryIO) -> int:
    """Return where the FAT begins: at the start, or in the first partition. Raise ReaderError."""
    if _is_boot_sector(image, 0):
        return 0
    for sector_bytes in (512, 4096):
        image.seek(0)
        start = image.read(2 * sector_bytes)
        candidates = [start[446 + 16 * number + 8 :][:4] for number in range(4)]
        if start[sector_bytes : sector_bytes + 8] == b"EFI PART":
            image.seek(int.from_bytes(start[sector_bytes + 72 :][:8], "little") * sector_bytes)
            candidates = [image.read(128)[32:40]]
        for each in candidates:
            offset = int.from_bytes(each, "little") * sector_bytes
            if offset and _is_boot_sector(image, offset):
                return offset
    raise ReaderError("neither FAT nor ISO 9660, nor a partition table with a FAT")


def _is_boot_sector(image: BinaryIO, offset: int) -> bool:
    image.seek(offset)
    sector = image.read(512)
    return (
        len(sector) == 512
        and sector[510:] == b"\x55\xaa"
        and sector[0] in {0xEB, 0xE9}
        and int.from_bytes(sector[11:13], "little") in {512, 1024, 2048, 4096}
        and sector[16] in {1, 2}
    )
