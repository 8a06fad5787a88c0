"""Trees that hosts make hard: odd times, every byte in a name, few descriptors, wide and deep."""

from __future__ import annotations

import os
import resource
import stat
import sys
from contextlib import suppress

import pytest
from conformance import check_image, read
from tools import ENVIRONMENT, run
from vfloppy.errors import ScanError
from vfloppy.export import FileSlice, HostReadError
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.host.directories import OpenHomes
from vfloppy.synth.host.files import HostFiles, ScannedFiles
from vfloppy.synth.image.image import Image
from vfloppy.synth.iso.disk import disk as iso_disk
from vfloppy.synth.iso.plan import plan as iso_plan
from vfloppy.synth.scanning.scan import ScanOptions, scan

NS = 1_000_000_000


def image_of(root, **options) -> Image:
    tree = scan(str(root))
    options = {"fat_bits": 16} | options
    return disk(plan(tree, FatOptions(**options)), tree, HostFiles(tree))


@pytest.mark.parametrize(
    ("year", "seconds"),
    [(1901, -2_170_000_000), (1969, -1), (1970, 0), (2108, 4_354_819_200), (2200, 7_258_118_400),
     (2262, 9_223_372_036), (2263, 9_246_182_400), (2400, 13_569_465_600)],
)  # fmt: skip
@pytest.mark.parametrize("is_directory", [False, True])
def test_a_file_of_any_year_is_on_the_disk(tmp_path, year, seconds, is_directory):
    odd = tmp_path / "odd"
    if is_directory:
        odd.mkdir()
    else:
        odd.write_text("contents")
    os.utime(odd, (seconds, seconds))
    if odd.stat().st_mtime_ns != seconds * NS:
        pytest.skip("this file system holds no such time")
    image = image_of(tmp_path)
    check_image(image, slices=5)
    assert b"ODD        " in read(image, 0, image.size)
    if not is_directory:
        tree = scan(str(tmp_path))
        assert ScannedFiles(tree).read(1, 0, 8) == b"contents"


def test_every_byte_that_linux_allows_in_a_name(tmp_path):
    root = os.fsencode(tmp_path)
    names = [bytes((byte,)) for byte in range(1, 256) if byte not in b"/."]
    for name in names:
        with open(os.path.join(root, name), "wb") as file:
            file.write(name)
    tree = scan(str(tmp_path))
    assert [tree.name(node) for node in range(1, len(tree))] == sorted(names)
    files = ScannedFiles(tree)
    for node in range(1, len(tree)):
        assert files.read(node, 0, 1) == tree.name(node)
    check_image(image_of(tmp_path), slices=20)


def test_names_stay_in_byte_order_whatever_their_encoding(tmp_path):
    # Text would be sorted otherwise: surrogates for stray bytes stand below U+FFxx.
    root = os.fsencode(tmp_path)
    names = [b"\xff", "\uff5e".encode(), "\U0001f600".encode(), b"\xe9", "é".encode(), b"z"]
    for name in names:
        os.mkdir(os.path.join(root, name))
        open(os.path.join(root, name, name), "wb").close()
    tree = scan(str(tmp_path))
    for node in range(1, len(tree)):
        parent = tree.directories[tree.parent(node)]
        assert tree.path(node) == os.path.join(tree.path(parent), tree.name(node))
    assert {tree.path(node) for node in range(7, len(tree))} == {
        name + b"/" + name for name in names
    }


def open_directories() -> int:
    """How many of this process's descriptors are directories."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own is gone
            count += stat.S_ISDIR(os.fstat(int(name)).st_mode)
    return count


def test_more_directories_than_are_kept_open(tmp_path):
    for number in range(300):
        (tmp_path / f"{number:03}" / "x" / "y").mkdir(parents=True)
        (tmp_path / f"{number:03}" / "x" / "y" / "file").write_text(f"{number:03}")
    tree = scan(str(tmp_path))
    before = open_directories()
    files = ScannedFiles(tree)
    nodes = [node for node in range(len(tree)) if tree.name(node) == b"file"]
    assert [files.read(node, 0, 3) for node in nodes] == [b"%03d" % n for n in range(300)]
    for node in reversed(nodes):
        assert files.read(node, 0, 3) == tree.path(node)[:3]
    assert open_directories() <= before + 66  # those kept open, and the root


def test_a_scan_leaves_no_descriptor_open(tmp_path):
    for number in range(100):
        (tmp_path / str(number)).mkdir()
    before = os.listdir("/proc/self/fd")
    scan(str(tmp_path))
    with pytest.raises(ScanError):
        scan([str(tmp_path), str(tmp_path / "missing")])
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_directories_close_what_they_opened(tmp_path):
    for number in range(10):
        (tmp_path / str(number)).mkdir()
    tree = scan(str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))  # the tree holds its root
    homes = OpenHomes(tree.origins)
    for home in range(len(tree.origins.home_names)):
        assert stat.S_ISDIR(os.fstat(homes.descriptor(home)).st_mode)
    homes.close()
    assert len(os.listdir("/proc/self/fd")) == before


FEW_DESCRIPTORS = """
import sys
from vfloppy.synth.host.files import ScannedFiles
from vfloppy.synth.scanning.scan import scan
tree = scan(sys.argv[1])
files = ScannedFiles(tree)
nodes = [node for node in range(1, len(tree)) if not tree.is_directory(node)]
for _ in range(2):
    for node in nodes:
        assert files.read(node, 0, tree.sizes[node]) == tree.name(node), tree.path(node)
print(len(nodes))
"""


def test_a_process_of_few_descriptors_reads_many_files_in_many_directories(tmp_path):
    for folder in range(30):
        for number in range(10):
            path = tmp_path / f"d{folder}" / f"{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(path.name)
    done = run(
        sys.executable, "-c", FEW_DESCRIPTORS, str(tmp_path), env=ENVIRONMENT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"300\n"), done.stderr.decode()


def test_a_change_is_told_however_often_one_asks(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    tree = scan(str(tmp_path))
    files = ScannedFiles(tree)
    files.read(1, 0, 5)
    os.truncate(tmp_path / "file", 2)
    for _ in range(3):
        with pytest.raises(HostReadError, match="file has 2 bytes, 5 at the scan"):
            files.read(1, 0, 5)
        with pytest.raises(HostReadError, match="file has 2 bytes, 5 at the scan"):
            files.read(1, 0, 1)


def test_the_path_in_an_error_steers_no_terminal(tmp_path):
    path = tmp_path / "bad\n\x1b[31mname"
    path.write_text("x")
    tree = scan(str(tmp_path))
    path.unlink()
    with pytest.raises(HostReadError) as caught:
        ScannedFiles(tree).read(1, 0, 1)
    assert "bad\\n\\x1b[31mname can't be read" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_host_error_while_reading_names_the_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"12345")
    tree = scan(str(tmp_path))

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(HostReadError, match="file can't be read: Input/output error"):
        ScannedFiles(tree).read(1, 0, 5)


def test_a_host_error_in_the_second_half_of_a_read_names_the_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"12345")
    tree = scan(str(tmp_path))
    real = os.pread

    def fail_later(descriptor, length, offset):
        if offset:
            raise OSError(5, "Input/output error")
        return real(descriptor, 2, offset)

    monkeypatch.setattr(os, "pread", fail_later)
    with pytest.raises(HostReadError, match="file can't be read: Input/output error"):
        ScannedFiles(tree).read(1, 0, 5)


@pytest.mark.parametrize("path", ["sub", "."])
def test_a_renamed_directory_is_served_while_it_is_open(tmp_path, path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("one", "two"):
        (root / "sub" / name).write_text(name)
    tree = scan(str(root))
    files = ScannedFiles(tree)
    assert files.read(2, 0, 3) == b"one"
    (root / path).resolve().rename(tmp_path / "moved")
    assert files.read(3, 0, 3) == b"two"


def test_a_scan_of_one_directory_twice_is_the_scan_of_one(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    once, twice = scan(str(tmp_path)), scan([str(tmp_path), str(tmp_path)])
    assert [once.path(n) for n in range(len(once))] == [twice.path(n) for n in range(len(twice))]


def test_leaving_out_goes_by_the_file_not_by_its_name(tmp_path):
    (tmp_path / "image").write_text("x")
    os.link(tmp_path / "image", tmp_path / "another name")
    (tmp_path / "kept").write_text("x")
    status = (tmp_path / "image").stat()
    options = ScanOptions(leave_out=frozenset({(status.st_dev, status.st_ino)}))
    tree = scan(str(tmp_path), options)
    assert [tree.name(node) for node in range(1, len(tree))] == [b"kept"]
    assert {skipped.path for skipped in tree.skipped} == {b"image", b"another name"}


def test_permissions_are_asked_about_only_where_the_mode_leaves_a_doubt(tmp_path):
    doubtful = {"file": 0o600, "group": 0o640, "dir": 0o700, "listed": 0o744}
    sure = {"open": 0o644, "open-dir": 0o755}
    for name, mode in (doubtful | sure).items():
        if "dir" in name or name == "listed":
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    asked: list[str] = []

    def refuse(name, _directory, _mode):
        asked.append(name)
        return False

    tree = scan(str(tmp_path), ScanOptions(may_read=refuse, skip_unreadable=True))
    assert asked == sorted(doubtful)
    assert {tree.name(node).decode() for node in range(1, len(tree))} == set(sure)
    assert {(path.decode(), why) for path, why in tree.skipped} == {
        (name, "may not be read") for name in doubtful
    }
    with pytest.raises(ScanError, match="dir, file, group and 1 more"):
        scan(str(tmp_path), ScanOptions(may_read=refuse))


@pytest.mark.parametrize("form", ["fat", "iso"])
def test_ten_thousand_levels_are_served_to_the_bottom(tmp_path, form):
    """Deeper than Python recurses, and far longer than the longest path that the system takes."""
    root = os.open(tmp_path, os.O_RDONLY)
    levels = [root]
    for _ in range(10_000):
        os.mkdir("d", dir_fd=levels[-1])
        levels.append(os.open("d", os.O_RDONLY, dir_fd=levels[-1]))
        if len(levels) > 2:
            os.close(levels.pop(0))
    descriptor = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=levels[-1])
    os.write(descriptor, b"at the bottom")
    for each in (*levels, descriptor):
        os.close(each)
    try:
        tree = scan(str(tmp_path))
        files = HostFiles(tree)
        if form == "fat":
            image = disk(plan(tree), tree, files)
        else:
            image = iso_disk(iso_plan(tree), tree, files)
        slices = [
            each for each in image.open().pieces(0, image.size) if isinstance(each, FileSlice)
        ]
        assert [each.read() for each in slices] == [b"at the bottom"]
    finally:
        run("rm", "-r", str(tmp_path / "d"))  # pytest's own removal recurses
