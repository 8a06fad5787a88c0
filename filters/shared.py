"""A few numbers that all processes and threads of a server share, changed by one at a time."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from types import TracebackType

from ..errors import VfloppyError
from .header import unnamed

_BYTES = 8


class Numbers:
    """Whole numbers from 0 to 2^64 - 1, all 0 at first; forks of the process that made them share
    them.

        with numbers as row:        # nobody else changes them meanwhile
            row[0] += 1

    Raise VfloppyError where no file can be made to lock.
    """

    def __init__(self, count: int) -> None:
        folder = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108  made without a name there
        try:
            self._descriptor = unnamed(folder, 0)
        except OSError as error:
            raise VfloppyError(f"no file can be made in {folder}: {error.strerror}") from error
        # Shared by processes that are forked later.
        self._row = memoryview(mmap.mmap(-1, count * _BYTES)).cast("Q")
        self._lock = threading.Lock()  # threads share what keeps processes apart

    def __enter__(self) -> memoryview[int]:
        self._lock.acquire()
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        return self._row

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        self._lock.release()

    def close(self) -> None:
        """Give up the file. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
