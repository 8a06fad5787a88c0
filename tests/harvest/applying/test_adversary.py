"""Somebody swaps directories and files for links while changes are applied: nothing outside of the
root is touched, and nothing that the guest wrote is lost.
"""

from __future__ import annotations

import os
import random
import re
import signal
from pathlib import Path

import pytest
from guests import Guest, plant
from vfloppy.errors import ApplyError
from vfloppy.harvest.applying.apply import apply
from vfloppy.harvest.applying.calls import Calls

FILES = {"a": b"first", "d/b": b"second", "d/e/c": b"third", "s/t": b"t", "gone/x": b"x"}
OUTSIDE = {"b": b"second", "e/c": b"third", "c": b"third", "t": b"t", "x": b"x", "a": b"first"}
SAID = re.compile("nothing was applied|nothing is lost|all is applied")
WRITTEN = {b"by the guest %d" % number for number in range(6)}


def guest_of(root):
    data = sorted(WRITTEN)
    guest = Guest(root).change("a", data[0]).change("d/b", data[1]).create("d/e/new", data[2])
    guest.rename("s", "d/s").rename("d/e/c", "d/s/c", data[3]).mkdir("d/n").create("d/n/x", data[4])
    return guest.create("gone/new", data[5]).remove("gone/x")


def made(quick, name):
    root, outside = quick / name / "root", quick / name / "outside"
    plant(root, FILES)
    plant(outside, OUTSIDE)
    return root, outside


def state(outside):
    return {
        path: (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_mode)
        for path in (outside, *outside.rglob("*"))
    }


def contents(folder):
    """All contents below a directory, links left alone."""
    paths = [Path(where, name) for where, _, files in os.walk(folder) for name in files]
    return {path.read_bytes() for path in paths if not path.is_symlink()}


class Swapping(Calls):
    """At a certain call, a link comes; it stays, or goes before the next one."""

    def __init__(self, root, outside, path, at, lasts):
        self.root, self.outside, self.path = root, outside, path
        self.at, self.lasts, self.count = at, lasts, 0

    def before(self, call):
        self.count += 1
        if self.count == self.at:
            swap(self.root, self.outside, self.path)
        elif self.count == self.at + 1 and not self.lasts:
            put_back(self.root, self.path)


def swap(root, outside, path):
    """Put a link to the outside where something is; what was there is kept in the root."""
    aside = root / f"aside-{os.urandom(4).hex()}"
    try:
        os.rename(root / path, aside)
        os.symlink(outside, root / path)
    except OSError:
        return


def put_back(root, path):
    for name in os.listdir(root):
        if name.startswith("aside-") and os.path.islink(root / path):
            os.unlink(root / path)
            os.rename(root / name, root / path)
            return


@pytest.mark.parametrize("path", ["a", "d", "d/e", "d/b", "s", "gone", ".vfloppy"])
@pytest.mark.parametrize("lasts", [True, False])
def test_a_link_comes_before_each_call(quick, path, lasts):
    at = 0
    while True:
        at += 1
        root, outside = made(quick, str(at))
        guest = guest_of(root)
        before = state(outside)

        calls = Swapping(root, outside, path, at, lasts)
        try:
            apply(guest.changes, guest.places, calls=calls)
        except ApplyError as error:
            assert SAID.search(str(error))  # noqa: PT017
        assert state(outside) == before, (at, path)
        if calls.count < at:
            break
        if path != ".vfloppy":  # what somebody has taken away there is not ours any more
            put_back(root, path)
            try:
                apply(guest.changes, guest.places)
            except ApplyError as error:
                assert SAID.search(str(error))  # noqa: PT017
            else:
                assert contents(root) >= WRITTEN, at
        assert state(outside) == before
    assert at > 40


def test_links_come_and_go_all_the_time(quick):
    """By another process, as fast as it can."""
    for number in range(30):
        root, outside = made(quick, str(number))
        guest = guest_of(root)
        before = state(outside)
        paths = ["a", "d", "d/e", "d/b", "s", "gone"]
        child = os.fork()
        if not child:
            while True:
                path = random.choice(paths)
                swap(root, outside, path)
                put_back(root, path)
        try:
            for _ in range(5):
                try:
                    apply(guest.changes, guest.places)
                except ApplyError:
                    continue
                break
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert state(outside) == before
