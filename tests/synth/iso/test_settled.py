"""What a user settles for all files of an image, and the boot catalogue as one of them."""

from __future__ import annotations

import stat
from io import BytesIO

import pycdlib
import pytest
import vfloppy
from conformance import check_image
from vfloppy.errors import OptionError
from vfloppy.synth.iso.layout import IsoOptions
from vfloppy.synth.iso.options import WHOLE_FILE
from vfloppy.synth.iso.posix import Posix

BLOCK = 2048


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "boot").mkdir(parents=True)
    (root / "boot" / "start.bin").write_bytes(bytes(range(250)) * 100)
    (root / "script").write_text("#!")
    (root / "script").chmod(0o750)
    (root / "link").symlink_to("script")
    return root


def attributes(disk: vfloppy.Disk) -> dict[str, tuple[int, int, int]]:
    """Mode, owner and group of each path, by pycdlib."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(disk.read(0, disk.size)))
    found = {}
    for folder, directories, files in iso.walk(rr_path="/"):
        for name in [*directories, *files]:
            path = f"{folder.rstrip('/')}/{name}"
            px = iso.get_record(rr_path=path).rock_ridge.dr_entries.px_record
            found[path] = px.posix_file_mode, px.posix_user_id, px.posix_group_id
    iso.close()
    return found


def modes(found: dict[str, tuple[int, int, int]]) -> dict[str, str]:
    return {path: stat.filemode(mode) for path, (mode, _, _) in found.items()}


def test_owners_and_modes_are_those_that_were_settled(root, tmp_path):
    (tmp_path / "x").write_text("x")
    disk = vfloppy.open_disk(
        [root], format="iso", uid=5000, gid=7, file_mode="400", dir_mode=0o711, new_dir_mode="700",
        graft={"made/x": tmp_path / "x"},
    )  # fmt: skip
    found = attributes(disk)
    assert {owner for _, *owner in map(list, found.values()) if owner != [5000, 7]} == set()
    assert modes(found) == {
        "/boot": "drwx--x--x",
        "/boot/start.bin": "-r--------",
        "/link": "lrwxrwxrwx",
        "/made": "drwx------",
        "/made/x": "-r--------",
        "/script": "-r--------",
    }


def test_owners_alone_leave_modes_as_they_are(root):
    found = attributes(vfloppy.open_disk([root], format="iso", preserve=True, gid=0, uid=1))
    assert modes(found)["/script"] == "-rwxr-x---"
    assert {owner for _, owner, _ in found.values()} == {1}


@pytest.mark.parametrize("option", ["uid", "gid", "file_mode", "dir_mode", "new_dir_mode"])
def test_plain_iso_9660_has_no_owners(root, option):
    with pytest.raises(OptionError, match=rf"{option} needs Rock Ridge"):
        vfloppy.open_disk([root], format="iso", rock_ridge=False, **{option: 0})


@pytest.mark.parametrize("value", ["8", "x", "17777", -1, ""])
def test_modes_are_octal(root, value):
    with pytest.raises(OptionError, match="no mode"):
        vfloppy.open_disk([root], format="iso", file_mode=value)


def test_disks_without_these_options_are_what_they_were():
    text = IsoOptions().told_apart_by
    assert "posix" not in text
    assert "catalogue" not in text
    assert IsoOptions(posix=Posix(uid=1)).told_apart_by != text


# --- The boot catalogue as a file ---


def boots(root, **options):
    return vfloppy.open_disk([root], format="iso", boot_bios="boot/start.bin", **options)


def test_the_catalogue_is_a_file_of_each_tree(root):
    disk = boots(root, boot_catalogue="boot/boot.cat")
    data = disk.read(0, disk.size)
    pointer = int.from_bytes(data[17 * BLOCK + 71 :][:4], "little")
    catalogue = data[pointer * BLOCK :][:BLOCK]
    assert catalogue[30:32] == b"\x55\xaa"
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(data))
    for path in ({"rr_path": "/boot/boot.cat"}, {"joliet_path": "/boot/boot.cat"}):
        record = iso.get_record(**path)
        assert (record.extent_location(), record.get_data_length()) == (pointer, BLOCK)
    iso.close()
    assert disk.verify(BytesIO(data)) == []
    (entry,) = (each for each in disk.files() if each["path"] == "boot/boot.cat")
    assert (entry["host_path"], entry["first_block"]) == (None, pointer)
    check_image(disk.export)


def test_the_catalogue_takes_the_place_of_an_old_one(root):
    """A disc that was copied has one in its directory."""
    (root / "boot" / "boot.cat").write_bytes(b"old" * 2000)
    disk = boots(root, boot_catalogue="boot/boot.cat", strict=True, joliet_long=True)
    assert b"oldold" not in disk.read(0, disk.size)
    assert [each["size"] for each in disk.files() if each["path"] == "boot/boot.cat"] == [BLOCK]


def test_the_catalogue_takes_the_place_of_no_directory(root):
    with pytest.raises(vfloppy.VfloppyError, match="boot: already in the tree"):
        boots(root, boot_catalogue="boot")
    with pytest.raises(vfloppy.VfloppyError, match="already in the tree"):
        boots(root, boot_catalogue="script/boot.cat")


def test_a_grafted_file_goes_for_the_catalogue(root, tmp_path):
    (tmp_path / "x").write_text("x")
    disk = boots(root, boot_catalogue="boot/boot.cat", graft={"boot/boot.cat": tmp_path / "x"})
    assert [each["size"] for each in disk.files() if each["path"] == "boot/boot.cat"] == [BLOCK]


def test_a_catalogue_lists_something(root):
    with pytest.raises(OptionError, match="boot_catalogue has nothing to list"):
        vfloppy.open_disk([root], format="iso", boot_catalogue="boot.cat")


# --- The whole of a boot file is loaded ---


def load_size(disk: vfloppy.Disk) -> int:
    pointer = int.from_bytes(disk.read(17 * BLOCK + 71, 4), "little")
    return int.from_bytes(disk.read(pointer * BLOCK + 32 + 6, 2), "little")


def test_all_of_a_boot_file_can_be_loaded(root):
    assert load_size(boots(root)) == 4
    assert load_size(boots(root, boot_load_size="full")) == 4 * -(-25_000 // BLOCK)
    assert load_size(boots(root, boot_load_size=WHOLE_FILE + 1)) == 1
    with pytest.raises(OptionError, match="no number from 1"):
        boots(root, boot_load_size=0)
