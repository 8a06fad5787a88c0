"""The same tree gives the same bytes: elsewhere, and made in another order."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from compare import assert_same
from tools import missing_dependency, output, vfloppy
from trees import MADE, settle_times


def build(directory, image, *options):
    done = vfloppy("build", "-q", *options, directory, image)
    assert (done.returncode, done.stderr) == (0, b"")
    return image


@pytest.mark.parametrize("options", [(), ("--partition", "gpt"), ("--fat", "16")], ids=" ".join)
def test_a_copy_elsewhere_gives_the_same_bytes(options, tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    for name in ("unicode_names", "colliding_names", "troublesome_names", "sizes", "deep"):
        (root / name).mkdir()
        MADE[name](root / name)
    settle_times(root)
    (tmp_path / "far" / "away").mkdir(parents=True)
    copy = tmp_path / "far" / "away" / "copy"
    output("cp", "-a", str(root), str(copy))
    first = build(root, tmp_path / "first.img", *options)
    second = build(copy, tmp_path / "second.img", *options)
    assert_same(first.read_bytes(), second.read_bytes())


@pytest.fixture
def listed_as_made():
    """A directory where the system lists names in the order they were made, or its reverse."""
    if not os.access("/dev/shm", os.W_OK):
        missing_dependency("/dev/shm is not there")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for name in "bac":
            (Path(folder) / name).touch()
        if os.listdir(folder) not in (["b", "a", "c"], ["c", "a", "b"]):
            missing_dependency("/dev/shm lists names in an order of its own")
        yield Path(folder)


def test_the_order_of_making_does_not_matter(listed_as_made, tmp_path):
    images, orders = [], []
    for seed in (1, 2):
        root = listed_as_made / "tree"
        root.mkdir()
        names = [
            f"directory {number % 7}/file {number} with a longer name" for number in range(300)
        ]
        random.Random(seed).shuffle(names)
        for name in names:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(name)
        settle_times(root)
        orders.append((os.listdir(root), os.listdir(root / "directory 0")))
        images.append(build(root, tmp_path / f"{seed}.img").read_bytes())
        shutil.rmtree(root)
    assert orders[0][0] != orders[1][0]
    assert orders[0][1] != orders[1][1]
    assert_same(images[0], images[1])


def test_other_contents_give_another_serial_number(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    (root / "file").write_text("one")
    settle_times(root)
    first = build(root, tmp_path / "first.img").read_bytes()
    (root / "file").write_text("three")
    settle_times(root)
    second = build(root, tmp_path / "second.img").read_bytes()
    at = (1 << 20) + 67  # BS_VolID
    assert first[at : at + 4] != second[at : at + 4]
