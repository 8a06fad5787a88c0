"""Scans: the order of nodes, what is skipped, merged, grafted, excluded, followed."""

from __future__ import annotations

import contextlib
import os

import pytest
from tools import output
from trees import deep, special_files
from vfloppy.errors import ScanError
from vfloppy.synth.host.files import ScannedFiles
from vfloppy.synth.scanning.merging import Graft
from vfloppy.synth.scanning.scan import ScanOptions, scan


def show(tree) -> dict[str, bytes | None]:
    """Paths with contents, None for directories."""
    files = ScannedFiles(tree)
    return {
        os.fsdecode(tree.path(node)): None
        if tree.is_directory(node)
        else files.read(node, 0, tree.sizes[node])
        for node in range(1, len(tree))
    }


@pytest.fixture
def trees(tmp_path):
    """Two directories that share a file and a directory."""
    for name in ("one", "two"):
        (tmp_path / name / "both").mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
        (tmp_path / name / "both" / f"in {name}").write_text(name)
    return tmp_path


def test_nodes_are_in_order_level_by_level(tmp_path):
    for path in ("b/y/deep", "a/x", "c", "b/z"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    tree = scan(str(tmp_path))
    paths = [tree.path(node).decode() for node in range(len(tree))]
    assert paths == ["", "a", "b", "c", "a/x", "b/y", "b/z", "b/y/deep"]
    assert [tree.parent(node) for node in range(1, len(tree))] == [0, 0, 0, 1, 2, 2, 3]
    assert [list(tree.children(ordinal)) for ordinal in range(4)] == [[1, 2, 3], [4], [5, 6], [7]]
    assert [tree.ordinal(node) for node in (0, 1, 2, 5)] == [0, 1, 2, 3]


def test_directories_without_entries_do_not_confuse_parents(tmp_path):
    for name in ("a", "b/full", "c", "d/full"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "d" / "full" / "file").touch()
    tree = scan(str(tmp_path))
    for node in range(1, len(tree)):
        path = tree.path(node)
        parent = tree.directories[tree.parent(node)]
        assert tree.path(parent) == os.path.dirname(path)


def test_names_are_bytes_that_come_back(tmp_path):
    names = [b"plain", "grüße".encode(), b"not utf-8 \xff\xfe", b" ", b"new\nline"]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    tree = scan(str(tmp_path))
    assert sorted(tree.name(node) for node in range(1, len(tree))) == sorted(names)


def test_what_is_no_file_is_skipped_with_its_reason(tmp_path):
    special_files(tmp_path)
    tree = scan(str(tmp_path))
    assert list(show(tree)) == ["kept.txt"]
    assert {(path.decode(), reason) for path, reason in tree.skipped} == {
        ("link", "symbolic link"),
        ("dangling", "symbolic link"),
        ("upwards", "symbolic link"),
        ("fifo", "named pipe"),
        ("socket", "socket"),
    }


@pytest.fixture
def bottomless(tmp_path):
    """A directory that is removed by a program that doesn't recurse; pytest's own removal does."""
    root = tmp_path / "bottomless"
    root.mkdir()
    yield root
    output("rm", "-rf", str(root))


def test_two_thousand_levels(bottomless):
    folder = os.open(bottomless, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("deeper", dir_fd=folder)
        below = os.open("deeper", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    with os.fdopen(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "w") as file:
        file.write("deep down")
    os.close(folder)
    tree = scan(str(bottomless))
    assert len(tree) == 2002
    assert tree.path(2001) == b"deeper/" * 2000 + b"file"
    assert ScannedFiles(tree).read(2001, 0, 9) == b"deep down"


def test_a_file_that_vanishes_during_the_scan_was_never_there(tmp_path, monkeypatch):
    (tmp_path / "stays").touch()
    (tmp_path / "goes").touch()
    real = os.scandir

    class Vanishing:
        def __init__(self, entries):
            self.entries = entries

        def __enter__(self):
            found = list(self.entries)
            (tmp_path / "goes").unlink()
            return iter(found)

        def __exit__(self, *_):
            self.entries.close()

    monkeypatch.setattr(os, "scandir", lambda fd: Vanishing(real(fd)))
    assert list(show(scan(str(tmp_path)))) == ["stays"]


def test_later_sources_win_and_directories_merge(trees):
    one, two = str(trees / "one"), str(trees / "two")
    assert show(scan([one, two])) == {
        "both": None, "file": b"two", "both/in one": b"one", "both/in two": b"two",
    }  # fmt: skip
    assert show(scan([two, one]))["file"] == b"one"
    with pytest.raises(ScanError, match="in more than one source: file"):
        scan([one, two], ScanOptions(strict=True))


def test_a_file_and_a_directory_of_one_name(trees):
    (trees / "two" / "both" / "in two").unlink()
    (trees / "two" / "both").rmdir()
    (trees / "two" / "both").write_text("a file")
    one, two = str(trees / "one"), str(trees / "two")
    assert show(scan([one, two]))["both"] == b"a file"
    assert show(scan([two, one]))["both"] is None
    with pytest.raises(ScanError, match="both"):
        scan([two, one], ScanOptions(strict=True))


def test_grafts(trees):
    one, two = trees / "one", trees / "two"
    grafts = [
        Graft("both/renamed", str(two / "file")),
        Graft("new/place", str(two)),
        Graft("both", str(two / "both")),
    ]
    assert show(scan(str(one), grafts=grafts)) == {
        "both": None,
        "file": b"one",
        "new": None,
        "both/in one": b"one",
        "both/in two": b"two",
        "both/renamed": b"two",
        "new/place": None,
        "new/place/both": None,
        "new/place/file": b"two",
        "new/place/both/in two": b"two",
    }


def test_names_of_several_sources_that_are_one_for_the_disk_become_one(tmp_path):
    for path in ("1/EFI/Boot/x.EFI", "1/a", "2/efi/boot/X.efi", "2/efi/grub", "2/A", "2/a", "3/A"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    one, two, three = (str(tmp_path / number) for number in "123")
    options = ScanOptions(fold=str.upper)
    assert show(scan([one, two, three], options)) == {
        "A": b"3/A",  # it is one of two of the second source's
        "EFI": None,
        "a": b"2/a",
        "EFI/Boot": None,
        "EFI/grub": b"2/efi/grub",
        "EFI/Boot/x.EFI": b"2/efi/boot/X.efi",
    }
    assert show(scan([one, three], options))["a"] == b"3/A"
    assert "efi" in show(scan([one, two, three]))
    with pytest.raises(ScanError, match=r"in more than one source: a, EFI/Boot/x\.EFI"):
        scan([one, two], options._replace(strict=True))


def test_grafts_go_to_where_the_disk_finds_their_names(trees):
    one, two = trees / "one", trees / "two"
    grafts = [
        Graft("FILE", str(two / "file")),
        Graft("Both/New/x", str(two / "file")),
        Graft("both/NEW/y", str(two / "file")),
    ]
    assert show(scan(str(one), ScanOptions(fold=str.upper), grafts)) == {
        "both": None,
        "file": b"two",
        "both/New": None,
        "both/in one": b"one",
        "both/New/x": b"two",
        "both/New/y": b"two",
    }
    assert "FILE" in show(scan(str(one), grafts=grafts))


def test_a_tree_of_nothing_but_a_graft(trees):
    tree = scan([], grafts=[Graft("EFI/BOOT/BOOTX64.EFI", str(trees / "one" / "file"))])
    assert show(tree) == {"EFI": None, "EFI/BOOT": None, "EFI/BOOT/BOOTX64.EFI": b"one"}


@pytest.mark.parametrize(
    ("target", "source", "words"),
    [("../x", "file", "no names"), ("x", "missing", "No such file"), ("/", "file", "needs a name")],
)
def test_grafts_that_cannot_be(trees, target, source, words):
    with pytest.raises(ScanError, match=words):
        scan(str(trees / "one"), grafts=[Graft(target, str(trees / "one" / source))])


def test_what_is_excluded_is_noted_and_not_entered(trees):
    options = ScanOptions(excluded=lambda path: path in ("both/", "x"))
    tree = scan(str(trees / "one"), options)
    assert show(tree) == {"file": b"one"}
    assert tree.skipped == [(b"both", "excluded")]


def test_large_files_are_left_out_on_request(tmp_path):
    (tmp_path / "small").write_text("12345")
    (tmp_path / "large").write_text("123456")
    tree = scan(str(tmp_path), ScanOptions(skip_larger_than=5))
    assert show(tree) == {"small": b"12345"}
    assert tree.skipped == [(b"large", "larger than 5 bytes")]


@pytest.fixture
def links(trees):
    one = trees / "one"
    (one / "to file").symlink_to("both/in one")
    (one / "to directory").symlink_to(one / "both")
    (one / "both" / "up").symlink_to("..")
    (one / "out").symlink_to(trees / "two" / "file")
    (one / "nowhere").symlink_to("nothing")
    (one / "itself").symlink_to("itself")
    return one


def test_links_are_followed_within_the_sources(links):
    tree = scan(str(links), ScanOptions(symlinks="follow"))
    assert show(tree) == {
        "both": None,
        "file": b"one",
        "to directory": None,
        "to file": b"one",
        "both/in one": b"one",
        "to directory/in one": b"one",
    }
    assert dict(tree.skipped) == {
        b"both/up": "symbolic link in a circle",
        b"to directory/up": "symbolic link in a circle",
        b"out": "symbolic link that leads outside",
        b"nowhere": "symbolic link that leads nowhere",
        b"itself": "symbolic link that leads nowhere",
    }


def test_links_are_followed_anywhere_only_on_request(links):
    assert show(scan(str(links), ScanOptions(symlinks="follow-all")))["out"] == b"two"
    both = [str(links), str(links.parent / "two")]
    assert show(scan(both, ScanOptions(symlinks="follow")))["out"] == b"two"


def test_a_directory_outside_becomes_a_root_and_not_what_it_is_in(tmp_path):
    """A sandbox may read beneath the roots."""
    (tmp_path / "outside" / "wanted").mkdir(parents=True)
    (tmp_path / "outside" / "wanted" / "file").write_text("wanted")
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside" / "wanted")
    tree = scan(str(tmp_path / "tree"), ScanOptions(symlinks="follow-all"))
    assert show(tree) == {"link": None, "link/file": b"wanted"}
    roots = [
        name
        for name, parent in zip(tree.origins.home_names, tree.origins.home_parents, strict=True)
        if parent == -1
    ]
    assert roots == [os.fsencode(tmp_path / name) for name in ("tree", "outside/wanted")]


def test_what_says_nothing_of_itself_is_excluded_skipped_or_refused_by_its_own_name(
    tmp_path, monkeypatch
):
    """Such as where a file system is mounted that doesn't answer any more."""

    class Silent:
        name = "gone"

        def stat(self, **_):
            raise OSError(107, "Transport endpoint is not connected")

    (tmp_path / "file").touch()
    real = os.scandir

    @contextlib.contextmanager
    def scandir(descriptor):
        with real(descriptor) as entries:
            yield [*entries, Silent()]

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ScanError, match="may not be read: gone;"):
        scan(str(tmp_path))
    for options, reason in (
        (ScanOptions(skip_unreadable=True), "may not be read"),
        (ScanOptions(excluded=lambda path: path == "gone/"), "excluded"),
    ):
        tree = scan(str(tmp_path), options)
        assert [(each.path, each.reason) for each in tree.skipped] == [(b"gone", reason)]
        assert list(show(tree)) == ["file"]


def test_links_can_be_refused(links):
    with pytest.raises(ScanError, match="symbolic links: itself, nowhere, out and 3 more"):
        scan(str(links), ScanOptions(symlinks="refuse"))


def test_a_followed_file_is_read_where_it_is_and_not_where_the_link_leads_later(links):
    tree = scan(str(links), ScanOptions(symlinks="follow"))
    (links / "to file").unlink()
    (links / "to file").symlink_to("/etc/passwd")
    assert show(tree)["to file"] == b"one"


def test_depth_and_files_of_a_made_tree(tmp_path):
    deep(tmp_path)
    tree = scan(str(tmp_path))
    assert (tree.file_count, len(tree.directories)) == (60, 61)


def test_links_and_special_files_are_kept_on_demand(tmp_path):
    (tmp_path / "link").symlink_to("somewhere/else")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "raw").symlink_to(b"\xff/\xfe")
    os.mkfifo(tmp_path / "pipe")
    options = ScanOptions(symlinks="keep", keep_special_files=True)
    tree = scan(str(tmp_path), options)
    assert not tree.skipped
    targets = {tree.path(node): target for node, target in tree.targets.items()}
    assert targets[b"link"] == b"somewhere/else"
    assert targets[b"sub/raw"] == b"\xff/\xfe"
    assert tree.find("pipe") in tree.rdevs
    assert sum(tree.sizes[node] for node in (*tree.targets, *tree.rdevs)) == 0
    merged = scan([str(tmp_path), str(tmp_path / "sub")], options)
    assert {merged.path(node) for node in merged.targets} >= {b"link", b"raw", b"sub/raw"}


def test_owners_are_noted_on_demand(tmp_path):
    (tmp_path / "file").touch()
    assert not scan(str(tmp_path)).owners
    tree = scan(str(tmp_path), ScanOptions(owners=True))
    status = os.lstat(tmp_path / "file")
    assert tree.owner_ids[tree.owners[1]] == (status.st_uid, status.st_gid)
    assert len(tree.owners) == len(tree)


def test_a_node_is_found_by_its_path(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").touch()
    (tmp_path / "a" / "empty").mkdir()
    tree = scan(str(tmp_path))
    for node in range(len(tree)):
        assert tree.find(os.fsdecode(tree.path(node))) == node
    assert tree.find("/a//b/c/") == tree.find("a/b/c")
    assert [tree.find(path) for path in ("x", "a/x", "a/b/c/d", "a/empty/x")] == [None] * 4
    assert [len(tree.subdirectories(ordinal)) for ordinal in range(4)] == [1, 2, 0, 0]


@pytest.mark.parametrize("options", [ScanOptions(), ScanOptions(excluded=lambda _: False)])
def test_what_vfloppy_keeps_of_changes_is_skipped_and_listed(tmp_path, options):
    (tmp_path / "d/.vfloppy/trash").mkdir(parents=True)
    (tmp_path / "d/.vfloppy").chmod(0)
    (tmp_path / ".vfloppy").touch()
    tree = scan(str(tmp_path), options)
    assert [tree.path(node) for node in range(1, len(tree))] == [b".vfloppy", b"d"]
    assert tree.skipped == [(b"d/.vfloppy", "what vfloppy keeps of changes that it has applied")]


def test_a_scan_notes_which_directories_are_made_of_which(trees):
    (trees / "graft").mkdir()
    (trees / "two/own").mkdir()
    tree = scan(
        [str(trees / "one"), str(trees / "two")],
        grafts=[Graft("both", str(trees / "graft")), Graft("made/here", str(trees / "graft"))],
    )
    origins = tree.origins
    merged = {
        os.fsdecode(tree.path(node)): [os.fsdecode(origins.home_path(home)) for home in homes]
        for node, homes in origins.merged_homes.items()
    }
    assert merged == {
        "": [str(trees / "one"), str(trees / "two")],
        "both": [str(trees / "one/both"), str(trees / "two/both"), str(trees / "graft")],
        "own": [str(trees / "two/own")],
        "made": [],
        "made/here": [str(trees / "graft")],
    }


def test_processes_note_merged_directories_as_one_does(tmp_path):
    for source in ("one", "two"):
        for number in range(200):
            (tmp_path / source / f"d{number:03}" / "both").mkdir(parents=True)
    sources = [str(tmp_path / "one"), str(tmp_path / "two")]
    alone, together = (scan(sources, ScanOptions(processes=count)) for count in (1, 4))
    assert len(alone.origins.merged_homes) == 401

    def paths(tree):
        origins = tree.origins
        return {
            node: [origins.home_path(home) for home in homes]
            for node, homes in origins.merged_homes.items()
        }

    assert paths(together) == paths(alone)
