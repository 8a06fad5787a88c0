"""Images read back by programs that share nothing with ours: what they find, how they fail.

Each format names its program (`Format.reader`); a module `library/NAME_reader.py` makes it read.
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from ..errors import VfloppyError

PART_BYTES = 1 << 20
"""The most bytes of a file that are read at a time."""
UNREADABLE = (
    OSError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError, struct.error,
)  # fmt: skip
"""The exceptions that readers raise of fields that make no sense."""


class ReaderError(VfloppyError):
    """An image that can't be read, or a reader that is not installed."""


class Found(NamedTuple):
    """A file or directory on an image."""

    path: bytes | str
    """As the format has it: names joined by what `formats.Names.separator` is."""
    is_directory: bool
    size: int
    mtime: datetime
    """Without a zone, as the image has it; see `formats.Times.zone`."""
    target: bytes | None
    """The target of a symbolic link."""
    parts: Callable[[], Iterator[bytes]]
    """Reads it, part by part."""
    start: int = 0
    """The place of its bytes in the image, in the reader's units; 0 if it doesn't say it."""


class ImageReader(Protocol):
    """The module of a program that reads images."""

    def is_sure(self, image: BinaryIO) -> bool:
        """Return whether an image is of its kind for sure; of the usual kind need none be."""
        ...

    def volume_end(self, image: BinaryIO) -> int:
        """Return where the volume ends, as it says itself, in bytes. Raise ReaderError."""
        ...

    def read_back(self, image: BinaryIO) -> Mapping[str, Callable[[], Iterator[Found]]]:
        """Return what it finds, by the titles of `formats.Names`.

        Raise ReaderError, also while what is found is walked through.
        """
        ...


def reader_named(name: str) -> ImageReader:
    """Return the reader of a name, as `Format.reader` has it. Raise ReaderError if there is none.

    The program itself is imported when something is read.
    """
    if not name:
        raise ReaderError("nothing is known that reads images of this format back")
    return cast(ImageReader, importlib.import_module(f".{name}_reader", __package__))


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
