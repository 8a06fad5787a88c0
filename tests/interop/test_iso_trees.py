"""Real and made trees as ISO 9660, read back by programs that we did not write."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import iso_strict
import pytest
from compare import assert_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iso_readers import (
    Found,
    bsdtar_tree,
    host,
    in_xorriso,
    isoinfo_names,
    pycdlib_trees,
    tar_tree,
    without_sockets,
    xorriso_tree,
)
from readers import device, grub_reads, guestfish, seven_zip_tree
from tools import ENVIRONMENT, VFLOPPY, need_tool, output, run, vfloppy
from trees import MADE, real_tree, real_trees, settle_times

GIB = 1 << 30


def links(root: Path) -> None:
    """Links of all lengths, to what is there and to what isn't."""
    for name, target in {
        "to a file": "file",
        "absolute": "/etc/hostname",
        "dots": ".././x/../file",
        "slashes": "a//b/",
        "95 components": "/".join(["component"] * 94 + ["end"]),
        "one component": "c" * 900,
        "1000 bytes": "/".join(["0123456789" * 9] * 11),
        "n" * 255: "t" * 255,
    }.items():
        (root / name).symlink_to(target)
    (root / "file").write_bytes(b"a file")


def longest_links(root: Path) -> None:
    """Links as long as Linux has them; xorriso and isoinfo stop at 1,024 bytes."""
    for length in (1025, 2047, 2048, 3000, 4000, 4095):
        (root / f"{length}").symlink_to((("0123456789" * 9 + "/") * 50)[: length - 1] + "x")


def kinds(root: Path) -> None:
    """Everything that a directory can hold; some of it needs root."""
    os.mkfifo(root / "pipe")
    if os.geteuid() == 0:
        os.mknod(root / "null", 0o20666, os.makedev(1, 3))
        os.mknod(root / "disk", 0o60660, os.makedev(259, 1 << 19))
    with socket.socket(socket.AF_UNIX) as bound:
        before = Path.cwd()
        os.chdir(root)  # the path of a socket may not be long
        try:
            bound.bind("socket")
        finally:
            os.chdir(before)
    (root / "one").write_bytes(b"shared" * 1000)
    (root / "sub").mkdir()
    (root / "sub" / "other name").hardlink_to(root / "one")
    (root / "sub" / "third").hardlink_to(root / "one")
    for mode in (0o000, 0o400, 0o640, 0o4755, 0o1777):
        (root / f"{mode:o}").write_bytes(b"%o" % mode)
        (root / f"{mode:o}").chmod(mode)
    (root / "private").mkdir(mode=0o700)


def long_directories(root: Path) -> None:
    """Names that records have no room for, of directories on several levels."""
    for name in ("資料" * 22, "空" * 50, "plain"):
        for below in ("資" * 60, "empty" * 40, "b"):
            (root / name / below).mkdir(parents=True)
        (root / name / ("資" * 60) / ("last" * 50)).mkdir()
        (root / name / ("資" * 60) / ("last" * 50) / "file").write_bytes(name.encode())
        (root / name / ("資" * 60) / "file").write_bytes(name.encode())


def raw_names(root: Path) -> None:
    """Names that are no text, and of every byte that there is."""
    every = bytes(byte for byte in range(1, 256) if byte != 0x2F)
    for name in (
        every[:120],
        every[120:],
        b"\xff\xfe",
        b"caf\xe9",
        b" ",
        b"-",
        b"\\",
        b"new\nline",
    ):
        (root / os.fsdecode(name)).write_bytes(name)


def large(root: Path) -> None:
    """A file of 5 GiB that is several extents, and something behind it."""
    with open(root / "large", "wb") as file:
        file.truncate(5 * GIB)
        for offset in (0, (1 << 32) - 2050, 5 * GIB - 5):
            file.seek(offset)
            file.write(b"here!")
    (root / "next").write_bytes(b"next")


OWN: dict[str, Callable[[Path], None]] = {
    maker.__name__: maker for maker in (links, kinds, long_directories, raw_names, large)
}
WHOLE = [
    *real_trees(),
    *(name for name in MADE if name not in {"sparse", "many_files", "special_files"}),
    *(name for name in OWN if name != "large"),
]
IN_XORRISO = [name for name in WHOLE if name != "longest_links"]
# isoinfo lists a name a line.
IN_ISOINFO = [
    *(name for name in IN_XORRISO if name not in {"raw_names", "troublesome_names"}),
    "many_files",
]
OPTIONS: dict[str, tuple[str, ...]] = {
    "default": (),
    "preserve": ("--preserve",),
    "level 1": ("--iso-level", "1"),
    "level 2, long Joliet": ("--iso-level", "2", "--joliet-long"),
    "no Joliet": ("--no-joliet",),
    "no Rock Ridge": ("--no-rock-ridge", "--skip-unreadable"),
    "plain": ("--no-rock-ridge", "--no-joliet"),
    "no padding": ("--no-padding",),
}


class Built:
    """A directory and its image."""

    def __init__(self, directory: Path, image: Path) -> None:
        self.directory = directory
        self.image = image


@pytest.fixture(scope="session")
def isos(tmp_path_factory):
    """Makes trees by name and builds their images, as they are asked for."""
    builds: dict[tuple[str, str], Built] = {}
    folders: dict[str, Path] = {}

    def directory(name: str) -> Path:
        if name in real_trees():
            return real_tree(name, tmp_path_factory)
        root: Path = tmp_path_factory.mktemp("iso") / "tree"
        root.mkdir()
        (OWN | MADE)[name](root)
        settle_times(root)
        return root

    def build(name: str, options: str = "default") -> Built:
        if name not in folders:
            folders[name] = directory(name)
        if (name, options) not in builds:
            image = tmp_path_factory.mktemp("image") / "disk.iso"
            done = vfloppy("build", "-q", *OPTIONS[options], folders[name], image)
            assert (done.returncode, done.stderr) == (0, b"")
            builds[name, options] = Built(folders[name], image)
        return builds[name, options]

    return build


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "name", ["sizes", "deep", "links", "kinds", "long_directories", "raw_names"]
)
def test_a_strict_reader_has_no_complaint(isos, name, options):
    level = 1 if options == "level 1" else 3
    iso_strict.check(isos(name, options).image, level=level)


@pytest.mark.parametrize("name", [*WHOLE, "many_files"])
def test_a_strict_reader_has_no_complaint_about_any_tree(isos, name):
    iso_strict.check(isos(name).image)


@pytest.mark.parametrize("name", IN_XORRISO)
def test_xorriso_copies_every_name_byte_mode_time_and_link(isos, name, tmp_path):
    need_tool("xorriso")
    found = xorriso_tree(isos(name).image, tmp_path / "out")
    assert_same(in_xorriso(found), in_xorriso(host(isos(name).directory)))


@pytest.mark.parametrize("name", ["sizes", "kinds"])
def test_xorriso_copies_preserved_modes(isos, name, tmp_path):
    need_tool("xorriso")
    found = xorriso_tree(isos(name, "preserve").image, tmp_path / "out")
    assert_same(in_xorriso(found), in_xorriso(host(isos(name).directory, preserved=True)))


@pytest.mark.parametrize("name", ["sizes", "python"])
def test_xorriso_checks_the_media(isos, name):
    need_tool("xorriso")
    done = run("xorriso", "-indev", str(isos(name).image), "-check_media", "--")
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, text
    assert re.search(r"Media region : +0 , +\d+ , \+ good", text)
    assert "Volume id    : 'VFLOPPY'" in text


@pytest.mark.parametrize("name", WHOLE)
def test_libarchive_copies_every_name_byte_mode_time_and_link(isos, name, tmp_path):
    need_tool("bsdtar")
    found = bsdtar_tree(isos(name).image, tmp_path / "tar")
    assert_same(without_sockets(found), without_sockets(host(isos(name).directory)))


@pytest.mark.parametrize("name", [*WHOLE, "many_files"])
def test_pycdlib_reads_all_three_facets(isos, name):
    expected = host(isos(name).directory)
    trees = pycdlib_trees(isos(name).image)
    files = {path: each.data if each.kind in "-l" else b"" for path, each in expected.items()}
    files |= {path: None for path, each in expected.items() if each.kind == "d"}
    assert_same(trees["rr"], files)
    plain = Counter(
        each.data if each.kind == "-" else None if each.kind == "d" else b""
        for each in expected.values()
    )
    assert_same(Counter(trees["iso"].values()), plain)
    in_joliet = Counter(each.data for each in expected.values() if each.kind in "-d")
    assert_same(Counter(trees["joliet"].values()), in_joliet)


@pytest.mark.parametrize("name", IN_ISOINFO)
def test_isoinfo_lists_every_name(isos, name):
    need_tool("isoinfo")
    paths = set(host(isos(name).directory, contents=False))
    assert_same(isoinfo_names(isos(name).image, "-R"), paths)


@pytest.mark.parametrize("name", ["sizes", "unicode_names", "empty_things", "python"])
def test_libarchive_reads_joliet_names_as_they_are(isos, name, tmp_path):
    """But for characters beyond U+FFFF, which Joliet doesn't have; libarchive composes names."""
    need_tool("bsdtar")
    expected = {
        re.sub("[\U00010000-\U0010ffff]", "_", path.decode()).encode(): each.data
        for path, each in host(isos(name).directory).items()
        if each.kind in "-d"
        and max(map(len, path.decode().split("/"))) <= 64
        and unicodedata.is_normalized("NFC", path.decode())
    }
    found = bsdtar_tree(isos(name, "no Rock Ridge").image, tmp_path / "tar")
    assert_same(
        {path: found[path].data for path in expected if path in found}.keys(), expected.keys()
    )
    twins = {b"\xc3\xa9.txt"}
    assert all(found[path].data == expected[path] for path in expected.keys() - twins)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_all_readers_find_the_numbers_of_devices(tmp_path):
    need_tool("bsdtar", "xorriso")
    (tmp_path / "tree").mkdir()
    numbers = {"null": (1, 3), "disk": (8, 1), "last": (259, 255)}
    for name, number in numbers.items():
        os.mknod(tmp_path / "tree" / name, 0o20666, os.makedev(*number))
    image = tmp_path / "disk.iso"
    assert vfloppy("build", "-q", tmp_path / "tree", image).returncode == 0
    listed = (
        output("bsdtar", "-tvf", str(image)),
        output("xorriso", "-indev", str(image), "-lsl", "/"),
    )
    for text in listed:
        found = re.findall(r"^c.* (\d+),(\d+) .*?(\w+)'?$", text, re.MULTILINE)
        assert {name: (int(major), int(minor)) for major, minor, name in found} == numbers


@pytest.mark.parametrize("options", [(), ("--no-joliet", "--no-rock-ridge"), ("--no-padding",)])
def test_a_sum_for_checking_the_media_can_be_implanted(tmp_path, options):
    need_tool("implantisomd5", "checkisomd5")
    image = tmp_path / "disk.iso"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(random.randbytes(1 << 20))
    assert vfloppy("build", "-q", *options, tmp_path / "tree", image).returncode == 0
    output("implantisomd5", str(image))
    assert run("checkisomd5", str(image)).returncode == 0
    with open(image, "r+b") as file:
        file.seek(600_000)
        file.write(b"damage")
    assert run("checkisomd5", str(image)).returncode == 1


@pytest.mark.parametrize("options", ["default", "no Joliet"])
@pytest.mark.parametrize("name", ["sizes", "colliding_names", "deep", "empty_things", "python"])
def test_7_zip_extracts_every_name_byte_and_time(isos, name, options, tmp_path):
    """By Joliet, where that is; else by Rock Ridge, but it looks into no continuation area."""
    need_tool("7zz")
    seven_zip_tree(isos(name, options).image, "iso", tmp_path / "out")
    found, expected = host(tmp_path / "out"), host(isos(name, options).directory)
    assert_same(
        {path: (each.data, each.mtime) for path, each in found.items()},
        {path: (each.data, each.mtime) for path, each in expected.items()},
    )


@pytest.mark.parametrize("options", ["default", "no Joliet", "no Rock Ridge"])
@pytest.mark.parametrize("name", ["sizes", "colliding_names", "long_names", "unicode_names"])
def test_grub_finds_each_file_by_its_name(isos, name, options):
    need_tool("grub-fstest")
    disk = isos(name, options)
    files = {path.name: path for path in disk.directory.iterdir()}
    if options == "no Rock Ridge":  # what Joliet holds as it is
        files = {
            name: path
            for name, path in files.items()
            if len(name) <= 64 and max(name) <= "\uffff" and not re.search(r"[*:;?\\]", name)
        }
    assert files
    unread = [name for name, path in files.items() if not grub_reads(disk.image, "", name, path)]
    assert not unread


def test_a_file_of_many_extents_is_as_long_as_it_was(tmp_path):
    """Its records take more than a block, though its name is one of two."""
    need_tool("bsdtar", "xorriso", "7zz")
    size = 120 * GIB
    (tmp_path / "tree").mkdir()
    with open(tmp_path / "tree" / "large", "wb") as file:
        file.truncate(size)
    (tmp_path / "tree" / "next").write_bytes(b"next")
    for options in ((), ("--no-rock-ridge",), ("--no-joliet",)):
        image = tmp_path / "disk.iso"
        done = vfloppy("build", "-q", *options, tmp_path / "tree", image)
        assert (done.returncode, done.stderr) == (0, b"")
        assert f" {size} " in output("bsdtar", "-tvf", str(image))
        assert f" {size} " in output("xorriso", "-indev", str(image), "-lsl", "/")
        assert f" {size} " in output("7zz", "l", "-tiso", str(image))


@pytest.fixture(scope="module")
def mounted(isos, tmp_path_factory) -> Path:
    """What Linux's own driver reads of all trees; one appliance for all of them."""
    need_tool("guestfish")
    folder = tmp_path_factory.mktemp("mounted")
    names = [*WHOLE, "many_files", "large"]
    script = []
    for number, name in enumerate(names):
        script.append(f"mount-ro {device(number)} /")
        if name == "large":
            script += [
                f"download-offset /large {folder}/at-{offset} {offset} 5"
                for offset in (0, (1 << 32) - 2050, 5 * GIB - 5)
            ]
            script.append(f"download /next {folder}/next")
        elif name == "many_files":
            script.append(f"ls / | cat > {folder}/names")
            script.append(f"download '/file number 19999.txt' {folder}/last")
        else:
            script.append(f"tar-out / {folder}/{name}.tar")
        script.append("umount /")
    guestfish([str(isos(name).image) for name in names], *script)
    return folder


@pytest.mark.parametrize("name", WHOLE)
def test_linux_reads_every_name_byte_mode_time_and_link(isos, mounted, name):
    """Of names it shows 253 bytes at most; of two that are the same so far, it opens one."""
    found = without_sockets(tar_tree(mounted / f"{name}.tar"))
    expected = without_sockets(host(isos(name).directory))
    long = {path for path in expected if max(map(len, path.split(b"/"))) > 253}
    assert_same({path[:253] for path in long}, found.keys() - (expected.keys() - long))
    assert_same(
        {path: each for path, each in found.items() if path in expected},
        {path: each for path, each in expected.items() if path not in long},
    )


def test_linux_reads_a_file_of_several_extents(mounted):
    for offset in (0, (1 << 32) - 2050, 5 * GIB - 5):
        assert (mounted / f"at-{offset}").read_bytes() == b"here!"
    assert (mounted / "next").read_bytes() == b"next"


def test_linux_lists_a_directory_of_many_files(isos, mounted):
    names = set((mounted / "names").read_bytes().splitlines())
    assert_same(names, set(host(isos("many_files").directory, contents=False)))
    assert (mounted / "last").read_bytes() == b"19999"


def test_blkid_knows_the_file_system_and_its_label(isos):
    need_tool("blkid")
    words = output("blkid", "-p", "-o", "export", str(isos("sizes").image)).splitlines()
    assert {"TYPE=iso9660", "LABEL=VFLOPPY"} <= set(words)


@pytest.mark.parametrize("options", OPTIONS)
def test_served_is_what_is_built(isos, options, tmp_path):
    need_tool("nbdcopy")
    disk = isos("python" if options == "default" else "kinds", options)
    command = f'nbdcopy "$uri" {tmp_path}/served'
    serve = ("serve", "-q", "--format", "iso", *OPTIONS[options], "-U", "-", str(disk.directory))
    done = run(*VFLOPPY, *serve, "--run", command, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, b"")
    output("cmp", str(tmp_path / "served"), str(disk.image))


def test_a_copy_elsewhere_gives_the_same_bytes(isos, tmp_path):
    for name in ("kinds", "links", "python"):
        disk = isos(name)
        output("cp", "-a", str(disk.directory), str(tmp_path / name))
        os.utime(tmp_path / name, (0, 0))
        output(*VFLOPPY, "build", "-q", str(tmp_path / name), str(tmp_path / "copy.iso"))
        output("cmp", str(tmp_path / "copy.iso"), str(disk.image))


def test_65000_names_that_collide_are_told_apart(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(65_000):
        (root / f"{'the same name as the others ' * 3}{number:05}").touch()
    output(*VFLOPPY, "build", "-q", str(root), str(tmp_path / "out.iso"))
    iso_strict.check(tmp_path / "out.iso")


def test_a_flipped_byte_is_noticed(isos, tmp_path):
    """The comparisons above can fail: a bit of a record, of a path table, of a file."""
    disk = isos("sizes")
    regions = json.loads(output(*VFLOPPY, "map", "--json", "--format", "iso", str(disk.directory)))[
        "regions"
    ]
    damaged = tmp_path / "damaged.iso"

    def flip(name: str, inside: int) -> None:
        shutil.copy(disk.image, damaged)
        offset = next(each["offset"] for each in regions if each["name"] == name) + inside
        with damaged.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))

    for name, inside in (
        ("primary descriptor", 80),
        ("/ (ISO 9660)", 2),
        ("/ (ISO 9660)", 33 + 34 + 40),
        ("/ (Joliet)", 100),
        ("path table M (ISO 9660)", 3),
        ("continuation area", 0),
    ):
        flip(name, inside)
        with pytest.raises((AssertionError, KeyError, IndexError, ValueError)):
            iso_strict.check(damaged)
    flip("1000003.bin", 999_999)
    assert pycdlib_trees(damaged)["rr"] != pycdlib_trees(disk.image)["rr"]


names = st.binary(min_size=1, max_size=60).filter(
    lambda name: not set(name) & {0, 0x2F, 0x0A} and name not in {b".", b".."}
) | st.text("aAbB .~1é😀", min_size=1, max_size=60).map(str.encode).filter(
    lambda name: name not in {b".", b".."}
)
trees = st.recursive(
    st.binary(max_size=3000) | st.binary(min_size=1, max_size=900).map(lambda data: (data,)),
    lambda children: st.dictionaries(names, children, max_size=8),
    max_leaves=15,
).filter(lambda tree: isinstance(tree, dict))


def make(root: bytes, tree: dict[bytes, object]) -> None:
    for name, child in tree.items():
        path = os.path.join(root, name)
        if isinstance(child, dict):
            os.mkdir(path)
            make(path, child)
        elif isinstance(child, tuple):
            os.symlink(child[0].replace(b"\0", b"x"), path)
        else:
            Path(os.fsdecode(path)).write_bytes(child)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=trees, options=st.sampled_from(sorted(OPTIONS)))
def test_foreign_readers_read_what_was_drawn(tmp_path_factory, tree, options):
    need_tool("bsdtar")
    folder = tmp_path_factory.mktemp("drawn")
    root, image = folder / "tree", folder / "image.iso"
    root.mkdir()
    make(os.fsencode(root), tree)
    output(*VFLOPPY, "build", "-q", *OPTIONS[options], str(root), str(image))
    iso_strict.check(image, level=1 if options == "level 1" else 3)
    found = pycdlib_trees(image)
    expected: dict[bytes, Found] = host(root)
    if "rr" in found:
        assert_same(found["rr"], {path: each.data for path, each in expected.items()})
        preserved = options == "preserve"
        assert_same(bsdtar_tree(image, folder / "tar"), host(root, preserved=preserved))
    kept = [each.data for each in expected.values() if each.kind in "-d"]
    links_as_files = [b""] * (len(expected) - len(kept)) if "rr" in found else []
    assert_same(Counter(found["iso"].values()), Counter(kept + links_as_files))
    if "joliet" in found:
        assert_same(Counter(found["joliet"].values()), Counter(kept))


def test_readers_that_need_no_path_table_find_more_than_65535_directories(tmp_path):
    need_tool("bsdtar", "xorriso", "guestfish")
    root, image = tmp_path / "root", tmp_path / "disk.iso"
    for outer in range(257):
        for inner in range(257):
            (root / f"{outer:03}" / f"{inner:03}").mkdir(parents=True)
    name = "256/256/in the last/one/file"
    (root / name).parent.mkdir(parents=True)
    (root / name).write_text("found")
    refused = vfloppy("build", "-q", root, image)
    assert refused.returncode == 1
    assert b"--no-limit-pathtables" in refused.stderr
    output(*VFLOPPY, "build", "-q", "--no-limit-pathtables", str(root), str(image))
    assert output("bsdtar", "-xOf", str(image), name) == "found"
    assert f"'/{name}'" in output("xorriso", "-indev", str(image), "-find", "/", "-name", "file")
    copy = tmp_path / "copy"
    guestfish([str(image)], "mount-ro /dev/sda /", f"download '/{name}' {copy}")
    assert copy.read_text() == "found"
