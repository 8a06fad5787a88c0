"""Files that trees don't show, and the one that is a partition behind the volume."""

from __future__ import annotations

import os
from io import BytesIO

import pycdlib
import pytest
import vfloppy
from conformance import check_image
from vfloppy.errors import OptionError, PlanError

BLOCK, SECTOR = 2048, 512
ESP_TYPE = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/a", "sub/long name"):
        (root / name).write_text(f"contents of {name}")
    return root


@pytest.fixture
def esp(tmp_path):
    (tmp_path / "esp").write_bytes(os.urandom(5000))
    return tmp_path / "esp"


def paths(disk: vfloppy.Disk) -> dict[str, set[str]]:
    """The files of each tree, by pycdlib."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(disk.read(0, disk.size)))
    found = {}
    for kind in ("iso_path", "rr_path", "joliet_path"):
        found[kind] = {
            f"{folder.rstrip('/')}/{name}"
            for folder, _, files in iso.walk(**{kind: "/"})
            for name in files
        }
    iso.close()
    return found


def test_hidden_files_are_in_the_other_tree_only(root):
    disk = vfloppy.open_disk([root], format="iso", hide=["a"], hide_joliet=["/sub/*n*"])
    assert paths(disk) == {
        "iso_path": {"/B.;1", "/SUB/LONG_NAME.;1"},
        "rr_path": {"/b", "/sub/long name"},
        "joliet_path": {"/a", "/b", "/sub/a"},
    }
    assert disk.verify(BytesIO(disk.read(0, disk.size))) == []
    check_image(disk.export)


def test_directories_cannot_be_hidden(root):
    for option in ("hide", "hide_joliet"):
        with pytest.raises(PlanError, match="a directory; only files can be hidden"):
            vfloppy.open_disk([root], format="iso", **{option: ["su?"]})


def appended(root, esp, **options):
    return vfloppy.open_disk([root], format="iso", boot_uefi_append=esp, hybrid=True, **options)


@pytest.mark.parametrize("padding", [True, False])
def test_a_partition_stands_behind_the_volume(root, esp, padding):
    disk = appended(root, esp, padding=padding)
    data = disk.read(0, disk.size)
    volume = int.from_bytes(data[16 * BLOCK + 80 :][:4], "little") * BLOCK
    entry = data[2 * SECTOR :][:128]
    assert entry[:16] == ESP_TYPE
    first, last = (int.from_bytes(entry[at : at + 8], "little") for at in (32, 40))
    assert volume <= first * SECTOR
    assert data[first * SECTOR :][:5000] == esp.read_bytes()
    assert (last + 1 - first) * SECTOR == 3 * BLOCK
    pointer = int.from_bytes(data[17 * BLOCK + 71 :][:4], "little")
    started = data[pointer * BLOCK + 32 :][:32]
    assert int.from_bytes(started[8:12], "little") * BLOCK == first * SECTOR
    assert all(len(each) < 5 for each in paths(disk).values()), "the partition is in no tree"
    assert disk.verify(BytesIO(data)) == []
    check_image(disk.export)


def test_another_image_can_be_what_el_torito_starts(root, esp):
    disk = appended(root, esp, boot_uefi="b")
    data = disk.read(0, disk.size)
    pointer = int.from_bytes(data[17 * BLOCK + 71 :][:4], "little")
    started = int.from_bytes(data[pointer * BLOCK + 40 :][:4], "little")
    assert data[started * BLOCK :].startswith(b"contents of b")
    first = int.from_bytes(data[2 * SECTOR + 32 :][:8], "little")
    assert data[first * SECTOR :][:5000] == esp.read_bytes()


def test_the_file_may_be_in_the_tree_too_as_another_name(root, esp):
    os.link(esp, root / "z")
    os.link(esp, root / "A")
    disk = appended(root, esp)
    assert disk.read(0, disk.size).count(esp.read_bytes()) == 2
    assert disk.verify(BytesIO(disk.read(0, disk.size))) == []


def test_a_file_that_is_appended_and_changed_makes_another_disk(root, esp):
    disk = appended(root, esp)
    assert disk.is_same_as(disk.rescan())
    esp.write_bytes(b"x" * 6000)
    assert not disk.is_same_as(disk.rescan())


def test_an_appended_partition_needs_partition_tables(root, esp):
    with pytest.raises(OptionError, match="boot_uefi_append makes a partition"):
        vfloppy.open_disk([root], format="iso", boot_uefi_append=esp)
    with pytest.raises(OptionError, match="there is one partition for UEFI"):
        appended(root, esp, boot_uefi_dir=root)
    with pytest.raises(vfloppy.VfloppyError, match="missing"):
        appended(root, "missing")
    esp.write_bytes(b"")
    with pytest.raises(PlanError, match=r"boot_uefi_append: .* is empty"):
        appended(root, esp)
