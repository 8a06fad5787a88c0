"""A BIOS reads a disk by cylinder, head and sector, as the loaders of DOS and of diskettes do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import ENVIRONMENT, VFLOPPY, need_tool, run, vfloppy

_PRINT_AND_RESET = """
    73 03 be fe 7d          jnc print; mov si, 7dfe
    ba e9 00 f3 6e          print: mov dx, e9; rep outsb
    b0 fe e6 64 f4 eb fd    mov al, fe; out 64, al; halt: hlt; jmp halt
"""
_START = "31 c0 8e d8 8e c0 8e d0 bc 00 7c    xor ax, ax; ds = es = ss = ax; mov sp, 7c00"
# Reads the first sector of the first partition by the MBR's address, and prints its OEM name.
MBR_CODE = f"""
    {_START}
    8a 36 bf 7d 8b 0e c0 7d             mov dh, [7dbf]; mov cx, [7dc0]
    b8 01 02 bb 00 80 cd 13             mov ax, 0201; mov bx, 8000; int 13
    be 03 80 b9 08 00                   mov si, 8003; mov cx, 8
    {_PRINT_AND_RESET}
"""
# Finds the root directory by the parameters of the boot sector, and prints its label.
BOOT_CODE = f"""
    {_START}
    88 d3 a1 16 7c d1 e0 03 06 0e 7c    mov bl, dl; ax = [7c16] * 2 + [7c0e]
    31 d2 f7 36 18 7c 88 d1 41          xor dx, dx; div word [7c18]; mov cl, dl; inc cx
    31 d2 f7 36 1a 7c 88 c5             xor dx, dx; div word [7c1a]; mov ch, al
    88 d6 88 da                         mov dh, dl; mov dl, bl
    b8 01 02 bb 00 80 cd 13             mov ax, 0201; mov bx, 8000; int 13
    be 00 80 b9 0b 00                   mov si, 8000; mov cx, 11
    {_PRINT_AND_RESET}
"""


def machine_code(listing: str) -> bytes:
    """The bytes of a listing: what stands before the wide gap of each line."""
    return b"".join(bytes.fromhex(line.strip().partition("  ")[0]) for line in listing.splitlines())


def boot_sector(path: Path) -> Path:
    """The boot code, as a boot sector in a file."""
    sector = b"\xeb\x3c\x90".ljust(62, b"\0") + machine_code(BOOT_CODE)
    path.write_bytes(sector.ljust(510, b"\0") + b"\x55\xaa")
    return path


def start(drive: str, *arguments: str) -> str:
    """What a machine prints that starts from a served directory."""
    need_tool("qemu-system-i386")
    qemu = (
        "timeout 60 qemu-system-i386 -accel tcg -m 16 -nodefaults -no-reboot -display none "
        f'-debugcon stdio -drive file="$uri",format=raw,snapshot=on,if={drive}'
    )
    done = run(
        *VFLOPPY, "serve", "-q", "-U", "-", *arguments, "--run", qemu, env=ENVIRONMENT, timeout=90
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("latin-1")


@pytest.mark.parametrize(
    "options",
    [
        ("--for", "dos"),
        ("--for", "dos", "--size", "+600M"),
        ("--for", "dos", "--size", "+1100M"),
        ("--for", "vvfat"),
        ("--fat", "12"),
        ("--fat", "32", "--size", "504M"),
    ],
    ids=" ".join,
)
def test_the_partition_begins_where_the_table_says_by_cylinder(options, tmp_path):
    code = tmp_path / "code"
    code.write_bytes(machine_code(MBR_CODE))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x")
    printed = start("ide", "--mbr-code", str(code), *options, str(tmp_path / "tree"))
    assert printed.endswith("MSWIN4.1")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--floppy", "1.44M", "{}"),
        ("--floppy", "720k", "{}"),
        ("--partition", "none", "--fat", "12", "--size", "1474560", "{}"),
        ("fat:floppy:{}",),
        ("fat:floppy:12:{}",),
        ("fat:floppy:16:{}",),
    ],
    ids=" ".join,
)
def test_the_root_directory_is_where_the_boot_sector_says_by_track(arguments, tmp_path):
    code, root = boot_sector(tmp_path / "code"), tmp_path / "tree"
    root.mkdir()
    (root / "file").write_bytes(b"x")
    words = [word.replace("{}", str(root)) for word in arguments]
    printed = start("floppy", "--boot-sector", str(code), "--label", "FROM TRACKS", *words)
    assert printed.endswith("FROM TRACKS")


@pytest.mark.parametrize("model", ["1.2M", "1.44M", "2.88M"])
@pytest.mark.parametrize("more", [(), ("--boot-uefi-dir",)], ids=["bios", "bios and uefi"])
def test_a_diskette_that_is_emulated_from_a_cd(model, more, tmp_path):
    code, root = boot_sector(tmp_path / "code"), tmp_path / "tree"
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers" / "file").write_bytes(b"x")
    root.mkdir()
    floppy = ("--floppy", model, "--boot-sector", code, "--label", "FROM A CD")
    done = vfloppy("build", "-q", *floppy, tmp_path / "drivers", root / "floppy.img")
    assert done.returncode == 0, done.stderr
    words = ["--format", "iso", "--boot-bios", "floppy.img", "--boot-floppy"]
    words += [str(word) for each in more for word in (each, tmp_path / "drivers")]
    assert start("ide,media=cdrom", *words, str(root)).endswith("FROM A CD  ")
