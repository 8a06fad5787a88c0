"""What xorriso makes of an image when somebody adds a file: all that starts is found again."""

from __future__ import annotations

import re
import shlex

import pytest
from firmware import CD, DISK, GRUB, ISOLINUX, NOTE, machine, ovmf
from tools import VFLOPPY, missing_dependency, need_tool, output, run

LINUX_BIOS = ("--boot-bios", "isolinux/isolinux.bin")
GRUB_BIOS = ("--boot-bios", "boot/grub.img")
DISKETTE = ("--boot-bios", "diskette.img", "--boot-floppy")
FILE = ("--boot-uefi", "efi image.img")
MADE = ("--boot-uefi-dir", "ESP")
ELSEWHERE = (*MADE, "--boot-uefi", "boot/new/uefi.img")
LINUX_DISK = ("--hybrid", "--mbr-code", str(ISOLINUX / "isohdpfx.bin"))
GRUB_DISK = ("--hybrid", "--mbr-code", str(GRUB / "boot_hybrid.img"))
IMAGES = [
    *[(*bios, *uefi) for bios in ((), LINUX_BIOS, GRUB_BIOS, DISKETTE)
      for uefi in ((), FILE, MADE, ELSEWHERE) if bios or uefi],
    *[(*bios, *uefi, "--hybrid") for bios in ((), LINUX_BIOS, DISKETTE)
      for uefi in (FILE, MADE)],
    *[(*bios, *uefi) for bios in ((*LINUX_BIOS, *LINUX_DISK), (*GRUB_BIOS, *GRUB_DISK))
      for uefi in ((), FILE, MADE, ELSEWHERE)],
    (*LINUX_BIOS, *MADE, *LINUX_DISK, "--no-padding"),
    (*LINUX_BIOS, *MADE, "--no-rock-ridge", "--no-joliet", "--iso-level", "1"),
    (*LINUX_BIOS, *MADE, "--no-boot-info-table", "--boot-load-size", "8"),
    (*MADE, *GRUB_DISK),
    (*LINUX_BIOS, *MADE, "--boot-uefi-size", "40M"),
]  # fmt: skip


@pytest.fixture
def sources(isolinux, grub, esp):
    """A tree with something for every firmware, and a directory for UEFI."""
    if not (ISOLINUX / "isohdpfx.bin").exists():
        missing_dependency("not installed: isolinux")
    need_tool("xorriso", "qemu-system-x86_64")
    build = [*VFLOPPY, "build", "-q", "--partition", "none", "--fat", "12", "--size", "1440K"]
    output(*build, str(esp), str(isolinux / "efi image.img"))
    (isolinux / "diskette.img").write_bytes(bytes(1440 << 10))
    return isolinux, esp


def built(sources, options, image):
    tree, esp = sources
    given = [str(esp) if each == "ESP" else each for each in options]
    output(*VFLOPPY, "build", "-q", *given, str(tree), str(image))


def replayed(image, folder):
    """The image with one file more, as xorriso writes it."""
    note, out = folder / "added", folder / "replayed.iso"
    note.write_text("added")
    done = run(
        "xorriso", "-indev", str(image), "-outdev", str(out), "-boot_image", "any", "replay",
        "-map", str(note), "/added.txt", "-commit",
    )  # fmt: skip
    told = done.stderr.decode()
    assert done.returncode == 0, told
    # Of one of 32 MiB and more, El Torito can't tell the length; ours has the same 0.
    rest = re.sub(r"WARNING : Boot image load size exceeds 65535 .*", "", told)
    assert not re.search(r"SORRY|FAILURE|WARNING|[Oo]verlap", rest), told
    return out


def entries(image):
    """What an image starts, by El Torito: platform, emulation, load size and path of each."""
    told = output("xorriso", "-indev", str(image), "-report_el_torito", "plain")
    found = re.findall(
        r"^El Torito boot img : +(\d) +(\S+) +y +(\S+) +\S+ +\S+ +(\d+)", told, re.MULTILINE
    )
    paths = dict(re.findall(r"^El Torito img path : +(\d) +(.*)$", told, re.MULTILINE))
    return [(*each, paths.get(number)) for number, *each in found]


def expected(options):
    """The platforms that options ask for."""
    uefi = {"--boot-uefi", "--boot-uefi-dir"} & set(options)
    return ["BIOS"] * ("--boot-bios" in options) + ["UEFI"] * bool(uefi)


@pytest.mark.parametrize("options", IMAGES, ids=" ".join)
def test_xorriso_replays_every_way_to_start(sources, tmp_path, options):
    image = tmp_path / "image.iso"
    built(sources, options, image)
    found = entries(image)
    assert [each[0] for each in found] == expected(options)
    assert all(each[-1] for each in found), "each is a file of the tree"
    again = replayed(image, tmp_path)
    assert entries(again) == found
    assert again.stat().st_size < image.stat().st_size + (1 << 20), "nothing is there twice"
    # What it says of an image are options that make one of the tree as it was copied.
    told = output("xorriso", "-indev", str(image), "-report_el_torito", "as_mkisofs")
    copy, made = tmp_path / "copy", tmp_path / "made.iso"
    output("xorriso", "-osirrox", "on", "-indev", str(image), "-extract", "/", str(copy))
    output("chmod", "-R", "u+w", str(copy))
    done = run("xorriso", "-as", "mkisofs", *shlex.split(told), "-R", "-o", str(made), str(copy))
    assert done.returncode == 0, done.stderr.decode()
    assert entries(made) == found


@pytest.mark.parametrize(
    ("options", "device", "is_uefi"),
    [
        ((*GRUB_BIOS, *MADE), CD, False),
        ((*LINUX_BIOS, *MADE), CD, True),
        ((*LINUX_BIOS, *MADE, *LINUX_DISK), DISK, False),
        ((*LINUX_BIOS, *MADE, *LINUX_DISK), DISK, True),
        ((*GRUB_BIOS, *FILE, *GRUB_DISK), DISK, False),
        ((*ELSEWHERE, "--hybrid", "--boot-uefi-fat", "32"), DISK, True),
    ],
    ids=["cd, bios", "cd, uefi", "disk, bios", "disk, uefi", "disk, grub", "disk, uefi only"],
)
def test_what_was_replayed_starts(sources, tmp_path, options, device, is_uefi):
    image = tmp_path / "image.iso"
    built(sources, options, image)
    again = replayed(image, tmp_path)
    command = machine(ovmf(tmp_path) if is_uefi else "", device, str(again))
    printed = output("timeout", "240", *shlex.split(command), timeout=300)
    assert NOTE.strip() in printed
