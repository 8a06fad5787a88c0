"""A BIOS reads a disk by cylinder, head and sector, and DOS's loader looks for files by place."""

from __future__ import annotations

from pathlib import Path

import pytest
from firmware import booted
from tools import ENVIRONMENT, VFLOPPY, need_file, need_tool, run, vfloppy

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

# As DOS's own: its two files are the first two entries of the root, and the first one's contents
# the first in the clusters (three sectors of it are loaded); a label in between is no file.
DOS_CODE = f"""
    {_START}
    a0 10 7c f7 26 16 7c                cld; ax = [7c10] * [7c16], the tables
    03 06 0e 7c 03 06 1c 7c 89 c5       bp = ax + [7c0e] + [7c1c], the root directory
    bb 00 05 e8 45 00                   mov bx, 0500; call read
    be 00 05 bf d2 7c b9 0b 00          mov si, 0500; mov di, "IO      SYS"; mov cx, 11
    f3 a6 75 28                         repe cmpsb; jne fail
    be 20 05 bf dd 7c b9 0b 00          mov si, 0520; mov di, "MSDOS   SYS"; mov cx, 11
    f3 a6 75 1b                         repe cmpsb; jne fail
    a1 11 7c b1 04 d3 e8 01 c5 4d       bp += ([7c11] >> 4) - 1, cluster 2
    bb 00 07                            mov bx, 0700
    e8 1b 00 e8 18 00 e8 15 00          call read; call read; call read
    ea 00 00 70 00                      jmp 0070:0000
    be e8 7c b9 0f 00 ba e9 00 f3 6e    fail: mov si, "Non-System"; mov cx, 15; mov dx, e9; outs
    b0 fe e6 64 f4                      mov al, fe; out 64, al; hlt
    52 31 d2 89 e8                      read: push dx; xor dx, dx; mov ax, bp
    f7 36 18 7c 88 d1 41                div word [7c18]; mov cl, dl; inc cx
    31 d2 f7 36 1a 7c 88 c5             xor dx, dx; div word [7c1a]; mov ch, al
    c0 e4 06 08 e1 88 d6                shl ah, 6; or cl, ah; mov dh, dl
    8a 16 24 7c b8 01 02 cd 13          mov dl, [7c24]; mov ax, 0201; int 13
    5a 72 c9 45 81 c3 00 02 c3          pop dx; jc fail; inc bp; add bx, 0200; ret
    49 4f 20 20 20 20 20 20 53 59 53    "IO      SYS"
    4d 53 44 4f 53 20 20 20 53 59 53    "MSDOS   SYS"
    4e 6f 6e 2d 53 79 73 74 65 6d 20 64 69 73 6b    "Non-System disk"
"""
# In its third sector it prints what stands behind it.
IO_SYS = """
    be 17 0b b9 0b 00 ba e9 00 f3 6e    mov si, 0b17; mov cx, 11; mov dx, e9; rep outsb
    b0 fe e6 64 f4 eb fd 90 90 90 90 90     mov al, fe; out 64, al; halt: hlt; jmp halt
    44 4f 53 20 69 73 20 68 65 72 65    "DOS is here"
"""


def machine_code(listing: str) -> bytes:
    """The bytes of a listing: what stands before the wide gap of each line."""
    return b"".join(bytes.fromhex(line.strip().partition("  ")[0]) for line in listing.splitlines())


def boot_sector(path: Path, listing: str = BOOT_CODE) -> Path:
    """Boot code, as a boot sector in a file."""
    sector = b"\xeb\x3c\x90".ljust(62, b"\0") + machine_code(listing)
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


@pytest.fixture
def dos(tmp_path) -> Path:
    """A directory with what DOS's loader looks for, and much that comes before it by name."""
    root = tmp_path / "dos"
    for folder in ("AUTO", "AUTO/DEEP", "DOS", "DOS DISK"):
        (root / folder).mkdir(parents=True)
        (root / folder / "FIRST.TXT").write_bytes(b"x" * 9000)
    code = b"\xe9\xfd\x03".ljust(0x400, b"\xf4") + machine_code(IO_SYS)
    (root / "IO.SYS").write_bytes(code.ljust(40_000, b"\0"))
    (root / "MSDOS.SYS").write_bytes(b"m" * 30_000)
    (root / "COMMAND.COM").write_bytes(b"c" * 20_000)
    (root / "AUTOEXEC.BAT").write_bytes(b"a" * 5_000)
    (root / "A long name that has an entry before.txt").write_bytes(b"x")
    return root


MBR = "/usr/lib/syslinux/mbr/mbr.bin"  # starts what the active partition has


@pytest.mark.parametrize(
    ("drive", "options"),
    [
        ("ide", ("--for", "dos-boot")),
        ("ide", ("--for", "dos-boot", "--size", "33M")),
        ("ide", ("--for", "dos-boot", "--size", "700M")),
        ("ide", ("--for", "dos-boot", "--size", "2G")),
        ("ide", ("--for", "dos-boot", "--label", "")),
        ("ide", ("--for", "dos-boot", "--order", "io.sys", "--order", "msdos.sys")),
        ("floppy", ("--for", "dos-boot", "--floppy", "1.44M")),
        ("floppy", ("--floppy", "720k", "--order", "/IO.SYS", "--order", "/MSDOS.SYS")),
    ],
    ids=str,
)
def test_dos_finds_its_files_first(drive, options, dos, tmp_path):
    code = boot_sector(tmp_path / "code", DOS_CODE)
    words = ["--boot-sector", str(code), *options, str(dos)]
    if drive == "ide":
        need_file(MBR)
        words = ["--mbr-code", MBR, *words]
    assert start(drive, *words).endswith("DOS is here")


@pytest.mark.parametrize("options", [(), ("--order", "/IO.SYS"), ("--order", "*.SYS")], ids=str)
def test_this_loader_starts_no_other_order(options, dos, tmp_path):
    """Nor would DOS's: so the test before can fail."""
    (dos / "KEYBOARD.SYS").touch()
    code = boot_sector(tmp_path / "code", DOS_CODE)
    words = ["--boot-sector", str(code), "--floppy", "1.44M", *options, str(dos)]
    assert start("floppy", *words).endswith("Non-System disk")


@pytest.mark.parametrize("is_active", [True, False])
def test_an_active_partition_is_found_by_boot_code_that_comes_later(is_active, dos, tmp_path):
    need_file(MBR)
    image = tmp_path / "disk.img"
    words = ["--active"] if is_active else []
    done = vfloppy("build", "-q", "--for", "dos", *words, dos, image)
    assert done.returncode == 0, done.stderr
    with open(image, "r+b") as file:
        file.write(Path(MBR).read_bytes()[:440])
    missing, started = "Missing operating system", "No bootable device"
    printed = booted(f"file={image},format=raw,if=ide", missing, started)
    assert (started if is_active else missing) in printed
