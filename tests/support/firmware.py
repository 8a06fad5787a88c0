"""Firmware for machines, and what it can start."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

from tools import ENVIRONMENT, missing_dependency, need_tool

_MOVES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")  # of the cursor
_OVMF = Path("/usr/share/OVMF")
ISOLINUX = Path("/usr/lib/ISOLINUX")
SYSLINUX_MODULES = Path("/usr/lib/syslinux/modules/bios")
GRUB = Path("/usr/lib/grub/i386-pc")
NOTE = "the note on the image says 42\r\n"
CD = "media=cdrom,if=none,id=boot,readonly=on", "ide-cd,drive=boot"
DISK = "if=none,id=boot,readonly=on", "virtio-blk-pci,drive=boot"
SCRIPT = "@echo -off\r\necho the script runs\r\ntype FS0:\\note.txt\r\nreset -s\r\n"


def machine(firmware: str, device: tuple[str, str], file: str) -> str:
    """The command of a machine that starts from a file, and ends when it is reset."""
    drive, model = device
    return (
        "qemu-system-x86_64 -accel tcg -machine q35 -m 256 -nodefaults -vga std "
        f"-no-reboot -display none -serial stdio -monitor none {firmware} "
        f'-drive file="{file}",format=raw,{drive} -device {model},bootindex=0'
    )


def ovmf(folder: Path) -> str:
    """QEMU's options for OVMF, whose variables are kept in a folder."""
    if not (_OVMF / "OVMF_CODE_4M.fd").exists():
        missing_dependency("not installed: ovmf")
    shutil.copy(_OVMF / "OVMF_VARS_4M.fd", folder / "vars.fd")
    return (
        f"-drive if=pflash,format=raw,readonly=on,file={_OVMF}/OVMF_CODE_4M.fd "
        f"-drive if=pflash,format=raw,file={folder}/vars.fd"
    )


def efi_program(text: str) -> bytes:
    """An EFI application that prints a line and turns the machine off."""
    before = bytes.fromhex(
        "53"  # push rbx
        "4889d3"  # mov rbx, rdx: the system table
        "4883ec20"  # sub rsp, 32
        "488b4b40"  # mov rcx, [rbx + 64]: ConOut
        "488d15"  # lea rdx, [rip + the distance to the text]
    )
    after = bytes.fromhex(
        "ff5108"  # call [rcx + 8]: OutputString
        "b902000000"  # mov ecx, 2: EfiResetShutdown
        "31d24531c04531c9"  # xor edx, edx; xor r8d, r8d; xor r9d, r9d
        "488b4358"  # mov rax, [rbx + 88]: RuntimeServices
        "ff5068"  # call [rax + 104]: ResetSystem
    )
    line = f"{text}\r\n\0".encode("utf-16-le")
    code = before + struct.pack("<i", len(after)) + after + line
    dos_header = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    file_header = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
    optional_header = struct.pack("<HHIIIII", 0x20B, 0, 512, 0, 0, 4096, 4096)
    optional_header += struct.pack("<QII 6H I", 0, 4096, 512, 0, 0, 0, 0, 0, 0, 0)
    optional_header += struct.pack("<IIIHH 4Q II", 8192, 512, 0, 10, 0, 0, 0, 0, 0, 0, 16)
    section = struct.pack("<8s 4I 12x I", b".text", len(code), 4096, 512, 512, 0x60000020)
    headers = dos_header + file_header + optional_header.ljust(240, b"\0") + section
    return headers.ljust(512, b"\0") + code.ljust(512, b"\0")


def booted(drive: str, *expected: str) -> str:
    """What a machine prints on its screen, up to one of some texts; `drive` is QEMU's -drive."""
    need_tool("qemu-system-i386")
    command = [
        "timeout", "120", "qemu-system-i386", "-accel", "tcg", "-m", "64", "-nodefaults",
        "-machine", "graphics=off", "-display", "none", "-serial", "stdio", "-drive", drive,
    ]  # fmt: skip
    printed, raw = "", b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT, cwd="/") as machine:
        assert machine.stdout is not None
        while not any(each in printed for each in expected):
            more = machine.stdout.read1()
            if not more:
                break
            raw += more
            printed = _MOVES.sub(b"", raw).decode("latin-1")
        machine.terminate()
    return printed
