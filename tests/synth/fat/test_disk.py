"""Disks of all options: the conformance check, and what the specification asks, field by field."""

from __future__ import annotations

import random
import struct

import pytest
from compare import assert_same
from conformance import check_image, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import MADE
from vfloppy.errors import PlanError
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.image import Image
from vfloppy.synth.scanning.scan import scan

MIB = 1 << 20


def image_of(root, **options) -> Image:
    tree = scan(str(root))
    return disk(plan(tree, FatOptions(**options)), tree, HostFiles(tree))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A tree that fits on every disk."""
    root = tmp_path_factory.mktemp("small")
    (root / "Sub Directory" / "deeper").mkdir(parents=True)
    (root / "Sub Directory" / "exactly13long").write_bytes(random.randbytes(9000))
    (root / "Sub Directory" / "deeper" / "FILE.TXT").write_bytes(random.randbytes(511))
    (root / "empty").touch()
    (root / "read-only").write_bytes(b"x")
    (root / "read-only").chmod(0o444)
    (root / ".hidden").write_bytes(random.randbytes(4096))
    return root


OPTIONS = [
    {},
    {"fat_bits": 12},
    {"fat_bits": 16},
    {"partition": "gpt"},
    {"partition": "gpt", "esp": True, "sector_bytes": 4096},
    {"partition": "none"},
    {"partition": "none", "fat_bits": 12, "sector_bytes": 4096},
    {"floppy": "160k"},
    {"floppy": "1.44M"},
    {"floppy": "2.88M"},
    {"size": 5 * MIB + 512},
    {"size": 64 * MIB, "fat_bits": 32},
    {"cluster_bytes": 512},
    {"free": 50 * MIB, "fat_bits": 16},
    {"label": ""},
    {"label": "", "fat_bits": 16},
    {"has_first_files": True},
    {"has_first_files": True, "fat_bits": 16, "active": True},
    {"has_first_files": True, "floppy": "1.44M", "label": ""},
    {"hide_dotfiles": True},
    {"size": 33 * MIB, "fat_bits": 16, "whole_cylinders": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_conformance_of_every_option(small, options):
    image = image_of(small, **options)
    check_image(image, whole=image.size < 80 * MIB)


@pytest.mark.parametrize("name", [name for name in MADE if name not in ("many_files", "sparse")])
def test_conformance_of_every_made_tree(tmp_path, name):
    MADE[name](tmp_path)
    check_image(image_of(tmp_path, fat_bits=16))


def test_conformance_of_large_trees(tmp_path):
    for name in ("many_files", "sparse"):
        (tmp_path / name).mkdir()
        MADE[name](tmp_path / name)
    check_image(image_of(tmp_path), slices=60, whole=False)


trees = st.recursive(
    st.binary(max_size=5000),
    lambda children: st.dictionaries(
        st.text("abAB.~ é:1", min_size=1, max_size=14).filter(lambda n: n not in (".", "..")),
        children,
        max_size=6,
    ),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def make(root, tree):
    for name, child in tree.items():
        if isinstance(child, dict):
            (root / name).mkdir()
            make(root / name, child)
        else:
            (root / name).write_bytes(child)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(tree=trees, options=st.sampled_from(OPTIONS), data=st.data())
def test_conformance_of_any_tree(tmp_path_factory, tree, options, data):
    root = tmp_path_factory.mktemp("drawn")
    make(root, tree)
    try:
        image = image_of(root, **options)
    except PlanError:  # a floppy may be too small
        assert "floppy" in options
        return
    check_image(image, slices=15, whole=image.size < 6 * MIB, seed=data.draw(st.integers(0, 99)))


def volume(image: Image, offset: int = MIB) -> tuple[int, dict[str, int]]:
    """The fields of a FAT32 boot sector by their offsets in the specification."""
    sector = read(image, offset, 512)
    names = ("bytes", "cluster", "reserved", "fats", "root", "total16", "media", "fat16", "track",
             "heads", "hidden", "total32", "fat32", "flags", "version", "root_cluster", "info",
             "backup")  # fmt: skip
    fields = struct.unpack_from("<HBHBHHBHHHIIIHHIHH", sector, 11)
    return offset, dict(zip(names, fields, strict=True))


def test_the_boot_sector_of_a_fat32(small):
    image = image_of(small)
    offset, boot = volume(image)
    sector = read(image, offset, 512)
    assert sector[0] == 0xEB
    assert sector[2] == 0x90
    assert sector[510:] == b"\x55\xaa"
    assert sector[82:90] == b"FAT32   "
    assert boot["fats"] == 2
    assert (boot["root"], boot["total16"], boot["fat16"], boot["version"], boot["flags"]) == (
        0,
    ) * 5
    assert boot["heads"]
    assert boot["track"]
    assert boot["hidden"] == 2048
    assert boot["root_cluster"] == 2
    assert offset + boot["total32"] * 512 == image.size
    table = offset + boot["reserved"] * 512
    tables = [
        read(image, table + each * boot["fat32"] * 512, boot["fat32"] * 512) for each in (0, 1)
    ]
    assert_same(tables[0], tables[1])
    assert tables[0][0] == boot["media"] == 0xF8
    assert tables[0][:8] == struct.pack("<II", 0x0FFFFFF8, 0x0FFFFFFF)
    assert (table + 2 * boot["fat32"] * 512) % 4096 == 0


def test_fsinfo_and_backups(small):
    image = image_of(small)
    offset, boot = volume(image)
    sectors = [read(image, offset + number * 512, 512) for number in range(8)]
    assert sectors[boot["backup"]] == sectors[0]
    assert sectors[7] == sectors[boot["info"]]
    info = sectors[1]
    assert (info[:4], info[484:488], info[508:]) == (b"RRaA", b"rrAa", b"\0\0\x55\xaa")
    table = read(image, offset + boot["reserved"] * 512, boot["fat32"] * 512)
    clusters = (boot["total32"] - boot["reserved"] - 2 * boot["fat32"]) // boot["cluster"]
    entries = struct.unpack(f"<{clusters + 2}I", table[: 4 * (clusters + 2)])
    free, following = struct.unpack_from("<II", info, 488)
    assert free == entries.count(0)
    assert entries[following] == 0


def entries_of(image: Image, cluster: int) -> list[bytes]:
    """The directory entries in a cluster of 4 KiB, long ones too."""
    offset, boot = volume(image)
    data = offset + (boot["reserved"] + 2 * boot["fat32"]) * 512
    block = read(image, data + (cluster - 2) * 4096, 4096)
    entries = [block[at : at + 32] for at in range(0, 4096, 32)]
    return entries[: entries.index(bytes(32))]


def first_cluster(entry: bytes) -> int:
    return struct.unpack_from("<H", entry, 20)[0] << 16 | struct.unpack_from("<H", entry, 26)[0]


def test_directories_entry_by_entry(small):
    image = image_of(small, label="a label", hide_dotfiles=True)
    root = entries_of(image, 2)
    assert root[0][:12] == b"A LABEL    \x08"
    assert sum(entry[11] == 0x08 for entry in root) == 1
    by_name = {entry[:11]: entry for entry in root if entry[11] != 0x0F}
    assert first_cluster(by_name[b"EMPTY      "]) == 0
    assert by_name[b"EMPTY      "][28:] == bytes(4)
    assert by_name[b"READ-O~1   "][11] == 0x21
    assert by_name[b"HIDDEN~1   "[:11]][11] == 0x22
    sub = by_name[b"SUBDIR~1   "]
    assert sub[11] == 0x10
    assert sub[28:] == bytes(4)
    for entry in by_name.values():
        assert struct.unpack_from("<H", entry, 24)[0] != 0
    inside = entries_of(image, first_cluster(sub))
    assert inside[0][:12] == b".          \x10"
    assert first_cluster(inside[0]) == first_cluster(sub)
    assert inside[1][:12] == b"..         \x10"
    assert first_cluster(inside[1]) == 0  # the parent is the root
    deeper = next(entry for entry in inside if entry.startswith(b"DEEPER"))
    assert first_cluster(entries_of(image, first_cluster(deeper))[1]) == first_cluster(sub)


def test_slack_behind_a_file_is_zero(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 5000)
    image = image_of(tmp_path)
    offset, boot = volume(image)
    data = offset + (boot["reserved"] + 2 * boot["fat32"]) * 512 + 4096
    assert read(image, data, 8192) == b"x" * 5000 + bytes(3192)


def test_without_partition_the_place_of_the_table_is_zero(small):
    assert not any(read(image_of(small, partition="none"), 446, 64))


def test_partition_of_an_mbr(small):
    image = image_of(small)
    record = read(image, 446, 16)
    assert (record[0], record[4]) == (0, 0x0C)
    assert struct.unpack_from("<II", record, 8) == (2048, image.size // 512 - 2048)
    assert not any(read(image, 462, 48))


def test_a_directory_holds_65536_entries_and_no_more(tmp_path):
    for number in range(65_535):
        (tmp_path / f"{number:08}").touch()
    tree = scan(str(tmp_path))  # with the label: 65,536
    assert plan(tree).slot_starts[-1] == 65_535
    (tmp_path / "99999999").touch()
    with pytest.raises(PlanError, match="needs 65537 entries for its 65536 names"):
        plan(scan(str(tmp_path)))


@pytest.mark.parametrize("size", [(1 << 32) - 1, 1 << 32])
def test_the_largest_file(tmp_path, size):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(size)
    tree = scan(str(tmp_path))
    if size < 1 << 32:
        assert plan(tree).file_starts[-1] == 1 << 20
    else:
        with pytest.raises(PlanError, match=r"large \(4294967296\)"):
            plan(tree)


def test_a_size_in_half_sectors_is_refused(small):
    with pytest.raises(PlanError, match="no whole number"):
        image_of(small, size=5 * MIB + 100)


def test_a_floppy_has_no_partition_and_its_own_media_byte(small):
    image = image_of(small, floppy="720k")
    sector = read(image, 0, 512)
    assert sector[21] == 0xF9 == read(image, 512, 1)[0]
    assert sector[36] == 0  # drive A:
    assert image.size == 720 << 10
