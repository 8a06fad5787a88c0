"""Files that are in a tree and not on the host: where they go, and what they may not replace."""

from __future__ import annotations

import pytest
from vfloppy.errors import ScanError
from vfloppy.synth.scanning.merging import Graft, Made
from vfloppy.synth.scanning.scan import scan

TIME_NS = 1_700_000_000_123_456_789


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "boot").mkdir(parents=True)
    (tmp_path / "root" / "boot" / "kernel").write_bytes(b"kernel")
    (tmp_path / "root" / "file").write_bytes(b"file")
    return tmp_path / "root"


def made(target):
    return [Made(target, 5 << 32, TIME_NS, "that is why")]


@pytest.mark.parametrize(
    ("target", "others"),
    [
        ("efi.img", ["boot", "boot/kernel", "file"]),
        ("/boot/efi.img", ["boot", "boot/kernel", "file"]),
        ("boot/deeper/efi.img", ["boot", "boot/deeper", "boot/kernel", "file"]),
        ("new/efi.img", ["boot", "boot/kernel", "file", "new"]),
        ("FILE", ["boot", "boot/kernel", "file"]),
    ],
)
def test_a_made_file_has_its_place_beside_those_of_the_host(root, target, others):
    tree = scan(str(root), made=made(target))
    path = target.strip("/")
    assert sorted(tree.path(node).decode() for node in range(1, len(tree))) == sorted(
        [*others, path]
    )
    node = tree.find(path)
    assert (tree.sizes[node], tree.mtimes_ns[node]) == (5 << 32, TIME_NS)
    assert not tree.is_directory(node)
    assert node not in tree.sparse
    assert tree.sizes[tree.find("boot/kernel")] == 6


@pytest.mark.parametrize("target", ["file", "boot", "file/efi.img", "boot/kernel/x/efi.img", "/"])
def test_a_made_file_takes_the_place_of_nothing(root, target):
    with pytest.raises(ScanError, match=f"{target}: already in the tree; that is why"):
        scan(str(root), made=made(target))


@pytest.mark.parametrize("target", ["boot/x", "boot/x/y", "new"])
def test_a_made_file_takes_the_place_of_no_graft(root, target):
    grafts = [Graft("boot/x", str(root / "file")), Graft("new/below", str(root / "boot"))]
    with pytest.raises(ScanError, match="already in the tree"):
        scan(str(root), grafts=grafts, made=made(target))
    tree = scan(str(root), grafts=grafts, made=made("new/beside"))
    assert tree.find("boot/x")
    assert tree.find("new/below/kernel")
    assert tree.find("new/beside")


def test_a_tree_may_be_of_nothing_else():
    tree = scan([], made=made("a/b"))
    assert [tree.path(node) for node in range(1, len(tree))] == [b"a", b"a/b"]
