"""One check for every image of every format and option: it is what it says it is, in any slices."""

from __future__ import annotations

import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from compare import assert_same
from vfloppy.pieces import Export, Hole, HostSlice, Piece
from vfloppy.synth.image import Image


def read(export: Export, offset: int, length: int) -> bytes:
    """A range of an export as bytes."""
    return b"".join(map(piece_bytes, export.pieces(offset, length)))


def piece_bytes(piece: Piece) -> bytes:
    """A piece as bytes."""
    if isinstance(piece, Hole):
        return bytes(piece.length)
    return piece.read() if isinstance(piece, HostSlice) else piece


def piece_length(piece: Piece) -> int:
    """The length of a piece, without reading it."""
    return len(piece) if isinstance(piece, bytes) else piece.length


def check_image(image: Image, *, slices: int = 200, whole: bool = True, seed: int = 0) -> None:
    """Asserts all that an export promises. With `whole`, the image is small enough to hold."""
    generator = random.Random(seed)
    _check_tiling(image)
    _check_range(image)
    edges = sorted({0, image.size, *(region.offset for region in image.regions())})
    ranges = [_slice(image.size, edges, generator) for _ in range(slices)]
    for offset, length in ranges:
        _check_slice(image, offset, length)
    if whole:
        everything = read(image, 0, image.size)
        assert len(everything) == image.size
        for offset, length in ranges:
            part = everything[offset : offset + length]
            assert_same(read(image, offset, length), part, f"{length} bytes at {offset}")
        _check_extents(image, 0, image.size)
    with ThreadPoolExecutor(4) as pool:
        shuffled = generator.sample(ranges, len(ranges))
        expected = [read(image, *each) for each in shuffled]
        assert_same(list(pool.map(lambda each: read(image, *each), shuffled)), expected)


def _slice(size: int, edges: list[int], generator: random.Random) -> tuple[int, int]:
    """A range: half of them close to where one region ends and another starts."""
    length = generator.choice((0, 1, 31, 32, 511, 512, 4096, 5000, 65_536, 300_000))
    length = min(length, size)
    if generator.random() < 0.5:
        start = generator.choice(edges) - generator.randrange(length + 1)
        return min(max(start, 0), size - length), length
    return generator.randrange(size - length + 1), length


def _check_slice(image: Image, offset: int, length: int) -> None:
    pieces = list(image.pieces(offset, length))
    assert all(piece_length(piece) > 0 for piece in pieces)
    assert sum(map(piece_length, pieces)) == length
    slices = [piece for piece in pieces if isinstance(piece, HostSlice)]
    assert {piece.files for piece in slices} <= set(image.host_files)
    assert [len(piece_bytes(piece)) for piece in pieces] == list(map(piece_length, pieces))
    _check_extents(image, offset, length)


def _check_extents(image: Image, offset: int, length: int) -> None:
    """Extents tile the range, and what they call a hole reads as zeros."""
    end = offset + length
    for extent in image.extents(offset, length):
        assert extent.length > 0
        assert offset + extent.length <= end
        if extent.hole:
            for start in range(offset, offset + extent.length, 1 << 24):
                share = min(1 << 24, offset + extent.length - start)
                assert not read(image, start, share).strip(b"\0"), f"a hole at {start} has data"
        offset += extent.length
    assert offset == end


def _check_tiling(image: Image) -> None:
    position = 0
    for region in image.regions():
        assert region.offset == position, f"{region} doesn't start where the one before it ends"
        assert region.length > 0
        position += region.length
    assert position == image.size


def _check_range(image: Image) -> None:
    outside: Iterable[tuple[int, int]] = (
        (-1, 1),
        (0, -1),
        (image.size, 1),
        (image.size - 1, 2),
        (0, image.size + 1),
        (image.size + 1, 0),
    )
    for offset, length in outside:
        with pytest.raises(ValueError, match="not within"):
            image.pieces(offset, length)
        with pytest.raises(ValueError, match="not within"):
            list(image.extents(offset, length))
    assert list(image.pieces(image.size, 0)) == []
