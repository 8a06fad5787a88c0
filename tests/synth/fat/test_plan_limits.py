"""Plans at the limits of the format, and what a refusal says; nothing here is ever read."""

from __future__ import annotations

import re
from itertools import accumulate

import pytest
from vfloppy.errors import PlanError
from vfloppy.synth.fat.geometry import Needs, Wishes, choose
from vfloppy.synth.fat.names import slots
from vfloppy.synth.fat.plan import FatLayout, FatOptions, plan
from vfloppy.synth.scanning.scan import scan

MIB, TIB = 1 << 20, 1 << 40


def plan_of(root, **options) -> FatLayout:
    return plan(scan(str(root)), FatOptions(**options))


def sparse(path, size: int) -> None:
    with open(path, "wb") as file:
        file.truncate(size)


def test_an_mbr_disk_ends_at_2_tib(tmp_path):
    layout = plan_of(tmp_path, size=2 * TIB - 512)
    assert layout.geometry.volume_sectors * 512 + MIB == 2 * TIB - 512
    with pytest.raises(PlanError, match=r"sector_size=4096 or partition='gpt'"):
        plan_of(tmp_path, size=2 * TIB)


@pytest.mark.parametrize("options", [{"partition": "gpt"}, {"sector_bytes": 4096}], ids=str)
def test_a_gpt_or_large_sectors_go_past_2_tib(tmp_path, options):
    plan_of(tmp_path, size=2 * TIB, **options)


def test_large_sectors_end_at_16_tib(tmp_path):
    plan_of(tmp_path, size=16 * TIB - 4096, sector_bytes=4096, cluster_bytes=65_536)
    with pytest.raises(PlanError):
        plan_of(tmp_path, size=16 * TIB + MIB, sector_bytes=4096, cluster_bytes=65_536)


def test_files_of_more_than_2_tib(tmp_path):
    for number in range(513):
        sparse(tmp_path / f"{number}", (1 << 32) - 1)
    with pytest.raises(PlanError, match="sector_size=4096"):
        plan_of(tmp_path)
    layout = plan_of(tmp_path, sector_bytes=4096)
    assert layout.file_starts[-1] * layout.geometry.cluster_bytes == 513 << 32


def test_a_fat32_has_at_most_0x0ffffff5_clusters():
    def needs(clusters: int) -> Needs:
        return Needs(clusters * 4096, 1, lambda cluster_bytes, _: clusters * 4096 // cluster_bytes)

    wishes = Wishes(fat_bits=32, cluster_bytes=4096, sector_bytes=4096)
    assert choose(needs(0x0FFF_FFF5), wishes).cluster_count == 0x0FFF_FFF5
    with pytest.raises(PlanError, match="more than any FAT32"):
        choose(needs(0x0FFF_FFF6), wishes)


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize(
    ("fat_bits", "counts"),
    [(12, range(128, 4060)), (16, range(8_000, 11_000)), (32, range(67_000, 70_000))],
)
def test_tables_hold_every_cluster_and_the_two_reserved_entries(fat_bits, counts, sector_bytes):
    for count in counts:
        geometry = choose(
            Needs(count * 4096, 1, lambda *_, count=count: count),
            Wishes(fat_bits=fat_bits, cluster_bytes=4096, sector_bytes=sector_bytes),
        )
        assert geometry.cluster_count == count
        assert geometry.table_sectors * sector_bytes * 8 // fat_bits >= count + 2


def test_every_file_that_is_too_large_is_counted_and_some_are_named(tmp_path):
    for name in "abcde":
        sparse(tmp_path / name, 1 << 32)
    with pytest.raises(PlanError) as caught:
        plan_of(tmp_path)
    assert re.search(r"a \(4294967296\), b \(.*\), c \(.*\) and 2 more", str(caught.value))


def test_long_names_count_towards_the_entries_of_a_directory(tmp_path):
    """Three entries a name, and `.` and `..`: 21,844 names fit."""
    folder = tmp_path / "sub"
    folder.mkdir()
    for number in range(21_844):
        (folder / f"a name of 26 units {number:07}").touch()
    layout = plan_of(tmp_path)
    assert layout.slot_starts[-1] == 2 + 3 * 21_844  # two for sub
    assert layout.directory_starts[-1] == 1 + 512
    (folder / f"a name of 26 units {21_844:07}").touch()
    with pytest.raises(PlanError, match=r"directory /sub needs 65537 entries for its 21845 names"):
        plan_of(tmp_path)


def test_strict_refuses_to_rename_and_names_the_first(tmp_path):
    for name in ("a:b", "con", "fine", "x.", "y."):
        (tmp_path / name).touch()
    with pytest.raises(PlanError, match=r"4 of the names: a:b, con, x\. \.\.\."):
        plan_of(tmp_path, strict=True)


def test_a_tree_that_just_fits_and_one_byte_more(tmp_path):
    """A volume of an exact size, filled to its last cluster."""
    options = {"fat_bits": 16, "cluster_bytes": 512, "partition": "none", "size": 4 * MIB}
    room = plan_of(tmp_path, **options).free_clusters * 512
    sparse(tmp_path / "FILE", room)
    assert plan_of(tmp_path, **options).free_clusters == 0
    sparse(tmp_path / "FILE", room + 1)
    with pytest.raises(PlanError, match="too small for FAT16 with 512-byte clusters"):
        plan_of(tmp_path, **options)


def test_a_size_that_is_too_large_for_the_clusters_is_refused(tmp_path):
    with pytest.raises(PlanError, match="too large"):
        plan_of(tmp_path, fat_bits=12, cluster_bytes=512, size=64 * MIB)


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize("fat_bits", [12, 16, 32])
@pytest.mark.parametrize("partition", ["mbr", "gpt", "none"])
def test_file_contents_are_aligned_to_pages_of_the_host(
    tmp_path, sector_bytes, fat_bits, partition
):
    (tmp_path / "file").write_text("x")
    layout = plan_of(tmp_path, sector_bytes=sector_bytes, fat_bits=fat_bits, partition=partition)
    geometry = layout.geometry
    assert geometry.first_data_sector * sector_bytes % 4096 == 0
    assert geometry.cluster_bytes % 4096 == 0


def test_directories_of_any_size_are_planned_together_as_alone(tmp_path):
    for number, count in enumerate((700, 0, 700, 1500, 0, 0, 3, 1024, 1)):
        directory = tmp_path / f"{number}"
        directory.mkdir()
        for each in range(count):
            (directory / f"{'x' * (each % 30)}{each}").touch()
    (tmp_path / "6" / "con").touch()
    tree = scan(str(tmp_path))
    layout = plan(tree)
    disk_names = [layout.renamed.get(node) or tree.name(node).decode() for node in range(len(tree))]
    assert list(layout.renamed.values()) == ["con_"]
    counts = [slots(name) for name in disk_names[1:]]
    assert list(layout.slot_starts) == list(accumulate([0, *counts], initial=0))
