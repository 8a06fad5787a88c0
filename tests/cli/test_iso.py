"""ISO 9660 on the command line: which options it takes, and what it says."""

from __future__ import annotations

import json
import os
import random

import pytest
import vfloppy as vfloppy_library
from click.testing import CliRunner
from tools import need_tool, output, vfloppy
from vfloppy.cli.app import _group
from vfloppy.cli.console import sentence
from vfloppy.library.description import all_options
from vfloppy.nbd.protocol.block_status import FILE_CONTEXT, statuses
from vfloppy.synth.formats import NAMES, options_of


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "boot").mkdir(parents=True)
    (root / "boot" / "isolinux.bin").write_bytes(random.randbytes(3000))
    (root / "Long name.html").write_text("hello")
    (root / "link").symlink_to("Long name.html")
    os.mkfifo(root / "pipe")
    return root


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error, without a process of its own."""
    done = CliRunner().invoke(_group, list(map(str, arguments)), standalone_mode=False)
    if done.exception and not isinstance(done.exception, SystemExit):
        return 1, done.stdout, sentence(done.exception)
    return done.exit_code, done.stdout, done.stderr


def test_build_takes_the_format_from_the_name(tree, tmp_path):
    for name, is_iso in (("a.iso", True), ("B.ISO", True), ("c.img", False)):
        status, _, text = run("build", tree, tmp_path / name)
        assert status == 0
        assert ("as an ISO 9660 disk" in text) == is_iso
        assert ((tmp_path / name).read_bytes()[32769:32774] == b"CD001") == is_iso
    status, _, text = run("build", "--format", "fat", tree, tmp_path / "d.iso")
    assert status == 0
    assert "FAT32" in text


def test_links_and_pipes_are_kept_with_rock_ridge_only(tree):
    assert not json.loads(run("map", "--json", "--format", "iso", tree)[1])["skipped"]
    document = json.loads(run("map", "--json", "--format", "iso", "--no-rock-ridge", tree)[1])
    assert [each["path"] for each in document["skipped"]] == ["link", "pipe"]
    document = json.loads(run("map", "--json", "--format", "iso", "--symlinks", "follow", tree)[1])
    assert not document["skipped"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--fat", "16"), "--fat is for --format fat"),
        (("--partition", "gpt"), "--partition is for --format fat"),
        (("--normalize", "nfc"), "--normalize is for --format fat"),
        (("--boot-load-size", "8"), "--boot-load-size is about --boot-bios PATH"),
        (("--boot-floppy",), "--boot-floppy is about --boot-bios PATH"),
        (
            ("--boot-bios", "x", "--boot-floppy", "--boot-load-size", "4"),
            "--boot-floppy goes without --boot-load-size",
        ),
        (
            ("--boot-bios", "x", "--boot-floppy", "--hybrid", "--mbr-code", __file__),
            "--boot-floppy goes without --mbr-code",
        ),
        (("--label", "x" * 33), "has 33 characters"),
        (("--publisher", "ü"), "printable ASCII"),
        (("--joliet-long", "--no-joliet"), "--joliet-long goes without --no-joliet"),
        (("--preserve", "--no-rock-ridge"), "--preserve needs Rock Ridge"),
        (("--hybrid",), "--hybrid has nothing to start"),
        (("--mbr-code", __file__), "pass --hybrid"),
        (("--symlinks", "keep", "--no-rock-ridge"), "--symlinks keep needs"),
        (("--volume-date", "soon"), "'soon' is no date"),
        (("--volume-date", "2026-13-01"), "is no date"),
        (("--boot-load-size", "0"), "--boot-load-size"),
        (("--boot-uefi-dir", "/nowhere"), "--boot-uefi-dir"),
        (("--boot-uefi-fat", "16"), "--boot-uefi-fat is about --boot-uefi-dir DIR"),
        (("--boot-uefi", "x", "--boot-uefi-size", "+1M"), "is about --boot-uefi-dir DIR"),
        (("--boot-uefi-dir", ".", "--boot-uefi-size", "soon"), "'soon' is no size"),
        (("--boot-uefi-dir", ".", "--boot-uefi-label", "x?"), "--boot-uefi-dir .: label 'x?'"),
    ],
)
def test_wrong_usage(tree, options, what):
    done = vfloppy("map", "--format", "iso", *options, tree)
    text = done.stderr.decode()
    assert done.returncode == 2
    assert what in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    "option",
    [("--iso-level", "1"), ("--no-joliet",), ("--rational",), ("--hybrid",), ("--volume-set", "x")],
)
def test_iso_options_are_refused_for_fat(tree, option):
    done = vfloppy("map", *option, tree)
    assert done.returncode == 2
    assert "is for --format iso" in done.stderr.decode()


def test_every_option_of_one_format_is_that_formats_alone():
    names = [{each.name for each in options_of(form)} for form in NAMES]
    assert not names[0] & names[1]
    assert names[0] | names[1] <= set(all_options())


@pytest.mark.parametrize("preset", ["cidata", "config-2", "oemdrv"])
def test_presets_set_the_label(tree, tmp_path, preset):
    assert run("build", "--for", preset, tree, tmp_path / "out.iso")[0] == 0
    label = (tmp_path / "out.iso").read_bytes()[32768 + 40 : 32768 + 72].rstrip().decode()
    assert label == {"oemdrv": "OEMDRV"}.get(preset, preset)


def test_an_empty_label_is_an_image_without_one(tree, tmp_path):
    """ECMA-119 has no word for it: the identifier is all spaces, and readers show none."""
    need_tool("blkid")
    for label, expected in (("", ""), ("x", "x")):
        assert run("build", "--label", label, tree, tmp_path / "out.iso")[0] == 0
        data = (tmp_path / "out.iso").read_bytes()
        assert data[32768 + 40 : 32768 + 72] == expected.encode().ljust(32)
        joliet = expected.ljust(16).encode("utf-16-be")
        assert data[34816 + 40 : 34816 + 72] == joliet
        told = output("blkid", "-p", "-s", "LABEL", "-o", "value", str(tmp_path / "out.iso"))
        assert told.strip() == expected


def test_a_boot_file_that_is_not_there_is_one_line(tree, tmp_path):
    done = vfloppy("build", "--boot-bios", "isolinux.bin", tree, tmp_path / "out.iso")
    assert done.returncode == 1
    assert "--boot-bios isolinux.bin: no such file in the tree" in done.stderr.decode()
    assert not (tmp_path / "out.iso").exists()


def test_an_image_for_uefi_is_made_of_a_directory(tree, tmp_path):
    esp = tmp_path / "esp"
    (esp / "EFI" / "BOOT").mkdir(parents=True)
    (esp / "startup.nsh").write_text("echo hello")
    status, out, _ = run("map", "--json", "--format", "iso", "--boot-uefi-dir", esp, tree)
    assert status == 0
    names = [each["name"] for each in json.loads(out)["regions"]]
    assert "FAT 1" in names
    assert "startup.nsh" in names
    assert "boot catalogue" in names


def test_the_image_for_uefi_is_a_file_whose_place_can_be_given(tree, tmp_path):
    esp = tmp_path / "esp"
    esp.mkdir()
    (esp / "startup.nsh").write_text("echo hello")
    options = ("--boot-uefi-dir", esp, "--boot-bios", "boot/isolinux.bin")
    image, manifest = tmp_path / "out.iso", tmp_path / "manifest.json"
    for place, given in (("efi.img", ()), ("boot/new/x", ("--boot-uefi", "boot/new/x"))):
        build = ("build", "--manifest", manifest, *options, *given, tree, image)
        assert run(*build)[0] == 0
        entry = {each["path"]: each for each in json.loads(manifest.read_text())["files"]}[place]
        assert (entry["type"], entry["host_path"]) == ("file", str(esp))
        inside = image.read_bytes()[entry["first_block"] * 2048 :][: entry["size"]]
        assert (inside[54:62], inside[510:512]) == (b"FAT12   ", b"\x55\xaa")
        assert run("verify", *options, *given, image, tree)[0] == 0
    (esp / "startup.nsh").write_text("echo HELLO")
    os.utime(esp / "startup.nsh", (0, 0))
    text = run("verify", "--no-times", *options, *given, image, tree)[1]
    assert "bytes: boot/new/x: differ from byte " in text


@pytest.fixture
def esp(tmp_path):
    root = tmp_path / "esp"
    (root / "EFI" / "BOOT").mkdir(parents=True)
    (root / "EFI" / "BOOT" / "BOOTX64.EFI").write_bytes(random.randbytes(50_000))
    return root


@pytest.mark.parametrize(
    ("options", "title", "least", "most"),
    [
        ({}, "FAT12", 50 << 10, 100 << 10),
        ({"fat": 16}, "FAT16", 4085 * 512, 20 << 20),
        ({"fat": 32}, "FAT32", 65525 * 512, 36 << 20),
        ({"fat": 32, "size": "+10M"}, "FAT32", 65525 * 512, 36 << 20),
        ({"size": "+10M"}, "FAT12", 10 << 20, 11 << 20),
        ({"size": "64M"}, "FAT16", 64 << 20, 64 << 20),
        ({"size": "64M", "fat": 32}, "FAT32", 64 << 20, 64 << 20),
    ],
    ids=str,
)
def test_type_and_room_of_the_image_for_uefi(tree, esp, options, title, least, most):
    given = {f"boot_uefi_{name}": value for name, value in options.items()}
    disk = vfloppy_library.open_disk(tree, format="iso", boot_uefi_dir=esp, **given)
    inner = disk.parts[1]
    assert inner.format.title(inner.layout) == title
    assert least <= inner.image.size <= most
    entry = next(each for each in disk.files() if each["path"] == "efi.img")
    assert entry["size"] == inner.image.size
    free = sum(each.length for each in inner.image.regions() if each.kind.name == "FREE")
    assert free >= (10 << 20 if options.get("size") == "+10M" else 0)


def test_the_label_of_the_image_for_uefi_is_no_name_of_a_file(tree, esp):
    def root(**options):
        disk = vfloppy_library.open_disk(tree, format="iso", boot_uefi_dir=esp, **options)
        image = disk.parts[1].image.open()
        at = next(each for each in disk.parts[1].image.regions() if each.name.startswith("/"))
        slots = image.read(at.offset, 64)
        return slots[:11], slots[32:43]

    label, name = root()
    assert (label, name) == (b"EFI SYSTEM ", b"EFI        ")
    assert b" " in label[:8].rstrip(), "no short name has a space there"
    assert root(boot_uefi_label="efi") == (b"EFI        ", b"EFI        ")
    described = vfloppy_library.open_disk(tree, format="iso", boot_uefi_dir=esp).description
    values = {**described.values, "boot_uefi_label": ""}
    attempts = described.format.inner_disks(values)[0].attempts
    assert {each["label"] for each in attempts} == {""}, "as FAT takes it"


def test_the_image_for_uefi_takes_the_place_of_nothing(tree, tmp_path):
    (tree / "efi.img").touch()
    done = vfloppy("build", "--boot-uefi-dir", tmp_path, tree, tmp_path / "out.iso")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"vfloppy: efi.img: already in the tree; the image of --boot-uefi-dir {tmp_path} goes "
        "there, unless --boot-uefi PATH gives it another place\n"
    )


def test_an_image_for_uefi_takes_the_smallest_fat_that_holds_it(tree, tmp_path):
    esp = tmp_path / "esp"
    esp.mkdir()
    sizes = {}
    for size in (1, 300 << 20, 5 << 30):
        with open(esp / "file", "wb") as file:
            file.truncate(size)
        command = ("map", "--json", "--format", "iso", "--boot-uefi-dir", esp, tree)
        status, out, text = run(*command)
        if size >> 32:
            assert status == 1
            assert "--boot-uefi-dir" in text
            skipped = json.loads(run(*command, "--skip-large")[1])["skipped"]
            assert "--boot-uefi-dir: file" in [each["path"] for each in skipped]
        else:
            sizes[size] = json.loads(out)["size"]
    assert sizes[1] < 4 << 20
    assert 300 << 20 < sizes[300 << 20] < 330 << 20


def test_a_diskette_to_emulate_has_the_length_of_one(tree):
    options = ("--format", "iso", "--boot-bios", "boot/isolinux.bin", "--boot-floppy")
    status, _, text = run("map", *options, tree)
    assert status == 1
    assert "has 3000 bytes; the diskettes of --boot-floppy have 1228800, 1474560, 2949120" in text


def test_what_is_lost_of_the_disk_inside_is_told(tree, tmp_path):
    esp = tmp_path / "esp"
    (esp / "EFI").mkdir(parents=True)
    (esp / "EFI" / "a:b").touch()
    (esp / "EFI" / "grub.efi").touch()
    (esp / "EFI" / "link").symlink_to("grub.efi")
    inside = ("--format", "iso", "--boot-uefi-dir", esp, tree)
    document = json.loads(run("map", "--json", *inside)[1])
    lost = ("skipped", "renamed")
    assert [each["path"] for kind in lost for each in document[kind]] == [
        "--boot-uefi-dir: EFI/link",
        "--boot-uefi-dir: EFI/a:b",
    ]
    status, out, _ = run("check", "--for", "ovmf", *inside)
    assert status == 1
    assert "skipped: --boot-uefi-dir: EFI/link: symbolic link" in out
    assert "renamed: --boot-uefi-dir: EFI/a:b: becomes 'a_b'" in out
    options = ("--symlinks", "follow", "--exclude", "a:b")
    document = json.loads(run("map", "--json", *options, *inside)[1])
    assert document["renamed"] == []
    assert [each["path"] for each in document["skipped"] if "uefi" in each["path"]] == [
        "--boot-uefi-dir: EFI/a:b"
    ]
    assert "--strict refuses" in run("map", "--strict", *inside)[2]


def test_check_speaks_of_windows_linux_and_macos(tree):
    status, out, _ = run("check", "--format", "iso", tree)
    assert status == 1
    assert "trips: link: neither file nor directory: is not in Joliet's tree [Windows]" in out
    assert "level 1" not in out
    status, out, _ = run("check", "--format", "iso", "--iso-level", "1", tree)
    assert "trips: Long name.html: becomes 'LONG_NAM.HTM' [level 1]" in out


@pytest.fixture
def cut(tmp_path):
    """Names that Joliet cuts to one, one that it can't hold, and a link that isn't there."""
    root = tmp_path / "cut"
    root.mkdir()
    for number in (1, 2):
        (root / f"{'a' * 62}{number}.inf").touch()
    (root / "what?").touch()
    (root / ("l" * 70)).symlink_to("what?")
    return root


CUT = {
    "a" * 62 + "1.inf": "a" * 60 + ".inf",
    "a" * 62 + "2.inf": "a" * 58 + "~2.inf",
    "what?": "what_",
}


def test_names_that_joliet_changes_are_counted_and_listed(cut, tmp_path):
    status, _, text = run("build", cut, tmp_path / "out.iso")
    assert status == 0
    *listed, last = text.splitlines()
    assert listed == [f"vfloppy: renamed: {old} to {new} in Joliet" for old, new in CUT.items()]
    assert last.endswith("; renamed 3 (3 in Joliet)")
    document = json.loads(run("map", "--json", "--format", "iso", cut)[1])
    assert {each["path"]: each["name"] for each in document["renamed"]} == CUT
    assert {each["reason"].split(",")[0] for each in document["renamed"]} == {"in Joliet"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "--strict refuses to rename, and Joliet can't hold 3 of the names: aaaa"),
        (("--joliet-long",), "Joliet can't hold 1 of the names: what?; --no-joliet leaves"),
        (("--no-rock-ridge",), "Joliet can't hold 3 of the names"),
        (
            ("--no-rock-ridge", "--no-joliet"),
            "an image without Joliet and Rock Ridge can't hold 3 of the names",
        ),
    ],
)
def test_strict_refuses_names_that_any_long_tree_changes(cut, tmp_path, options, text):
    status, _, told = run("build", "--strict", *options, cut, tmp_path / "out.iso")
    assert status == 1
    assert text in told
    assert not (tmp_path / "out.iso").exists()
    status, out, _ = run("check", "--strict", "--format", "iso", *options, cut)
    assert status == 1
    assert "refused: what?: becomes 'what_'" in out or "refused: what?: becomes 'WHAT_'" in out


def test_strict_takes_what_every_long_tree_holds(tree, cut, tmp_path):
    for root, options in ((tree, ()), (cut, ("--no-joliet",))):
        status, _, text = run("build", "--strict", *options, root, tmp_path / "out.iso")
        assert (status, "renamed" in text) == (0, False)


def test_the_manifest_tells_both_names_and_the_block(tree, tmp_path):
    manifest = tmp_path / "manifest.json"
    assert run("build", "--manifest", manifest, tree, tmp_path / "out.iso")[0] == 0
    entries = {each["path"]: each for each in json.loads(manifest.read_text())["files"]}
    entry = entries["Long name.html"]
    assert entry["iso_name"] == "LONG_NAME.HTML;1"
    assert entry["joliet_name"] == "Long name.html"
    data = (tmp_path / "out.iso").read_bytes()
    assert data[entry["first_block"] * 2048 :].startswith(b"hello")
    assert entries["link"]["target"] == "Long name.html"
    assert "joliet_name" not in entries["link"]
    assert [entries[name]["type"] for name in ("boot", "link", "pipe")] == [
        "directory",
        "link",
        "special file",
    ]


def test_the_volume_date_is_an_option_and_source_date_epoch_a_limit(tree, tmp_path, monkeypatch):
    out = tmp_path / "out.iso"
    run("build", "--volume-date", "2001-02-03T04:05:06Z", tree, out)
    assert out.read_bytes()[32768 + 813 : 32768 + 830] == b"2001020304050600\0"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    run("build", tree, out)
    assert out.read_bytes()[32768 + 813 : 32768 + 830] == b"2001090901464000\0"


def test_serve_says_how_to_open_it(tree):
    done = vfloppy("serve", "--format", "iso", "-U", "-", tree, "--run", "true")
    assert done.returncode == 0
    assert "as an ISO 9660 disk" in done.stderr.decode()


def test_files_are_numbered_as_the_manifest_has_them_however_large_a_disk_inside_is(tmp_path):
    for name in ("tree/small", "tree/folder/other", "uefi/EFI/BOOT/BOOTX64.EFI"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "uefi" / "large").write_bytes(b"x" * 1_000_000)
    disk = vfloppy_library.open_disk(
        tmp_path / "tree", format="iso", boot_uefi_dir=tmp_path / "uefi"
    )
    numbers = {}
    offset = 0
    for length, number in statuses(FILE_CONTEXT, disk.export.open(), 0, disk.size):
        if number:
            assert number not in numbers
            numbers[number] = offset
        offset += length
    assert numbers == {
        each["number"]: each["first_block"] * 2048
        for each in disk.files()
        if each["type"] == "file"
    }
    assert len(numbers) == 3
