"""Work shared with other processes: the same results, the same errors, nobody left behind."""

from __future__ import annotations

import os
import threading

import pytest
from compare import assert_same
from vfloppy.errors import ScanError
from vfloppy.synth import forks as sharing
from vfloppy.synth.forks import Forked, may_fork
from vfloppy.synth.scanning import scan as scan_module
from vfloppy.synth.scanning.merging import Graft
from vfloppy.synth.scanning.scan import ScanOptions, scan
from vfloppy.synth.tree.columns import Tree
from vfloppy.synth.tree.origins import host_name


@pytest.fixture(autouse=True)
def no_child_is_left():
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_result_comes_back():
    assert Forked(lambda: [os.getpid(), "x" * 200_000]).result() != [os.getpid(), "x" * 200_000]


def test_an_error_comes_back():
    def fail():
        raise ScanError("/x: can't be scanned")

    with pytest.raises(ScanError, match="/x: can't be scanned"):
        Forked(fail).result()


def test_a_child_that_dies_is_an_error():
    with pytest.raises(ChildProcessError, match="ended with status 3"):
        Forked(lambda: os._exit(3)).result()


def test_a_child_that_nobody_waits_for_is_ended():
    Forked(threading.Event().wait).discard()


def test_no_fork_beside_threads():
    assert may_fork()
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    assert not may_fork()
    go.set()
    thread.join()


@pytest.fixture
def wide(tmp_path):
    """Directories on three levels, with all that a scan meets."""
    root = tmp_path / "root"
    for number in range(100):
        folder = root / f"d{number:02}"
        (folder / "deeper" / "still").mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * number)
        (folder / "deeper" / "\u00e4").write_bytes(b"y")
        (folder / "deeper" / "still" / "end").touch()
        os.truncate(folder / "file", number << 12)
        (folder / "link").symlink_to(f"../d{(number + 50) % 100:02}/deeper")
        (folder / "dangling").symlink_to("nowhere")
        (folder / "ignored.o").touch()
        os.mkfifo(folder / "pipe")
    return root


@pytest.fixture
def forks(monkeypatch):
    """How many processes were made."""
    made = []

    class Counted(Forked):
        def __init__(self, work):
            made.append(work)
            super().__init__(work)

    monkeypatch.setattr(sharing, "Forked", Counted)
    return made


def columns(tree: Tree) -> dict[str, object]:
    """All that a scan found; its descriptors have other numbers each time."""
    every = vars(tree) | vars(tree.origins)
    return {name: column for name, column in every.items() if name not in {"held", "origins"}}


def assert_one_tree(shared: Tree, alone: Tree, options: dict[str, object]) -> None:
    """One tree; the homes of followed links may be numbered otherwise."""
    if options.get("symlinks") != "follow":
        assert_same(columns(shared), columns(alone))
    for node in range(len(alone)):
        assert shared.path(node) == alone.path(node)
        assert host_name(shared, node) == host_name(alone, node)
    for column in ("modes", "sizes", "inodes", "first_children", "directories", "skipped"):
        assert_same(getattr(shared, column), getattr(alone, column))


every_kind = pytest.mark.parametrize(
    "options",
    [
        {},
        {"symlinks": "follow"},
        {"symlinks": "keep", "keep_special_files": True, "owners": True},
        {"excluded": lambda path: path.endswith(".o")},
    ],
    ids=["plain", "follow", "keep", "exclude"],
)


@pytest.mark.parametrize("processes", [2, 3, 7])
@every_kind
def test_several_processes_find_what_one_finds(wide, forks, processes, options):
    alone = scan(str(wide), ScanOptions(**options))
    shared = scan(str(wide), ScanOptions(processes=processes, **options))
    assert forks
    assert_one_tree(shared, alone, options)


@every_kind
def test_one_large_directory_is_shared_by_its_entries(tmp_path, forks, monkeypatch, options):
    monkeypatch.setattr(scan_module, "_ENTRIES_A_PROCESS", 16)
    large = tmp_path / "large"
    for number in range(90):
        folder = large / f"{number:02}-d"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * number)
        (large / f"{number:02}-file").write_bytes(b"y" * number)
        (large / f"{number:02}-link").symlink_to(f"{(number + 50) % 90:02}-d")
        (large / f"{number:02}-to-file").symlink_to(f"{(number + 50) % 90:02}-file")
        (large / f"{number:02}-ignored.o").touch()
        os.mkfifo(large / f"{number:02}-pipe")
    alone = scan(str(tmp_path), ScanOptions(**options))
    monkeypatch.setattr(scan_module, "_DIRECTORIES_A_PROCESS", 1000)
    assert not forks
    shared = scan(str(tmp_path), ScanOptions(processes=3, **options))
    assert len(forks) == 2
    assert_one_tree(shared, alone, options)


def test_a_process_that_dies_over_a_large_directory_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_module, "_ENTRIES_A_PROCESS", 2)
    for number in range(4):
        (tmp_path / f"{number}").touch()
    parent, take = os.getpid(), scan_module._Scan._take
    monkeypatch.setattr(
        scan_module._Scan,
        "_take",
        lambda *given: take(*given) if os.getpid() == parent else os._exit(3),
    )
    with pytest.raises(ScanError, match=r"can't be scanned: .* ended with status 3"):
        scan(str(tmp_path), ScanOptions(processes=2))


def test_who_shares_a_level_shares_no_directory(wide, forks, monkeypatch):
    monkeypatch.setattr(scan_module, "_ENTRIES_A_PROCESS", 1)
    assert_same(columns(scan(str(wide), ScanOptions(processes=2))), columns(scan(str(wide))))
    assert len(forks) == 1 + 3, "one for the root's entries, one for each level"


def test_what_followed_links_lead_to_is_read_from_where_it_is(wide, forks):
    from vfloppy.synth.host.files import ScannedFiles  # noqa: PLC0415

    tree = scan(str(wide), ScanOptions(processes=3, symlinks="follow"))
    assert forks
    files = ScannedFiles(tree)
    read = [node for node in range(1, len(tree)) if tree.sizes[node]]
    assert len(read) == 99 + 100 + 100
    for node in read:
        assert len(files.read(node, 0, tree.sizes[node])) == tree.sizes[node]


def test_what_is_refused_is_named_in_order(wide, forks):
    with pytest.raises(ScanError, match=r"links: d00/dangling, d00/link, d01/dangling and 197 mo"):
        scan(str(wide), ScanOptions(processes=2, symlinks="refuse"))
    assert forks


def test_merged_directories_may_be_shared_and_grafts_are_not(wide, tmp_path, forks):
    other = tmp_path / "other"
    (other / "d07" / "more").mkdir(parents=True)
    sources = [str(wide), str(other)]
    assert_same(columns(scan(sources, ScanOptions(processes=2))), columns(scan(sources)))
    count = len(forks)
    assert count
    grafts = [Graft("d03/new/file", str(wide / "d01" / "file"))]
    grafted = scan(str(wide), ScanOptions(processes=2), grafts)
    assert_same(columns(grafted), columns(scan(str(wide), None, grafts)))


def test_an_error_in_another_process_is_the_scan_s(wide, forks, monkeypatch):
    real = os.scandir
    inode = os.stat(wide / "d99").st_ino

    def scandir(descriptor):
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(5, "Input/output error")
        return real(descriptor)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ScanError, match="d99: can't be scanned: Input/output error"):
        scan(str(wide), ScanOptions(processes=2))


def test_where_there_are_no_more_processes_it_goes_on_alone(wide, monkeypatch):
    expected = columns(scan(str(wide)))
    real, left = os.fork, [1]

    def fork():
        if not left:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        left.pop()
        return real()

    monkeypatch.setattr(os, "fork", fork)
    assert_same(columns(scan(str(wide), ScanOptions(processes=3))), expected)
    assert not left
    assert_same(columns(scan(str(wide), ScanOptions(processes=2))), expected)


def test_a_directory_that_does_not_open_may_not_be_read(wide, monkeypatch):
    real = os.scandir
    inode = os.stat(wide / "d98").st_ino

    def scandir(descriptor):
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(107, "Transport endpoint is not connected")
        return real(descriptor)

    monkeypatch.setattr(os, "scandir", scandir)
    for processes in (1, 2):
        with pytest.raises(ScanError, match="may not be read: d98; make it readable"):
            scan(str(wide), ScanOptions(processes=processes))
        tree = scan(str(wide), ScanOptions(processes=processes, skip_unreadable=True))
        assert (b"d98", "may not be read") in tree.skipped


def test_a_few_directories_are_not_worth_a_process(tmp_path, forks):
    for number in range(40):
        (tmp_path / str(number)).mkdir()
    scan(str(tmp_path), ScanOptions(processes=4))
    assert not forks
