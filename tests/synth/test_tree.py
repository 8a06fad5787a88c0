"""Trees: names and paths, on the disk and on the host, and how they are printed."""

from __future__ import annotations

import os

import pytest
from vfloppy.synth.grafts import Graft
from vfloppy.synth.scan import ScanOptions, scan
from vfloppy.synth.tree import home_path, host_path, printable


def node_of(tree, path: str) -> int:
    return next(node for node in range(len(tree)) if tree.path(node) == path.encode())


def test_a_tree_of_nothing(tmp_path):
    tree = scan(str(tmp_path))
    assert len(tree) == 1
    assert (tree.file_count, list(tree.directories), list(tree.children(0))) == (0, [0], [])
    assert (tree.name(0), tree.path(0)) == (b"", b"")


def test_names_joined_are_those_of_the_nodes(tmp_path):
    for name in ("é", "b", "c" * 255, "d"):
        (tmp_path / name).touch()
    tree = scan(str(tmp_path))
    names = [tree.name(node) for node in range(1, 5)]
    assert names == sorted(os.listdir(os.fsencode(tmp_path)))
    for first in range(1, 5):
        for last in range(first + 1, 6):
            assert tree.joined_names(first, last) == b"/".join(names[first - 1 : last - 1])


def test_columns_are_of_one_length(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"12345")
    tree = scan(str(tmp_path))
    columns = (tree.node_homes, tree.name_ends, tree.modes, tree.sizes, tree.mtimes_ns,
               tree.ctimes_ns, tree.inodes, tree.links, tree.devices)  # fmt: skip
    assert {len(column) for column in columns} == {3}
    assert len(tree.directories) == len(tree.first_children) == 2
    assert list(tree.sizes) == [0, 0, 5]
    assert tree.inodes[2] == (tmp_path / "d" / "f").stat().st_ino
    assert tree.device(2) == (tmp_path / "d" / "f").stat().st_dev


def test_a_directory_has_no_size(tmp_path):
    (tmp_path / "d").mkdir()
    for number in range(500):
        (tmp_path / "d" / f"{number}").touch()
    assert (tmp_path / "d").stat().st_size > 0
    assert sum(scan(str(tmp_path)).sizes) == 0


def test_a_grafted_file_has_two_names(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "kernel-6.1").write_text("x")
    graft = Graft("boot/vmlinuz", str(tmp_path / "sub" / "kernel-6.1"))
    tree = scan(str(tmp_path), grafts=[graft])
    node = node_of(tree, "boot/vmlinuz")
    assert (tree.name(node), tree.host_name(node)) == (b"vmlinuz", b"kernel-6.1")
    assert host_path(tree, node) == os.fsencode(tmp_path / "sub" / "kernel-6.1")
    assert home_path(tree, tree.node_homes[node]) == os.fsencode(tmp_path / "sub")


def test_a_followed_link_has_the_name_of_the_link_and_the_path_of_its_end(tmp_path):
    (tmp_path / "end").write_text("x")
    (tmp_path / "link").symlink_to("end")
    tree = scan(str(tmp_path), ScanOptions(symlinks="follow"))
    node = node_of(tree, "link")
    assert host_path(tree, node) == os.fsencode(tmp_path / "end")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"plain/file.txt", "plain/file.txt"),
        ("grüße/日本".encode(), "grüße/日本"),
        (b"caf\xe9", "caf\\xe9"),
        (b"new\nline", "new\\nline"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
    ],
)
def test_paths_are_printed_on_one_line_and_steer_no_terminal(path, shown):
    assert printable(path) == shown
