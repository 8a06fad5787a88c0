"""Images: sections in a row, taken apart when put together, checked at their ends."""

from __future__ import annotations

from array import array

from conformance import check_image, read
from vfloppy.pieces import Kind
from vfloppy.synth.contents import Contents
from vfloppy.synth.host import ScannedFiles
from vfloppy.synth.image import Fixed, Image, Zeros
from vfloppy.synth.scan import scan


def made() -> Image:
    inner = Image([Fixed(b"cd", Kind.TABLE, "inner"), Zeros(5000, Kind.FREE, "zeros")])
    outer = [Fixed(b"ab", Kind.RESERVED, "first"), Zeros(0, Kind.FREE, "nothing"), inner]
    return Image([*outer, Fixed(b"ef", Kind.FILE, "last")])


def test_conformance():
    check_image(made())


def test_bytes_and_names():
    image = made()
    assert read(image, 0, image.size) == b"abcd" + bytes(5000) + b"ef"
    assert [region.name for region in image.regions()] == ["first", "inner", "zeros", "last"]
    assert not any(isinstance(section, Image) for section in image.sections)


def test_the_sets_of_files_of_an_image_in_an_image(tmp_path):
    trees = []
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        trees.append(scan(str(tmp_path / name)))
    outer, inner = map(ScannedFiles, trees)
    starts = array("I", [0, 0, 1])
    image = Image(
        [
            Contents(trees[0], outer, starts, 512),
            Image([Contents(trees[1], inner, starts, 512), Zeros(512, Kind.FREE, "zeros")]),
            Contents(trees[0], outer, starts, 512),
        ]
    )
    check_image(image)
    assert image.host_files == [outer, inner]


def test_an_empty_image_has_no_bytes():
    image = Image([])
    assert image.size == 0
    assert image.pieces(0, 0) == []
    assert list(image.extents(0, 0)) == []
