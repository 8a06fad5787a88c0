"""A partition that is the volume, too: trees of its own, which count from its start."""

from __future__ import annotations

import os
from io import BytesIO

import pycdlib
import pytest
import vfloppy
from conformance import check_image
from vfloppy.errors import OptionError

BLOCK, SECTOR, START = 2048, 512, 16 * 2048


@pytest.fixture
def root(tmp_path):
    """A tree with continuations, several blocks of directories, and deep ones."""
    root = tmp_path / "root"
    (root / "a/b/c/d").mkdir(parents=True)
    for number in range(80):
        (root / "a" / f"{number} {'long name ' * (number % 24)}").write_text(str(number))
    (root / "a/b/c/d/deep").write_bytes(os.urandom(9000))
    (root / "boot.bin").write_bytes(bytes(range(250)) * 100)
    (root / "link").symlink_to("/".join(["target"] * 60))
    return root


@pytest.fixture
def esp(tmp_path):
    (tmp_path / "esp").write_bytes(os.urandom(5000))
    return tmp_path / "esp"


def trees(data: bytes) -> dict[tuple[str, str], bytes | None]:
    """Paths and contents of each tree, by pycdlib."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(data))
    found: dict[tuple[str, str], bytes | None] = {}
    kinds = ["iso_path"]
    kinds += ["rr_path"] if iso.has_rock_ridge() else []
    kinds += ["joliet_path"] if iso.has_joliet() else []
    for kind in kinds:
        for folder, directories, files in iso.walk(**{kind: "/"}):
            for name in [*directories, *files]:
                path = f"{folder.rstrip('/')}/{name}"
                record = iso.get_record(**{kind: path})
                link = record.rock_ridge and record.rock_ridge.is_symlink()
                if link:
                    found[kind, path] = record.rock_ridge.symlink_path()
                elif record.is_file():
                    out = BytesIO()
                    iso.get_file_from_iso_fp(out, **{kind: path})
                    found[kind, path] = out.getvalue()
                else:
                    found[kind, path] = None
    iso.close()
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"joliet": False}, {"rock_ridge": False}, {"rock_ridge": False, "joliet": False},
     {"boot_bios": "boot.bin", "boot_catalogue": "boot.cat"}, {"padding": False}],
    ids=str,
)  # fmt: skip
def test_the_partition_holds_the_same_trees(root, esp, options):
    disk = vfloppy.open_disk(
        [root], format="iso", hybrid=True, volume_partition=True, boot_uefi_append=esp, **options
    )
    data = disk.read(0, disk.size)
    entry = data[2 * SECTOR :][:128]
    first, last = (int.from_bytes(entry[at : at + 8], "little") for at in (32, 40))
    assert first * SECTOR == START
    partition = data[START : (last + 1) * SECTOR]
    assert int.from_bytes(partition[16 * BLOCK + 80 :][:4], "little") * BLOCK == len(partition)
    for position in (16 * BLOCK, START + 16 * BLOCK):
        assert data[position : position + 6] == b"\1CD001"
    assert trees(partition).keys() == trees(data).keys()
    assert trees(partition) == trees(data)
    assert len(trees(partition)) > 80
    assert disk.verify(BytesIO(data)) == []
    check_image(disk.export)


def test_an_mbr_has_the_partition_too(root):
    code = root.parent / "code"
    code.write_bytes(b"\x33\xed" * 200)
    disk = vfloppy.open_disk(
        [root], format="iso", hybrid=True, volume_partition=True, mbr_code=code,
        boot_bios="boot.bin",
    )  # fmt: skip
    record = disk.read(446, 16)
    assert record[0] == 0x80
    assert int.from_bytes(record[8:12], "little") * SECTOR == START
    assert int.from_bytes(record[12:16], "little") * SECTOR == disk.size - START
    assert trees(disk.read(START, disk.size - START)) == trees(disk.read(0, disk.size))


def test_what_would_overlap_is_refused(root, esp):
    with pytest.raises(OptionError, match="volume_partition is one of hybrid=True"):
        vfloppy.open_disk([root], format="iso", volume_partition=True)
    for option, value in (("boot_uefi", "boot.bin"), ("boot_uefi_dir", root)):
        with pytest.raises(OptionError, match="would overlap the image for UEFI"):
            vfloppy.open_disk(
                [root], format="iso", volume_partition=True, hybrid=True, **{option: value}
            )
