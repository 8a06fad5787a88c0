"""Stand-ins for mkisofs and its like: the same arguments to them and to us, the same trees read.

Programs that call mkisofs are run as they are, with our links at the front of PATH.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from firmware import CD, DISK, NOTE, efi_program, machine, ovmf
from iso_readers import bsdtar_tree, isoinfo_names, pycdlib_trees
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, need_tool, output, run

ISOLINUX = Path("/usr/lib/ISOLINUX")
LIMINE_SIZE = 1 << 15


@pytest.fixture(scope="module")
def links(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("links")
    output(*VFLOPPY, "install-links", str(folder))
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with what the rows below name."""
    work = tmp_path_factory.mktemp("work")
    for name in ("user-data", "meta-data", "network-config"):
        (work / name).write_text(f"{name}: 1\n")
    tree = work / "tree"
    for folder in ("isolinux", "boot/limine", "EFI/BOOT", "docs", "empty"):
        (tree / folder).mkdir(parents=True)
    (tree / "isolinux/isolinux.bin").write_bytes(bytes(range(256)) * 99)
    (tree / "boot/limine/limine-bios-cd.bin").write_bytes(bytes(range(255)) * 99)
    (tree / "boot/limine/limine-uefi-cd.bin").write_bytes(b"\1" * LIMINE_SIZE)
    (tree / "EFI/esp.img").write_bytes(b"\2" * LIMINE_SIZE)
    (tree / "floppy.img").write_bytes(b"\3" * 1_474_560)
    (tree / "docs/A long name, with Capitals.and.dots.txt").write_text("text")
    (tree / "docs/main.o").write_text("object")
    (tree / "docs/.hidden").write_text("hidden")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o750)
    (tree / "private").write_text("private")
    (tree / "private").chmod(0o600)
    (tree / "link").symlink_to("docs/main.o")
    (work / "other").mkdir()
    (work / "other/one=1").write_text("one")
    (work / "paths").write_text("user-data\nmeta-data\n")
    (work / "grafts").write_text("a/b=user-data\nc=other\n")
    (work / "excluded").write_text("main.o\n")
    (work / "weights").write_text("tree/run 10\n")
    (work / "esp").write_bytes(b"\4" * LIMINE_SIZE)
    (work / "code").write_bytes(b"\x33\xed" * 200)
    for path in [work, *work.rglob("*")]:
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    return work


# Who passes what, in the end: the tool, and its arguments.
ROWS = {
    "cloud-localds": ("genisoimage", "-volid cidata -joliet -rock user-data meta-data"),
    "cloud seeds": ("genisoimage", "-V cidata -r -J user-data meta-data"),
    "rational": ("genisoimage", "-rational-rock -joliet tree"),
    "quiet": ("genisoimage", "-quiet -V cidata -J -R tree"),
    "packer": ("xorriso", "-as genisoimage -rock -joliet -volid cidata tree"),
    "packer, mkisofs": ("mkisofs", "-joliet -rock -volid cidata tree"),
    "virt-install": ("mkisofs", "-J -input-charset utf8 -rational-rock tree"),
    "graft points": ("genisoimage", "-r -graft-points a/b=user-data /c/=meta-data d=tree e/=other"),
    "escaped": ("genisoimage", r"-r -J -graft-points x\=y=other/one\=1 tree"),
    "escaped, xorriso": ("xorrisofs", r"-r -J -graft-points x\=y=other/one\=1 tree"),
    "nova": (
        "genisoimage",
        "-ldots -allow-lowercase -allow-multidot -l -publisher nova -quiet -J -r -V config-2 tree",
    ),
    "isolinux": (
        "genisoimage",
        "-b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 "
        "-boot-info-table -D -R -N -d -l -cache-inodes -T -v -max-iso9660-filenames "
        "-relaxed-filenames -allow-leading-dots -iso-level 3 tree",
    ),
    "bios and uefi": (
        "xorriso",
        "-as mkisofs -R -J -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot "
        "-boot-load-size 4 -boot-info-table -eltorito-alt-boot -e EFI/esp.img -no-emul-boot "
        "-isohybrid-mbr code -isohybrid-gpt-basdat tree",
    ),
    "platform": (
        "xorrisofs",
        "-R -b isolinux/isolinux.bin -no-emul-boot -eltorito-alt-boot -eltorito-platform efi "
        "-b EFI/esp.img -no-emul-boot tree",
    ),
    "limine": (
        "xorriso",
        "-as mkisofs -R -r -J -b boot/limine/limine-bios-cd.bin -no-emul-boot -boot-load-size 4 "
        "-boot-info-table -hfsplus -apm-block-size 2048 --efi-boot "
        "boot/limine/limine-uefi-cd.bin -efi-boot-part --efi-boot-image --protective-msdos-label "
        "tree",
    ),
    "diskette": ("genisoimage", "-V P5OS -R -b floppy.img tree"),
    "owners": (
        "genisoimage",
        "-R -uid 5000 -gid 100 -file-mode 400 -dir-mode 511 -new-dir-mode 700 -graft-points "
        "made/x=user-data tree",
    ),
    "follow": ("genisoimage", "-f -R -full-iso9660-filenames -hide-rr-moved tree"),
    "follow, before -as": ("xorriso", "-no_rc -follow link -as mkisofs tree"),
    "appended": (
        "xorriso",
        "-as mkisofs -r -J -b isolinux/isolinux.bin -no-emul-boot -boot-load-size 4 "
        "-boot-info-table --grub2-boot-info -append_partition 2 "
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B esp -appended_part_as_gpt -eltorito-alt-boot "
        "-e --interval:appended_partition_2:all:: -no-emul-boot tree",
    ),
    "appended, by the MBR": (
        "xorrisofs",
        "-r -b isolinux/isolinux.bin -no-emul-boot -isohybrid-mbr code -eltorito-alt-boot "
        "-e EFI/esp.img -no-emul-boot -append_partition 2 0xef esp tree",
    ),
    "hidden": (
        "genisoimage",
        "-r -J -hide main.o -hide tree/run -hide-joliet tree/private -hide-joliet *.img tree",
    ),
    "hidden catalogue": (
        "xorrisofs",
        "-r -J -b isolinux/isolinux.bin -no-emul-boot --boot-catalog-hide -hide private tree",
    ),
    "texts": ("genisoimage", "-R -sysid SYS -appid APP -preparer P -publisher Q -volset S tree"),
    "letters": ("genisoimage", "-R -A APP -p P -P Q tree"),
    "exclude": ("genisoimage", "-r -J -m *.o -x tree/EFI tree"),
    "exclude-list": ("genisoimage", "-r -J -exclude-list excluded tree"),
    "exclude, xorriso": ("xorrisofs", "-r -J -m *.o -x tree/EFI tree"),
    "path-list": ("genisoimage", "-r -J -path-list paths other"),
    "path-list of graft points": ("genisoimage", "-r -J -graft-points -path-list grafts"),
    "sort": ("genisoimage", "-r -J -sort weights tree"),
    "root": ("genisoimage", "-r -J -root deep/er tree"),
    "no padding": ("genisoimage", "-r -J -no-pad tree"),
    "limited size": ("genisoimage", "-r -J -allow-limited-size -iso-level 3 tree"),
    "level 1": ("genisoimage", "user-data meta-data"),
    "sorted alone": ("xorrisofs", "-R -partition_cyl_align on -checksum_algorithm_iso sha256 tree"),
    "long Joliet": ("genisoimage", "-joliet-long -r tree"),
    "dashes": ("genisoimage", "--volid x --joliet --rock tree"),
    "date": ("xorrisofs", "-r --modification-date=2026112717073700 tree"),
}  # fmt: skip
BOOT_FILES = {"isolinux.bin", "limine-bios-cd.bin", "boot.cat", "boot.catalog"}
TABLES = b"TRANS.TBL"
"""What -T makes, and we don't: names in the way of readers that show no others."""
FIELDS = ("System id", "Volume id", "Volume set id", "Publisher id", "Data preparer id")


def made_by(path: str, tool: str, arguments: str, work: Path, image: Path) -> None:
    """The image that a tool, or its stand-in, makes."""
    words = arguments.split()
    at = 2 + words.index("-as") if "-as" in words else 0
    command = [shutil.which(tool, path=path) or tool, *words[:at], "-o", str(image), *words[at:]]
    done = run(*command, cwd=work)
    assert done.returncode == 0, done.stderr.decode()


def seen(image: Path, archive: Path) -> dict[str, object]:
    """What readers make of an image, but for bytes and dates of what is told its place.

    genisoimage writes that into the host's own file.
    """
    tree = {
        path: each._replace(data=b"", mtime=0)
        if os.path.basename(path.decode()) in BOOT_FILES
        else each
        for path, each in bsdtar_tree(image, archive).items()
        if not path.endswith(TABLES)
    }
    found: dict[str, object] = {
        path.decode(): each._replace(mtime=0) if each.kind == "l" else each
        for path, each in tree.items()
    }
    # genisoimage has links in Joliet, too, as files with nothing in them.
    links = {path for path, each in tree.items() if each.kind == "l"}
    for name, names in pycdlib_trees(image).items():
        paths = {path.replace(b"\0", b"") for path in names}  # all are ASCII
        paths = {path for path in paths if not path.endswith(TABLES)}
        found[f"names in {name}"] = sorted(paths - links if name == "joliet" else paths)
    if any(name.startswith("names in rr") for name in found):
        del found["names in iso"]  # which differ by level, and which nobody reads then
    return found


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_same_arguments_make_the_same_tree(row, links, work, tmp_path):
    tool, arguments = row
    need_tool(tool, "bsdtar", "isoinfo")
    theirs, ours = tmp_path / "theirs.iso", tmp_path / "ours.iso"
    made_by(ENVIRONMENT["PATH"], tool, arguments, work, theirs)
    made_by(str(links), tool, arguments, work, ours)
    expected, found = (seen(each, tmp_path / "x.tar") for each in (theirs, ours))
    for name in ("boot.cat", "boot.catalog"):
        for path, each in [*expected.items(), *found.items()]:
            if os.path.basename(path) == name:
                assert each.kind == "-"
    assert difference(without_dates(found), without_dates(expected)) == {}
    one, two = (fields(each) for each in (theirs, ours))
    assert {name: two[name] for name in FIELDS if one[name]} == {
        name: one[name] for name in FIELDS if one[name]
    }
    assert boot_entries(ours) == boot_entries(theirs)


def difference(found: dict[str, object], expected: dict[str, object]) -> dict[str, object]:
    """What differs, and how."""
    return {
        name: (found.get(name), expected.get(name))
        for name in {**found, **expected}
        if found.get(name) != expected.get(name)
    }


def without_dates(tree: dict[str, object]) -> dict[str, object]:
    """Without the dates of what no directory has: the catalogue, directories that were made."""
    return {
        path: each._replace(mtime=0)
        if hasattr(each, "mtime") and (each.mtime != 1_700_000_000)
        else each
        for path, each in tree.items()
    }


def fields(image: Path) -> dict[str, str]:
    lines = output("isoinfo", "-d", "-i", str(image)).splitlines()
    found = dict(line.split(": ", 1) for line in lines if ": " in line)
    if found.get("Data preparer id", "").startswith("XORRISO-"):
        found["Data preparer id"] = ""
    return {name: found.get(name, "").strip() for name in FIELDS}


def boot_entries(image: Path) -> list[tuple[int, int, int]]:
    """Platform, kind of medium and sectors of each entry of the boot catalogue."""
    data = image.read_bytes()
    if data[17 * 2048 + 7 : 17 * 2048 + 30] != b"EL TORITO SPECIFICATION":
        return []
    catalogue = data[int.from_bytes(data[17 * 2048 + 71 :][:4], "little") * 2048 :][:2048]
    platform, found = catalogue[1], []
    for start in range(32, 2048, 32):
        entry = catalogue[start : start + 32]
        if entry[0] in {0x90, 0x91}:
            platform = entry[1]
        elif entry[0] == 0x88:
            found.append((platform, entry[1], int.from_bytes(entry[6:8], "little")))
    return found


# --- Programs that call it, as they are ---


def environment(links: Path) -> dict[str, str]:
    return ENVIRONMENT | {"PATH": f"{links}:{ENVIRONMENT['PATH']}"}


def test_cloud_localds_makes_the_seed_that_cloud_init_looks_for(links, work, tmp_path):
    need_tool("cloud-localds", "bsdtar", "qemu-img")
    arguments = ["--network-config", str(work / "network-config"), "--hostname", "h"]
    for name, path in (("theirs", ENVIRONMENT), ("ours", environment(links))):
        image = str(tmp_path / f"{name}.iso")
        output("cloud-localds", *arguments, image, str(work / "user-data"), env=path)
    ours = bsdtar_tree(tmp_path / "ours.iso", tmp_path / "x.tar")
    theirs = bsdtar_tree(tmp_path / "theirs.iso", tmp_path / "x.tar")
    assert {path: each.data for path, each in ours.items()} == {
        path: each.data for path, each in theirs.items()
    }
    assert fields(tmp_path / "ours.iso")["Volume id"] == "cidata"


def test_cloud_localds_hears_of_a_failure(links, work, tmp_path):
    """Its own links are in the way of ours: what is missing is told by it."""
    need_tool("cloud-localds")
    failing = tmp_path / "bin"
    failing.mkdir()
    (failing / "genisoimage").write_text(f'#!/bin/sh\nexec {links}/genisoimage --bogus "$@"\n')
    (failing / "genisoimage").chmod(0o755)
    image = tmp_path / "seed.iso"
    done = run("cloud-localds", str(image), str(work / "user-data"), env=environment(failing))
    assert done.returncode != 0
    assert b"--bogus: no such option" in done.stderr
    assert not image.exists()


def test_implantisomd5_finds_room_and_checkisomd5_agrees(links, work, tmp_path):
    need_tool("implantisomd5", "checkisomd5")
    image = tmp_path / "a.iso"
    made_by(str(links), "genisoimage", "-r -J tree", work, image)
    output("implantisomd5", str(image))
    assert run("checkisomd5", str(image)).returncode == 0
    with image.open("r+b") as file:
        file.seek(-170 * 2048, os.SEEK_END)  # before the padding
        file.write(b"x")
    assert run("checkisomd5", str(image)).returncode != 0


def test_isohybrid_finds_isolinux(links, work, tmp_path):
    need_tool("isohybrid", "sfdisk")
    if not (ISOLINUX / "isolinux.bin").exists():
        need_tool("isolinux.bin")
    root = tmp_path / "root"
    (root / "isolinux").mkdir(parents=True)
    shutil.copy(ISOLINUX / "isolinux.bin", root / "isolinux")
    image = tmp_path / "a.iso"
    arguments = (
        "-R -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 "
        "-boot-info-table root"
    )
    made_by(str(links), "genisoimage", arguments, tmp_path, image)
    output("isohybrid", str(image))
    assert "type=17, bootable" in output("sfdisk", "-d", str(image))
    listed = output("xorriso", "-indev", str(image), "-report_el_torito", "plain")
    assert "El Torito boot img :   1  BIOS  y   none" in listed


def test_genimage_makes_an_iso(links, work, tmp_path):
    need_tool("genimage")
    (tmp_path / "c.cfg").write_text(
        'image a.iso { iso { volume-id = "VOLUME" bootargs = "-r -J" } }\n'
    )
    output(
        "genimage", "--config", str(tmp_path / "c.cfg"), "--rootpath", str(work / "tree"),
        "--tmppath", str(tmp_path / "tmp"), "--inputpath", str(work),
        "--outputpath", str(tmp_path / "out"),
        cwd=tmp_path, env=environment(links),
    )  # fmt: skip
    image = tmp_path / "out" / "a.iso"
    assert fields(image)["Volume id"] == "VOLUME"
    assert b"docs/main.o" in isoinfo_names(image, "-R")


def test_virt_install_injects_a_seed(links, tmp_path):
    """As far as it goes without a hypervisor: the function that it makes its seed by."""
    program = (
        "import sys; sys.path.insert(0, '/usr/share/virt-manager');"
        "from virtinst.install import installerinject as i;"
        "i._run_iso_commands(sys.argv[1], sys.argv[2], cloudinit=True)"
    )
    if not Path("/usr/share/virt-manager/virtinst").exists():
        need_tool("virt-install")
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "user-data").write_text("#cloud-config\n")
    image = tmp_path / "seed.iso"
    output(
        "/usr/bin/python3", "-c", program, str(image), str(tmp_path / "seed"),
        env=environment(links),
    )  # fmt: skip
    assert fields(image)["Volume id"] == "cidata"
    assert isoinfo_names(image, "-J") == {b"user-data"}


def test_xorriso_finds_again_what_boots_and_writes_it_once_more(links, work, tmp_path):
    need_tool("xorriso")
    image, again = tmp_path / "a.iso", tmp_path / "b.iso"
    made_by(str(links), *ROWS["limine"], work, image)
    output(
        "xorriso", "-indev", str(image), "-outdev", str(again), "-boot_image", "any", "replay",
        "-map", str(work / "user-data"), "/new", "-commit",
    )  # fmt: skip
    assert boot_entries(again) == boot_entries(image)
    assert b"boot.catalog" in isoinfo_names(again, "-R")


# --- GRUB's own discs, made by grub-mkrescue with our xorriso ---

GRUB_CFG = "serial\nterminal_output serial\necho grub runs on $grub_platform\nreboot\n"


@pytest.fixture(scope="module")
def rescue(links, tmp_path_factory) -> Path:
    """A disc for whatever of BIOS and UEFI the installed GRUB is for."""
    need_tool("grub-mkrescue", "mformat")
    folder = tmp_path_factory.mktemp("rescue")
    (folder / "root/boot/grub").mkdir(parents=True)
    (folder / "root/boot/grub/grub.cfg").write_text(GRUB_CFG)
    image = folder / "rescue.iso"
    output(
        "grub-mkrescue", f"--xorriso={links}/xorriso", "-o", str(image), str(folder / "root"),
        cwd=folder,
    )  # fmt: skip
    return image


@pytest.mark.parametrize(
    ("firmware", "device", "platform"),
    [("seabios", CD, "pc"), ("seabios", DISK, "pc"), ("ovmf", CD, "efi"), ("ovmf", DISK, "efi")],
    ids=["bios-cd", "bios-disk", "uefi-cd", "uefi-disk"],
)
def test_discs_of_grub_mkrescue_start(rescue, firmware, device, platform, tmp_path):
    need_tool("qemu-system-x86_64")
    if platform == "efi" and not Path("/usr/lib/grub/x86_64-efi").exists():
        missing_dependency("not installed: grub-efi-amd64-bin")
    options = ovmf(tmp_path) if firmware == "ovmf" else ""
    command = machine(options, device, str(rescue))
    done = run("sh", "-c", f"timeout 240 {command}")
    assert f"grub runs on {platform}" in done.stdout.decode(errors="replace")


# --- A partition behind the image, as the discs of distributions have it ---


@pytest.fixture(scope="module")
def distribution(links, tmp_path_factory) -> Path:
    """A disc whose image for UEFI is an appended partition, and in no directory."""
    folder = tmp_path_factory.mktemp("distribution")
    program = folder / "esp/EFI/BOOT/BOOTX64.EFI"
    program.parent.mkdir(parents=True)
    program.write_bytes(efi_program("the appended program runs"))
    (folder / "tree").mkdir()
    (folder / "tree/for bios").write_bytes(bytes(4096))
    options = ["--partition", "none", "--fat", "12", "--size", "1440K"]
    output(*VFLOPPY, "build", "-q", *options, str(folder / "esp"), str(folder / "esp.img"))
    image = folder / "disc.iso"
    output(
        str(links / "xorriso"), "-as", "mkisofs", "-r", "-J", "-V", "DISC", "-o", str(image),
        "-b", "for bios", "-no-emul-boot", "-boot-load-size", "4", "-append_partition", "2",
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "esp.img", "-appended_part_as_gpt",
        "-partition_offset", "16", "-iso_mbr_part_type", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
        "--mbr-force-bootable", "-partition_cyl_align", "off", "-eltorito-alt-boot",
        "-e", "--interval:appended_partition_2:all::", "-no-emul-boot",
        "tree", cwd=folder,
    )  # fmt: skip
    return image


@pytest.mark.parametrize("device", [CD, DISK], ids=["cd", "disk"])
def test_ovmf_starts_an_appended_partition(distribution, device, tmp_path):
    need_tool("qemu-system-x86_64")
    command = machine(ovmf(tmp_path), device, str(distribution))
    done = run("sh", "-c", f"timeout 240 {command}")
    assert "the appended program runs" in done.stdout.decode(errors="replace")


def test_xorriso_finds_an_appended_partition_again(distribution, tmp_path):
    need_tool("xorriso")
    listed = output("xorriso", "-indev", str(distribution), "-report_el_torito", "as_mkisofs")
    assert "-partition_offset 16" in listed
    assert "-append_partition 2 28732ac11ff8d211ba4b00a0c93ec93b" in listed.replace("0x", "")
    assert "-e '--interval:appended_partition_2" in listed
    (tmp_path / "new").write_text("new")
    again = tmp_path / "again.iso"
    output(
        "xorriso", "-indev", str(distribution), "-outdev", str(again), "-boot_image", "any",
        "replay", "-map", str(tmp_path / "new"), "/new", "-commit",
    )  # fmt: skip
    assert boot_entries(again) == boot_entries(distribution)
    assert isoinfo_names(again, "-R") == {b"boot.catalog", b"for bios", b"new"}


def test_the_volume_s_partition_is_mounted_by_readers(distribution, tmp_path):
    need_tool("bsdtar")
    partition = tmp_path / "partition"
    with distribution.open("rb") as disc, partition.open("wb") as out:
        disc.seek(16 * 2048)
        shutil.copyfileobj(disc, out)
    whole = bsdtar_tree(distribution, tmp_path / "x.tar")
    assert bsdtar_tree(partition, tmp_path / "x.tar") == whole
    assert isoinfo_names(partition, "-J") == isoinfo_names(distribution, "-J")


def test_seabios_starts_isolinux_from_a_disk_whose_partition_is_the_volume(
    links, isolinux, tmp_path
):
    need_tool("qemu-system-x86_64")
    image = tmp_path / "a.iso"
    arguments = (
        f"-R -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 "
        f"-boot-info-table -isohybrid-mbr {ISOLINUX}/isohdpfx.bin -partition_offset 16 {isolinux}"
    )
    made_by(str(links), "xorrisofs", arguments, tmp_path, image)
    done = run("sh", "-c", f"timeout 240 {machine('', DISK, str(image))}")
    printed = done.stdout.decode(errors="replace")
    assert "ISOLINUX" in printed
    assert NOTE.strip() in printed
