"""Partition tables, against bytes written by hand and a parser of the test's own."""

from __future__ import annotations

import struct
import uuid
import zlib

import pytest
from conformance import check_image, read
from vfloppy.export import Kind
from vfloppy.synth.image.image import Image
from vfloppy.synth.image.partition import MbrPartition, chs, with_gpt, with_mbr
from vfloppy.synth.image.section import Fixed, Zeros

MIB = 1 << 20
DISK, PARTITION = uuid.UUID(int=0x1234).bytes_le, uuid.UUID(int=0x5678).bytes_le
ESP = uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B").bytes_le


def volume(size: int) -> Image:
    start = b"volume".ljust(512, b"\0")
    return Image([Fixed(start, Kind.FILE, "start"), Zeros(size - 512, Kind.FREE, "rest")])


@pytest.mark.parametrize(
    ("lba", "expected"),
    [
        (0, "00 01 00"),
        (62, "00 3f 00"),
        (63, "01 01 00"),
        (2048, "20 21 00"),  # 1 MiB, as every partitioning tool writes it
        (16_065 * 256, "00 41 00"),  # the cylinder's upper bits stand above the sector
        (16_065 * 1024 - 1, "fe ff ff"),
        (16_065 * 1024, "fe ff ff"),
        (0xFFFF_FFFF, "fe ff ff"),
    ],
)
def test_cylinder_head_and_sector(lba, expected):
    assert chs(lba, 255, 63) == bytes.fromhex(expected)


@pytest.mark.parametrize("active", [False, True])
def test_an_mbr_byte_by_byte(active):
    image = with_mbr(
        volume(525_400 * 512), 512, MbrPartition(0x0C, active, 255, 63), 0x1234ABCD, b"CODE"
    )
    record = read(image, 0, 512)
    assert record[:440] == b"CODE".ljust(440, b"\0")
    assert record[440:446] == bytes.fromhex("cd ab 34 12 00 00")
    flag = "80" if active else "00"
    assert record[446:462] == bytes.fromhex(flag + " 20 21 00 0c d4 0c 20 00 08 00 00 58 04 08 00")
    assert record[462:] == bytes(48) + b"\x55\xaa"
    assert image.size == MIB + 525_400 * 512
    assert read(image, MIB, 6) == b"volume"


def test_an_mbr_of_large_sectors():
    image = with_mbr(volume(8 * MIB), 4096, MbrPartition(0x0C, False, 255, 63), 1)
    assert read(image, 510, 2) == b"\x55\xaa"
    assert struct.unpack_from("<II", read(image, 454, 8)) == (256, 2048)
    assert read(image, MIB, 6) == b"volume"
    assert not any(read(image, 512, 4096 - 512))


def header(sector: bytes) -> dict[str, int | bytes]:
    names = ("signature", "revision", "length", "crc", "zero", "own", "other", "first", "last",
             "disk", "array", "count", "entry_bytes", "array_crc")  # fmt: skip
    return dict(zip(names, struct.unpack_from("<8sIIIIQQQQ16sQIII", sector), strict=True))


@pytest.mark.parametrize("sector_bytes", [512, 4096])
def test_both_copies_of_a_gpt(sector_bytes):
    image = with_gpt(
        volume(8 * MIB), sector_bytes, ESP, disk_guid=DISK, partition_guid=PARTITION, name="Näme"
    )
    assert image.size % sector_bytes == 0
    last = image.size // sector_bytes - 1
    array_sectors = 16_384 // sector_bytes
    for own, other in ((1, last), (last, 1)):
        sector = read(image, own * sector_bytes, sector_bytes)
        found = header(sector)
        assert (found["signature"], found["revision"], found["length"]) == (b"EFI PART", 65_536, 92)
        blank = sector[:16] + bytes(4) + sector[20:92]
        assert found["crc"] == zlib.crc32(blank)
        assert not any(sector[92:])
        assert (found["own"], found["other"], found["zero"]) == (own, other, 0)
        assert (found["first"], found["last"]) == (2 + array_sectors, last - 1 - array_sectors)
        assert found["disk"] == DISK
        assert (found["count"], found["entry_bytes"]) == (128, 128)
        array = read(image, found["array"] * sector_bytes, 16_384)
        assert found["array_crc"] == zlib.crc32(array)
        assert array[:32] == ESP + PARTITION
        start, end, attributes = struct.unpack_from("<QQQ", array, 32)
        assert (start * sector_bytes, (end + 1 - start) * sector_bytes) == (MIB, 8 * MIB)
        assert found["first"] <= start <= end <= found["last"]
        assert attributes == 0
        assert array[56:128].decode("utf-16-le").rstrip("\0") == "Näme"
        assert not any(array[128:])
    # Neither copy overlaps the other, or the partition.
    assert header(read(image, sector_bytes, 92))["array"] == 2
    assert header(read(image, last * sector_bytes, 92))["array"] == last - array_sectors


def test_the_mbr_before_a_gpt_protects_the_whole_disk():
    image = with_gpt(volume(MIB), 512, ESP, disk_guid=DISK, partition_guid=PARTITION, name="")
    record = read(image, 0, 512)
    assert record[446:454] == bytes.fromhex("00 00 02 00 ee ff ff ff")
    assert struct.unpack_from("<II", record, 454) == (1, image.size // 512 - 1)
    assert record[462:] == bytes(48) + b"\x55\xaa"


def test_the_mbr_before_a_gpt_of_more_than_2_tib_says_the_most_it_can():
    image = with_gpt(volume(3 << 40), 512, ESP, disk_guid=DISK, partition_guid=PARTITION, name="")
    assert read(image, 458, 4) == b"\xff\xff\xff\xff"
    assert header(read(image, 512, 92))["other"] == image.size // 512 - 1


def test_conformance():
    check_image(with_mbr(volume(MIB), 512, MbrPartition(0x0C, False, 255, 63), 1))
    check_image(
        with_gpt(volume(MIB), 4096, ESP, disk_guid=DISK, partition_guid=PARTITION, name="x")
    )
