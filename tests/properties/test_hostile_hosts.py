"""Hosts that nobody would build, drawn at random: any names, loops of links, lying sizes.

Whatever it is, it is either refused in one line or served, and then every byte is what the host
holds; what is not on the disk is listed.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from compare import assert_same
from conformance import check_image, read
from disks import disk_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vfloppy.errors import VfloppyError
from vfloppy.export import FileSlice, HostReadError
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.scanning import homes as sources
from vfloppy.synth.scanning.scan import ScanOptions, scan
from vfloppy.synth.tree.origins import host_path

some = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Every byte string that Linux allows: 1 to 255 bytes, neither NUL nor `/`, neither `.` nor `..`.
names = (
    st.binary(min_size=1, max_size=255)
    .map(lambda raw: raw.replace(b"\0", b"\1").replace(b"/", b"\\"))
    .filter(lambda raw: raw not in {b".", b".."})
)


class Link(NamedTuple):
    target: bytes


nodes = st.one_of(
    st.binary(max_size=3000),  # a file
    st.sampled_from(["fifo", "socket", "sparse", "unreadable"]),
    st.sampled_from([b".", b"..", b"loop", b"/dev/null", b"\xff" * 200, b"a/b"]).map(Link),
)  # fmt: skip
trees = st.recursive(
    st.dictionaries(names, nodes, max_size=5),
    lambda inner: st.dictionaries(names, st.one_of(nodes, inner), max_size=5),
    max_leaves=12,
)


def make(folder: bytes, drawn) -> None:
    for name, node in drawn.items():
        path = os.path.join(folder, name)
        if isinstance(node, dict):
            os.mkdir(path)
            if len(path) < 2000:
                make(path, node)
        elif isinstance(node, bytes):
            with open(path, "wb") as file:
                file.write(node)
        elif isinstance(node, Link):
            os.symlink(node.target if node.target != b"loop" else name, path)
        elif node == "fifo":
            os.mkfifo(path)
        elif node == "sparse":
            with open(path, "wb") as file:
                file.truncate((1 << 32) - 1)
        elif node == "socket" and len(path) < 100:
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(path)
        else:
            with open(path, "wb"):
                os.chmod(path, 0)


def places_of(image, tree):
    """Where the contents of each file begin on the disk, by node."""
    found = {}
    for position, piece in located(image):
        if isinstance(piece, FileSlice):
            node = piece.index
            assert piece.offset + piece.length <= tree.sizes[node]
            found.setdefault(node, position - piece.offset)
    return found


def located(image):
    """All pieces that are no hole, with their places."""
    position = 0
    reader = image.open()
    for extent in reader.extents(0, image.size):
        if not extent.hole:
            at = position
            for piece in reader.pieces(position, extent.length):
                yield at, piece
                at += len(piece) if isinstance(piece, bytes) else piece.length
        position += extent.length


@some
@given(
    trees,
    st.sampled_from(["skip", "follow", "follow-all", "keep"]),
    st.sampled_from(["fat", "iso"]),
)
def test_any_host_is_served_or_refused(drawn, symlinks, form):
    with ExitStack() as closing:
        base = Path(tempfile.mkdtemp(prefix="hostile-"))
        closing.callback(shutil.rmtree, base)
        root = base / "root"  # links that leave it lead to little
        root.mkdir()
        make(os.fsencode(root), drawn)
        if form == "fat" and symlinks == "keep":
            symlinks = "refuse"
        options = ScanOptions(
            symlinks=symlinks, keep_special_files=form == "iso", skip_unreadable=True
        )
        try:
            tree = scan(str(root), options)
            image = disk_of(tree, form, HostFiles(tree))
        except VfloppyError as error:
            assert str(error).isprintable()  # noqa: PT017  it may be refused, and need not
            return
        places = places_of(image, tree)
        for node in range(1, len(tree)):
            if not stat.S_ISREG(tree.modes[node]) or not tree.sizes[node]:
                continue
            if node in tree.sparse and node not in places:
                continue  # nothing but a hole
            with open(host_path(tree, node), "rb") as file:
                content = file.read(5000)
            assert_same(read(image, places[node], len(content)), content)
        check_image(image, slices=20, whole=False)


@some
@given(trees, st.data())
def test_directories_that_vanish_during_the_scan_are_listed(drawn, data):
    root = Path(tempfile.mkdtemp(prefix="vanishing-"))
    try:
        make(os.fsencode(root), drawn)
        folders = [folder for folder, _, _ in os.walk(os.fsencode(root))][1:]
        if not folders:
            return
        victim = data.draw(st.sampled_from(folders))
        becomes = data.draw(st.sampled_from(["nothing", "file", "link"]))
        gone = []

        class Vanishing(sources.OpenHomes):
            def descriptor(self, home):
                if not gone and self._origins.home_parents[home] >= 0:
                    shutil.rmtree(victim)
                    gone.append(victim)
                    if becomes == "file":
                        Path(os.fsdecode(victim)).touch()
                    elif becomes == "link":
                        os.symlink(b"/", victim)
                return super().descriptor(home)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sources, "OpenHomes", Vanishing)
            tree = scan(str(root), ScanOptions(skip_unreadable=True))
        path = os.path.relpath(victim, os.fsencode(root))
        listed = {each.path for each in tree.skipped if each.reason == "vanished during the scan"}
        assert not gone or path in listed or not has_directory(tree, path)
        image = disk_of(tree, "fat", HostFiles(tree))
        for _, piece in located(image):
            if isinstance(piece, FileSlice):
                try:
                    piece.read()
                except HostReadError as error:  # it was scanned before it went
                    assert str(error).isprintable()  # noqa: PT017
    finally:
        shutil.rmtree(root)


def has_directory(tree, path):
    return any(tree.path(node) == path for node in tree.directories)


@pytest.mark.parametrize("form", ["fat", "iso"])
def test_files_whose_size_lies_hold_what_they_claim(form):
    """/proc claims that its files are empty: they are, on the disk."""
    tree = scan("/proc/self", ScanOptions(skip_unreadable=True, excluded=lambda path: "/" in path))
    image = disk_of(tree, form, HostFiles(tree))
    assert tree.find("stat")
    assert not any(tree.sizes)
    assert image.size
