"""Firmware starts a served directory as a CD and, as a hybrid, as a disk: SeaBIOS and OVMF."""

from __future__ import annotations

from pathlib import Path

import pytest
from firmware import CD, DISK, GRUB, ISOLINUX, NOTE, efi_program, machine, ovmf
from tools import ENVIRONMENT, VFLOPPY, need_tool, output, run


def start(root: Path, firmware: str, device: tuple[str, str], *options: str) -> str:
    """What a machine that starts from a served directory prints until it resets."""
    need_tool("qemu-system-x86_64")
    qemu = f"timeout 240 {machine(firmware, device, '$uri')}"
    serve = [*VFLOPPY, "serve", "-q", "-U", "-", "--format", "iso", *options, str(root)]
    done = run(*serve, "--run", qemu, env=ENVIRONMENT, timeout=300)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout + done.stderr
    return done.stdout.decode(errors="replace")


def test_seabios_starts_isolinux_from_a_cd(isolinux):
    printed = start(isolinux, "", CD, "--boot-bios", "isolinux/isolinux.bin")
    assert "ISOLINUX" in printed
    assert NOTE.strip() in printed


def test_seabios_starts_grub_from_a_cd(grub):
    printed = start(grub, "", CD, "--boot-bios", "boot/grub.img")
    assert "grub runs" in printed
    assert NOTE.strip() in printed


def test_ovmf_runs_a_script_of_a_directory_inside_a_cd(esp, tmp_path):
    (tmp_path / "tree").mkdir()
    printed = start(tmp_path / "tree", ovmf(tmp_path), CD, "--boot-uefi-dir", str(esp))
    assert "the script runs" in printed
    assert NOTE.strip() in printed


def test_ovmf_starts_the_boot_program_of_an_image_in_the_tree(tmp_path):
    """The image is itself one of ours, as a file; there is something for a BIOS, too."""
    program = tmp_path / "esp" / "EFI" / "BOOT" / "BOOTX64.EFI"
    program.parent.mkdir(parents=True)
    program.write_bytes(efi_program("the boot program runs"))
    root = tmp_path / "tree"
    root.mkdir()
    (root / "for bios").write_bytes(bytes(4096))
    build = [*VFLOPPY, "build", "-q", "--partition", "none", "--fat", "12", "--size", "1440K"]
    output(*build, str(tmp_path / "esp"), str(root / "efi.img"))
    options = ("--boot-uefi", "efi.img", "--boot-bios", "for bios")
    assert "the boot program runs" in start(root, ovmf(tmp_path), CD, *options)


@pytest.mark.parametrize("for_uefi", [False, True], ids=["bios", "bios and uefi"])
def test_seabios_starts_isolinux_from_a_hybrid_disk(isolinux, esp, for_uefi):
    code = ISOLINUX / "isohdpfx.bin"
    options = ["--boot-bios", "isolinux/isolinux.bin", "--hybrid", "--mbr-code", str(code)]
    if for_uefi:
        options += ["--boot-uefi-dir", str(esp)]
    printed = start(isolinux, "", DISK, *options)
    assert "ISOLINUX" in printed
    assert NOTE.strip() in printed


def test_seabios_starts_grub_from_a_hybrid_disk(grub):
    code = GRUB / "boot_hybrid.img"
    options = ("--boot-bios", "boot/grub.img", "--hybrid", "--mbr-code", str(code))
    printed = start(grub, "", DISK, *options)
    assert "grub runs" in printed
    assert NOTE.strip() in printed


def test_ovmf_runs_a_script_of_a_hybrid_disk(isolinux, esp, tmp_path):
    options = [
        "--boot-bios", "isolinux/isolinux.bin", "--boot-uefi-dir", str(esp), "--hybrid",
        "--mbr-code", str(ISOLINUX / "isohdpfx.bin"),
    ]  # fmt: skip
    printed = start(isolinux, ovmf(tmp_path), DISK, *options)
    assert "the script runs" in printed
    assert NOTE.strip() in printed
