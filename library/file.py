"""Exports as file objects."""

from __future__ import annotations

import errno
import io
import os
from typing import Any, NoReturn

from ..export import Export, Writer


class DiskFile(io.RawIOBase):
    """An export as a file that can be read and sought in, by one thread at a time.

    One that is writable can be written, too; its size stays.
    """

    def __init__(self, export: Export) -> None:
        super().__init__()
        self._reader = export.open()
        self._position = 0

    def readable(self) -> bool:
        """Return True. Raise ValueError once it is closed, as all others do."""
        self._check_open()
        return True

    def seekable(self) -> bool:
        """Return True."""
        self._check_open()
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte counted from the start, from where one is, or from the end."""
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._reader.size}
        if whence not in base:
            raise ValueError(f"whence is {whence}; 0, 1 or 2 is expected")
        if base[whence] + offset < 0:
            raise ValueError(f"byte {base[whence] + offset} is before the start")
        self._position = base[whence] + offset
        return self._position

    def tell(self) -> int:
        """Return where one is."""
        self._check_open()
        return self._position

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        """Raise TypeError: other processes open the disk's directories by themselves."""
        raise TypeError("an open file of a disk can't be pickled")

    def write(self, data: Any) -> int:
        """Write as many bytes as there is disk; return their number.

        Raise UnsupportedOperation for a disk that isn't writable, OSError of ENOSPC at its end.
        """
        self._check_open()
        if not isinstance(self._reader, Writer):
            raise io.UnsupportedOperation("this disk can't be written to; pass writable=True")
        view = memoryview(data).cast("B")
        length = max(min(len(view), self._reader.size - self._position), 0)
        if length < len(view) and not length:
            raise OSError(errno.ENOSPC, "the disk ends here")
        self._reader.write(self._position, view[:length])
        self._position += length
        return length

    def flush(self) -> None:
        """Have what was written be durable, if it is kept in a file. Raise OSError."""
        if not self.closed and isinstance(self._reader, Writer):
            self._reader.flush()

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as there are, up to the buffer's length."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        length = max(min(len(view), self._reader.size - self._position), 0)
        if length:
            view[:length] = self._reader.read(self._position, length)
            self._position += length
        return length

    def writable(self) -> bool:
        """Return whether the disk is writable."""
        self._check_open()
        return isinstance(self._reader, Writer)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file of the disk is closed")

    def close(self) -> None:
        """Close the file, and those of the host that it has opened."""
        if not self.closed:
            self._reader.close()
        super().close()
