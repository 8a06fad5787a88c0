"""El Torito and hybrids: what firmware looks for, byte by byte."""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from compare import assert_same
from conformance import check_image, read
from vfloppy.errors import PlanError
from vfloppy.export import Kind
from vfloppy.synth.fat.disk import disk as fat_disk
from vfloppy.synth.fat.plan import FatOptions
from vfloppy.synth.fat.plan import plan as fat_plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.section import Fixed
from vfloppy.synth.iso.eltorito import boot_catalogue
from vfloppy.synth.iso.layout import Start
from vfloppy.synth.iso.records import FLOPPY_MEDIA
from vfloppy.synth.scanning.scan import scan

BLOCK = 2048


@pytest.fixture(scope="module")
def bootable(tmp_path_factory):
    root = tmp_path_factory.mktemp("bootable")
    (root / "boot").mkdir()
    (root / "boot" / "isolinux.bin").write_bytes(random.randbytes(10_007))
    (root / "boot" / "efi.img").write_bytes(random.randbytes(40_001))
    (root / "other").write_bytes(random.randbytes(5000))
    return root


def words(entry: bytes) -> int:
    return sum(struct.unpack("<16H", entry)) & 0xFFFF


def entries(catalogue: bytes) -> list[bytes]:
    return [catalogue[start : start + 32] for start in range(0, 128, 32)]


def test_a_catalogue_for_both_has_bios_first():
    catalogue = boot_catalogue(Start(100, 9000), Start(200, 513), 4)
    assert len(catalogue) == BLOCK
    validation, bios, header, uefi = entries(catalogue)
    assert validation[:2] == b"\1\0"
    assert validation[30:] == b"\x55\xaa"
    assert words(validation) == 0
    assert bios[:12] == struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 100)
    assert header[:4] == b"\x91\xef\1\0"
    assert uefi[:12] == struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 2, 200)
    assert not catalogue[128:].strip(b"\0")


def test_a_catalogue_of_a_diskette_says_which():
    for size, media in ((1_228_800, 1), (1_474_560, 2), (2_949_120, 3)):
        assert FLOPPY_MEDIA[size] == media
        _, bios, *_ = entries(boot_catalogue(Start(100, size), None, 1, media))
        assert bios[:12] == struct.pack("<BBHBxHI", 0x88, media, 0, 0, 1, 100)


def test_a_catalogue_for_uefi_alone_says_so():
    validation, uefi, *rest = entries(boot_catalogue(None, Start(200, 65_535 * 512), 4))
    assert validation[:2] == b"\1\xef"
    assert words(validation) == 0
    assert uefi[:12] == struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 65_535, 200)
    assert not b"".join(rest).strip(b"\0")


def test_an_image_that_is_too_long_to_count_goes_to_the_end():
    _, uefi, *_ = entries(boot_catalogue(None, Start(200, 65_535 * 512 + 1), 4))
    assert struct.unpack_from("<H", uefi, 6) == (0,)


def test_the_boot_info_table_is_in_the_image_only(bootable, make):
    host = (bootable / "boot" / "isolinux.bin").read_bytes()
    tree, layout, image = make(bootable, boot_bios="boot/isolinux.bin")
    block = layout.file_block(tree.find("boot/isolinux.bin"))
    served = read(image, block * BLOCK, len(host))
    padded = host[64:] + bytes(-len(host) % 4)
    total = sum(struct.unpack(f"<{len(padded) // 4}I", padded)) & 0xFFFF_FFFF
    table = struct.pack("<4I40x", 16, block, len(host), total)
    assert_same(served, host[:8] + table + host[64:])
    assert (bootable / "boot" / "isolinux.bin").read_bytes() == host
    assert layout.bios == Start(block, len(host))
    _, layout, image = make(bootable, boot_bios="boot/isolinux.bin", boot_info_table=False)
    assert_same(read(image, layout.bios.block * BLOCK, len(host)), host)


def test_a_boot_file_that_changed_is_an_error_not_a_wrong_table(bootable, make):
    _, layout, image = make(bootable, boot_bios="/other")
    (bootable / "other").write_bytes(b"y" * 5000)
    with pytest.raises(OSError, match="other"):
        read(image, layout.bios.block * BLOCK, 64)


def test_nothing_is_read_before_the_table_is_asked_for(bootable, make, monkeypatch):
    _, layout, image = make(bootable, boot_bios="boot/isolinux.bin")
    monkeypatch.setattr(
        "vfloppy.synth.host.files.ScannedFiles.read", lambda *_: pytest.fail("read")
    )
    with image.open() as reader:
        list(reader.pieces(0, layout.bios.block * BLOCK))
        list(reader.pieces(layout.bios.block * BLOCK + 64, 4000))


def test_any_image_can_be_the_one_for_uefi(bootable, make):
    inner = Fixed(random.randbytes(1025 * 512), Kind.FILE, "inner")
    _, layout, image = make(bootable, uefi_image=inner, boot_bios="boot/isolinux.bin")
    assert layout.uefi.size == inner.size
    assert_same(read(image, layout.uefi.block * BLOCK, inner.size), inner.pieces(0, inner.size)[0])


def test_all_of_a_fat_inside_has_the_number_of_the_file_that_it_is(
    bootable, tmp_path_factory, make
):
    """Those of its files would be taken for those of the image's own, which the manifest lists."""
    other = tmp_path_factory.mktemp("efi")
    (other / "large").write_bytes(random.randbytes(600_000))
    inside = scan(str(other))
    inner = fat_disk(fat_plan(inside, FatOptions(partition="none")), inside, HostFiles(inside))
    tree, layout, image = make(bootable, uefi_image=inner, boot_bios="boot/isolinux.bin")
    check_image(image, whole=False, slices=50)
    with image.open() as reader:
        at = layout.uefi.block * BLOCK
        assert {run.number for run in reader.files(at, inner.size)} == {layout.uefi_node + 1}
        for node, size in enumerate(tree.sizes):
            if size and node != layout.uefi_node:
                run = next(reader.files(layout.file_block(node) * BLOCK, size))
                assert run == (size, node + 1), tree.path(node)


def partitions(sector: bytes) -> list[tuple[int, int, int, int]]:
    """Of each: whether it is active, type, first sector, sectors."""
    assert sector[510:] == b"\x55\xaa"
    found = []
    for at in range(446, 510, 16):
        active, kind, first, count = struct.unpack_from("<B3xB3xII", sector, at)
        found.append((active, kind, first, count))
    return found


def test_a_hybrid_for_bios_has_one_partition_over_all(bootable, make):
    code = b"isolinux".ljust(432, b"\x90")
    _, layout, image = make(bootable, boot_bios="boot/isolinux.bin", hybrid=True, mbr_code=code)
    sector = read(image, 0, 512)
    assert sector[:432] == code
    assert struct.unpack_from("<Q", sector, 432) == (layout.bios.block * 4,)
    total = image.size // 512
    assert partitions(sector) == [(0x80, 0x17, 0, total), *[(0, 0, 0, 0)] * 3]
    assert total % (64 * 32) == 0, "whole cylinders"
    cylinder = total // (64 * 32) - 1
    assert sector[447:450] == bytes((0, 1, 0))
    assert sector[451:454] == bytes((63, 32 | cylinder >> 8 << 6, cylinder & 0xFF))
    assert not read(image, 512, 16 * BLOCK - 512).strip(b"\0")


def test_grubs_code_goes_on_behind_the_first_block_of_its_image(bootable, make):
    code = b"\xeb\x63" + b"GRUB ".ljust(438, b"\0") + bytes(70) + b"\x55\xaa"
    _, layout, image = make(bootable, boot_bios="boot/isolinux.bin", hybrid=True, mbr_code=code)
    assert struct.unpack_from("<Q", read(image, 0, 512), 432) == (layout.bios.block * 4 + 4,)
    host = (bootable / "boot" / "isolinux.bin").read_bytes()
    served = read(image, layout.bios.block * BLOCK, len(host))
    rest = struct.pack("<Q", layout.bios.block * 4 + 5)
    assert_same(served[64:], host[64:2548] + rest + host[2556:])
    padded = served[64:] + bytes(-len(served) % 4)
    total = sum(struct.unpack(f"<{len(padded) // 4}I", padded)) & 0xFFFF_FFFF
    assert struct.unpack_from("<I", served, 20) == (total,), "the sum counts the list of blocks"
    for offset in (7, 8, 30, 63, 64, 2547, 2548, 2550, 2555, 2556):
        for length in (1, 2, 57, 2500):
            found = read(image, layout.bios.block * BLOCK + offset, length)
            assert_same(found, served[offset : offset + length])
    _, layout, image = make(
        bootable, boot_bios="boot/isolinux.bin", hybrid=True, mbr_code=code, boot_info_table=False
    )
    served = read(image, layout.bios.block * BLOCK, len(host))
    assert_same(served[:2548], host[:2548])
    assert struct.unpack_from("<Q", served, 2548) == (layout.bios.block * 4 + 5,)


def test_a_hybrid_for_uefi_has_gpt_and_mbr(bootable, make):
    _, layout, image = make(bootable, boot_uefi="boot/efi.img", hybrid=True)
    total = image.size // 512
    first, count = layout.uefi.block * 4, -(-40_001 // BLOCK) * 4
    assert partitions(read(image, 0, 512)) == [
        (0, 0xEE, 1, total - 1),
        (0x80, 0, 0, 1),
        *[(0, 0, 0, 0)] * 2,
    ]
    for own, other, table in ((1, total - 1, 2), (total - 1, 1, total - 33)):
        header = read(image, own * 512, 512)
        assert header[:8] == b"EFI PART"
        (crc,) = struct.unpack_from("<I", header, 16)
        assert crc == zlib.crc32(header[:16] + bytes(4) + header[20:92])
        assert struct.unpack_from("<QQ", header, 24) == (own, other)
        assert struct.unpack_from("<Q", header, 72) == (table,)
        array = read(image, table * 512, 128 * 128)
        assert struct.unpack_from("<I", header, 88) == (zlib.crc32(array),)
        assert array[:16] == bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
        assert struct.unpack_from("<QQ", array, 32) == (first, first + count - 1)
        assert not array[128:].strip(b"\0")


def test_a_hybrid_without_gpt_ends_where_an_mbr_does(tmp_path, make):
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "program").write_bytes(random.randbytes(3000))
    options = {"boot_bios": "boot/program", "mbr_code": b"isolinux"}
    with open(tmp_path / "large", "wb") as file:
        file.truncate((2 << 40) - (1 << 30))
        make(tmp_path, hybrid=True, **options)
        file.truncate(2 << 40)
        with pytest.raises(PlanError, match="an MBR ends at 2199023255040"):
            make(tmp_path, hybrid=True, **options)
        make(tmp_path, **options)
        make(tmp_path, hybrid=True, boot_uefi="boot/program", **options)
