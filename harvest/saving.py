"""Saving changes elsewhere: new and changed files in a directory or an archive, with a list of all.

    OUT/files/...       what a guest has created or rewritten, where it is on the disk
    OUT/changes.json    the list, removals and renames included

Nothing is written over: OUT is new, or an empty directory. Names on the disk have no slash and are
neither `.` nor `..`, so that no path leads out of it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from ..errors import VfloppyError, WriteError
from ..synth.output.replacement import Replacement
from .changes import Change, Changes, Kind
from .report import document

FOLDER, LIST = "files", "changes.json"
_FIRST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_NS = 1_000_000_000


def save(changes: Changes, out: str) -> int:
    """Save what is new or rewritten to `out`, an archive if it ends with .tar or .zip.

    Return the number of files. Raise WriteError; an archive is then not there, and of a directory
    what was written until then.
    """
    saver = next((kind for end, kind in _ARCHIVES.items() if out.endswith(end)), _Directory)
    count = 0
    try:
        with saver(out) as saved:
            for change in changes.changes:
                if change.is_directory and change.kind is Kind.CREATED:
                    saved.make(change)
                elif change.kind is Kind.CREATED or change.rewritten:
                    saved.add(change, changes.content(change))
                    count += 1
            saved.finish(json.dumps(document(changes), indent=1).encode() + b"\n")
    except VfloppyError:
        raise
    except OSError as error:
        raise WriteError(f"{out}: {error.strerror or error}") from error
    return count


class _Saver(ABC):
    """A place for files; left without `finish`, it discards what it can."""

    @abstractmethod
    def __init__(self, out: str) -> None: ...

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @abstractmethod
    def make(self, change: Change) -> None:
        """Make a directory."""

    @abstractmethod
    def add(self, change: Change, content: Iterator[bytes]) -> None:
        """Write a file."""

    @abstractmethod
    def finish(self, listed: bytes) -> None:
        """Write the list, and have all of it be there."""


class _Directory(_Saver):
    def __init__(self, out: str) -> None:
        self._out = out
        with suppress(FileExistsError):
            os.mkdir(out)
        if os.listdir(out):
            raise OSError(errno.ENOTEMPTY, "is not empty; a new directory is expected")
        os.mkdir(os.path.join(out, FOLDER))

    def __exit__(self, *_details: object) -> None:
        pass

    def make(self, change: Change) -> None:
        os.makedirs(self._path(change), exist_ok=True)

    def add(self, change: Change, content: Iterator[bytes]) -> None:
        path = self._path(change)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.writelines(content)
            if change.modified_ns is not None:
                file.flush()
                os.utime(file.fileno(), ns=(time.time_ns(), change.modified_ns))

    def finish(self, listed: bytes) -> None:
        with open(os.path.join(self._out, LIST), "xb") as file:
            file.write(listed)

    def _path(self, change: Change) -> str:
        return os.path.join(self._out, FOLDER, *change.path)


class _Archive(_Saver):
    """An archive that takes its name when it is complete."""

    archive: tarfile.TarFile | zipfile.ZipFile

    def __init__(self, out: str) -> None:
        if os.path.lexists(out):
            raise OSError(errno.EEXIST, "is there already; a new archive is expected")
        self._folder = os.open(os.path.dirname(out) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._new = Replacement(self._folder, os.path.basename(out))
        except BaseException:
            os.close(self._folder)
            raise
        self._file: IO[bytes] = os.fdopen(self._new.descriptor, "wb", closefd=False)

    def __exit__(self, *_details: object) -> None:
        with suppress(Exception):  # what is discarded need not be complete
            self.archive.close()
        with suppress(OSError):
            self._file.close()
        self._new.discard()
        os.close(self._folder)

    def _complete(self) -> None:
        self._file.close()
        self._new.commit(sync=True)


class _Tar(_Archive):
    def __init__(self, out: str) -> None:
        super().__init__(out)
        self.archive: tarfile.TarFile = tarfile.TarFile.open(
            fileobj=self._file, mode="w|", format=tarfile.PAX_FORMAT
        )

    def make(self, change: Change) -> None:
        info = self._info(change)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        self.archive.addfile(info)

    def add(self, change: Change, content: Iterator[bytes]) -> None:
        info = self._info(change)
        info.size = change.size
        self.archive.addfile(info, io.BufferedReader(_Stream(content)))

    def finish(self, listed: bytes) -> None:
        info = tarfile.TarInfo(LIST)
        info.size, info.mtime = len(listed), time.time()
        self.archive.addfile(info, io.BytesIO(listed))
        self.archive.close()
        self._complete()

    def _info(self, change: Change) -> tarfile.TarInfo:
        info = tarfile.TarInfo("/".join((FOLDER, *change.path)))
        info.mtime = _seconds(change)
        return info


class _Zip(_Archive):
    def __init__(self, out: str) -> None:
        super().__init__(out)
        self.archive: zipfile.ZipFile = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)

    def make(self, change: Change) -> None:
        self.archive.writestr(self._info(change, "/"), b"")

    def add(self, change: Change, content: Iterator[bytes]) -> None:
        info = self._info(change)
        info.file_size = change.size
        with self.archive.open(info, "w", force_zip64=change.size >> 31 > 0) as file:
            for part in content:
                file.write(part)

    def finish(self, listed: bytes) -> None:
        self.archive.writestr(LIST, listed)
        self.archive.close()
        self._complete()

    def _info(self, change: Change, end: str = "") -> zipfile.ZipInfo:
        when = max(time.gmtime(_seconds(change))[:6], _FIRST_ZIP_TIME)
        info = zipfile.ZipInfo("/".join((FOLDER, *change.path)) + end, when)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (0o755 << 16 | 0x10) if end else 0o644 << 16
        return info


_ARCHIVES: dict[str, type[_Saver]] = {".tar": _Tar, ".zip": _Zip}


def _seconds(change: Change) -> int:
    return (change.modified_ns or time.time_ns()) // _NS


class _Stream(io.RawIOBase):
    """Parts of bytes, as a file to read from."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._left = part
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)
