"""UEFI firmware boots a served directory: OVMF finds and runs what lies in it."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, need_tool, run

OVMF = Path("/usr/share/OVMF")
SCRIPT = "@echo -off\r\necho the script runs\r\ntype FS0:\\note.txt\r\nreset -s\r\n"


def boot(root: Path, folder: Path, *options: str, memory: int = 256) -> str:
    """What a machine that has a served directory for a disk prints until it turns itself off."""
    need_tool("qemu-system-x86_64")
    if not (OVMF / "OVMF_CODE_4M.fd").exists():
        missing_dependency("not installed: ovmf")
    shutil.copy(OVMF / "OVMF_VARS_4M.fd", folder / "vars.fd")
    qemu = (
        f"qemu-system-x86_64 -accel tcg -machine q35 -m {memory} -nodefaults -no-reboot "
        "-display none -serial stdio -monitor none "
        f"-drive if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd "
        f"-drive if=pflash,format=raw,file={folder}/vars.fd "
        '-drive file="$uri",format=raw,if=virtio,readonly=on'
    )
    serve = [*VFLOPPY, "serve", "-q", "-U", "-", *options, str(root)]
    done = run(*serve, "--run", f"timeout 240 {qemu}", env=ENVIRONMENT, timeout=300)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout + done.stderr
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize(
    "options",
    [(), ("--partition", "gpt", "--esp"), ("--partition", "none"), ("--for", "ovmf")],
    ids=["mbr", "gpt", "none", "preset"],
)
def test_ovmf_runs_a_script_of_a_tree_of_five_files(options, tmp_path):
    root = tmp_path / "tree"
    (root / "docs").mkdir(parents=True)
    (root / "startup.nsh").write_text(SCRIPT)
    (root / "note.txt").write_text("the note says 42\r\n")
    (root / "empty").touch()
    (root / "docs" / "a longer name.txt").write_text("x" * 512)
    (root / "docs" / "5.bin").write_bytes(bytes(512))
    printed = boot(root, tmp_path, *options)
    assert "the script runs" in printed
    assert "the note says 42" in printed


@pytest.mark.parametrize("options", [(), ("--for", "ovmf")], ids=["mbr", "preset"])
def test_ovmf_runs_the_boot_program_of_a_disk_without_being_told(options, tmp_path):
    boot_folder = tmp_path / "tree" / "EFI" / "BOOT"
    boot_folder.mkdir(parents=True)
    (boot_folder / "BOOTX64.EFI").write_bytes(efi_program("the boot program runs"))
    assert "the boot program runs" in boot(tmp_path / "tree", tmp_path, *options)


def test_ovmf_starts_a_linux_kernel_that_it_reads_from_the_disk(tmp_path):
    """Megabytes through the firmware's driver, unpacked and started; it ends without a root."""
    kernels = sorted(Path("/boot").glob("vmlinuz-*-amd64"))
    if not kernels:
        missing_dependency("not installed: a kernel in /boot, as libguestfs needs one")
    root = tmp_path / "tree"
    root.mkdir()
    shutil.copy(kernels[-1], root / "a kernel with a long name.efi")
    command = '"FS0:\\a kernel with a long name.efi" console=ttyS0 panic=-1'
    (root / "startup.nsh").write_text(f"@echo -off\r\n{command}\r\n")
    printed = boot(root, tmp_path, memory=512)
    assert f"Linux version {kernels[-1].name.removeprefix('vmlinuz-')}" in printed
    assert "Kernel panic - not syncing: VFS: Unable to mount root fs" in printed


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
