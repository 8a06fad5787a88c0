"""UEFI firmware boots a served directory: OVMF finds and runs what lies in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from firmware import SCRIPT, efi_program, ovmf
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, need_tool, run


def boot(root: Path, folder: Path, *options: str, memory: int = 256) -> str:
    """What a machine that has a served directory for a disk prints until it turns itself off."""
    need_tool("qemu-system-x86_64")
    qemu = (
        f"qemu-system-x86_64 -accel tcg -machine q35 -m {memory} -nodefaults -no-reboot "
        "-display none -serial stdio -monitor none "
        f"{ovmf(folder)} "
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
