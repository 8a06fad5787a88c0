"""Firmware starts a served directory as a CD and, as a hybrid, as a disk: SeaBIOS and OVMF."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from firmware import SCRIPT, efi_program, ovmf
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, need_tool, output, run

ISOLINUX = Path("/usr/lib/ISOLINUX")
SYSLINUX_MODULES = Path("/usr/lib/syslinux/modules/bios")
GRUB = Path("/usr/lib/grub/i386-pc")
NOTE = "the note on the image says 42\r\n"
CD = "media=cdrom,if=none,id=boot,readonly=on", "ide-cd,drive=boot"
DISK = "if=none,id=boot,readonly=on", "virtio-blk-pci,drive=boot"


def start(root: Path, firmware: str, device: tuple[str, str], *options: str) -> str:
    """What a machine that starts from a served directory prints until it resets."""
    need_tool("qemu-system-x86_64")
    drive, model = device
    qemu = (
        "timeout 240 qemu-system-x86_64 -accel tcg -machine q35 -m 256 -nodefaults -vga std "
        f"-no-reboot -display none -serial stdio -monitor none {firmware} "
        f'-drive file="$uri",format=raw,{drive} -device {model},bootindex=0'
    )
    serve = [*VFLOPPY, "serve", "-q", "-U", "-", "--format", "iso", *options, str(root)]
    done = run(*serve, "--run", qemu, env=ENVIRONMENT, timeout=300)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout + done.stderr
    return done.stdout.decode(errors="replace")


@pytest.fixture
def isolinux(tmp_path) -> Path:
    """A tree that ISOLINUX starts from: it shows the note and resets."""
    if not (ISOLINUX / "isolinux.bin").exists() or not SYSLINUX_MODULES.exists():
        missing_dependency("not installed: isolinux, syslinux-common")
    folder = tmp_path / "tree" / "isolinux"
    folder.mkdir(parents=True)
    shutil.copy(ISOLINUX / "isolinux.bin", folder)
    for module in ("ldlinux.c32", "libcom32.c32", "libutil.c32", "cat.c32", "reboot.c32"):
        shutil.copy(SYSLINUX_MODULES / module, folder)
    (folder / "note.txt").write_text(NOTE)
    (folder / "isolinux.cfg").write_text(
        "serial 0 115200\ntimeout 1\ndefault show\nontimeout reset\n"
        "label show\n  com32 cat.c32\n  append note.txt\nlabel reset\n  com32 reboot.c32\n"
    )
    return tmp_path / "tree"


@pytest.fixture
def grub(tmp_path) -> Path:
    """A tree that GRUB starts from, likewise."""
    need_tool("grub-mkimage")
    if not (GRUB / "cdboot.img").exists():
        missing_dependency("not installed: grub-pc-bin")
    root = tmp_path / "tree"
    (root / "boot").mkdir(parents=True)
    (root / "A note.txt").write_text(NOTE)
    (tmp_path / "grub.cfg").write_text(
        "serial --unit=0 --speed=115200\nterminal_output serial\necho grub runs\n"
        'search --set=root --file "/A note.txt"\ncat "/A note.txt"\nreboot\n'
    )
    output(
        "grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/boot", "-c", str(tmp_path / "grub.cfg"),
        "-o", str(root / "boot" / "grub.img"), "biosdisk", "iso9660", "part_msdos", "part_gpt",
        "serial", "terminal", "echo", "cat", "reboot", "search", "search_fs_file",
    )  # fmt: skip
    return root


@pytest.fixture
def esp(tmp_path) -> Path:
    """A directory that becomes the image for UEFI."""
    folder = tmp_path / "esp"
    folder.mkdir()
    (folder / "startup.nsh").write_text(SCRIPT)
    (folder / "note.txt").write_text(NOTE)
    return folder


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
