"""Images read back by programs that share nothing with ours: what is expected, what is found.

Each format says by which program its images are read, and by which names; see `formats.Format`.
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Callable, Container, Iterator
from datetime import datetime, tzinfo
from typing import Any, BinaryIO, NamedTuple

from ..errors import VfloppyError

PART_BYTES = 1 << 20
"""How much of a file is read at a time."""
UNREADABLE = (
    OSError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError, struct.error,
)  # fmt: skip
"""What readers raise of fields that make no sense."""


class ReaderError(VfloppyError):
    """An image that can't be read, or a reader that is not installed."""


class Found(NamedTuple):
    """A file or directory on an image."""

    path: bytes | str
    """As the format has it: names joined by what `Names.separator` is."""
    is_directory: bool
    size: int
    mtime: datetime
    """Without a zone, as the image has it; see `Times.zone`."""
    target: bytes | None
    """What a symbolic link leads to."""
    parts: Callable[[], Iterator[bytes]]
    """Reads it, part by part."""
    start: int = 0
    """Where its bytes begin in the image, if the reader says it."""


class Names(NamedTuple):
    """One set of names by which an image should show a tree: those of Joliet, for instance."""

    title: str
    separator: bytes | str
    """Stands between names in a path; of the type that names are of."""
    name_of: Callable[[int], Any]
    """Gives a node's name."""
    hidden: Container[int] = frozenset()
    """Nodes that these names don't reach."""
    encoding: str = "utf-8"
    """That of names that are bytes, to show them."""


class Times(NamedTuple):
    """What times a format holds: the latest step before a time, within limits."""

    earliest: datetime
    latest: datetime
    step_s: int
    zone: tzinfo | None
    """That of the times that are found; None: the local one."""
    latest_ns: int | None
    """No time on the disk is later than this, in nanoseconds since 1970."""


class Shared:
    """An image that a reader may close, and doesn't; what it reads is no more than there is.

    Lengths are those that the image says, and memory is taken before anything is read.
    """

    def __init__(self, image: BinaryIO) -> None:
        self._image = image
        position = image.tell()
        self._size = image.seek(0, io.SEEK_END)
        image.seek(position)

    def read(self, length: int = -1) -> bytes:
        """Return up to so many bytes, or all that are left."""
        left = max(self._size - self._image.tell(), 0)
        return self._image.read(left if length < 0 else min(length, left))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image, name)

    def writable(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """Do nothing: the image is somebody else's."""


def imported(module: str, package: str) -> Any:
    """Return a reader's module. Raise ReaderError where the package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ReaderError(
            f"{package} reads the image back, and can't be imported ({error}); "
            f"pip install 'vfloppy[verify]' brings it"
        ) from None


def unreadable(package: str, error: Exception) -> ReaderError:
    """Return the error of a reader that has tripped."""
    reason = str(error) or f"its fields make no sense ({type(error).__name__})"
    return ReaderError(f"{package} can't read it: {reason}")
