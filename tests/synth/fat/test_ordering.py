"""Order, attributes and cylinders: a layout as the user steers it."""

from __future__ import annotations

import random
import sys

import pytest
import vfloppy
from conformance import check_image
from vfloppy.errors import OptionError
from vfloppy.synth.fat import bulk, directories
from vfloppy.synth.fat.cylinders import bios_heads, whole_cylinders
from vfloppy.synth.fat.ordering import NamesInOrder, patterns_of

NAMES = ["10.mp3", "2.mp3", "A.SYS", "IO.SYS", "MSDOS.SYS", "Track 1.mp3", "b.txt", "track 10.mp3",
         "track 2.mp3"]  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    """A root and two directories with the same files; one of them of another letter."""
    root = tmp_path / "tree"
    for folder in (root, root / "B", root / "a"):
        folder.mkdir(exist_ok=True)
        for number, name in enumerate(NAMES):
            (folder / name).write_bytes(random.randbytes(3000 * number))
    return root


def listed(disk, directory: str = "") -> list[str]:
    """Names in a directory of a disk, as they stand there."""
    found = [each["path"].rpartition("/") for each in disk.files()]
    return [name for folder, _, name in found if folder == directory]


def first_clusters(disk) -> list[int]:
    """First clusters of files with contents, in the order of their entries."""
    return [each["first_cluster"] for each in disk.files() if each.get("size")]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([], [*NAMES[:4], "MSDOS.SYS", "Track 1.mp3", "b.txt", "track 10.mp3", "track 2.mp3"]),
        (["natural"], ["2.mp3", "10.mp3", "A.SYS", "b.txt", "IO.SYS", "MSDOS.SYS", "Track 1.mp3",
                       "track 2.mp3", "track 10.mp3"]),
        (["io.sys", "MSDOS.sys"], ["IO.SYS", "MSDOS.SYS", "10.mp3", "2.mp3", "A.SYS"]),
        (["/IO.SYS", "*.sys"], ["IO.SYS", "A.SYS", "MSDOS.SYS", "10.mp3"]),
        (["track*", "natural"], ["Track 1.mp3", "track 2.mp3", "track 10.mp3", "2.mp3", "10.mp3"]),
        (["b*", "track*", "track 2*"], ["b.txt", "Track 1.mp3", "track 10.mp3", "track 2.mp3"]),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("fat", [16, 32])
def test_the_order_of_entries_and_of_contents(tree, order, expected, fat):
    disk = vfloppy.open_disk(tree, order=order, fat=fat)
    names = [name for name in listed(disk) if name not in {"a", "B"}]
    assert names[: len(expected)] == expected
    assert sorted(names) == sorted(NAMES)
    clusters = first_clusters(disk)
    assert clusters == sorted(clusters)
    patterned = any(each != "natural" for each in order)
    assert (clusters[0] == 2) == (patterned and fat == 16)
    check_image(disk.export, whole=False)
    assert disk.verify(disk.open()) == []


def test_a_list_in_a_file_and_directories_in_it(tree, tmp_path):
    (tmp_path / "list").write_text("# an order\n\nB/\na/b.txt\n/a/IO.SYS\nb.txt\n")
    disk = vfloppy.open_disk(tree, order_from=tmp_path / "list")
    assert listed(disk)[:3] == ["B", "b.txt", "10.mp3"]
    assert listed(disk, "B")[:2] == ["b.txt", "10.mp3"]
    assert listed(disk, "a")[:3] == ["b.txt", "IO.SYS", "10.mp3"]


def test_merged_directories_and_grafts_are_in_order(tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("0.mp3", "30.mp3", "IO.SYS"):
        (other / name).write_text("other")
    grafts = {"B/1.mp3": other / "0.mp3", "LAST.SYS": other / "IO.SYS"}
    disk = vfloppy.open_disk([tree, other], graft=grafts, order=["l*", "IO.SYS", "natural"])
    assert listed(disk)[:5] == ["LAST.SYS", "IO.SYS", "0.mp3", "2.mp3", "10.mp3"]
    assert listed(disk, "B")[:4] == ["IO.SYS", "1.mp3", "2.mp3", "10.mp3"]


def test_processes_that_share_a_scan_give_the_same_order(tmp_path):
    names = [f"{number} x{number % 7}" for number in range(9000)]
    for name in names:
        (tmp_path / name).touch()
    options = {"order": ["*x3", "natural"], "fat": 32}
    one, two = (vfloppy.open_disk(tmp_path, processes=count, **options) for count in (1, 2))
    assert listed(one) == listed(two)
    assert listed(one)[:2] == ["3 x3", "10 x3"]
    assert one.export.identity == two.export.identity


def test_a_long_list_costs_no_more_than_a_short_one():
    """Not by duration: a name of a list is found by looking it up."""
    steps = []
    for length in (10, 10_000):
        order = NamesInOrder(patterns_of([f"name {number}" for number in range(length)], []))
        key = order.key_in(b"")
        calls = 0

        def count(_frame, _event, _argument):
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            key(b"another", False)
        finally:
            sys.setprofile(None)
        steps.append(calls)
    assert steps[0] == steps[1]


@pytest.mark.parametrize("word", ["!x", "", "#x", "[[:nothing:]]"])
@pytest.mark.parametrize("option", ["order", "attrib"])
def test_what_is_no_pattern_is_refused(tree, word, option):
    with pytest.raises(OptionError) as caught:
        vfloppy.open_disk(tree, **{option: word + ("=+h" if option == "attrib" else "")})
    assert caught.value.option == option


def test_what_is_no_pattern_in_a_file_is_refused(tree, tmp_path):
    (tmp_path / "list").write_text("!x\n")
    with pytest.raises(OptionError, match="what does not match"):
        vfloppy.open_disk(tree, order_from=tmp_path / "list")


@pytest.mark.parametrize("word", ["x", "x=", "x=h", "x=+z", "=+h", "x=+", "x=+h-", "x=+h s"])
def test_what_gives_no_attributes_is_refused(tree, word):
    with pytest.raises(OptionError, match="pattern"):
        vfloppy.open_disk(tree, attrib=word)


def test_sizes_of_whole_cylinders():
    cylinder = 16 * 63 * 512
    for size in (*(random.randrange(cylinder, 1 << 32) for _ in range(2000)), 1 << 31, 500 << 20):
        whole = whole_cylinders(size)
        heads = bios_heads(whole // 512)
        assert whole <= size
        assert whole % (heads * 63 * 512) == 0
        assert size - whole < 2 * 255 * 63 * 512, "heads change, too, at most once"
        assert whole_cylinders(whole) == whole
    with pytest.raises(vfloppy.VfloppyError, match="smaller than a cylinder"):
        whole_cylinders(cylinder - 1)


@pytest.mark.parametrize("preset", ["dos", "dos-boot"])
@pytest.mark.parametrize("size", ["33M", "100M", "500M", "1.5G", "+50M"])
def test_a_size_keeps_the_cylinders_of_a_preset(tree, preset, size):
    disk = vfloppy.open_disk(tree, preset=preset, size=size)
    assert disk.size % (bios_heads(disk.size // 512) * 63 * 512) == 0
    geometry = disk.layout.geometry
    assert (geometry.heads, geometry.sectors_per_track) == (bios_heads(disk.size // 512), 63)
    rounded = [each for each in disk.notes if "whole cylinders" in each]
    assert len(rounded) == (size[0] != "+")


def test_a_size_without_a_preset_is_exact(tree):
    disk = vfloppy.open_disk(tree, fat=16, size="100M")
    assert disk.size == 100 << 20
    assert disk.notes == []


@pytest.mark.parametrize(
    ("label", "notes"),
    [("config-2", 0), ("CONFIG-2", 0), ("Config-2", 1), ("photos", 1), ("", 0), (None, 0)],
)
def test_a_label_in_capitals_is_told(tree, label, notes):
    disk = vfloppy.open_disk(tree, preset="config-2", label=label)
    assert len(disk.notes) == notes
    assert all("capitals" in each for each in disk.notes)


def test_the_active_flag(tree):
    for options, flag in (({}, 0), ({"active": True}, 0x80)):
        disk = vfloppy.open_disk(tree, **options)
        assert disk.read(446, 1)[0] == flag
    for others in ({"partition": "none"}, {"floppy": "2.88M"}):
        with pytest.raises(OptionError, match="active"):
            vfloppy.open_disk(tree, active=True, **others)


ATTRIBUTES = {"IO.SYS": 0x27, "MSDOS.SYS": 0x23, "A.SYS": 0x24, "b.txt": 0x00, "10.mp3": 0x20}


@pytest.mark.parametrize("many_nodes", [0, 1 << 40])
def test_attributes_by_pattern(tree, monkeypatch, many_nodes):
    monkeypatch.setattr(directories, "MANY_NODES", many_nodes)
    monkeypatch.setattr(bulk, "_WORTH_ROWS", 1)
    (tree / "A.SYS").chmod(0o444)
    (tree / ".dot").touch()
    rules = ["*.sys=+rhs", "/msdos.sys=-s", "a.sys=-hr", "*.TXT=-A", "a/=+h", "b/IO.SYS=-rhsa"]
    disk = vfloppy.open_disk(tree, attrib=rules, hide_dotfiles=True, fat=16, order="IO.SYS")
    found = {each["path"]: each for each in disk.files()}
    root = next(each for each in disk.regions() if each.name == "/")
    slots = disk.read(root.offset, root.length)
    entries = {
        slots[at : at + 11]: slots[at + 11]
        for at in range(0, len(slots), 32)
        if slots[at + 11] != 15
    }
    for name, expected in (ATTRIBUTES | {"a": 0x12, "B": 0x10, ".dot": 0x22}).items():
        stem, _, extension = found[name]["short_name"].partition(".")
        assert entries[f"{stem:8}{extension:3}".encode()] == expected, name
    assert next(iter(entries)) == b"IO      SYS"
    assert list(entries)[-2:] == [b"VFLOPPY    ", bytes(11)], "the label is the last entry"
    check_image(disk.export, whole=False)
