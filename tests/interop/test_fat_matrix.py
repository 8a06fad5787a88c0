"""Every FAT type, partitioning and sector size, read by programs that we did not write."""

from __future__ import annotations

import itertools
import os
import random
import re
import zlib
from pathlib import Path

import pytest
from compare import assert_same
from readers import (
    device,
    fsck,
    guestfish,
    host_tree,
    mtools_tree,
    pyfatfs_tree,
    seven_zip_tree,
    tar_tree,
    volume_of,
)
from tools import need_tool, output, run, vfloppy
from u_boot import PORTS, answers, checksum, listed, loading

MIB = 1 << 20

MATRIX = [
    *(
        ("--fat", fat, "--partition", partition, "--sector-size", sector)
        for fat, partition, sector in itertools.product(
            ("12", "16", "32"), ("mbr", "gpt", "none"), ("512", "4096")
        )
    ),
    *(("--floppy", name) for name in ("720k", "1.2M", "1.44M", "2.88M")),
    ("--floppy", "160k"),
    ("--size", "3M"),
    ("--size", "64M", "--partition", "gpt", "--esp"),
    ("--size", "600M", "--label", "SIXHUNDRED"),
    ("--size", "+100M", "--fat", "16"),
    ("--fat", "32", "--size", "40M"),
    ("--cluster-size", "512"),
    ("--cluster-size", "65536"),
    ("--volume-id", "1234-ABCD", "--hide-dotfiles"),
    ("--for", "ovmf"),
    ("--for", "vvfat"),
    ("--for", "cidata"),
    ("--for", "raw-4k"),
    ("--for", "config-2"),
    ("--for", "dos-boot", "--order", "*.bin", "--size", "33M"),
    ("--label", "", "--fat", "16", "--order", "grüße*", "--order", "natural"),
    ("--label", "", "--order", ".hidden", "--attrib", "EFI/=+hs"),
    ("--floppy", "1.44M", "--order", "startup*", "--label", ""),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A tree that fits on the smallest floppy and has something of everything."""
    root = tmp_path_factory.mktemp("matrix") / "tree"
    (root / "EFI" / "BOOT" / "deeper").mkdir(parents=True)
    (root / "startup.nsh").write_text("echo started\n")
    (root / "A name longer than 8.3, with spaces.txt").write_bytes(random.randbytes(5000))
    (root / "EFI" / "BOOT" / "grüße.bin").write_bytes(random.randbytes(70_000))
    (root / "EFI" / "BOOT" / "deeper" / "exactly13long").write_bytes(b"x")
    (root / ".hidden").write_bytes(random.randbytes(512))
    (root / "empty").touch()
    (root / "void").mkdir()
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            os.utime(os.path.join(folder, name), (1_700_000_000, 1_700_000_000))
    return root


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory) -> dict[tuple[str, ...], Path]:
    """The tree as each disk of the matrix."""
    folder = tmp_path_factory.mktemp("disks")
    images = {}
    for number, options in enumerate(MATRIX):
        images[options] = folder / f"{number}.img"
        done = vfloppy("build", "-q", *options, tree, images[options])
        assert (done.returncode, done.stderr) == (0, b"")
    return images


def partitioning(options: tuple[str, ...]) -> str:
    """What partition table a disk of the matrix has."""
    if {"--floppy", "cidata", "config-2"} & set(options):
        return "none"
    if "ovmf" in options or "raw-4k" in options:
        return "gpt"
    return options[options.index("--partition") + 1] if "--partition" in options else "mbr"


def sector_size(options: tuple[str, ...]) -> int:
    return 4096 if "4096" in options or "raw-4k" in options else 512


def offset_of(options: tuple[str, ...]) -> int:
    return 0 if partitioning(options) == "none" else MIB


def size_without_backup(image: Path, options: tuple[str, ...]) -> int:
    """The end of the partition: a GPT has a copy of itself behind it."""
    behind = 128 * 128 + sector_size(options) if partitioning(options) == "gpt" else 0
    return image.stat().st_size - offset_of(options) - behind


def gpt_problems(image: Path) -> str:
    """What sgdisk has to say against a disk."""
    done = run("sgdisk", "-v", str(image))
    text = done.stdout.decode()
    return done.stderr.decode() + ("" if "No problems found" in text else text)


names = pytest.mark.parametrize("options", MATRIX, ids=" ".join)


@names
def test_fsck_has_no_complaint(built, options, tmp_path):
    need_tool("fsck.fat")
    image = built[options]
    length = size_without_backup(image, options)
    fsck(volume_of(image, tmp_path / "volume", offset_of(options), length))


@names
def test_mtools_copies_everything_out(built, tree, options, tmp_path):
    need_tool("mcopy")
    found = mtools_tree(built[options], offset_of(options), tmp_path / "out")
    assert_same(found, host_tree(tree))


@names
def test_pyfatfs_reads_everything(built, tree, options):
    assert_same(pyfatfs_tree(built[options], offset_of(options)), host_tree(tree))


@names
def test_7_zip_extracts_everything_with_its_times(built, tree, options, tmp_path):
    need_tool("7zz")
    image = built[options]
    length = size_without_backup(image, options)
    volume = volume_of(image, tmp_path / "volume", offset_of(options), length)
    found = seven_zip_tree(volume, "FAT", tmp_path / "out")
    assert_same(found, host_tree(tree))
    assert {(tmp_path / "out" / path).stat().st_mtime for path in found} == {1_700_000_000}


def test_u_boot_lists_and_loads_everything(built, tree):
    """Six drives a machine; its disks have sectors of 512 bytes."""
    expected = host_tree(tree)
    folders = ["", *(path for path, data in expected.items() if data is None)]
    files = {path: zlib.crc32(data) for path, data in expected.items() if data}
    chosen = [each for each in MATRIX if sector_size(each) == 512]
    for start in range(0, len(chosen), PORTS):
        drives = chosen[start : start + PORTS]
        places = [(at, int(partitioning(each) != "none")) for at, each in enumerate(drives)]
        found = answers(
            [built[each] for each in drives],
            [
                *(f"fatls scsi {at}:{part} /{path}" for at, part in places for path in folders),
                *(loading(at, part, path) for at, part in places for path in files),
            ],
        )
        for (at, part), options in zip(places, drives, strict=True):
            paths = {
                f"{folder}/{name}".lstrip("/"): size
                for folder in folders
                for name, size in listed(found[f"fatls scsi {at}:{part} /{folder}"]).items()
                if name not in {".", ".."}
            }
            assert_same(paths, {path: None if data is None else len(data)
                             for path, data in expected.items()}, options)  # fmt: skip
            loaded = {path: checksum(found[loading(at, part, path)]) for path in files}
            assert loaded == files, options


def test_7_zip_and_u_boot_notice_a_flipped_byte(built, tree, tmp_path):
    """The comparisons above can fail."""
    need_tool("7zz")
    path = "A name longer than 8.3, with spaces.txt"
    contents = (tree / path).read_bytes()
    data = bytearray(built["--floppy", "1.44M"].read_bytes())
    data[data.index(contents[:512]) + 4999] ^= 1
    image = tmp_path / "damaged"
    image.write_bytes(data)
    assert seven_zip_tree(image, "FAT", tmp_path / "out")[path] != contents
    command, other = loading(0, 0, path), loading(0, 0, "no such file")
    found = answers([image], [command, other])
    assert checksum(found[command]) not in {None, zlib.crc32(contents)}
    assert checksum(found[other]) is None


@pytest.mark.parametrize(
    "options", [each for each in MATRIX if sector_size(each) == 512], ids=" ".join
)
def test_the_partition_table_verifies(built, options):
    image = built[options]
    if partitioning(options) == "gpt":
        need_tool("sgdisk")
        assert not gpt_problems(image)
        code = "EF00" if "--esp" in options or "ovmf" in options else "0700"
        assert code in output("sgdisk", "-p", str(image))
    if partitioning(options) != "none":
        need_tool("sfdisk")
        done = run("sfdisk", "--verify", str(image))
        assert done.returncode == 0
        assert b"No errors detected" in done.stdout
        assert not done.stderr


def test_an_esp_has_its_type_in_an_mbr_too(tree, tmp_path):
    need_tool("sfdisk")
    vfloppy("build", "-q", "--esp", tree, tmp_path / "esp.img")
    assert "type=ef" in output("sfdisk", "--dump", str(tmp_path / "esp.img"))


def test_a_damaged_gpt_is_noticed(built, tmp_path):
    """The check above can fail."""
    need_tool("sgdisk")
    image = tmp_path / "damaged"
    image.write_bytes(built["--for", "ovmf"].read_bytes()[:-512] + bytes(512))
    assert "Backup header: ERROR" in gpt_problems(image)


def test_linux_mounts_them_all(built, tree, tmp_path):
    """One appliance with a drive of each kind; its kernel takes sectors of 512 bytes."""
    need_tool("guestfish")
    chosen = [each for each in MATRIX if sector_size(each) == 512]
    script = []
    for number, options in enumerate(chosen):
        partition = device(number) + ("" if partitioning(options) == "none" else "1")
        script += [
            f"mount-options ro,iocharset=utf8,shortname=mixed {partition} /",
            f"tar-out / {tmp_path}/{number}.tar",
            "umount /",
        ]
    guestfish([str(built[options]) for options in chosen], *script)
    expected = host_tree(tree)
    for number, options in enumerate(chosen):
        assert_same(tar_tree(tmp_path / f"{number}.tar"), expected, options)


def test_exact_sizes_are_exact(built):
    for options, image in built.items():
        if "--size" in options and "+100M" not in options:
            size = int(options[options.index("--size") + 1][:-1]) * MIB
            if "dos-boot" in options:  # whole cylinders, rounded down
                size -= size % (16 * 63 * 512)
            assert image.stat().st_size == size


def test_room_is_left_free(built):
    need_tool("mdir")
    text = output("mdir", "-i", f"{built['--size', '+100M', '--fat', '16']}@@1M", "::")
    free = int(re.search(r"([\d ]+) bytes free", text)[1].replace(" ", ""))
    assert free >= 100 * MIB


def test_label_and_serial_number_are_those_asked_for(built):
    need_tool("mdir")
    image = built["--size", "600M", "--label", "SIXHUNDRED"]
    assert "is SIXHUNDRED" in output("mdir", "-i", f"{image}@@1M", "::")
    image = built["--volume-id", "1234-ABCD", "--hide-dotfiles"]
    assert "Serial Number is 1234-ABCD" in output("mdir", "-i", f"{image}@@1M", "::")
    attributes = output("mattrib", "-i", f"{image}@@1M", "::/.hidden")
    assert "H" in attributes.split("::")[0]


def test_a_disk_beyond_two_tebibytes(tmp_path):
    """Sparse, of 4096-byte sectors in a GPT; fsck.fat reads what there is of it."""
    need_tool("fsck.fat", "mdir")
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(600):
        with open(root / f"{number}", "wb") as file:
            file.truncate((1 << 32) - 1)
    image = tmp_path / "disk.img"
    done = vfloppy("build", "-q", root, image)
    assert done.returncode == 1
    assert b"--sector-size 4096" in done.stderr
    done = vfloppy("build", "-q", "--for", "raw-4k", root, image)
    assert (done.returncode, done.stderr) == (0, b"")
    assert image.stat().st_size > 2 << 40
    listing = output("mdir", "-i", f"{image}@@1M", "::")
    assert listing.count("4294967295") == 600
