"""Images: sections in a row, taken apart when put together, checked at their ends."""

from __future__ import annotations

import contextlib
import os
from array import array
from itertools import groupby
from operator import attrgetter

import pytest
from conformance import check_image, read
from vfloppy.export import Detached, HostReadError, Kind
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.contents import Contents
from vfloppy.synth.image.image import Image
from vfloppy.synth.image.section import Fixed, Zeros
from vfloppy.synth.scanning.scan import scan


def made() -> Image:
    inner = Image([Fixed(b"cd", Kind.TABLE, "inner"), Zeros(5000, Kind.FREE, "zeros")])
    outer = [Fixed(b"ab", Kind.RESERVED, "first"), Zeros(0, Kind.FREE, "nothing"), inner]
    return Image([*outer, Fixed(b"ef", Kind.FILE, "last")])


def test_conformance():
    check_image(made(), sectors=False)


def test_bytes_and_names():
    image = made()
    assert read(image, 0, image.size) == b"abcd" + bytes(5000) + b"ef"
    assert [region.name for region in image.regions()] == ["first", "inner", "zeros", "last"]
    assert not any(isinstance(section, Image) for section in image.sections)


def test_the_sets_of_files_of_an_image_in_an_image(tmp_path):
    """Each is opened once by each reader, however many sections it has."""
    trees, opened = [], []

    class Counted(HostFiles):
        def open(self, alerts=None):
            opened.append(self)
            return super().open(alerts)

    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        trees.append(scan(str(tmp_path / name)))
    outer, inner = map(Counted, trees)
    starts = array("I", [0, 0, 1])
    image = Image(
        [
            Contents(trees[0], outer, starts, 512),
            Image([Contents(trees[1], inner, starts, 512), Zeros(512, Kind.FREE, "zeros")]),
            Contents(trees[0], outer, starts, 512),
        ]
    )
    check_image(image)
    assert image.features.directories == (*outer.directories, *inner.directories)
    assert [os.readlink(f"/proc/self/fd/{each}") for each in image.features.directories] == [
        str(tmp_path / name) for name in ("outer", "inner")
    ]
    opened.clear()
    with image.open() as reader:
        assert reader.read(0, image.size)
    assert opened == [outer, inner]


@pytest.fixture
def two(tmp_path):
    """An image of two sets of files, two files each: a block each."""
    sections = []
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / str(number)).write_text(f"{name} {number}")
        tree = scan(str(tmp_path / name))
        sections.append(Contents(tree, HostFiles(tree), array("I", [0, 0, 1, 2]), 512))
    return Image(sections)


def test_what_one_reader_leaves_another_of_the_image_goes_on_with(two, tmp_path):
    """Files of several sets stay apart, such as those of an ISO image and of the FAT inside it."""
    with two.open() as first:
        texts = [bytes(first.read(offset, 7)) for offset in (0, 1024, 1536)]
        assert texts == [b"outer 0", b"inner 0", b"inner 1"]
        detached = first.detach()
        assert len(detached.descriptors) == 3
        kept = Detached(detached.state, tuple(map(os.dup, detached.descriptors)))
    for name in ("outer", "inner"):
        for number in range(2):
            (tmp_path / name / str(number)).unlink()
    with two.open() as second:
        second.adopt(kept)
        assert [second.read(offset, 7) for offset in (0, 1024, 1536)] == texts
        with pytest.raises(HostReadError, match="outer/1 can't be read"):
            second.read(512, 7)


def test_a_reader_with_more_files_than_can_be_handed_over_is_not_detached(two, monkeypatch):
    """All sets of files together."""
    monkeypatch.setattr("vfloppy.synth.image.image.MOST_DESCRIPTORS", 3)
    with two.open() as reader:
        for offset in (0, 1024, 1536):
            reader.read(offset, 7)
        assert reader.detach() is not None
    with two.open() as reader:
        for offset in (0, 512, 1024, 1536):
            reader.read(offset, 7)
        assert reader.detach() is None
        assert reader.read(1024, 7) == b"inner 0"


@pytest.mark.parametrize(
    "numbers",
    [[], [0, 0], [1], [1, 3], [2, 1, 1, 0], [2, 1, 2, 0], [1, 2, 0, 0], [1, 2, 1, 2],
     [2**64 - 1, 1], [0, 2**63, 1, 1], [1, 2**64 - 1, 0], "no numbers"],
    ids=str,
)  # fmt: skip
def test_a_state_that_is_none_of_the_image_is_refused(two, numbers):
    """Whoever left it may mean ill. One descriptor came with it."""
    state = b"1234567" if numbers == "no numbers" else array("Q", numbers).tobytes()
    kept = os.open(os.devnull, os.O_RDONLY)
    with two.open() as reader, pytest.raises(ValueError):
        reader.adopt(Detached(state, (kept,)))
    with contextlib.suppress(OSError):  # it may have been taken over
        os.close(kept)


def test_what_is_handed_over_is_checked_as_any(two):
    kept = os.open(os.devnull, os.O_RDONLY)
    with two.open() as reader:
        reader.adopt(Detached(array("Q", [1, 2, 0]).tobytes(), (kept,)))
        with pytest.raises(HostReadError, match="no regular file"):
            reader.read(512, 7)
        assert reader.read(0, 7) == b"outer 0"


@pytest.mark.parametrize("larger", ["outer", "inner"])
def test_the_files_of_a_disk_inside_have_no_numbers(tmp_path, larger):
    """They are another tree's, and would be taken for those of the image's own."""
    trees = []
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(2000 if name == larger else 100))
        trees.append(scan(str(tmp_path / name)))
    outer, inner = map(HostFiles, trees)
    sections = [
        [Contents(tree, source, array("I", [0, 0, 4]), 512)]
        for tree, source in zip(trees, (outer, inner), strict=True)
    ]
    own, other = (2048, 512) if larger == "outer" else (512, 2048)  # the sectors that they begin
    rest = [(2048 - own, 0)] if own < 2048 else []
    for image in (
        Image([*sections[1], *sections[0]], numbered=outer),
        Image([Image(sections[1]), Image(sections[0])], numbered=outer),
    ):
        with image.open() as reader:
            assert runs_of(reader) == [(2048, 0), (own, 2), *rest]
    with Image(sections[1]).open() as reader:
        assert runs_of(reader)[0] == (other, 2)


def runs_of(reader):
    """The runs of files, neighbours of one number joined."""
    runs = groupby(reader.files(0, reader.size), key=attrgetter("number"))
    return [(sum(run.length for run in group), number) for number, group in runs]


def test_an_empty_image_has_no_bytes():
    image = Image([])
    assert image.size == 0
    with image.open() as reader:
        assert reader.pieces(0, 0) == []
        assert list(reader.extents(0, 0)) == list(reader.files(0, 0)) == []
        assert reader.read(0, 0) == b""
