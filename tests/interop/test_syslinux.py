"""SYSLINUX, installed on an image that was built, starts from it, as docs/migrating.md says."""

from __future__ import annotations

from pathlib import Path

import pytest
from firmware import booted
from tools import need_file, need_tool, output, vfloppy

_MBR = "/usr/lib/syslinux/mbr/mbr.bin"
_GPT_MBR = "/usr/lib/syslinux/mbr/gptmbr.bin"
_GREETING = "and from its configuration"


@pytest.fixture
def tree(tmp_path) -> Path:
    """A directory with a configuration of SYSLINUX and some more files."""
    root = tmp_path / "tree"
    (root / "deep" / "deeper").mkdir(parents=True)
    (root / "syslinux.cfg").write_text(
        f"DEFAULT x\nSAY hello {_GREETING}\nLABEL x\nKERNEL /nothing\n"
    )
    (root / "deep" / "deeper" / "a name longer than 8.3").write_bytes(b"x" * 100_000)
    return root


@pytest.mark.parametrize(
    "options",
    [
        ("--mbr-code", _MBR),
        ("--mbr-code", _MBR, "--fat", "12"),
        ("--mbr-code", _MBR, "--fat", "16", "--size", "100M"),
        ("--mbr-code", _MBR, "--for", "dos"),
        ("--mbr-code", _MBR, "--for", "dos-boot", "--label", ""),
        ("--mbr-code", _GPT_MBR, "--active", "--partition", "gpt"),
        ("--partition", "none"),
        ("--partition", "none", "--fat", "16"),
        ("--floppy", "1.44M"),
        ("--floppy", "720k"),
    ],
    ids=lambda options: " ".join(options).replace("/", "_"),
)
def test_syslinux_starts_from_an_image(options, tree, tmp_path):
    need_tool("syslinux")
    image, is_whole = tmp_path / "disk.img", "none" in options or "--floppy" in options
    if "--mbr-code" in options:
        need_file(options[1])
    done = vfloppy("build", "-q", *options, tree, image)
    assert done.returncode == 0, done.stderr
    offset = [] if is_whole else ["--offset", str(1 << 20)]
    output("syslinux", "--install", *offset, str(image))
    drive = f"file={image},format=raw,if={'floppy' if '--floppy' in options else 'ide'}"
    texts = (_GREETING, "Boot error", "Missing", "No bootable device")
    assert _GREETING in booted(drive, *texts)
    listed = output("mdir", "-a", "-b", "-/", "-i", f"{image}@@{0 if is_whole else 1 << 20}", "::")
    assert "::/deep/deeper/a name longer than 8.3" in listed
    assert "::/ldlinux.sys" in listed


@pytest.mark.parametrize("name", ["SYSLINUX", "MSDOS5.0"])
def test_a_boot_sector_of_syslinux_is_told_to_hold_places(name, tree, tmp_path):
    sector = bytes((0xEB, 0x58, 0x90)) + name.encode()
    (tmp_path / "sector").write_bytes(sector.ljust(510, b"\0") + b"\x55\xaa")
    words = ["build", "--boot-sector", tmp_path / "sector", tree, tmp_path / "disk.img"]
    done = vfloppy(*words)
    assert done.returncode == 0
    assert ("syslinux --install" in done.stderr.decode()) == (name == "SYSLINUX")
