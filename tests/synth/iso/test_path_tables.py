"""More directories than path tables can tell: refused, or left to readers that need none."""

from __future__ import annotations

import struct

import pytest
from conformance import check_image, read
from vfloppy.errors import PlanError, in_python, worded
from vfloppy.synth.iso import directories, lint, plan

BLOCK = 2048
MOST = 5


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A tree in which the seventh directory has one, where five can be told."""
    for module in (plan, directories, lint):
        monkeypatch.setattr(module, "MOST_PARENT_NUMBER", MOST)
    for name in "abcdef":
        (tmp_path / name).mkdir()
    (tmp_path / "c" / "told").mkdir()
    (tmp_path / "f" / "untold").mkdir()
    (tmp_path / "f" / "untold" / "file").write_bytes(b"file")
    return tmp_path


def parents(image, block: int, size: int, order: str) -> dict[bytes, int]:
    data, found = read(image, block * BLOCK, size), {}
    while data:
        length, _, _, parent = struct.unpack_from(f"{order}BBIH", data)
        found[data[8 : 8 + length]] = parent
        data = data[8 + length + length % 2 :]
    return found


@pytest.mark.parametrize("joliet", [True, False])
def test_they_are_refused(many, make, joliet):
    with pytest.raises(PlanError) as raised:
        make(many, joliet=joliet)
    assert worded(raised.value.marked, in_python) == (
        "directory /f has directories and is number 7; a path table counts to 5; with "
        "limit_pathtables=False, Windows and DOS don't find what is in it, and others do"
    )


def test_without_limit_they_are_in_the_root_for_who_goes_by_path_tables(many, make):
    _, layout, image = make(many, limit_pathtables=False)
    check_image(image, whole=True)
    place = layout.primary_layout
    for block, order in ((place.little_table_block, "<"), (place.big_table_block, ">")):
        found = parents(image, block, place.path_table_bytes, order)
        assert found == {b"\0": 1, **{bytes([each]): 1 for each in b"ABCDEF"},
                         b"TOLD": 4, b"UNTOLD": 1}  # fmt: skip


def test_check_tells_whose_trouble_it_is(many, make):
    tree, layout, _ = make(many, limit_pathtables=False)
    found = [each for each in lint.lint(tree, layout) if "path table" in each.text]
    assert [(each.path, set(each.readers)) for each in found] == [
        ("f", {lint.LEVEL_1, lint.WINDOWS})
    ]


def test_the_option_changes_no_byte_of_another_disk(tmp_path, make):
    (tmp_path / "a" / "b").mkdir(parents=True)
    options = {"boot_bios": "boot", "hybrid": True, "mbr_code": b"code"}
    (tmp_path / "boot").write_bytes(bytes(3000))
    images = [make(tmp_path, limit_pathtables=each, **options)[2] for each in (True, False)]
    data = [bytearray(read(image, 0, image.size)) for image in images]
    for each in data:
        each[440:444] = bytes(4)  # the disk's number tells options apart
    assert data[0] == data[1]
