"""Boot sectors, FSInfo and the first entries, byte by byte, as written by hand from FATGEN."""

from __future__ import annotations

import os

import pytest
from conformance import read
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.image import Image
from vfloppy.synth.scanning.scan import scan

MIB = 1 << 20
ID = 0x1234ABCD


def image_of(root, **options) -> Image:
    tree = scan(str(root))
    return disk(plan(tree, FatOptions(volume_id=ID, **options)), tree, HostFiles(tree))


def test_a_fat32(tmp_path):
    # 65,541 clusters of 4 KiB, 520 sectors a table, 525,400 sectors in all.
    image = image_of(tmp_path)
    expected = bytes.fromhex(
        "eb 58 90 4d 53 57 49 4e 34 2e 31"  # jump, MSWIN4.1
        "00 02 08 20 00 02 00 00 00 00 f8 00 00 3f 00 ff 00"  # up to the heads
        "00 08 00 00 58 04 08 00"  # hidden sectors, sectors
        "08 02 00 00 00 00 00 00 02 00 00 00 01 00 06 00"  # up to the backup sector
        "00 00 00 00 00 00 00 00 00 00 00 00"
        "80 00 29 cd ab 34 12"  # drive, extended signature, serial number
        "56 46 4c 4f 50 50 59 20 20 20 20 46 41 54 33 32 20 20 20"  # VFLOPPY, FAT32
    )
    sector = read(image, MIB, 512)
    assert sector[:90] == expected
    assert sector[510:] == b"\x55\xaa"
    info = bytes.fromhex("52 52 61 41") + bytes(480) + bytes.fromhex(
        "72 72 41 61 04 00 01 00 03 00 00 00"  # 65,540 are free, from cluster 3 on
    ) + bytes(12) + bytes.fromhex("00 00 55 aa")  # fmt: skip
    assert read(image, MIB + 512, 512) == info
    table = read(image, MIB + 32 * 512, 16)
    assert table == bytes.fromhex("f8 ff ff 0f ff ff ff 0f ff ff ff 0f 00 00 00 00")


def test_a_1_44_mb_floppy(tmp_path):
    image = image_of(tmp_path, floppy="1.44M", label="disk 1")
    expected = bytes.fromhex(
        "eb 3c 90 4d 53 57 49 4e 34 2e 31"
        "00 02 01 01 00 02 e0 00 40 0b f0 09 00 12 00 02 00"
        "00 00 00 00 00 00 00 00"
        "00 00 29 cd ab 34 12"
        "44 49 53 4b 20 31 20 20 20 20 20 46 41 54 31 32 20 20 20"
    )
    sector = read(image, 0, 512)
    assert sector[:62] == expected
    assert sector[510:] == b"\x55\xaa"
    assert read(image, 512, 4) == bytes.fromhex("f0 ff ff 00")
    assert read(image, 10 * 512, 4) == bytes.fromhex("f0 ff ff 00")
    assert read(image, 19 * 512, 12) == b"DISK 1     \x08"
    assert image.size == 1_474_560


def test_a_fat16_in_a_partition(tmp_path):
    image = image_of(tmp_path, fat_bits=16, size=64 * MIB)
    expected = bytes.fromhex(
        "eb 3c 90 4d 53 57 49 4e 34 2e 31"
        "00 02 08 08 00 02 00 02 00 00 f8 40 00 3f 00 ff 00"
        "00 08 00 00 00 f8 01 00"
        "80 00 29 cd ab 34 12"
        "56 46 4c 4f 50 50 59 20 20 20 20 46 41 54 31 36 20 20 20"
    )
    assert read(image, MIB, 62) == expected
    assert read(image, MIB + 8 * 512, 6) == bytes.fromhex("f8 ff ff ff 00 00")


def test_the_entries_of_a_small_directory(tmp_path):
    (tmp_path / "A.TXT").write_bytes(b"12345")
    (tmp_path / "D").mkdir()
    (tmp_path / "A.TXT").chmod(0o644)
    for name in ("A.TXT", "D"):
        os.utime(tmp_path / name, ns=(0, 1_720_000_001_230_000_000))  # 2024-07-03 09:46:41.23
    image = image_of(tmp_path)
    data = MIB + (32 + 2 * 520) * 512
    when = "7b d4 4d e3 58 e3 58"  # hundredths, time, date, date of the last access
    assert read(image, data, 128) == bytes.fromhex(
        "56 46 4c 4f 50 50 59 20 20 20 20 08 00 00 00 00 21 00 21 00"
        "00 00 00 00 21 00 00 00 00 00 00 00"
        f"41 20 20 20 20 20 20 20 54 58 54 20 00 {when} 00 00 d4 4d e3 58 04 00 05 00 00 00"
        f"44 20 20 20 20 20 20 20 20 20 20 10 00 {when} 00 00 d4 4d e3 58 03 00 00 00 00 00"
    ) + bytes(32)
    assert read(image, data + 4096, 96) == bytes.fromhex(
        f"2e 20 20 20 20 20 20 20 20 20 20 10 00 {when} 00 00 d4 4d e3 58 03 00 00 00 00 00"
        f"2e 2e 20 20 20 20 20 20 20 20 20 10 00 {when} 00 00 d4 4d e3 58 00 00 00 00 00 00"
    ) + bytes(32)
    assert read(image, data + 8192, 6) == b"12345\0"


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize("partition", ["mbr", "gpt", "none"])
def test_hidden_sectors_are_those_before_the_partition(tmp_path, sector_bytes, partition):
    image = image_of(tmp_path, sector_bytes=sector_bytes, partition=partition)
    start = 0 if partition == "none" else MIB
    sector = read(image, start, sector_bytes)
    assert int.from_bytes(sector[28:32], "little") * sector_bytes == start
    assert int.from_bytes(sector[11:13], "little") == sector_bytes
    assert sector[510:512] == b"\x55\xaa"


@pytest.mark.parametrize("sector_bytes", [512, 4096])
def test_three_boot_sectors_and_their_copies_are_signed(tmp_path, sector_bytes):
    """BSD's fsck wants 00 00 55 AA 512 bytes behind FSInfo's end mark, in sectors of any size."""
    image = image_of(tmp_path, fat_bits=32, sector_bytes=sector_bytes, partition="none")
    for start in (0, 6):
        for sector in range(start, start + 3):
            assert read(image, sector * sector_bytes + 510, 2) == b"\x55\xaa"
        fsinfo = read(image, (start + 1) * sector_bytes, 1024)
        assert fsinfo[0x1FC:0x200] == fsinfo[0x3FC:] == b"\0\0\x55\xaa"
        assert not fsinfo[0x200:0x3FC].strip(b"\0")
    assert not read(image, 9 * sector_bytes, 23 * sector_bytes).strip(b"\0")


def test_a_first_cluster_beyond_65535_is_in_two_halves(tmp_path):
    with open(tmp_path / "A", "wb") as file:
        file.truncate(0x12344 * 4096)  # from cluster 3 on
    (tmp_path / "Z").write_bytes(b"at the end")
    image = image_of(tmp_path)
    sectors = int.from_bytes(read(image, MIB + 36, 4), "little")
    data = MIB + (32 + 2 * sectors) * 512
    first, last = read(image, data + 32, 32), read(image, data + 64, 32)
    assert (first[20:22].hex(), first[26:28].hex()) == ("0000", "0300")
    assert (last[20:22].hex(), last[26:28].hex()) == ("0100", "4723")
    table = MIB + 32 * 512
    assert read(image, table + 4 * 0x12345, 12).hex() == "46230100ffffff0fffffff0f"
    assert read(image, data + (0x12347 - 2) * 4096, 10) == b"at the end"


@pytest.mark.parametrize(
    ("mode", "attributes"),
    [(0o644, 0x20), (0o444, 0x21), (0o464, 0x20), (0o446, 0x20), (0o755, 0x20), (0o555, 0x21)],
)
def test_what_nobody_may_write_is_read_only(tmp_path, mode, attributes):
    (tmp_path / "FILE").touch()
    (tmp_path / "FILE").chmod(mode)
    image = image_of(tmp_path, floppy="1.44M")
    assert read(image, 19 * 512 + 32, 12) == b"FILE       " + bytes((attributes,))
