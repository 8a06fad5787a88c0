"""Real and made trees, read back by programs that we did not write."""

from __future__ import annotations

import os
import tarfile

import pytest
from readers import device, fsck, guestfish, mtools_tree, pyfatfs_tree, tar_tree, volume_of
from tools import need_tool, output, run
from trees import MADE, real_trees

MIB = 1 << 20
TREES = [*real_trees(), *MADE]
# Gigabytes of zeros: the readers that go through every byte get the other trees.
READ_WHOLE = [name for name in TREES if name != "sparse"]
# mtools takes each unit of a name for a character of its own: two where one has two units.
IN_MTOOLS = [name for name in READ_WHOLE if name not in ("unicode_names", "long_names")]


@pytest.mark.parametrize("name", TREES)
def test_fsck_has_no_complaint(made, name, tmp_path):
    need_tool("fsck.fat")
    fsck(volume_of(made(name).image, tmp_path / "volume", MIB))


@pytest.mark.parametrize("name", TREES)
def test_the_partition_table_verifies(made, name):
    need_tool("sfdisk")
    image = made(name).image
    assert "No errors detected" in output("sfdisk", "--verify", str(image))
    dump = output("sfdisk", "--dump", str(image))
    assert "start=        2048" in dump
    assert "type=c" in dump


@pytest.mark.parametrize("name", IN_MTOOLS)
def test_mtools_copies_every_name_and_byte(made, name, tmp_path):
    need_tool("mcopy")
    disk = made(name)
    assert mtools_tree(disk.image, MIB, tmp_path / "out") == disk.expected


@pytest.mark.parametrize("name", READ_WHOLE)
def test_pyfatfs_reads_every_name_and_byte(made, name):
    disk = made(name)
    assert pyfatfs_tree(disk.image, MIB) == disk.expected


def test_linux_mounts_them_all(made, tmp_path):
    """Names, bytes and times; of the trees that would take hours, names and samples.

    The driver walks through a directory for every file that it opens, so 20,000 files in one
    directory are listed only.
    """
    need_tool("guestfish")
    in_full = [name for name in READ_WHOLE if name != "many_files"]
    script = []
    for number, name in enumerate([*in_full, "many_files", "sparse"]):
        script.append(f"mount-options ro,iocharset=utf8,tz=UTC {device(number)}1 /")
        if name in in_full:
            script.append(f"tar-out / {tmp_path}/{name}.tar")
        elif name == "many_files":
            script += [
                f"ls / | cat > {tmp_path}/names",
                f"download '/file number 19999.txt' {tmp_path}/last",
            ]
        else:
            script.append(f"download-offset /sparse.img {tmp_path}/islands {3 << 29} 4096")
        script.append("umount /")
    drives = [str(made(name).image) for name in [*in_full, "many_files", "sparse"]]
    guestfish(drives, *script)
    for name in in_full:
        assert tar_tree(tmp_path / f"{name}.tar") == made(name).expected, name
    assert set((tmp_path / "names").read_text().splitlines()) == set(made("many_files").expected)
    assert (tmp_path / "last").read_bytes() == b"19999"
    assert (tmp_path / "islands").read_bytes() == bytes(123) + b"here!" + bytes(4096 - 128)
    check_times(made("sizes").directory, tmp_path / "sizes.tar")
    check_times(made("deep").directory, tmp_path / "deep.tar")


def check_times(directory, tar):
    """Modification times, to the two seconds that FAT keeps."""
    with tarfile.open(tar) as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if name not in ("", "."):
                seconds = int(os.stat(directory / name).st_mtime)
                assert member.mtime == seconds - seconds % 2, name


def test_a_flipped_byte_is_noticed(made, tmp_path):
    """The comparisons above can fail: one bit of one file, one of the table."""
    need_tool("fsck.fat", "mcopy")
    disk = made("sizes")
    damaged = tmp_path / "damaged.img"
    data = bytearray(disk.image.read_bytes())
    at = data.index((disk.directory / "1000003.bin").read_bytes()[:512])
    data[at] ^= 1
    damaged.write_bytes(data)
    assert mtools_tree(damaged, MIB, tmp_path / "out") != disk.expected
    data[MIB + 32 * 512 + 8] ^= 1
    damaged.write_bytes(data)
    volume = volume_of(damaged, tmp_path / "volume", MIB)
    assert run("fsck.fat", "-n", str(volume)).returncode != 0
