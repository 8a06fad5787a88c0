"""Images of all options: the conformance check, and what the specifications ask, field by field."""

from __future__ import annotations

import io
import os
import random
import struct
import tracemalloc
from contextlib import nullcontext

import pycdlib
import pytest
from compare import assert_same
from conformance import check_image, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vfloppy.errors import PlanError
from vfloppy.export import Kind
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.section import Fixed
from vfloppy.synth.iso.disk import disk
from vfloppy.synth.iso.layout import IsoOptions, Texts
from vfloppy.synth.iso.plan import plan
from vfloppy.synth.scanning.scan import scan

BLOCK = 2048


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A tree with something of everything."""
    root = tmp_path_factory.mktemp("small")
    (root / "Sub Directory" / "deeper").mkdir(parents=True)
    (root / "Sub Directory" / "data.bin").write_bytes(random.randbytes(9000))
    (root / "Sub Directory" / "deeper" / "FILE.TXT").write_bytes(random.randbytes(2048))
    (root / "empty").touch()
    (root / "empty directory").mkdir()
    (root / "program").write_bytes(random.randbytes(5001))
    (root / "program").chmod(0o755)
    (root / "efi.img").write_bytes(random.randbytes(70_000))
    (root / ("long name " * 20)).write_bytes(b"long")
    (root / "grüße 😀").write_bytes(b"unicode")
    (root / "link").symlink_to("Sub Directory/data.bin")
    (root / "long link").symlink_to("x" * 900)
    (root / "very long link").symlink_to("/".join(["component"] * 400))
    (root / "other name").hardlink_to(root / "program")
    os.mkfifo(root / "pipe")
    for number in range(120):
        (root / "Sub Directory" / f"file number {number}").write_bytes(b"%d" % number)
    return root


IMAGE = Fixed(bytes(range(256)) * 50, Kind.FILE, "an image")
OPTIONS = [
    {},
    {"level": 1},
    {"level": 2, "joliet_long": True},
    {"rock_ridge": False},
    {"joliet": False},
    {"rock_ridge": False, "joliet": False},
    {"preserve": True},
    {"padding": False},
    {"boot_bios": "program"},
    {"boot_bios": "other name", "boot_info_table": False},
    {"boot_uefi": "efi.img"},
    {"boot_bios": "program", "boot_uefi": "efi.img"},
    {"boot_bios": "program", "boot_uefi": "efi.img", "hybrid": True},
    {"boot_bios": "program", "hybrid": True, "mbr_code": b"isolinux"},
    {"uefi_image": IMAGE},
    {"uefi_image": IMAGE, "boot_bios": "program", "hybrid": True, "mbr_code": b"GRUB"},
    {"uefi_image": IMAGE, "hybrid": True, "padding": False, "joliet": False},
]


def _name(options):
    """A name that is the same in each run, so that a failing test can be repeated by it."""
    return str({name: "IMAGE" if value is IMAGE else value for name, value in options.items()})


@pytest.mark.parametrize("options", OPTIONS, ids=_name)
def test_an_image_is_what_it_says_it_is(small, make, options):
    _, layout, image = make(small, **options)
    assert image.size == layout.blocks * BLOCK
    check_image(image)


@pytest.mark.parametrize("options", OPTIONS, ids=_name)
def test_another_reader_finds_every_file(small, make, options):
    """pycdlib parses all structures, compares both-endian fields, and raises for what is wrong."""
    _, _, image = make(small, **options)
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(read(image, 0, image.size)))
    kind = {}
    if options.get("rock_ridge", True):
        kind, found = {"rr_path": "/Sub Directory/data.bin"}, iso.has_rock_ridge()
    elif options.get("joliet", True):
        kind, found = {"joliet_path": "/Sub Directory/data.bin"}, iso.has_joliet()
    else:
        kind, found = {"iso_path": "/SUB_DIRECTORY/DATA.BIN;1"}, True
    assert found
    out = io.BytesIO()
    iso.get_file_from_iso_fp(out, **kind)
    assert out.getvalue() == (small / "Sub Directory" / "data.bin").read_bytes()
    iso.close()


def descriptors(data: bytes) -> list[bytes]:
    found = [data[16 * BLOCK : 17 * BLOCK]]
    while found[-1][0] != 255:
        start = (16 + len(found)) * BLOCK
        found.append(data[start : start + BLOCK])
    return found


def test_descriptors_stand_in_order_from_block_16(small, make):
    _, layout, image = make(small, boot_bios="program")
    data = read(image, 0, image.size)
    assert not data[: 16 * BLOCK].strip(b"\0")
    found = descriptors(data)
    assert [each[0] for each in found] == [1, 0, 2, 255]
    assert all(each[1:7] == b"CD001\x01" for each in found)
    primary, boot, joliet, _ = found
    assert struct.unpack_from("<I", primary, 80) == struct.unpack_from(">I", primary, 84)
    assert struct.unpack_from("<I", primary, 80) == (len(data) // BLOCK,)
    assert joliet[88:91] == b"%/E"
    assert boot[7:30] == b"EL TORITO SPECIFICATION"
    assert struct.unpack_from("<I", boot, 71) == (layout.catalogue_block,)


def test_the_texts_are_where_they_belong(small, make):
    texts = Texts("My Volume", "LINUX", "SET", "PUBLISHER", "PREPARER", "APPLICATION")
    _, _, image = make(small, texts=texts)
    primary, joliet, _ = descriptors(read(image, 0, 32 * BLOCK))
    assert primary[8:40] == b"LINUX".ljust(32)
    assert primary[40:72] == b"My Volume".ljust(32)
    assert primary[190:318] == b"SET".ljust(128)
    assert primary[318:446] == b"PUBLISHER".ljust(128)
    assert primary[446:574] == b"PREPARER".ljust(128)
    assert primary[574:702] == b"APPLICATION".ljust(128)
    assert joliet[40:72].decode("utf-16-be") == "My Volume".ljust(16)
    assert joliet[574:702].decode("utf-16-be") == "APPLICATION".ljust(64)


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (Texts(volume="V" * 33), "has 33 characters"),
        (Texts(volume="grüße"), "printable ASCII"),
        (Texts(publisher="P" * 129), "holds 128"),
        (Texts(system="a\nb"), "printable ASCII"),
    ],
)
def test_texts_that_have_no_room_are_refused(small, make, texts, what):
    with pytest.raises(PlanError, match=what):
        make(small, texts=texts)


def test_dates_of_the_volume_are_the_latest_of_its_files(tmp_path, make):
    for name, second in (("a", 1_000_000_000), ("b", 1_700_000_000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (second, second))
    _, _, image = make(tmp_path)
    primary = descriptors(read(image, 0, 32 * BLOCK))[0]
    assert primary[813:830] == primary[830:847] == b"2023111422132000\0"
    assert primary[847:864] == primary[864:881] == b"0" * 16 + b"\0"
    assert primary[156 + 18 : 156 + 25] == bytes((123, 11, 14, 22, 13, 20, 0))
    _, _, image = make(tmp_path, latest_ns=1_500_000_000 * 10**9)
    assert descriptors(read(image, 0, 32 * BLOCK))[0][813:821] == b"20170714"


def test_the_roots_own_time_is_not_in_the_image(small, make):
    _, _, image = make(small)
    before = read(image, 0, image.size)
    os.utime(small, (1, 1))
    _, _, image = make(small)
    assert_same(read(image, 0, image.size), before)


def test_large_files_start_at_a_page_and_the_rest_close_up(tmp_path, make):
    for number, size in enumerate((1, 4096, 2049, 5000, 0, 4095, 9000)):
        (tmp_path / f"{number}").write_bytes(bytes([number + 1]) * size)
    tree, layout, image = make(tmp_path)
    end = layout.first_file_block
    assert end % 2 == 0
    for node in range(1, len(tree)):
        size = tree.sizes[node]
        if size:
            block = layout.file_block(node)
            assert end <= block <= end + 1
            assert size < 4096 or block % 2 == 0
            assert read(image, block * BLOCK, size) == bytes([node]) * size
            end = block + -(-size // BLOCK)


def records(block_data: bytes) -> list[bytes]:
    """The directory records in whole blocks."""
    found = []
    for start in range(0, len(block_data), BLOCK):
        at = start
        while at < start + BLOCK and block_data[at]:
            found.append(block_data[at : at + block_data[at]])
            at += block_data[at]
    return found


@pytest.mark.parametrize("extra", [0, 1, 2048, 0xFFFF_F800])
def test_a_file_of_4_gib_is_several_extents_side_by_side(tmp_path, make, extra):
    most = 0xFFFF_F800
    with open(tmp_path / "large", "wb") as file:
        file.truncate(most + extra)
        file.seek(most - 10)
        file.write(b"across the border"[: 10 + min(extra, 7)])
    (tmp_path / "next").write_bytes(b"next")
    tree, layout, image = make(tmp_path)
    for place, joliet in ((layout.primary_layout, False), (layout.joliet_layout, True)):
        first, size = place.directory_extent(0)
        name = "large".encode("utf-16-be") if joliet else b"LARGE.;1"
        found = [
            each
            for each in records(read(image, first * BLOCK, size))
            if each[33 : 33 + each[32]] == name
        ]
        lengths = [int.from_bytes(each[10:14], "little") for each in found]
        assert lengths == ([most, extra] if extra else [most])
        assert [each[25] for each in found] == ([0x80, 0] if extra else [0])
        blocks = [int.from_bytes(each[2:6], "little") for each in found]
        assert blocks == [layout.file_block(tree.find("large")) + n * (most // BLOCK)
                          for n in range(len(found))]  # fmt: skip
    with pytest.raises(PlanError, match="iso_level=3: large") if extra else nullcontext():
        make(tmp_path, level=2)
    check_image(image, whole=False, slices=50)


@pytest.mark.parametrize("rock_ridge", [True, False])
def test_a_file_of_many_extents_has_as_many_blocks_of_records_as_it_needs(
    tmp_path, make, rock_ridge
):
    """Two names have room in one block; the records of 51 extents have not."""
    most = 0xFFFF_F800
    with open(tmp_path / "large", "wb") as file:
        file.truncate(50 * most + 1)
    (tmp_path / "next").write_bytes(b"next")
    _, layout, image = make(tmp_path, rock_ridge=rock_ridge)
    for place in (layout.primary_layout, layout.joliet_layout):
        first, size = place.directory_extent(0)
        found = records(read(image, first * BLOCK, size))[2:]
        assert [int.from_bytes(each[10:14], "little") for each in found] == [most] * 50 + [1, 4]
        assert [each[25] for each in found] == [0x80] * 50 + [0, 0]
        blocks = [int.from_bytes(each[2:6], "little") for each in found[:51]]
        assert blocks == [blocks[0] + number * (most // BLOCK) for number in range(51)]
    check_image(image, whole=False, slices=50)


def test_records_never_cross_a_block_and_are_sorted(tmp_path, make):
    for number in range(500):
        (tmp_path / f"{number:03}{'x' * (number % 200)}.{'y' * (number % 9)}").touch()
    tree, layout, image = make(tmp_path)
    first, size = layout.primary_layout.directory_extent(0)
    data = read(image, first * BLOCK, size)
    found = records(data)
    assert [each[33] for each in found[:2]] == [0, 1]
    identifiers = [each[33 : 33 + each[32]] for each in found[2:]]
    assert len(identifiers) == len(tree) - 1
    keys = []
    for identifier in identifiers:
        stem, extension = identifier.removesuffix(b";1").split(b".")
        keys.append((stem.ljust(40), extension.ljust(40)))
    assert keys == sorted(keys)


def test_a_path_table_of_many_levels_is_in_order(tmp_path, make):
    for outer in ("b", "A", "c c", "a"):
        for inner in ("z", "Y", "x"):
            (tmp_path / outer / inner / "leaf").mkdir(parents=True)
    _, layout, image = make(tmp_path)
    for place in (layout.primary_layout, layout.joliet_layout):
        tables = []
        for block, order in ((place.little_table_block, "<"), (place.big_table_block, ">")):
            data = read(image, block * BLOCK, place.path_table_bytes)
            table = []
            while data:
                length, _, extent, parent = struct.unpack_from(f"{order}BBIH", data)
                table.append((parent, data[8 : 8 + length], extent))
                data = data[8 + length + length % 2 :]
            tables.append(table)
        assert_same(tables[0], tables[1])
        assert tables[0][0] == (1, b"\0", place.directory_extent(0)[0])
        assert len(tables[0]) == 1 + 4 + 12 + 12
        assert [each[:2] for each in tables[0][1:]] == sorted(each[:2] for each in tables[0][1:])
        for number, (parent, name, extent) in enumerate(tables[0][1:], 2):
            directory = read(image, extent * BLOCK, BLOCK)
            dots = records(directory)[:2]
            assert int.from_bytes(dots[0][2:6], "little") == extent
            assert int.from_bytes(dots[1][2:6], "little") == tables[0][parent - 1][2], (
                number,
                name,
            )


def test_what_joliet_cannot_hold_is_not_there_as_an_empty_file(small, make):
    _, layout, image = make(small)
    first, size = layout.joliet_layout.directory_extent(0)
    names = {
        each[33 : 33 + each[32]].decode("utf-16-be")
        for each in records(read(image, first * BLOCK, size))[2:]
    }
    assert "program" in names
    assert not names & {"link", "pipe"}


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"boot_bios": "nothing"}, "boot_bios='nothing': no such file in the tree"),
        ({"boot_bios": "Sub Directory"}, "no file with anything in it"),
        ({"boot_uefi": "empty"}, "boot_uefi='empty': no file with anything in it"),
        ({"boot_bios": "Sub Directory/file number 1"}, "has 1 bytes; one that takes a boot info"),
        ({"boot_bios": "program/x"}, "no such file in the tree"),
        ({"boot_bios": "program", "hybrid": True, "mbr_code": b"x" * 513}, "mbr_code has 513"),
        ({"rock_ridge": False, "strict": True}, "strict refuses"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(small, make, options, what):
    with pytest.raises(PlanError, match=what) as caught:
        make(small, **options)
    assert "\n" not in str(caught.value)


def test_an_image_of_more_blocks_than_32_bits_is_refused(tmp_path):
    try:
        for number in range(3):
            with open(tmp_path / f"{number}", "wb") as file:
                file.truncate(3 << 40)
    except OSError:
        pytest.skip("this file system holds no file of 3 TiB")
    tree = scan(str(tmp_path))
    with pytest.raises(PlanError, match="at most 4294967295"):
        plan(tree)


def test_what_a_server_may_keep_is_no_part_of_the_bytes(tmp_path, make):
    (tmp_path / "boot").write_bytes(random.randbytes(3000))
    options = {"boot_bios": "boot", "boot_uefi": "boot", "hybrid": True, "mbr_code": b"code"}
    images = [
        make(tmp_path, **options, **more)[2]
        for more in ({}, {"cache_bytes": 1}, {"strict": True}, {"level": 2})
    ]
    first, *others = [read(image, 0, image.size) for image in images]
    assert [other == first for other in others] == [True, True, False]


def test_a_tree_elsewhere_in_another_order_gives_the_same_bytes(tmp_path, make):
    images = []
    for name, order in (("one", 1), ("two", -1)):
        root = tmp_path / name
        root.mkdir()
        for number in range(30)[::order]:
            (root / f"d{number % 3}").mkdir(exist_ok=True)
            path = root / f"d{number % 3}" / f"f{number}"
            path.write_bytes(b"%d" % number * number)
            os.utime(path, (1_700_000_000, 1_700_000_000))
        for number in range(3):
            os.utime(root / f"d{number}", (1_700_000_000, 1_700_000_000))
        tree = scan(str(root))
        layout = plan(tree, IsoOptions(hybrid=True, mbr_code=b"x"))
        image = disk(layout, tree, HostFiles(tree))
        images.append(read(image, 0, image.size))
    assert_same(images[0], images[1])


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.lists(
        st.binary(min_size=1, max_size=255).filter(
            lambda name: name not in {b".", b".."} and not set(name) & {0, 47}
        ),
        max_size=30,
        unique=True,
    ),
    target=st.binary(min_size=1, max_size=4000).filter(lambda name: 0 not in name),
)
def test_any_names_and_links_come_back_byte_by_byte(tmp_path_factory, make, names, target):
    root = tmp_path_factory.mktemp("drawn")
    for number, name in enumerate(names):
        (root / os.fsdecode(name)).write_bytes(b"%d" % number)
    link = b"l" * 200
    if link not in names:
        os.symlink(target, os.path.join(os.fsencode(root), link))
    _, layout, image = make(root)
    first, size = layout.primary_layout.directory_extent(0)
    found = {}
    for record in records(read(image, first * BLOCK, size))[2:]:
        name, is_link = rock_ridge_name(image, record)
        block, length = struct.unpack_from("<I4xI", record, 2)
        found[name] = None if is_link else read(image, block * BLOCK, length)
    expected = {name: b"%d" % number for number, name in enumerate(names)}
    assert_same(found, expected | ({} if link in names else {link: None}))


def test_a_long_target_leaves_the_name_in_the_record(tmp_path, make):
    """Not every reader follows CE."""
    for length in (1, 20, 150, 200, 248):
        (tmp_path / ("n" * length)).symlink_to("t" * 150)
    (tmp_path / "short").symlink_to("t")
    _, layout, image = make(tmp_path)
    first, size = layout.primary_layout.directory_extent(0)
    found = {}
    for record in records(read(image, first * BLOCK, size))[2:]:
        name, is_link = rock_ridge_name(image, record)
        assert is_link
        use = record[33 + record[32] + (1 - record[32] % 2) :]
        found[len(name)] = (name in use, b"CE\x1c\1" in use)
    assert found == {1: (True, True), 5: (True, False), 20: (True, True), 150: (False, True),
                     200: (False, True), 248: (False, True)}  # fmt: skip


def rock_ridge_name(image, record: bytes) -> tuple[bytes, bool]:
    """A record's name by NM, and whether it has SL, with all continuations followed."""
    use = record[33 + record[32] + (1 - record[32] % 2) :]
    name, is_link, areas = b"", False, 0
    while use:
        after = b""
        while len(use) >= 4:
            signature, length = use[:2], use[2]
            entry, use = use[:length], use[length:]
            if signature == b"NM":
                name += entry[5:]
            elif signature == b"SL":
                is_link = True
            elif signature == b"CE":
                block, offset, size = struct.unpack_from("<I4xI4xI", entry, 4)
                assert offset + size <= BLOCK
                after = read(image, block * BLOCK + offset, size)
                areas += 1
        use = after
        assert areas < 10
    return name, is_link


@pytest.mark.parametrize("name", ["F{:06}", "an ordinary name {:06}.txt", "n" * 50 + "{:06}"])
def test_the_memory_of_directories_is_counted_as_it_is(tmp_path, make, name):
    for number in range(2000):
        (tmp_path / name.format(number)).touch()
    _, layout, _ = make(tmp_path)
    for facet in (layout.primary, layout.joliet):
        facet.arrange(0)  # what is made once, by whoever measures coverage, too, is not counted
        tracemalloc.start()
        found = facet.arrange(0)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 0.8 < taken / found.memory_bytes < 1.2
