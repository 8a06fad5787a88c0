"""Images read back by programs that share nothing with ours: pyfatfs and pycdlib.

What they find comes out as `Found`, in no particular order.
"""

from __future__ import annotations

import importlib
import io
import struct
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, BinaryIO, Literal, NamedTuple

import click

from ..errors import VfloppyError

JOLIET_SLASH = "/".encode("utf-16-be")
"""Between names in Joliet's paths, which are UTF-16."""
_ISO_MARK = (16 * 2048 + 1, b"CD001")  # ECMA-119, 8.1.2
_PART_BYTES = 1 << 20
_SMALL_BASE, _SMALL_EXTENSION = 0x08, 0x10  # bits of DIR_NTRes
# What readers raise of fields that make no sense.
_UNREADABLE = (
    OSError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError, struct.error,
)  # fmt: skip


class ReaderError(VfloppyError):
    """An image that can't be read, or a reader that is not installed."""


class Found(NamedTuple):
    """A file or directory on an image."""

    path: bytes | str
    """As the format has it: names joined by `/`, or `JOLIET_SLASH`."""
    is_directory: bool
    size: int
    mtime: datetime
    """Without a zone, as the image has it: local for FAT, in UTC for ISO 9660."""
    target: bytes | None
    """What a symbolic link leads to."""
    parts: Callable[[], Iterator[bytes]]
    """Reads it, part by part."""
    start: int = 0
    """Where its bytes begin in the image, if the reader says it."""


def opened(image: str) -> BinaryIO:
    """A file, or the export that a URI names. Raises UsageError, and ClientError for a URI."""
    from ..nbd.client import Client, ExportFile, is_uri  # noqa: PLC0415  seldom needed

    if is_uri(image):
        return io.BufferedReader(ExportFile(Client(image)), _PART_BYTES)
    try:
        return open(image, "rb", buffering=_PART_BYTES)
    except OSError as error:
        raise click.UsageError(f"{image}: {error.strerror}") from None


def format_of(image: str) -> Literal["fat", "iso"]:
    """What is on an image. Raises as `opened` does."""
    offset, mark = _ISO_MARK
    with opened(image) as stream:
        stream.seek(offset)
        return "iso" if stream.read(len(mark)) == mark else "fat"


def missing_bytes(image: BinaryIO, *, is_fat: bool) -> int:
    """How many bytes an image lacks at its end, as its volume says. Raises ReaderError."""
    if is_fat:
        offset = _volume_offset(image)
        image.seek(offset)
        sector = image.read(512)
        count_16, count_32 = struct.unpack_from("<H11xI", sector, 19)  # BPB_TotSec16, BPB_TotSec32
        end = offset + (count_16 or count_32) * int.from_bytes(sector[11:13], "little")
    else:
        image.seek(16 * 2048 + 80)  # the volume space size, ECMA-119, 8.4.8
        end = int.from_bytes(image.read(4), "little") * 2048
    length = image.seek(0, io.SEEK_END)
    return max(int(end) - length, 0)


def fat_files(image: BinaryIO) -> Iterator[Found]:
    """What pyfatfs finds. Raises ReaderError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = _imported("pyfatfs.PyFat", "pyfatfs")
        errors = (*_UNREADABLE, module.PyFATException)
        try:
            disk = module.PyFat(offset=_volume_offset(image))
            disk.set_fp(_Shared(image))
            folders = [("", disk.root_dir)]
            seen = {0}  # what leads to the root, with FAT12 and FAT16
            while folders:
                folder, entry = folders.pop()
                directories, files, _ = entry.get_entries()
                for child in (*directories, *files):
                    path = folder + _fat_name(child)
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
                        _FatParts(disk, child, errors),
                    )
        except errors as error:
            raise ReaderError(f"pyfatfs can't read it: {_reason(error)}") from error


def _fat_name(entry: Any) -> str:
    """The long name; else the short one, with the letters that Windows NT notes as small."""
    if entry.lfn_entry is not None:
        return str(entry.get_long_name())
    short: str = entry.get_short_name()
    base, dot, extension = short.partition(".")
    base = base.lower() if entry.ntres & _SMALL_BASE else base
    return base + dot + (extension.lower() if entry.ntres & _SMALL_EXTENSION else extension)


class _FatParts:
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
                if len(part) >= min(_PART_BYTES, left):
                    yield bytes(part[:left])
                    left -= len(part[:left])
                    part.clear()
        except self._errors as error:
            raise ReaderError(f"pyfatfs can't read it: {_reason(error)}") from error
        if part:
            yield bytes(part[:left])


def iso_facets(image: BinaryIO) -> dict[str, Callable[[], Iterator[Found]]]:
    """What pycdlib finds: `Rock Ridge`, `Joliet`, `ISO 9660`, as far as they are there.

    Raises ReaderError.
    """
    module = _imported("pycdlib", "pycdlib")
    iso = module.PyCdlib()
    errors = (*_UNREADABLE, module.pycdlibexception.PyCdlibException)
    try:
        iso.open_fp(_Shared(image))
        primary = iso.pvd.root_directory_record()
        facets: dict[str, Callable[[], Iterator[Found]]] = {}
        if iso.has_rock_ridge():
            facets["Rock Ridge"] = lambda: _guarded(_iso_files(image, primary, True), errors)
        if iso.has_joliet():
            joliet = iso.joliet_vd.root_directory_record()
            facets["Joliet"] = lambda: _guarded(
                _iso_files(image, joliet, False, JOLIET_SLASH), errors
            )
        facets["ISO 9660"] = lambda: _guarded(_iso_files(image, primary, False), errors)
    except errors as error:
        raise ReaderError(f"pycdlib can't read it: {_reason(error)}") from error
    return facets


def _guarded(found: Iterator[Found], errors: tuple[type[Exception], ...]) -> Iterator[Found]:
    """The same, with what pycdlib trips over told as what it is."""
    try:
        yield from found
    except errors as error:
        raise ReaderError(f"pycdlib can't read it: {_reason(error)}") from error


def _iso_files(
    image: BinaryIO, root: Any, rock_ridge: bool, slash: bytes = b"/"
) -> Iterator[Found]:
    """One facet, by pycdlib's records."""
    waiting = [(b"", root)]
    while waiting:
        folder, directory = waiting.pop()
        continues = False
        for record in directory.children:
            if record.is_dot() or record.is_dotdot():
                continue
            was_continued, continues = continues, record.data_continuation is not None
            if was_continued:  # a further extent of the file before; its length is counted there
                continue
            if rock_ridge and record.rock_ridge is None:
                raise ReaderError("a record has none of Rock Ridge's entries")
            name = record.rock_ridge.name() if rock_ridge else record.file_identifier()
            if record.is_dir():
                waiting.append((folder + name + slash, record))
            is_link = rock_ridge and record.rock_ridge.is_symlink()
            length = 0 if record.is_dir() or is_link else record.get_data_length()
            yield Found(
                folder + name,
                record.is_dir(),
                length,
                _iso_time(record.date),
                _target(record.rock_ridge) if is_link else None,
                _ImageParts(image, record.extent_location() * 2048, length),
                record.extent_location(),
            )


def _target(rock_ridge: Any) -> bytes:
    """What a link leads to; of one to the root alone pycdlib forgets the slash."""
    target: bytes = rock_ridge.symlink_path()
    if target:
        return target
    areas = filter(None, (rock_ridge.dr_entries, rock_ridge.ce_entries))
    entries = [entry for area in areas for entry in area.sl_records]
    names = [part.name() for entry in entries for part in entry.symlink_components]
    return b"/" if names == [b"/"] else b""


def _reason(error: Exception) -> str:
    return str(error) or f"its fields make no sense ({type(error).__name__})"


def _iso_time(date: Any) -> datetime:
    """ECMA-119, 9.1.5, in UTC."""
    zone = timezone(timedelta(minutes=15 * date.gmtoffset))
    when = (date.month, date.day_of_month, date.hour, date.minute, date.second)
    try:
        local = datetime(1900 + date.years_since_1900, *when, tzinfo=zone)
        return local.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return datetime(1900, 1, 1)


class _ImageParts:
    """Reads a run of an image."""

    def __init__(self, image: BinaryIO, offset: int, length: int) -> None:
        self._image = image
        self._offset = offset
        self._length = length

    def __call__(self) -> Iterator[bytes]:
        for start in range(0, self._length, _PART_BYTES):
            self._image.seek(self._offset + start)
            yield self._image.read(min(_PART_BYTES, self._length - start))


class _Shared:
    """An image that a reader may close, and doesn't; what it reads is no more than there is.

    Lengths are those that the image says, and memory is taken before anything is read.
    """

    def __init__(self, image: BinaryIO) -> None:
        self._image = image
        position = image.tell()
        self._size = image.seek(0, io.SEEK_END)
        image.seek(position)

    def read(self, length: int = -1) -> bytes:
        left = max(self._size - self._image.tell(), 0)
        return self._image.read(left if length < 0 else min(length, left))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image, name)

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        return


def _volume_offset(image: BinaryIO) -> int:
    """Where the FAT begins: at the start, or in the first partition. Raises ReaderError."""
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


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ReaderError(
            f"{package} reads the image back, and can't be imported ({error}); "
            f"pip install 'vfloppy[verify]' brings it"
        ) from None
