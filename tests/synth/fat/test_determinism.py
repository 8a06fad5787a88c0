"""The same tree gives the same bytes, wherever and however it came to be; another tree doesn't."""

from __future__ import annotations

import hashlib
import os
import sys

import pytest
from compare import assert_same
from conformance import read
from tools import ENVIRONMENT, output
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.image import Image
from vfloppy.synth.scanning.scan import scan

TIME = 1_720_000_000
FILES = {f"{folder}/File {number}.text": bytes((number,)) * number * 50
         for folder in ("a", "B/c", "d+e") for number in range(40)}  # fmt: skip


def make(root, files, reverse: bool = False) -> None:
    for path in sorted(files, reverse=reverse):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(files[path])
        (root / path).chmod(0o644)
    set_times(root)


def set_times(root, time: int = TIME) -> None:
    for folder, directories, names in os.walk(root, topdown=False):
        for name in directories + names:
            os.utime(os.path.join(folder, name), (time, time))


def image_of(root, **options) -> Image:
    tree = scan(str(root))
    options = {"fat_bits": 16} | options
    return disk(plan(tree, FatOptions(**options)), tree, HostFiles(tree))


def bytes_of(root, **options) -> bytes:
    image = image_of(root, **options)
    return read(image, 0, image.size)


def id_of(root, **options) -> int:
    return plan(scan(str(root)), FatOptions(**options)).volume_id


@pytest.fixture
def roots(tmp_path):
    for name in ("one", "a place with another, longer name"):
        (tmp_path / name).mkdir()
    return sorted(tmp_path.iterdir())


@pytest.mark.parametrize("partition", ["mbr", "gpt"])
def test_the_same_tree_elsewhere_made_in_another_order(roots, partition):
    make(roots[0], FILES)
    make(roots[1], FILES, reverse=True)
    (roots[1] / "passing").touch()  # directories that were larger once
    (roots[1] / "passing").unlink()
    os.utime(roots[1], (1, 1))  # the root's own time is not on the disk
    assert bytes_of(roots[0], partition=partition) == bytes_of(roots[1], partition=partition)


def test_the_same_tree_with_holes_in_other_places(roots):
    for root, sparse in zip(roots, (False, True), strict=True):
        with open(root / "file", "wb") as file:
            if sparse:
                file.truncate(1 << 20)
            else:
                file.write(bytes(1 << 20))
        set_times(root)
    assert bytes_of(roots[0]) == bytes_of(roots[1])


DIGEST = """
import hashlib, sys
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.scanning.scan import scan
tree = scan(sys.argv[1])
image = disk(plan(tree, FatOptions(fat_bits=16)), tree, HostFiles(tree))
digest = hashlib.sha256()
for piece in image.open().pieces(0, image.size):
    digest.update(piece if isinstance(piece, bytes) else
                  piece.read() if hasattr(piece, "read") else bytes(piece.length))
print(digest.hexdigest())
"""


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONHASHSEED": "1"}, {"TZ": "Asia/Tokyo"}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX",
     "PYTHONUTF8": "0"}, {"HOME": "/nonexistent", "USER": "somebody", "HOSTNAME": "elsewhere"}],
    ids=str,
)  # fmt: skip
def test_the_same_tree_in_another_environment(tmp_path, environment):
    make(tmp_path, FILES | {"grüße": b"x", "GRÜSSE": b"y"})
    there = output(sys.executable, "-c", DIGEST, str(tmp_path), env=ENVIRONMENT | environment)
    assert there.strip() == hashlib.sha256(bytes_of(tmp_path)).hexdigest()


def test_nothing_changes_between_two_readings(tmp_path):
    make(tmp_path, FILES)
    image = image_of(tmp_path)
    assert read(image, 0, image.size) == read(image, 0, image.size) == bytes_of(tmp_path)


def renamed(root):
    (root / "a/File 1.text").rename(root / "a/File 1.texu")
    set_times(root)


def longer(root):
    (root / "a/File 1.text").write_bytes(b"x" * 51)
    set_times(root)


def later(root):
    os.utime(root / "a/File 1.text", (TIME, TIME + 2))


def moved(root):
    (root / "a/File 1.text").rename(root / "d+e/File 1 too.text")
    set_times(root)


def a_directory_for_a_file(root):
    (root / "a/File 0.text").unlink()
    (root / "a/File 0.text").mkdir()
    set_times(root)


@pytest.mark.parametrize("change", [renamed, longer, later, moved, a_directory_for_a_file])
def test_another_tree_has_another_serial_number(tmp_path, change):
    make(tmp_path, FILES)
    before = id_of(tmp_path)
    change(tmp_path)
    assert id_of(tmp_path) != before


def test_a_file_in_the_next_directory_has_another_serial_number(roots):
    """All columns but one are equal: who is whose parent."""
    for root, folder in zip(roots, ("a", "b"), strict=True):
        for name in ("a/x", f"{folder}/y"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).touch()
        (root / "b").mkdir(exist_ok=True)
        set_times(root)
    assert id_of(roots[0]) != id_of(roots[1])


def test_a_file_and_a_directory_in_each_other_s_place_have_another_serial_number(roots):
    for root, (file, directory) in zip(roots, ("pq", "qp"), strict=True):
        (root / file).touch()
        (root / directory).mkdir()
        set_times(root)
    assert id_of(roots[0]) != id_of(roots[1])


@pytest.mark.parametrize(
    "options",
    [{"label": "OTHER"}, {"fat_bits": 16}, {"cluster_bytes": 512}, {"free": 1 << 30}],
    ids=str,
)
def test_other_options_have_another_serial_number(tmp_path, options):
    make(tmp_path, FILES)
    assert id_of(tmp_path) != id_of(tmp_path, **options)


def test_a_serial_number_can_be_given(tmp_path):
    assert id_of(tmp_path, volume_id=0x1234ABCD) == 0x1234ABCD
    assert id_of(tmp_path, volume_id=0) == 0


@pytest.mark.parametrize("partition", ["mbr", "gpt"])
def test_trees_that_differ_only_beyond_the_latest_time_give_the_same_bytes(tmp_path, partition):
    make(tmp_path, FILES)
    images = []
    for time in (TIME + 100, TIME + 1_000_000):
        set_times(tmp_path, time)
        images.append(bytes_of(tmp_path, latest_ns=TIME * 1_000_000_000, partition=partition))
    assert_same(images[0], images[1])
