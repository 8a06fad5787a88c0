"""How large everything is: types, thresholds, exact sizes, floppies, refusals."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vfloppy.errors import PlanError
from vfloppy.synth.fat.geometry import FLOPPIES, Geometry, Needs, Wishes, choose, floppy

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def needs(data_bytes: int = 0, root_slots: int = 1) -> Needs:
    """A tree of one file in the root."""

    def clusters(cluster_bytes: int, root_included: bool) -> int:
        root = -(-root_slots * 32 // cluster_bytes) if root_included else 0
        return root + -(-data_bytes // cluster_bytes)

    return Needs(data_bytes, root_slots, clusters)


def type_by_cluster_count(geometry: Geometry) -> int:
    """The type as FATGEN has a reader determine it, from the fields of the boot sector alone."""
    root_sectors = -(-geometry.root_entries * 32 // geometry.sector_bytes)
    data_sectors = geometry.volume_sectors - (
        geometry.reserved_sectors + 2 * geometry.table_sectors + root_sectors
    )
    count = data_sectors // (geometry.cluster_bytes // geometry.sector_bytes)
    assert count == geometry.cluster_count
    if count < 4085:
        return 12
    return 16 if count < 65_525 else 32


def check(geometry: Geometry, wanted: Needs) -> None:
    """What holds for every volume that was not made in the days of diskettes."""
    count = geometry.cluster_count
    assert type_by_cluster_count(geometry) == geometry.fat_bits
    assert min(abs(count - 4085), abs(count - 65_525)) >= 16
    behind_tables = geometry.volume_sectors - geometry.reserved_sectors - 2 * geometry.table_sectors
    with_root = behind_tables * geometry.sector_bytes // geometry.cluster_bytes
    assert with_root < {12: 4085, 16: 65_525, 32: 1 << 28}[geometry.fat_bits]
    assert count >= wanted.clusters(geometry.cluster_bytes, geometry.fat_bits == 32)
    entries = geometry.table_sectors * geometry.sector_bytes * 8 // geometry.fat_bits
    assert entries >= count + 2
    assert geometry.first_data_sector * geometry.sector_bytes % 4096 == 0
    assert geometry.root_entries * 32 % geometry.sector_bytes == 0
    assert geometry.root_entries >= (0 if geometry.fat_bits == 32 else wanted.root_slots)
    assert geometry.unused_sectors >= 0
    assert geometry.volume_sectors <= 0xFFFF_FFFF


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize("cluster_bytes", [None, 4096, 65_536])
def test_without_an_exact_size_no_volume_has_fewer_sectors_than_small_devices_take(
    sector_bytes, cluster_bytes
):
    """ChaN's FatFs knows no volume of less than 128 sectors."""
    wishes = Wishes(fat_bits=12, cluster_bytes=cluster_bytes, sector_bytes=sector_bytes)
    geometry = choose(needs(), wishes)
    check(geometry, needs())
    assert 128 <= geometry.volume_sectors < 400
    assert choose(needs(), Wishes(volume_sectors=100)).volume_sectors == 100


@given(
    data_bytes=st.one_of(st.integers(0, 64 * MIB), st.integers(0, 2 << 40)),
    root_slots=st.integers(1, 65_536),
    fat_bits=st.sampled_from((None, 12, 16, 32)),
    cluster_bytes=st.sampled_from((None, 512, 4096, 32_768, 65_536)),
    sector_bytes=st.sampled_from((512, 4096)),
    volume_bytes=st.one_of(
        st.none(), st.integers(1, 600 * MIB), st.integers(1, 8 << 40), st.integers(1, 20 * MIB)
    ),
    free_bytes=st.sampled_from((0, 1, 10 * MIB)),
)
def test_any_geometry_is_valid_or_refused(
    data_bytes, root_slots, fat_bits, cluster_bytes, sector_bytes, volume_bytes, free_bytes
):
    if cluster_bytes and cluster_bytes < sector_bytes:
        cluster_bytes = sector_bytes
    wishes = Wishes(
        fat_bits=fat_bits,
        cluster_bytes=cluster_bytes,
        sector_bytes=sector_bytes,
        volume_sectors=volume_bytes and -(-volume_bytes // sector_bytes),
        free_bytes=0 if volume_bytes else free_bytes,
    )
    wanted = needs(data_bytes, root_slots)
    try:
        geometry = choose(wanted, wishes)
    except PlanError:
        return
    check(geometry, wanted)
    assert fat_bits in (None, geometry.fat_bits)
    assert cluster_bytes in (None, geometry.cluster_bytes)
    if wishes.volume_sectors:
        assert geometry.volume_sectors == wishes.volume_sectors
    free = geometry.cluster_count - wanted.clusters(geometry.cluster_bytes, geometry.fat_bits == 32)
    assert free * geometry.cluster_bytes >= wishes.free_bytes


@pytest.mark.parametrize("fat_bits", [12, 16, 32])
@pytest.mark.parametrize("clusters", [*range(4060, 4110), *range(65_500, 65_550)])
def test_no_cluster_count_is_close_to_a_threshold(fat_bits, clusters):
    wishes = Wishes(fat_bits=fat_bits, cluster_bytes=512)
    try:
        geometry = choose(needs(clusters * 512), wishes)
    except PlanError:
        assert fat_bits < 32
    else:
        check(geometry, needs(clusters * 512))


@pytest.mark.parametrize("size", [*range(2 * MIB, 2 * MIB + 200 * 512, 512)])
def test_exact_sizes_around_the_first_threshold_avoid_it(size):
    geometry = choose(needs(1000), Wishes(volume_sectors=size // 512))
    check(geometry, needs(1000))
    assert geometry.volume_sectors * 512 == size


def test_without_a_wish_a_disk_is_fat32_with_4_kib_clusters():
    geometry = choose(needs(10), Wishes())
    assert (geometry.fat_bits, geometry.cluster_bytes) == (32, 4096)
    assert geometry.cluster_count == 65_525 + 16


@pytest.mark.parametrize(
    ("data_bytes", "cluster_bytes"),
    [(8 * GIB, 4096), (8 * GIB + 1, 8192), (16 * GIB + 1, 16_384), (32 * GIB + 1, 32_768)],
)
def test_clusters_grow_with_the_data(data_bytes, cluster_bytes):
    assert choose(needs(data_bytes), Wishes()).cluster_bytes == cluster_bytes


@pytest.mark.parametrize(
    ("size", "fat_bits"), [(1 * MIB, 12), (15 * MIB, 12), (64 * MIB, 16), (512 * MIB, 32)]
)
def test_a_size_alone_picks_the_usual_type(size, fat_bits):
    assert choose(needs(10), Wishes(volume_sectors=size // 512)).fat_bits == fat_bits


def test_a_small_fat32_gets_small_clusters():
    geometry = choose(needs(10), Wishes(fat_bits=32, volume_sectors=64 * MIB // 512))
    assert geometry.cluster_bytes == 512


def test_free_room_is_left():
    wanted = needs(300 * MIB)
    geometry = choose(wanted, Wishes(free_bytes=100 * MIB))
    free = geometry.cluster_count - wanted.clusters(4096, True)
    assert 100 * MIB <= free * 4096 < 100 * MIB + 4096


@pytest.mark.parametrize("fat_bits", [12, 16, 32])
def test_a_size_that_is_too_small_names_the_smallest_that_will_do(fat_bits):
    wanted = needs(1 * MIB)
    with pytest.raises(PlanError, match="too small") as caught:
        choose(wanted, Wishes(fat_bits=fat_bits, volume_sectors=100))
    smallest = int(re.search(r"(\d+) bytes would do", str(caught.value))[1])
    geometry = choose(wanted, Wishes(fat_bits=fat_bits, volume_sectors=smallest // 512))
    check(geometry, wanted)


@pytest.mark.parametrize(
    ("wanted", "wishes", "words"),
    [
        (
            needs(1),
            Wishes(fat_bits=16, volume_sectors=8 * GIB // 512),
            r"too large for FAT16; fat=32 would do",
        ),
        (
            needs(1),
            Wishes(volume_sectors=(3 << 40) // 512),
            r"too large for FAT; sector_size=4096 would do",
        ),
        (
            needs(1),
            Wishes(cluster_bytes=512, volume_sectors=(1 << 40) // 512),
            r"too large for FAT with 512-byte clusters; cluster_size=65536 would do",
        ),
        (
            needs(3 * GIB),
            Wishes(fat_bits=16),
            r"more than any FAT16 holds; cluster_size=65536 would do",
        ),
        (needs(1 * GIB), Wishes(fat_bits=12), "any FAT12 holds; fat=32 would do"),
        (needs(1 << 60), Wishes(sector_bytes=4096), "more than any FAT holds$"),
        (
            needs(1, root_slots=65_500),
            Wishes(fat_bits=16),
            "needs 65500 entries.* FAT16 has at most 65408: use a subdirectory, or fat=32",
        ),
    ],
)
def test_what_no_size_helps_is_refused_with_what_does(wanted, wishes, words):
    with pytest.raises(PlanError, match=words):
        choose(wanted, wishes)


@pytest.mark.parametrize(
    ("size", "heads"),
    [
        (1024 * 16 * 63 * 512, 16),
        (1024 * 32 * 63 * 512, 32),
        (1024 * 64 * 63 * 512, 64),
        (1024 * 128 * 63 * 512, 128),
        (1024 * 255 * 63 * 512, 255),
        (1024 * 16 * 63 * 512 + 512, 255),  # no whole cylinder: a guess from its end would err
    ],
)
def test_a_disk_of_whole_cylinders_has_the_heads_that_a_bios_gives_it(size, heads):
    wishes = Wishes(overhead=1 * MIB, volume_sectors=(size - 1 * MIB) // 512, has_mbr=True)
    geometry = choose(needs(1), wishes)
    check(geometry, needs(1))
    assert (geometry.sectors_per_track, geometry.heads) == (63, heads)
    assert choose(needs(1), wishes._replace(has_mbr=False)).heads == 255


@pytest.mark.parametrize("fat_bits", [12, 16])
@pytest.mark.parametrize("data_bytes", [0, 3 * MIB, 600 * MIB, 1500 * MIB])
def test_a_disk_for_readers_that_count_in_cylinders_ends_with_one(fat_bits, data_bytes):
    wanted = needs(data_bytes if fat_bits == 16 else data_bytes // 16)
    wishes = Wishes(fat_bits=fat_bits, overhead=1 * MIB, has_mbr=True)
    geometry = choose(wanted, wishes)
    check(geometry, wanted)
    sectors = geometry.volume_sectors + 1 * MIB // 512
    assert sectors % (geometry.heads * 63) == 0
    assert sectors <= 1024 * geometry.heads * 63
    assert sectors > 1024 * geometry.heads // 2 * 63 or geometry.heads == 16
    shorter = choose(wanted, wishes._replace(has_mbr=False))
    assert 0 <= geometry.volume_sectors - shorter.volume_sectors < geometry.heads * 63


@pytest.mark.parametrize("name", FLOPPIES)
def test_a_disk_as_large_as_a_floppy_has_its_tracks(name):
    model = FLOPPIES[name]
    geometry = choose(needs(1), Wishes(volume_sectors=model.sectors))
    assert (geometry.media, geometry.sectors_per_track) == (model.media, model.sectors_per_track)
    assert geometry.heads == model.heads
    assert geometry.is_floppy


def test_more_than_512_byte_sectors_hold_is_refused_with_a_hint():
    with pytest.raises(PlanError, match="sector_size=4096"):
        choose(needs(3 << 40), Wishes())
    assert choose(needs(3 << 40), Wishes(sector_bytes=4096)).fat_bits == 32


def test_a_root_directory_outside_the_clusters_grows_with_its_names():
    assert choose(needs(10, root_slots=10), Wishes(fat_bits=16)).root_entries == 512
    assert choose(needs(10, root_slots=1000), Wishes(fat_bits=16)).root_entries == 1024


def test_floppies_are_those_of_the_industry():
    # Name: sectors, cluster sectors, root entries, media, table sectors, sectors a track, heads;
    # from the table of standard formats in the documentation of MS-DOS 6.
    industry = {
        "160k": (320, 1, 64, 0xFE, 1, 8, 1),
        "180k": (360, 1, 64, 0xFC, 2, 9, 1),
        "320k": (640, 2, 112, 0xFF, 1, 8, 2),
        "360k": (720, 2, 112, 0xFD, 2, 9, 2),
        "720k": (1440, 2, 112, 0xF9, 3, 9, 2),
        "1.2M": (2400, 1, 224, 0xF9, 7, 15, 2),
        "1.44M": (2880, 1, 224, 0xF0, 9, 18, 2),
        "2.88M": (5760, 2, 240, 0xF0, 9, 36, 2),
    }
    assert industry == FLOPPIES


@pytest.mark.parametrize("name", FLOPPIES)
def test_a_floppy_is_fat12_and_its_tables_cover_it(name):
    geometry = floppy(name, needs(10))
    assert type_by_cluster_count(geometry) == 12
    tracks = geometry.volume_sectors / (geometry.sectors_per_track * geometry.heads)
    assert tracks in (40, 80)
    assert geometry.table_sectors * 512 * 8 // 12 >= geometry.cluster_count + 2


def test_a_floppy_refuses_too_much_and_says_by_how_much():
    most = floppy("1.44M", needs(0)).cluster_count * 512
    floppy("1.44M", needs(most))
    with pytest.raises(PlanError, match=r"takes 512 bytes more than a 1.44M floppy.*on 2.88M"):
        floppy("1.44M", needs(most + 1))
    with pytest.raises(PlanError, match="fits on no floppy"):
        floppy("1.44M", needs(10 * MIB))


def test_a_floppy_refuses_too_many_names_in_its_root():
    with pytest.raises(PlanError, match=r"1 more than a 1\.44M floppy"):
        floppy("1.44M", needs(10, root_slots=225))
