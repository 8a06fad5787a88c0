"""`vfloppy bench`: a table with numbers in it, and one line where something is wrong."""

from __future__ import annotations

import re

import pytest
from tools import vfloppy


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    (root / "file").write_bytes(bytes(2 << 20))
    return root


@pytest.mark.parametrize("form", ["fat", "iso"])
def test_rates_and_percentiles_are_told(tree, form):
    done = vfloppy("bench", "--seconds", "0.05", "--format", form, str(tree))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    ours = [line for line in lines if " vfloppy " in line]
    assert len(ours) == 5
    assert re.search(r"first byte +vfloppy +\d+\.\d{3} s", ours[0])
    for line in ours[1:]:
        rate, megabytes, *marks = line.split(" vfloppy ")[1].split()
        assert float(rate) > 0
        assert float(megabytes) >= 0
        assert [float(each) for each in marks] == sorted(map(float, marks))
        assert len(marks) == 3
    theirs = [line for line in lines if " nbdkit " in line]
    assert len(theirs) in {0, 5}


def test_options_of_serve_are_passed_on(tree):
    done = vfloppy("bench", "--no-peers", "--seconds", "0.05", str(tree), "--", "--floppy", "2.88M")
    assert done.returncode == 0, done.stderr
    assert b"nbdkit" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "what"),
    [
        (("nowhere",), 2, "nowhere"),
        ((".", "--", "--fat", "99"), 1, "does not serve this directory: vfloppy: "),
        ((".", "--seconds", "0"), 2, "--seconds"),
    ],
)
def test_what_is_wrong_is_one_line(tree, arguments, status, what):
    done = vfloppy("bench", "--no-peers", *arguments, cwd=tree)
    assert done.returncode == status
    assert what in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
