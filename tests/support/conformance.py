"""One check for every image of every format and option: it is what it says it is, in any slices."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from compare import assert_same
from vfloppy.export import (
    MOST_DESCRIPTORS,
    MOST_STATE_BYTES,
    Detached,
    Export,
    FileSlice,
    Piece,
    Range,
    Reader,
    piece_bytes,
)
from vfloppy.process.wakeup import SignalAlerts
from vfloppy.synth.image.image import Image

THREADS = 4
SECTOR = 512
RANGES_A_BATCH = 32


def read(export: Export, offset: int, length: int) -> bytes:
    """A range of an export as bytes, by a reader that has read nothing else."""
    with export.open() as reader:
        return reader.read(offset, length)


def piece_length(piece: Piece) -> int:
    """The length of a piece, without reading it."""
    return len(piece) if isinstance(piece, bytes) else piece.length


def check_image(
    image: Image, *, slices: int = 200, whole: bool = True, seed: int = 0, sectors: bool = True
) -> None:
    """Asserts all that an export promises. With `whole`, the image is small enough to hold.

    With `sectors`, it is one of a disk, whose runs are whole sectors.
    """
    _check_tiling(image)
    edges = sorted({0, image.size, *(region.offset for region in image.regions())})
    unit = SECTOR if sectors else 1
    ranges = check_export(image, edges, slices=slices, whole=whole, seed=seed, unit=unit)
    with image.open() as reader:
        for offset, length in ranges:
            _check_files(image, reader, offset, length, unit)


def check_export(
    image: Export,
    edges: list[int],
    *,
    slices: int = 200,
    whole: bool = True,
    seed: int = 0,
    unit: int = 1,
) -> list[Range]:
    """Asserts all that an export promises, an image or any other; the ranges that were read.

    Half of them are close to one of `edges`. Runs end at multiples of `unit`.
    """
    generator = random.Random(seed)
    ranges = [_slice(image.size, edges, generator) for _ in range(slices)]
    with image.open() as reader:
        assert reader.size == image.size
        _check_range(reader)
        for offset, length in ranges:
            _check_slice(reader, offset, length, unit)
            assert all(run.length > 0 for run in reader.files(offset, length))
            assert sum(run.length for run in reader.files(offset, length)) == length
        if whole:
            everything = reader.read(0, image.size)
            assert len(everything) == image.size
            for offset, length in ranges:
                part = everything[offset : offset + length]
                assert_same(reader.read(offset, length), part, f"{length} bytes at {offset}")
            _check_extents(reader, 0, image.size, unit)
        expected = [reader.read(*each) for each in ranges]
        _check_batches(reader, ranges, expected)
        with image.open() as second, image.open(SignalAlerts()) as alerted:
            assert_same([second.read(*each) for each in ranges], expected)
            _check_batches(alerted, ranges, expected)
            assert_same([reader.read(*each) for each in ranges], expected)
    _check_handing_over(image, ranges, expected)
    order = generator.sample(range(slices), slices)
    with ThreadPoolExecutor(THREADS) as pool:
        shares = [order[number::THREADS] for number in range(THREADS)]
        found = pool.map(lambda share: _read_all(image, [ranges[n] for n in share]), shares)
        for share, contents in zip(shares, found, strict=True):
            assert_same(contents, [expected[n] for n in share])
    return ranges


def _read_all(image: Export, ranges: Iterable[Range]) -> list[bytes]:
    """What a reader of its own reads, one range after the other."""
    with image.open() as reader:
        return [reader.read(*each) for each in ranges]


def _slice(size: int, edges: list[int], generator: random.Random) -> Range:
    """A range: half of them close to where one region ends and another starts."""
    length = generator.choice((0, 1, 31, 32, 511, 512, 4096, 5000, 65_536, 300_000))
    length = min(length, size)
    if generator.random() < 0.5:
        start = generator.choice(edges) - generator.randrange(length + 1)
        return min(max(start, 0), size - length), length
    return generator.randrange(size - length + 1), length


def _check_slice(reader: Reader, offset: int, length: int, unit: int) -> None:
    pieces = list(reader.pieces(offset, length))
    assert all(piece_length(piece) > 0 for piece in pieces)
    assert sum(map(piece_length, pieces)) == length
    assert [len(piece_bytes(piece)) for piece in pieces] == list(map(piece_length, pieces))
    _check_extents(reader, offset, length, unit)
    reader.prefetch(offset, length)


def _check_extents(reader: Reader, offset: int, length: int, unit: int) -> None:
    """Extents tile the range by whole units, and what they call a hole reads as zeros."""
    end = offset + length
    for extent in reader.extents(offset, length):
        assert extent.length > 0
        assert offset + extent.length <= end
        assert (offset + extent.length) % unit == 0 or offset + extent.length == end
        if extent.hole:
            for start in range(offset, offset + extent.length, 1 << 24):
                share = min(1 << 24, offset + extent.length - start)
                data = reader.read(start, share)
                assert not data.strip(b"\0"), f"a hole at {start} has data"
        offset += extent.length
    assert offset == end


def _check_files(image: Image, reader: Reader, offset: int, length: int, unit: int) -> None:
    """Runs of files tile the range by whole units; each slice of a file is of one run, and
    beneath the roots.

    Only files of a disk inside have no number.
    """
    numbers: list[tuple[int, int]] = []
    position = offset
    for run in reader.files(offset, length):
        assert run.length > 0
        numbers.append((run.number, run.length))
        position += run.length
        assert position % unit == 0 or position == offset + length
    assert sum(share for _, share in numbers) == length
    roots = [
        os.path.join(os.readlink(b"/proc/self/fd/%d" % each), b"")
        for each in image.features.directories
    ]
    has_others = len({each for section in image.sections for each in section.sources}) > 1
    for piece in reader.pieces(offset, length):
        found = _taken(numbers, piece_length(piece))
        if isinstance(piece, FileSlice):
            assert len(found) == 1, f"a slice of the files {found}"
            assert found != {0} or has_others, "a slice of no file"
            path = os.readlink(b"/proc/self/fd/%d" % piece.descriptor())
            assert any(path.startswith(root) for root in roots), f"{path!r} is in none of {roots}"


def _taken(numbers: list[tuple[int, int]], length: int) -> set[int]:
    """The numbers of so many bytes, which are taken from the front."""
    found = set()
    while length:
        number, share = numbers.pop(0)
        found.add(number)
        used = min(share, length)
        length -= used
        if used < share:
            numbers.insert(0, (number, share - used))
    return found


def _check_batches(reader: Reader, ranges: list[Range], expected: list[bytes]) -> None:
    """Small reads at once, and one by one, give the same bytes, or leave them to `pieces`."""
    wanted = [(each, data) for each, data in zip(ranges, expected, strict=True) if data]
    for (offset, length), data in wanted:
        assert reader.read_simple(offset, length) in {None, data}
    for lends in (False, True):
        for first in range(0, len(wanted), RANGES_A_BATCH):
            some = wanted[first : first + RANGES_A_BATCH]
            batch = reader.read_batch([each for each, _ in some], lends=lends)
            assert batch.commit()
            assert len(batch.buffers) == len(some)
            for ((offset, length), data), found in zip(some, batch.buffers, strict=True):
                assert found is None or bytes(found) == data, f"{length} bytes at {offset}"
                assert batch.is_lent or found is None or isinstance(found, bytes)
            batch.release()


def _check_handing_over(image: Export, ranges: list[Range], expected: list[bytes]) -> None:
    """Another reader goes on with what one leaves; its descriptors pass through the kernel."""
    with image.open() as reader:
        for offset, length in ranges[:MOST_DESCRIPTORS]:
            reader.read(offset, length)
        detached = reader.detach()
        if detached is None:  # more files are open than can be handed over
            return
        assert len(detached.descriptors) <= MOST_DESCRIPTORS
        assert len(detached.state) <= MOST_STATE_BYTES
        kept = tuple(map(os.dup, detached.descriptors))
    with image.open() as other:
        other.adopt(Detached(detached.state, kept))
        assert [other.read(*each) for each in ranges] == expected
    with image.open() as reader:  # nothing is left, as where descriptors can't be sent
        reader.adopt(Detached())
        assert_same([reader.read(*each) for each in ranges], expected)


def _check_tiling(image: Image) -> None:
    position = 0
    for region in image.regions():
        assert region.offset == position, f"{region} doesn't start where the one before it ends"
        assert region.length > 0
        position += region.length
    assert position == image.size


def _check_range(reader: Reader) -> None:
    size = reader.size
    outside: Iterable[Range] = (
        (-1, 1),
        (0, -1),
        (size, 1),
        (size - 1, 2),
        (0, size + 1),
        (size + 1, 0),
    )
    for offset, length in outside:
        with pytest.raises(ValueError, match="not within"):
            reader.pieces(offset, length)
        with pytest.raises(ValueError, match="not within"):
            list(reader.extents(offset, length))
        with pytest.raises(ValueError, match="not within"):
            list(reader.files(offset, length))
        with pytest.raises(ValueError, match="not within"):
            reader.read(offset, length)
    assert list(reader.pieces(size, 0)) == []
