"""ISO 9660 images read back by pycdlib."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, BinaryIO

from .reading import PART_BYTES, UNREADABLE, Found, ReaderError, Shared, imported, unreadable

_JOLIET_SLASH = "/".encode("utf-16-be")  # between names in Joliet's paths, which are UTF-16
_MARK_AT, _MARK = 16 * 2048 + 1, b"CD001"  # ECMA-119, 8.1.2


def is_sure(image: BinaryIO) -> bool:
    """Return whether an image has ISO 9660's descriptors."""
    image.seek(_MARK_AT)
    return image.read(len(_MARK)) == _MARK


def volume_end(image: BinaryIO) -> int:
    """Return where the volume ends, as it says itself."""
    image.seek(16 * 2048 + 80)  # the volume space size, ECMA-119, 8.4.8
    return int.from_bytes(image.read(4), "little") * 2048


def read_back(image: BinaryIO) -> dict[str, Callable[[], Iterator[Found]]]:
    """Return what pycdlib finds: `Rock Ridge`, `Joliet`, `ISO 9660`, as far as they are there.

    Raise ReaderError, also while what is found is walked through.
    """
    module = imported("pycdlib", "pycdlib")
    iso = module.PyCdlib()
    errors = (*UNREADABLE, module.pycdlibexception.PyCdlibException)
    try:
        iso.open_fp(Shared(image))
        primary = iso.pvd.root_directory_record()
        found: dict[str, Callable[[], Iterator[Found]]] = {}
        if iso.has_rock_ridge():
            found["Rock Ridge"] = lambda: _guarded(_files(image, primary, True), errors)
        if iso.has_joliet():
            joliet = iso.joliet_vd.root_directory_record()
            found["Joliet"] = lambda: _guarded(_files(image, joliet, False, _JOLIET_SLASH), errors)
        found["ISO 9660"] = lambda: _guarded(_files(image, primary, False), errors)
    except errors as error:
        raise unreadable("pycdlib", error) from error
    return found


def _guarded(found: Iterator[Found], errors: tuple[type[Exception], ...]) -> Iterator[Found]:
    """Yield the same, with what pycdlib trips over told as what it is."""
    try:
        yield from found
    except errors as error:
        raise unreadable("pycdlib", error) from error


def _files(image: BinaryIO, root: Any, rock_ridge: bool, slash: bytes = b"/") -> Iterator[Found]:
    """Yield one facet, by pycdlib's records."""
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
                _time(record.date),
                _target(record.rock_ridge) if is_link else None,
                _Parts(image, record.extent_location() * 2048, length),
                record.extent_location(),
            )


def _target(rock_ridge: Any) -> bytes:
    """Return what a link leads to; of one to the root alone pycdlib forgets the slash."""
    target: bytes = rock_ridge.symlink_path()
    if target:
        return target
    areas = filter(None, (rock_ridge.dr_entries, rock_ridge.ce_entries))
    entries = [entry for area in areas for entry in area.sl_records]
    names = [part.name() for entry in entries for part in entry.symlink_components]
    return b"/" if names == [b"/"] else b""


def _time(date: Any) -> datetime:
    """Return a record's time (ECMA-119, 9.1.5), in UTC."""
    zone = timezone(timedelta(minutes=15 * date.gmtoffset))
    when = (date.month, date.day_of_month, date.hour, date.minute, date.second)
    try:
        local = datetime(1900 + date.years_since_1900, *when, tzinfo=zone)
        return local.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return datetime(1900, 1, 1)


class _Parts:
    """Reads a run of an image."""

    def __init__(self, image: BinaryIO, offset: int, length: int) -> None:
        self._image = image
        self._offset = offset
        self._length = length

    def __call__(self) -> Iterator[bytes]:
        for start in range(0, self._length, PART_BYTES):
            self._image.seek(self._offset + start)
            yield self._image.read(min(PART_BYTES, self._length - start))
