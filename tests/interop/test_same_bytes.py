"""The same tree gives the same bytes: elsewhere, and made in another order."""

from __future__ import annotations

import random
import shutil

import pytest
from tools import output, vfloppy
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
    assert first.read_bytes() == second.read_bytes()


def test_the_order_of_making_does_not_matter(tmp_path):
    images = []
    for seed in (1, 2):
        root = tmp_path / "tree"
        root.mkdir()
        names = [f"file {number} with a longer name" for number in range(300)]
        random.Random(seed).shuffle(names)
        for name in names:
            (root / name).write_text(name)
        settle_times(root)
        images.append(build(root, tmp_path / f"{seed}.img").read_bytes())
        shutil.rmtree(root)
    assert images[0] == images[1]


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
