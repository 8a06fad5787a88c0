"""File contents: slack, empty files, holes; no zeros where a file changed."""

from __future__ import annotations

import errno
import os
import random
from array import array
from itertools import accumulate

import pytest
from compare import assert_same
from conformance import check_image, read
from counted import Counted
from vfloppy.export import FileSlice, Hole, HostReadError
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.contents import Contents
from vfloppy.synth.image.files import OpenedFiles
from vfloppy.synth.image.image import Image
from vfloppy.synth.scanning.scan import scan

MIB = 1 << 20


def contents_of(root, block_bytes: int = 4096) -> Contents:
    tree = scan(str(root))
    starts = accumulate((-(-size // block_bytes) for size in tree.sizes), initial=0)
    return Contents(tree, HostFiles(tree), array("I", starts), block_bytes)


@pytest.fixture
def mixed(tmp_path):
    """Empty files at both ends and in rows, files of less, just and more than a block."""
    generator = random.Random(1)
    sizes = (0, 0, 1, 4095, 4096, 0, 4097, 0, 0, 12_288, 5, 0)
    for number, size in enumerate(sizes):
        (tmp_path / f"{number:02}").write_bytes(generator.randbytes(size))
    return tmp_path


@pytest.mark.parametrize("block_bytes", [512, 4096, 32_768])
def test_every_file_from_the_start_of_a_block_and_zeros_behind(mixed, block_bytes):
    naive = b""
    for path in sorted(mixed.iterdir()):
        data = path.read_bytes()
        naive += data + bytes(-len(data) % block_bytes)
    image = Image([contents_of(mixed, block_bytes)])
    assert_same(read(image, 0, image.size), naive)
    check_image(image)


def test_what_aligns_a_file_is_no_part_of_the_one_before(tmp_path):
    for name, size in (("a", 1), ("b", 5000), ("c", 0), ("d", 9000)):
        (tmp_path / name).write_bytes(bytes(size))
    tree = scan(str(tmp_path))
    starts = array("I", [0, 0, 2, 6, 6, 12])  # of 2 KiB, each file at a whole page
    contents = Contents(tree, HostFiles(tree), starts, 2048)
    assert [(each.kind, each.length, each.name) for each in contents.regions()] == [
        ("file", 2048, "a"),
        ("reserved", 2048, "up to a whole page"),
        ("file", 6144, "b"),
        ("reserved", 2048, "up to a whole page"),
        ("file", 10_240, "d"),
        ("reserved", 2048, "up to a whole page"),
    ]


def test_a_range_within_a_file_is_one_slice(mixed):
    contents = contents_of(mixed).open(OpenedFiles())
    [piece] = contents.pieces(4096, 4095)
    assert isinstance(piece, FileSlice)
    assert (piece.index, piece.offset, piece.length) == (4, 0, 4095)
    slice_, hole = contents.pieces(8190, 2)[0], contents.pieces(8191, 1)[0]
    assert isinstance(slice_, FileSlice)
    assert isinstance(hole, Hole)


def test_empty_files_cost_a_read_nothing(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "z").write_bytes(b"2")
    for number in range(1000):
        (tmp_path / f"b{number}").touch()
    tree = scan(str(tmp_path))
    starts = Counted(accumulate((-(-size // 512) for size in tree.sizes), initial=0))
    monkeypatch.setattr("vfloppy.synth.image.contents._MOST_LISTED", 0)  # a copy counts nothing
    contents = Contents(tree, HostFiles(tree), starts, 512).open(OpenedFiles())
    starts.looks = 0
    assert [piece.length for piece in contents.pieces(0, 1024)] == [1, 511, 1, 511]
    assert starts.looks < 50


def test_regions_name_the_files_that_have_bytes(mixed):
    names = [region.name for region in contents_of(mixed).regions()]
    assert names == ["02", "03", "04", "06", "09", "10"]


def test_directories_without_files_have_no_contents(tmp_path):
    (tmp_path / "d").mkdir()
    assert contents_of(tmp_path).size == 0


def holes(image: Image) -> list[tuple[int, bool]]:
    """Extents, neighbours of one sort joined."""
    joined: list[tuple[int, bool]] = []
    for extent in image.open().extents(0, image.size):
        if joined and joined[-1][1] == extent.hole:
            joined[-1] = (joined[-1][0] + extent.length, extent.hole)
        else:
            joined.append((extent.length, extent.hole))
    return joined


@pytest.fixture
def islands(tmp_path):
    """A sparse file between two others."""
    (tmp_path / "a").write_bytes(b"a" * 5000)
    with open(tmp_path / "b", "wb") as file:
        file.truncate(8 * MIB)
        for offset in (2 * MIB, 6 * MIB):
            file.seek(offset)
            file.write(b"b" * 4096)
    (tmp_path / "c").write_bytes(b"c")
    return tmp_path


def test_extents_show_the_holes_of_the_host(islands):
    image = Image([contents_of(islands)])
    hole, data = 2 * MIB, 4096
    assert holes(image) == [
        (8192, False), (hole, True), (data, False), (4 * MIB - data, True), (data, False),
        (hole - data, True), (4096, False),
    ]  # fmt: skip
    check_image(image)


def test_extents_of_any_part_are_part_of_the_extents_of_all(islands):
    reader = Image([contents_of(islands, 512)]).open()
    whole = b"".join((b"0" if e.hole else b"1") * (e.length // 512) for e in reader.extents(
        0, reader.size))  # fmt: skip
    generator = random.Random(2)
    for _ in range(200):
        first, last = sorted(generator.sample(range(len(whole) + 1), 2))
        part = b"".join((b"0" if e.hole else b"1") * (e.length // 512) for e in reader.extents(
            first * 512, (last - first) * 512))  # fmt: skip
        assert_same(part, whole[first:last])


def empty_it(path):
    """The same size, and not a byte of the data left."""
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)
    os.utime(path, (1, 1))


@pytest.mark.parametrize("opened_before", [False, True])
def test_a_file_that_became_one_hole_does_not_pass_for_zeros(islands, opened_before):
    reader = Image([contents_of(islands)]).open()
    if opened_before:
        reader.read(8192 + 2 * MIB, 1)
    empty_it(islands / "b")
    extents = list(reader.extents(8192, 8 * MIB))
    assert not any(extent.hole for extent in extents)
    with pytest.raises(HostReadError, match="b was written to"):
        reader.read(8192, 1)


def test_a_file_that_became_one_hole_between_two_extents_does_not_either(islands):
    image = Image([contents_of(islands)])
    extents = image.open().extents(8192, 8 * MIB)
    assert [next(extents)[:2], next(extents)[:2]] == [(2 * MIB, True), (4096, False)]
    empty_it(islands / "b")
    assert not any(extent.hole for extent in extents)


def test_a_host_that_knows_no_holes_is_all_data(islands, monkeypatch):
    real = os.lseek

    def unknowing(descriptor, offset, how):
        if how in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, "no such whence")
        return real(descriptor, offset, how)

    monkeypatch.setattr(os, "lseek", unknowing)
    image = Image([contents_of(islands)])
    assert holes(image) == [(image.size, False)]


@pytest.mark.parametrize("block_bytes", [512, 4096, 32_768, 65_536])
def test_holes_of_the_host_that_are_finer_than_a_block_are_data(tmp_path, block_bytes):
    """Data at the end of one block, at the start of another, and in the middle of a third."""
    with open(tmp_path / "file", "wb") as file:
        file.truncate(2 * MIB + 5)
        for offset in (65_536 * 3 - 10, 65_536 * 7, 65_536 * 11 + 30_000, 2 * MIB):
            file.seek(offset)
            file.write(b"x")
    image = Image([contents_of(tmp_path, block_bytes)])
    assert sum(length for length, hole in holes(image) if hole) > MIB
    check_image(image)
