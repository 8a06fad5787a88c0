"""The index of an .xz file: where its blocks are, and how to have one decoded alone.

See "The .xz File Format" 1.2: streams, one after the other, with zeros between them; in each a
header, blocks, an index of their sizes, and a footer that tells how long the index is.
"""

from __future__ import annotations

import lzma
import os
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator

from .source import SourceError

_HEADER_MAGIC, _FOOTER_MAGIC = b"\xfd7zXZ\0", b"YZ"
_HEADER_BYTES = _FOOTER_BYTES = 12
_FOOTER = struct.Struct("<I I 2s 2s")  # CRC, length of the index, flags, magic
_MOST_INDEX_BYTES = 16 << 20  # three million blocks and more
_MOST_BYTES = (1 << 63) - 1
_MOST_DECODER_BYTES = 768 << 20  # `xz -9` takes 65 MiB
_PART_BYTES = 256 << 10
_OUT_BYTES = 1 << 20


class Index:
    """The blocks of all streams: where they start on the disk, where they are in the file."""

    def __init__(self, descriptor: int, path: str) -> None:
        """Raise SourceError for what is no .xz file, or a damaged one."""
        self._descriptor = descriptor
        self.path = path
        blocks: list[tuple[int, int, int, bytes]] = []
        end = os.lseek(descriptor, 0, os.SEEK_END)
        while end:
            end, stream = self._stream(end)
            blocks += reversed(stream)
        blocks.reverse()
        self.starts = array("Q", [0])
        self.places = array("Q")
        self.lengths = array("Q")
        self._flags: list[bytes] = []
        size = 0
        for place, length, unpacked, flags in blocks:
            if unpacked:
                size += unpacked
                if size > _MOST_BYTES:
                    raise self._damaged("its blocks are larger than any disk")
                self.starts.append(size)
                self.places.append(place)
                self.lengths.append(length)
                self._flags.append(flags)

    @property
    def size(self) -> int:
        """The length of what was compressed."""
        return self.starts[-1]

    @property
    def count(self) -> int:
        """The number of blocks."""
        return len(self.places)

    @property
    def largest(self) -> int:
        """The length of the largest block, decoded."""
        return max((self.starts[n + 1] - self.starts[n] for n in range(self.count)), default=0)

    def _damaged(self, reason: str) -> SourceError:
        return SourceError(f"{self.path}: {reason}; a whole .xz file is expected")

    def _read(self, place: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, place) if place >= 0 else b""
        if len(data) < length or not length:
            raise self._damaged("it begins or ends in the middle of something")
        return data

    def _stream(self, end: int) -> tuple[int, list[tuple[int, int, int, bytes]]]:
        """Return where the stream that ends at `end` starts, and its blocks.

        A block is its place, its length without padding, the length of what is in it, and the flags
        of the stream.
        """
        while (footer := self._read(end - _FOOTER_BYTES, _FOOTER_BYTES))[-4:] == bytes(4):
            end -= 4  # zeros behind a stream
        crc, backward, flags, magic = _FOOTER.unpack(footer)
        if magic != _FOOTER_MAGIC or zlib.crc32(footer[4:10]) != crc:
            raise self._damaged("it doesn't end as one does")
        length = (backward + 1) * 4
        if length > _MOST_INDEX_BYTES:
            raise self._damaged(f"its index has {length} bytes, and {_MOST_INDEX_BYTES} is most")
        index_at = end - _FOOTER_BYTES - length
        records = self._records(self._read(index_at, length))
        place = index_at - sum(-(-packed // 4) * 4 for packed, _ in records)
        start = place - _HEADER_BYTES
        if self._read(start, _HEADER_BYTES) != _header(flags):
            raise self._damaged("a stream doesn't begin where its index says")
        blocks = []
        for packed, unpacked in records:
            blocks.append((place, packed, unpacked, flags))
            place += -(-packed // 4) * 4
        return start, blocks

    def _records(self, index: bytes) -> list[tuple[int, int]]:
        """Return the lengths of the blocks: packed, without padding, and unpacked."""
        if index[0] or zlib.crc32(index[:-4]) != int.from_bytes(index[-4:], "little"):
            raise self._damaged("its index is damaged")
        numbers = _numbers(index[1:-4])
        try:
            count = next(numbers)
            if count > len(index) // 2:
                raise self._damaged("its index is damaged")
            records = [(next(numbers), next(numbers)) for _ in range(count)]
        except (StopIteration, RuntimeError):
            raise self._damaged("its index is damaged") from None
        if any(packed < 5 for packed, _ in records):
            raise self._damaged("its index is damaged")
        return records

    def decode(self, number: int, write: Callable[[int, bytes], None]) -> None:
        """Decode a block, and have its bytes written, each part with its offset in the block.

        Its check has been made when this returns. Raise lzma.LZMAError, EOFError and OSError.
        """
        place, left, flags = self.places[number], self.lengths[number], self._flags[number]
        size = self.starts[number + 1] - self.starts[number]
        # The block as a stream of its own: the decoder reads its header, and makes its check.
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_DECODER_BYTES)
        decoder.decompress(_header(flags))
        tail = _tail(left, size, flags)
        left += -left % 4
        at = 0
        while not decoder.eof:
            data = b""
            if decoder.needs_input:
                data = os.pread(self._descriptor, min(left, _PART_BYTES), place)
                place += len(data)
                left -= len(data)
                if not data:
                    data, tail = tail, b""
                if not data:
                    raise EOFError("it ends too early")
            out = decoder.decompress(data, _OUT_BYTES)
            if at + len(out) > size:
                raise lzma.LZMAError("it is longer than the index says")
            if out:
                write(at, out)
                at += len(out)
        if at < size:
            raise EOFError("it is shorter than the index says")


def _header(flags: bytes) -> bytes:
    return _HEADER_MAGIC + flags + zlib.crc32(flags).to_bytes(4, "little")


def _tail(packed: int, unpacked: int, flags: bytes) -> bytes:
    """Return index and footer of a stream of one block."""
    index = b"\0" + _coded(1) + _coded(packed) + _coded(unpacked)
    index += bytes(-len(index) % 4)
    index += zlib.crc32(index).to_bytes(4, "little")
    middle = (len(index) // 4 - 1).to_bytes(4, "little") + flags
    return index + zlib.crc32(middle).to_bytes(4, "little") + middle + _FOOTER_MAGIC


def _coded(number: int) -> bytes:
    """Return a number as the format has it: seven bits a byte, the lowest first."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
        elif shift > 56:
            return
