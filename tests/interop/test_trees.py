"""Real and made trees, read back by programs that we did not write."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from compare import assert_same
from readers import (
    device,
    fsck,
    grub_reads,
    guestfish,
    host_paths,
    mtools_tree,
    pyfatfs_tree,
    seven_zip_tree,
    sleuthkit_files,
    sleuthkit_listing,
    tar_times,
    tar_tree,
    volume_of,
)
from tools import need_tool, output, run
from trees import ALL_OF_PYTHON, MADE, real_trees

MIB = 1 << 20
SECTOR = 2048  # where the partition starts

TREES = [*real_trees(), *MADE, "changed_long_names", "dates"]
# ALL_OF_PYTHON is for the readers that are quick.
# Gigabytes of zeros: the readers that go through every byte get the other trees.
READ_WHOLE = [name for name in TREES if name != "sparse"]
# The Sleuth Kit cuts names of 255 bytes.
IN_SLEUTHKIT = [name for name in TREES if name not in ("long_names", "changed_long_names")]
WITH_BYTES = [name for name in IN_SLEUTHKIT if name not in ("sparse", "empty_things", "dates")]
# mcopy dies where a name has more bytes than the host takes: one that was changed has 256.
IN_MTOOLS = [name for name in READ_WHOLE if name != "changed_long_names"]
# Linux walks through a directory for every file that it opens: of 20,000 in one, names only.
IN_LINUX = [name for name in READ_WHOLE if name != "many_files"]
# What can't stay of a name: some characters, ends and devices; and what isn't UTF-8.
WRONG = re.compile(
    r'["*:<>?\\|\x00-\x1f\udc80-\udcff]|[. ]$|^(con|nul|lpt1) *(\.|$)', re.IGNORECASE
)


@pytest.mark.parametrize("name", [*TREES, ALL_OF_PYTHON])
def test_fsck_has_no_complaint(made, name, tmp_path):
    need_tool("fsck.fat")
    fsck(volume_of(made(name).image, tmp_path / "volume", MIB))


@pytest.mark.parametrize("name", [*TREES, ALL_OF_PYTHON])
def test_the_partition_table_verifies(made, name):
    need_tool("sfdisk")
    image = made(name).image
    done = run("sfdisk", "--verify", str(image))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"No errors detected" in done.stdout
    dump = output("sfdisk", "--dump", str(image))
    start, size = map(int, re.search(r"start=\s*(\d+), size=\s*(\d+), type=c\n", dump).groups())
    assert start == SECTOR
    assert (start + size) * 512 == image.stat().st_size


def test_blkid_knows_the_file_system_and_its_label(made):
    need_tool("blkid")
    image = made("sizes").image
    words = output("blkid", "-p", "-o", "export", "-O", str(MIB), str(image)).splitlines()
    assert {"TYPE=vfat", "VERSION=FAT32", "LABEL=VFLOPPY", "LABEL_FATBOOT=VFLOPPY"} <= set(words)
    assert "PTTYPE=dos" in output("blkid", "-p", "-o", "export", str(image)).splitlines()


@pytest.mark.parametrize("name", IN_MTOOLS)
def test_mtools_copies_every_name_and_byte(made, name, tmp_path):
    """mtools shows two `_` for a character beyond U+FFFF; such names must be so many."""
    need_tool("mcopy")
    expected = made(name).expected
    found = mtools_tree(made(name).image, MIB, tmp_path / "out")
    shown = {path: data for path, data in expected.items() if max(path) <= "\uffff"}
    assert_same({path: data for path, data in found.items() if path in shown}, shown)
    others = [path.translate(_AstralAsUnderscores()) for path in expected.keys() - shown.keys()]
    assert_same(sorted(found.keys() - shown.keys()), sorted(others))


class _AstralAsUnderscores(dict[int, str]):
    def __missing__(self, character: int) -> str:
        return "__" if character > 0xFFFF else chr(character)


@pytest.mark.parametrize("name", READ_WHOLE)
def test_pyfatfs_reads_every_name_and_byte(made, name):
    assert_same(pyfatfs_tree(made(name).image, MIB), made(name).expected)


@pytest.mark.parametrize("name", [name for name in IN_MTOOLS if name in MADE or name == "dates"])
def test_7_zip_extracts_every_name_byte_and_time(made, name, tmp_path):
    need_tool("7zz")
    disk = made(name)
    found = seven_zip_tree(volume_of(disk.image, tmp_path / "volume", MIB), "FAT", tmp_path / "out")
    assert_same(found, disk.expected)
    assert_same({path: (tmp_path / "out" / path).stat().st_mtime for path in found}, disk.times)


@pytest.mark.parametrize("name", [*IN_SLEUTHKIT, ALL_OF_PYTHON])
def test_the_sleuth_kit_lists_every_name_size_and_time(made, name):
    need_tool("fls")
    disk = made(name)
    listing = sleuthkit_listing(disk.image, SECTOR)
    files = {path: host for path, host in disk.origins.items() if host.is_file()}
    sizes = {path: each.size for path, each in listing.items() if each.size is not None}
    assert_same(sizes, {path: host.stat().st_size for path, host in files.items()})
    assert_same(listing.keys(), disk.origins.keys())
    # It knows no year after 2037.
    times = {path: time for path, time in disk.times.items() if time < 1 << 31}
    assert_same({path: each.mtime for path, each in listing.items() if path in times}, times)


@pytest.mark.parametrize("name", WITH_BYTES)
def test_the_sleuth_kit_recovers_every_byte(made, name, tmp_path):
    """It recovers no empty files."""
    need_tool("tsk_recover")
    files = {path: data for path, data in made(name).expected.items() if data}
    assert files
    assert_same(sleuthkit_files(made(name).image, SECTOR, tmp_path / "out"), files)


@pytest.mark.parametrize(
    "name", ["colliding_names", "deep", "long_names", "sizes", "unicode_names"]
)
def test_grub_finds_each_file_by_its_name(made, name):
    need_tool("grub-fstest")
    disk = made(name)
    files = {path: host for path, host in disk.origins.items() if host.is_file()}
    unread = [
        path for path, host in files.items() if not grub_reads(disk.image, ",msdos1", path, host)
    ]
    assert not unread


@pytest.fixture(scope="module")
def mounted(made, tmp_path_factory) -> Path:
    """What Linux's own driver reads of all trees; one appliance for all of them."""
    need_tool("guestfish")
    folder = tmp_path_factory.mktemp("mounted")
    names = [*IN_LINUX, "many_files", "sparse"]
    script = []
    for number, name in enumerate(names):
        script.append(f"mount-options ro,iocharset=utf8,tz=UTC {device(number)}1 /")
        if name in IN_LINUX:
            script.append(f"tar-out / {folder}/{name}.tar")
        elif name == "many_files":
            script.append(f"ls / | cat > {folder}/names")
            script.append(f"download '/file number 19999.txt' {folder}/last")
        else:
            script.append(f"download-offset /sparse.img {folder}/islands {3 << 29} 4096")
        script.append("umount /")
    guestfish([str(made(name).image) for name in names], *script)
    return folder


@pytest.mark.parametrize("name", IN_LINUX)
def test_linux_reads_every_name_byte_and_time(made, mounted, name):
    assert_same(tar_tree(mounted / f"{name}.tar"), made(name).expected)
    assert_same(tar_times(mounted / f"{name}.tar"), made(name).times)


def test_linux_lists_a_directory_of_many_files(made, mounted):
    assert_same(set((mounted / "names").read_text().splitlines()), set(made("many_files").expected))
    assert (mounted / "last").read_bytes() == b"19999"


def test_linux_finds_the_data_in_a_sparse_file(mounted):
    assert_same((mounted / "islands").read_bytes(), bytes(123) + b"here!" + bytes(4096 - 128))


@pytest.mark.parametrize("name", [*TREES, ALL_OF_PYTHON])
def test_what_is_left_out_is_listed(made, name):
    disk = made(name)
    assert_same(
        sorted(each["path"] for each in disk.report["skipped"]),
        sorted(host_paths(disk.directory)[1]),
    )


@pytest.mark.parametrize("name", [*TREES, ALL_OF_PYTHON])
def test_names_that_fat_can_hold_stay(made, name):
    for path, host in made(name).origins.items():
        if Path(path).name != host.name:
            siblings = [each.name for each in host.parent.iterdir()]
            twins = [each for each in siblings if each.lower() == host.name.lower()]
            assert WRONG.search(host.name) or min(twins) != host.name


def test_a_flipped_byte_is_noticed(made, tmp_path):
    """The comparisons above can fail: one bit of one file, of its name, of the table."""
    need_tool("fsck.fat", "mcopy", "tsk_recover", "grub-fstest", "sfdisk")
    disk = made("sizes")
    damaged = tmp_path / "damaged.img"
    shutil.copy(disk.image, damaged)
    host = disk.directory / "1000003.bin"
    data = disk.image.read_bytes()

    def flip(at: int) -> None:
        with damaged.open("r+b") as file:
            file.seek(at)
            file.write(bytes([data[at] ^ 1]))

    flip(data.index(host.read_bytes()[:512]) + 999_999)
    assert mtools_tree(damaged, MIB, tmp_path / "mtools") != disk.expected
    assert pyfatfs_tree(damaged, MIB) != disk.expected
    assert sleuthkit_files(damaged, SECTOR, tmp_path / "sleuthkit") != disk.expected
    assert not grub_reads(damaged, ",msdos1", "1000003.bin", host)
    assert_same(sleuthkit_listing(damaged, SECTOR), sleuthkit_listing(disk.image, SECTOR))
    flip(data.index(b"1000003 BIN") + 22)  # its time
    assert sleuthkit_listing(damaged, SECTOR) != sleuthkit_listing(disk.image, SECTOR)
    fsck(volume_of(damaged, tmp_path / "volume", MIB))
    flip(MIB + 32 * 512 + 8)  # an entry of the first table
    with pytest.raises(AssertionError):
        fsck(volume_of(damaged, tmp_path / "volume", MIB))
    flip(446 + 12)  # the partition's length
    assert "size=" + str(len(data) // 512 - SECTOR).rjust(12) not in output(
        "sfdisk", "--dump", str(damaged)
    )
