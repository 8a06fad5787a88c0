"""Drawn trees and changes: what is on the host afterwards is what the guest saw, all else is kept.

A model of the disk is changed step by step, as a guest does it; the changes are what differs
between the model before and after. The host changes meanwhile, too, in some of the examples.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from pathlib import Path

from guests import Guest, grown, is_whole, trashed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vfloppy.harvest.applying.apply import apply
from vfloppy.harvest.applying.calls import Calls
from vfloppy.harvest.changes import Change, Kind

NAMES = ["a", "b", "c", "d"]


class Node:
    """A file or directory of the model."""

    def __init__(self, number=0, data=None):
        self.number = number
        self.data = data
        self.children = {} if data is None else None

    def walk(self, path=()):
        for name, node in sorted((self.children or {}).items()):
            yield (*path, name), node
            yield from node.walk((*path, name))


class Disk:
    """The model: a tree of nodes, with operations drawn by chance."""

    def __init__(self, chance):
        self.chance = chance
        self.root = Node()
        self.count = 0

    def fresh(self):
        self.count += 1
        return b"content %d" % self.count

    def directories(self):
        return [((), self.root)] + [each for each in self.root.walk() if each[1].data is None]

    def pick(self):
        found = list(self.root.walk())
        return self.chance.choice(found) if found else None

    def parent(self, path):
        node = self.root
        for name in path[:-1]:
            node = node.children[name]
        return node

    def grow(self, count):
        for _ in range(count):
            path, node = self.chance.choice(self.directories())
            name = self.chance.choice(NAMES)
            if len(path) < 4 and name not in node.children:
                node.children[name] = Node(data=self.chance.choice([None, self.fresh()]))

    def create(self):
        self.grow(1)

    def change(self):
        found = self.pick()
        if found and found[1].data is not None:
            found[1].data = self.fresh()

    def remove(self):
        found = self.pick()
        if found:
            del self.parent(found[0]).children[found[0][-1]]

    def move(self):
        found = self.pick()
        if not found:
            return
        path, node = found
        target, folder = self.chance.choice(self.directories())
        name = self.chance.choice(NAMES)
        if target[: len(path)] == path or len(target) > 4:
            return
        del self.parent(path).children[path[-1]]
        folder.children[name] = node  # what was there is gone

    def swap(self):
        one, other = self.pick(), self.pick()
        if not one or not other:
            return
        (path, node), (other_path, other_node) = one, other
        shorter = min(len(path), len(other_path))
        if path[:shorter] == other_path[:shorter]:
            return
        self.parent(path).children[path[-1]] = other_node
        self.parent(other_path).children[other_path[-1]] = node

    def run(self, steps):
        for _ in range(steps):
            self.chance.choice([self.create, self.change, self.remove, self.move, self.swap])()

    def seen(self):
        return {"/".join(path): node.data for path, node in self.root.walk()}


def plant(root, disk):
    root.mkdir()
    for path, node in disk.root.walk():
        if node.data is None:
            root.joinpath(*path).mkdir()
        else:
            root.joinpath(*path).write_bytes(node.data)


def told(guest, before, disk):
    """The changes, as whoever reads the disk finds them."""
    numbers = {path: number for number, (path, _) in before.items()} | {(): 0}
    now = list(disk.root.walk())
    left = {node.number for _, node in now}
    for path, node in now:
        if not node.number:
            guest._add(Kind.CREATED, path, node.data)
            continue
        old_path, old_data = before[node.number]
        parent = disk.parent(path)
        more = {"number": node.number}
        is_there = parent is disk.root or parent.number
        if is_there and parent.number == numbers[old_path[:-1]]:
            kind = Kind.CHANGED if path[-1] == old_path[-1] else Kind.RENAMED
        else:
            kind = Kind.MOVED
        if node.data != old_data:
            if kind is not Kind.CHANGED:
                more |= {"old_path": old_path, "rewritten": True}
            guest._add(kind, path, node.data, **more)
        elif kind is not Kind.CHANGED:
            size, is_directory = len(node.data or b""), node.data is None
            change = Change(kind, path, old_path, is_directory, size, number=node.number)
            guest.changed.append(change)
    for number, (path, data) in before.items():
        if number not in left:
            guest.removed.append(
                Change(Kind.REMOVED, path, is_directory=data is None, number=number)
            )


def example(seed, folder, host_steps=0):
    """A directory, the guest's changes, the model of what it saw, and what the host wrote."""
    disk = Disk(random.Random(seed))
    disk.grow(disk.chance.randrange(20))
    root = folder / "root"
    plant(root, disk)
    guest = Guest(root)
    before = {}
    for path, node in disk.root.walk():
        node.number = guest.of("/".join(path))
        before[node.number] = (path, node.data)
    disk.run(disk.chance.randrange(1, 16))
    told(guest, before, disk)
    written = host(disk.chance, root, host_steps)
    return root, guest, disk, written, before


def host(chance, root, steps):
    """Changes of the host; returns contents that it has written and not removed."""
    written = {}
    for number in range(steps):
        paths = [path for path in root.rglob("*") if path.is_file()]
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        path = chance.choice(folders) / chance.choice(NAMES)
        what = chance.randrange(4)
        data = b"of the host %d" % number
        if what == 0 and not path.exists():
            path.write_bytes(data)
        elif what == 1 and paths:
            path = chance.choice(paths)
            path.write_bytes(data)
        elif what == 2 and paths:
            path = chance.choice(paths)
            (root / "new").write_bytes(data)
            (root / "new").rename(path)
        elif what == 3 and paths:
            path = chance.choice(paths)
            path.unlink()
            written.pop(path, None)
            continue
        else:
            continue
        written[path] = data
    return set(written.values())


def in_memory():
    shared = Path("/dev/shm")
    usable = shared.is_dir() and os.access(shared, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="vfloppy-test-", dir=shared if usable else None))


seeds = st.integers(0, 1 << 32)
drawn = settings(max_examples=200, suppress_health_check=list(HealthCheck))


@given(seeds, st.booleans())
@drawn
def test_the_directory_is_what_the_guest_saw(seed, trash):
    folder = in_memory()
    try:
        root, guest, disk, _, before = example(seed, folder)
        inodes = {
            number: root.joinpath(*path).stat().st_ino for number, (path, _) in before.items()
        }
        applied = apply(guest.changes, guest.places, trash=trash)
        assert grown(root) == disk.seen()
        assert applied.is_complete, applied.deeds
        assert is_whole(root)
        for path, node in disk.root.walk():
            if node.number and (node.data is None or node.data == before[node.number][1]):
                assert root.joinpath(*path).stat().st_ino == inodes[node.number]
        removed = {data for number, (_, data) in before.items() if data is not None} - {
            node.data for _, node in disk.root.walk()
        }
        gone = {change.number for change in guest.removed}
        # What has its name again was written anew.
        seen = disk.seen()
        removed &= {
            data
            for number, (path, data) in before.items()
            if number in gone and seen.get("/".join(path)) is None
        }
        assert set(trashed(root).values()) >= (removed if trash else set())
    finally:
        shutil.rmtree(folder)


@given(seeds)
@drawn
def test_applying_again_does_nothing(seed):
    folder = in_memory()
    try:
        root, guest, disk, *_ = example(seed, folder)
        apply(guest.changes, guest.places)
        again = apply(guest.changes, guest.places)
        assert grown(root) == disk.seen()
        assert not [deed for deed in again.deeds if deed.outcome not in {"note", "kept"}]
    finally:
        shutil.rmtree(folder)


class Stopped(BaseException):
    """Where a process would have been killed."""


class Stopping(Calls):
    def __init__(self, left):
        self.left = left

    def before(self, call):
        self.left -= 1
        if self.left < 0:
            raise Stopped


@given(seeds, st.lists(st.integers(0, 80), max_size=4))
@drawn
def test_whoever_is_killed_is_followed_by_one_who_finishes(seed, stops):
    folder = in_memory()
    try:
        root, guest, disk, *_ = example(seed, folder)
        for left in stops:
            with contextlib.suppress(Stopped):
                apply(guest.changes, guest.places, calls=Stopping(left))
        apply(guest.changes, guest.places)
        assert grown(root) == disk.seen()
        assert is_whole(root)
    finally:
        shutil.rmtree(folder)


@given(seeds, st.integers(1, 8), st.lists(st.integers(0, 80), max_size=2))
@drawn
def test_what_either_side_has_written_is_there(seed, steps, stops):
    folder = in_memory()
    try:
        root, guest, disk, written, before = example(seed, folder, steps)
        for left in stops:
            with contextlib.suppress(Stopped):
                apply(guest.changes, guest.places, calls=Stopping(left))
        applied = apply(guest.changes, guest.places)
        contents = set(grown(root).values())
        old = {data for _, data in before.values()}
        guests = {node.data for _, node in disk.root.walk()} - old - {None}
        assert written <= contents
        assert guests <= contents
        assert is_whole(root)
        names = {deed.host for deed in applied.of("conflict") if deed.host}
        assert all(os.path.lexists(name) for name in names), names
    finally:
        shutil.rmtree(folder)
