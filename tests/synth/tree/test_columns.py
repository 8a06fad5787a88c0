"""Trees: names and paths, on the disk and on the host, and how they are printed."""

from __future__ import annotations

import os

import pytest
from vfloppy.synth.scanning.merging import Graft
from vfloppy.synth.scanning.scan import ScanOptions, scan
from vfloppy.synth.tree.columns import Tree, printable
from vfloppy.synth.tree.origins import host_name, host_path


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
    columns = (tree.origins.node_homes, tree.name_ends, tree.modes, tree.sizes, tree.mtimes_ns,
               tree.origins.ctimes_ns, tree.inodes, tree.links, tree.devices)  # fmt: skip
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
    assert (tree.name(node), host_name(tree, node)) == (b"vmlinuz", b"kernel-6.1")
    assert host_path(tree, node) == os.fsencode(tmp_path / "sub" / "kernel-6.1")
    assert tree.origins.home_path(tree.origins.node_homes[node]) == os.fsencode(tmp_path / "sub")


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


def test_owners_and_devices_are_not_looked_for_one_by_one():
    """Counted in comparisons, not in time."""
    compared = 0

    class Id(int):
        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return int(self) == int(other)

        __hash__ = int.__hash__

    tree = Tree()
    for _ in range(2):
        places = [tree.owner_index(Id(number), Id(number % 7)) for number in range(3000)]
        assert places == list(range(3000))
        assert [tree.device_index(Id(number)) for number in range(3000)] == list(range(3000))
    assert tree.owner_ids == [(number, number % 7) for number in range(3000)]
    assert compared < 20 * 3000


def test_owners_of_several_processes_are_numbered_together(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}").mkdir()
        for name in "ab":
            (tmp_path / f"{number}" / name).touch()
            if os.geteuid() == 0:
                os.chown(tmp_path / f"{number}" / name, 1000 + number // 2, number % 3)
    alone, shared = (
        scan(str(tmp_path), ScanOptions(owners=True, processes=count)) for count in (1, 3)
    )
    for tree in (alone, shared):
        assert len(set(tree.owner_ids)) == len(tree.owner_ids)
        for node in range(1, len(tree)):
            status = os.lstat(host_path(tree, node))
            assert tree.owner_ids[tree.owners[node]] == (status.st_uid, status.st_gid)
    assert alone.owner_ids == shared.owner_ids
