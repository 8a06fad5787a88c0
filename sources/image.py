"""A raw image, or a block device, as it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from ..export import Alerts, Extent, HostReadError, Piece, Reader, check_range
from .source import Source, SourceError, digest, extents_of, in_words, pieces_of, read_checked

# What is no raw image, and what makes one of it.
_OTHERS = (
    (b"QFI\xfb", "a qcow2 image", "qemu-img convert -O raw"),
    (b"conectix", "a VHD image", "qemu-img convert -O raw"),
    (b"vhdxfile", "a VHDX image", "qemu-img convert -O raw"),
    (b"KDMV", "a VMDK image", "qemu-img convert -O raw"),
    (b"# Disk DescriptorFile", "a VMDK image", "qemu-img convert -O raw"),
    (b"\x1f\x8b", "compressed by gzip", "gunzip, or xz to serve it compressed,"),
    (b"BZh", "compressed by bzip2", "bunzip2, or xz to serve it compressed,"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "zstd -d, or xz to serve it compressed,"),
)


class OpenedFile:
    """A file that has to stay as it is while it is read."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from None
        try:
            status = os.fstat(self.descriptor)
            self.is_device = stat.S_ISBLK(status.st_mode)
            if not (self.is_device or stat.S_ISREG(status.st_mode)):
                raise SourceError(f"{path} is no file, block device or directory")
            self.size = os.lseek(self.descriptor, 0, os.SEEK_END)
            self.stamp = self._stamp()
        except BaseException:
            os.close(self.descriptor)
            raise

    def _stamp(self) -> tuple[int, int]:
        status = os.fstat(self.descriptor)
        return (0, 0) if self.is_device else (status.st_size, status.st_mtime_ns)

    def check(self) -> None:
        """Raise HostReadError if it has changed since it was opened."""
        if self._stamp() != self.stamp:
            raise HostReadError(f"{self.path} has changed since it was opened")

    def identity(self) -> bytes:
        """Return a digest of what it is, as far as its size and times tell."""
        status = os.fstat(self.descriptor)
        return digest(status.st_dev, status.st_ino, *self.stamp)

    def close(self) -> None:
        """Close it. May be called twice."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class ImageFile(Source):
    """The bytes of a file."""

    def __init__(self, path: str) -> None:
        self.file = OpenedFile(path)
        head = os.pread(self.file.descriptor, 64, 0)
        for magic, what, how in _OTHERS:
            if head.startswith(magic):
                self.file.close()
                raise SourceError(f"{path} is {what}, and a raw image is expected: {how} makes one")
        if not self.file.size:
            self.file.close()
            raise SourceError(f"{path} is empty, and an image is expected")

    @property
    def size(self) -> int:
        """See `Export.size`."""
        return self.file.size

    @property
    def identity(self) -> bytes:
        """See `Export.identity`."""
        return self.file.identity()

    @property
    def description(self) -> str:
        """See `Source.description`."""
        return f"{os.path.basename(self.file.path)}, an image of {in_words(self.size)}"

    def open(self, alerts: Alerts | None = None) -> ImageFileReader:  # noqa: ARG002
        """See `Export.open`."""
        return ImageFileReader(self.file)

    def close(self) -> None:
        """See `Source.close`."""
        self.file.close()


class ImageFileReader(Reader):
    """A file, as one connection has it."""

    def __init__(self, file: OpenedFile) -> None:
        self.size = file.size
        self._file = file

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """See `Reader.pieces`."""
        check_range(offset, length, self.size)
        return list(pieces_of(self._file.descriptor, offset, length, self._file.check))

    def read_simple(self, offset: int, length: int) -> bytes | None:
        """See `Reader.read_simple`."""
        try:
            return read_checked(self._file.descriptor, offset, length, self._file.check)
        except OSError:  # raised again by `pieces`
            return None

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Reader.extents`."""
        check_range(offset, length, self.size)
        return extents_of(self._file.descriptor, offset, length)

    def prefetch(self, offset: int, length: int) -> None:
        """See `Reader.prefetch`."""
        check_range(offset, length, self.size)
        advise = getattr(os, "posix_fadvise", None)
        if advise:
            advise(self._file.descriptor, offset, length, os.POSIX_FADV_WILLNEED)
