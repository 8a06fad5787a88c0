"""Every option of the command line is one of `open_disk`, and the same by every way to give it."""

from __future__ import annotations

import os
import sys
from typing import get_args, get_type_hints

import pytest
import vfloppy
from tools import output
from tools import vfloppy as command
from vfloppy.library.config import options_from
from vfloppy.library.description import all_options, describe
from vfloppy.library.options import OPTIONS

CODE = bytes(range(200)) + bytes(240)
# A value of each option that is no switch, as Python's callers write it, and what must go with it.
VALUES = {
    "graft": ({"more/hello": "tree/hello.txt"}, {}),
    "exclude": (["*.bin", "!x"], {}),
    "exclude_from": ("ignore", {}),
    "symlinks": ("follow", {}),
    "preset": ("vvfat", {}),
    "label": ("LABEL", {}),
    "mbr_code": ("code", {}),
    "on_change": ("current", {}),
    "cache_size": (4096, {}),
    "fat": (16, {}),
    "size": ("+10M", {}),
    "cluster_size": (4096, {}),
    "sector_size": (4096, {}),
    "floppy": ("1.44M", {}),
    "partition": ("gpt", {}),
    "volume_id": ("1234ABCD", {}),
    "normalize": ("nfc", {}),
    "attrib": (["*.txt=+h+s", "sub/=+r"], {}),
    "order": (["sub", "natural"], {}),
    "order_from": ("ignore", {}),
    "boot_sector": ("sector", {"fat": 32}),
    "iso_level": (1, {}),
    "system_id": ("SYSTEM", {}),
    "volume_set": ("SET", {}),
    "publisher": ("PUBLISHER", {}),
    "preparer": ("PREPARER", {}),
    "application": ("APPLICATION", {}),
    "volume_date": ("2026-11-23T10:00:00", {}),
    "uid": (1000, {}),
    "hide": (["hello*"], {}),
    "hide_joliet": (["/sub/*.bin"], {}),
    "boot_uefi_append": ("tree/hello.txt", {"hybrid": True}),
    "gid": (1000, {}),
    "file_mode": ("400", {}),
    "dir_mode": ("511", {}),
    "new_dir_mode": ("511", {"graft": {"made/hello": "tree/hello.txt"}}),
    "boot_catalogue": ("boot.cat", {"boot_bios": "sub/large.bin"}),
    "boot_bios": ("sub/large.bin", {}),
    "boot_load_size": (8, {"boot_bios": "sub/large.bin"}),
    "boot_uefi": ("hello.txt", {}),
    "boot_uefi_dir": ("esp", {}),
    "boot_uefi_fat": (16, {"boot_uefi_dir": "esp"}),
    "boot_uefi_size": ("+1M", {"boot_uefi_dir": "esp"}),
    "boot_uefi_label": ("BOOT", {"boot_uefi_dir": "esp"}),
}
# What a switch wants beside it, so that it can be turned from its default.
COMPANIONS = {
    "joliet_long": {},
    "boot_floppy": {"boot_bios": "floppy.img"},
    "boot_info_table": {"boot_bios": "sub/large.bin"},
    "hybrid": {"boot_uefi": "hello.txt"},
    "volume_partition": {"boot_uefi_append": "tree/hello.txt", "hybrid": True},
    "rock_ridge": {},
}
DECLARED = {name: option for name, (option, _) in all_options().items()}
TYPED = [name for name, option in DECLARED.items() if not option.is_for_python and name != "format"]


def given(name: str) -> dict[str, object]:
    """The option, turned from its default, and what it needs."""
    option, form = all_options()[name]
    if name == "mbr_code":
        form = "fat"
    value, others = (
        (not option.default, COMPANIONS.get(name, {})) if option.is_switch else VALUES[name]
    )
    return {"format": form or "fat", **others, name: value}


def on_command_line(options: dict[str, object]) -> list[str]:
    words = []
    for name, value in options.items():
        option = DECLARED[name]
        word = "--" + (option.spelled or name.replace("_", "-"))
        if option.is_switch:
            words.append(word if value else f"--{option.off}")
            continue
        several = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else value
        for each in several if isinstance(several, list) else [several]:
            words += [word, str(each)]
    return words


def in_a_file(options: dict[str, object]) -> dict[str, object]:
    """The options as a table of a configuration file has them."""
    table = {}
    for name, value in options.items():
        word = DECLARED[name].spelled or name.replace("_", "-")
        table[word] = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else value
    return table


@pytest.fixture
def here(tmp_path, tree, monkeypatch):
    """A working directory where all files are that options name."""
    (tree / "link").symlink_to("hello.txt")
    (tree / ".hidden").touch()
    (tree / "Cafe\u0301 with a long name").touch()
    for path in [*tree.rglob("*"), tree]:
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    (tmp_path / "esp").mkdir()
    (tmp_path / "ignore").write_text("*.bin\n")
    (tmp_path / "code").write_bytes(CODE)
    (tmp_path / "sector").write_bytes(b"\xeb\x58\x90" + bytes(507) + b"\x55\xaa")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_types_name_all_options_and_no_more():
    assert set(get_type_hints(vfloppy.DiskOptions)) == DECLARED.keys() - {"format"}
    for name, hint in get_type_hints(vfloppy.DiskOptions).items():
        option = DECLARED[name]
        assert (bool in get_args(hint)) == option.is_switch, name
        texts = {each for part in get_args(hint) for each in get_args(part)}
        if texts and str not in get_args(hint) and option.choices:
            assert {str(each) for each in texts} == set(option.choices), name


def test_help_lists_all_options_of_disks():
    text = output(*command_words("build", "--help"))
    for name in TYPED:
        assert f"--{DECLARED[name].spelled or name.replace('_', '-')}" in text


def command_words(*words: str) -> list[str]:
    return [sys.executable, "-m", "vfloppy", *words]


def test_each_option_has_a_value_here():
    switches = {name for name in TYPED if DECLARED[name].is_switch}
    assert VALUES.keys() | switches == set(TYPED)


@pytest.mark.parametrize("name", TYPED)
def test_an_option_means_the_same_by_every_way(here, name):
    options = given(name)
    if name == "boot_floppy":
        (here / "tree" / "floppy.img").write_bytes(bytes(1440 << 10))
        os.utime("tree", (1_700_000_000, 1_700_000_000))
    disk = vfloppy.open_disk("tree", **options)
    by_file, _ = options_from(in_a_file(options))
    assert describe("tree", by_file).values == disk.description.values
    words = on_command_line(options)
    built = command("build", "-q", *words, "tree", "out.img", cwd=here)
    assert built.returncode == 0, built.stderr
    assert disk.size == os.path.getsize("out.img")
    with open("out.img", "rb") as one, disk.open() as two:
        at = 0
        while part := one.read(1 << 20):
            if part != two.read(1 << 20):
                pytest.fail(f"{words}: other bytes than open_disk's behind byte {at}")
            at += len(part)


def test_options_of_python_alone_are_documented_there():
    assert {each.name for each in OPTIONS if each.is_for_python} == {
        "distinct",
        "source_date_epoch",
        "processes",
    }
