"""Host files: every change shows, nothing outside is reached, few descriptors are open."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest
from vfloppy.export import HostReadError
from vfloppy.synth.host import files as host
from vfloppy.synth.host.births import birth_ns
from vfloppy.synth.host.files import ScannedFiles
from vfloppy.synth.scanning.scan import scan
from vfloppy.synth.tree import builder as rows


@pytest.fixture
def root(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"0123456789" * 1000)
    (tmp_path / "other").write_bytes(b"other")
    return tmp_path


def node_of(tree, path: str) -> int:
    return next(node for node in range(len(tree)) if tree.path(node) == path.encode())


def shrink(path):
    os.truncate(path, 10)


def rewrite(path):
    with open(path, "r+b") as file:
        file.write(b"X")
    os.utime(path, (1, 1))  # whatever the clock's grain, this is another time


def rewrite_and_put_the_time_back(path):
    status = path.stat()
    with open(path, "r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path):
    fresh = path.with_name("fresh")
    fresh.write_bytes(path.read_bytes())
    os.replace(fresh, path)


def become_a_link(path):
    path.unlink()
    path.symlink_to("/etc/passwd")


def become_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def become_a_directory(path):
    path.unlink()
    path.mkdir()


CHANGES = {
    shrink: "has 10 bytes, 10000 at the scan",
    rewrite: "was written to",
    rewrite_and_put_the_time_back: "may have other contents",
}
REPLACEMENTS = {
    replace: "was replaced",
    become_a_link: "can't be read",
    become_a_pipe: "no regular file",
    become_a_directory: "no regular file",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("opened_before", [False, True])
def test_a_changed_file_is_an_error_that_names_it(root, change, opened_before):
    tree = scan(str(root))
    node = node_of(tree, "sub/file")
    files = ScannedFiles(tree)
    if opened_before:
        assert files.read(node, 0, 5) == b"01234"
    change(root / "sub" / "file")
    with pytest.raises(HostReadError, match=CHANGES[change]) as caught:
        files.read(node, 0, 5)
    assert str(root / "sub" / "file") in str(caught.value)
    assert caught.value.errno == errno.EIO
    other = node_of(tree, "other")
    assert files.read(other, 0, 5) == b"other"


@pytest.mark.parametrize("change", REPLACEMENTS, ids=lambda change: change.__name__)
def test_a_replaced_file_is_an_error(root, change):
    tree = scan(str(root))
    change(root / "sub" / "file")
    with pytest.raises(HostReadError, match=REPLACEMENTS[change]):
        ScannedFiles(tree).read(node_of(tree, "sub/file"), 0, 5)


def test_a_directory_on_the_way_that_became_a_link_is_not_followed(root, tmp_path_factory):
    tree = scan(str(root))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (root / "sub").rename(elsewhere / "sub")
    (root / "sub").symlink_to(elsewhere / "sub")
    with pytest.raises(HostReadError, match="can't be read"):
        ScannedFiles(tree).read(node_of(tree, "sub/file"), 0, 5)


def test_a_deleted_file_is_served_while_it_is_open(root):
    tree = scan(str(root))
    node = node_of(tree, "sub/file")
    files = ScannedFiles(tree)
    files.read(node, 0, 1)
    (root / "sub" / "file").unlink()
    assert files.read(node, 10, 3) == b"012"
    with pytest.raises(HostReadError, match="No such file"):
        ScannedFiles(tree).read(node, 0, 1)


def test_adopted_files_are_checked_as_any(root):
    """Whoever detached them may know no better, or mean ill."""
    tree = scan(str(root))
    first, second = ScannedFiles(tree), ScannedFiles(tree)
    node = node_of(tree, "other")
    first.read(node, 0, 1)
    assert first.open_count == 1
    nodes, (descriptor,) = first.detach()
    assert nodes == [node]
    with open(os.devnull) as null:
        second.adopt([node], [os.dup(null.fileno())])
    with pytest.raises(HostReadError, match="no regular file"):
        second.read(node, 0, 1)
    third = ScannedFiles(tree)
    third.adopt([node], [os.dup(descriptor)])
    (root / "other").unlink()
    assert third.read(node, 0, 1) == first.read(node, 0, 1)


def test_growth_is_invisible(root):
    tree = scan(str(root))
    with open(root / "other", "ab") as file:
        file.write(b" and more")
    assert ScannedFiles(tree).read(node_of(tree, "other"), 0, 5) == b"other"


def test_mode_and_hard_links_may_change(root):
    tree = scan(str(root))
    (root / "other").chmod(0o600)
    assert ScannedFiles(tree).read(node_of(tree, "other"), 0, 5) == b"other"
    os.link(root / "other", root / "linked")
    assert ScannedFiles(tree).read(node_of(tree, "other"), 0, 5) == b"other"


def test_few_descriptors_are_open_however_many_files_are_read(tmp_path, monkeypatch):
    for number in range(200):
        (tmp_path / f"{number:03}").write_text(str(number))
    tree = scan(str(tmp_path))
    monkeypatch.setattr(host, "_MOST_OPEN_FILES", 8)
    files = ScannedFiles(tree)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for node in range(1, 201):
            assert files.read(node, 0, tree.sizes[node]) == str(node - 1).encode()
    assert len(os.listdir("/proc/self/fd")) <= before + 9


def test_no_free_descriptor_closes_an_open_one(root, monkeypatch):
    tree = scan(str(root))
    files = ScannedFiles(tree)
    files.read(node_of(tree, "other"), 0, 1)
    real, failures = os.open, [errno.EMFILE]

    def scarce(*arguments, **options):
        if failures:
            raise OSError(failures.pop(), "too many")
        return real(*arguments, **options)

    monkeypatch.setattr(os, "open", scarce)
    assert files.read(node_of(tree, "sub/file"), 0, 1) == b"0"
    assert files.read(node_of(tree, "other"), 0, 1) == b"o"


def test_a_short_read_is_completed(root, monkeypatch):
    tree = scan(str(root))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: real(fd, min(length, 7), offset))
    data = ScannedFiles(tree).read(node_of(tree, "sub/file"), 5, 100)
    assert data == (b"0123456789" * 11)[5:105]


def test_the_holes_of_a_file(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(10 << 20)
        file.seek(4 << 20)
        file.write(b"here")
    tree = scan(str(tmp_path))
    assert list(tree.sparse) == [1]
    runs = list(ScannedFiles(tree).data_runs(1, 0))
    assert len(runs) == 1
    assert runs[0][0] <= 4 << 20 < runs[0][1] <= (4 << 20) + (1 << 16)
    os.truncate(tmp_path / "sparse", 5)
    assert list(ScannedFiles(tree).data_runs(1, 0)) == [(0, 10 << 20)]  # reading says why


def test_verifying_a_file_that_was_closed_for_others_opens_it_again(root):
    tree = scan(str(root))
    node = node_of(tree, "other")
    files = ScannedFiles(tree)
    files.verify(node)
    shrink(root / "sub" / "file")
    with pytest.raises(HostReadError):
        files.verify(node_of(tree, "sub/file"))


def at_the_same_time(tree, node, path):
    """As if all of it had come within one tick of the clock."""
    status = os.stat(path)
    tree.origins.ctimes_ns[node], tree.mtimes_ns[node] = status.st_ctime_ns, status.st_mtime_ns


@pytest.mark.parametrize("opened_before", [False, True])
def test_another_file_of_the_same_time_is_another_file(root, opened_before):
    (root / "two").mkdir()
    (root / "two" / "file").write_bytes(b"9876543210" * 1000)
    tree = scan(str(root))
    node = node_of(tree, "sub/file")
    os.rename(root / "sub", root / "aside")
    os.rename(root / "two", root / "sub")
    at_the_same_time(tree, node, root / "sub" / "file")
    files = ScannedFiles(tree)
    for _ in range(1 + opened_before):
        with pytest.raises(HostReadError, match="was replaced after the scan"):
            files.read(node, 0, 5)
    with pytest.raises(HostReadError, match="was replaced after the scan"):
        files.descriptor(node)


def test_a_file_that_was_cut_at_the_same_time_has_no_hole_there(root):
    with open(root / "sparse", "wb") as file:
        file.truncate(1 << 20)
        file.seek((1 << 20) - 4096)
        file.write(b"x" * 4096)
    tree = scan(str(root))
    node = node_of(tree, "sparse")
    os.truncate(root / "sparse", 1 << 19)
    at_the_same_time(tree, node, root / "sparse")
    files = ScannedFiles(tree)
    assert list(files.data_runs(node, 0)) == [(0, 1 << 20)], "reading it says what is wrong"
    with pytest.raises(HostReadError, match=f"has {1 << 19} bytes, {1 << 20} at the scan"):
        files.read(node, 0, 5)


def made_anew(path, content, *, as_it_was=False):
    """Deletes a file and makes another one, which gets the old one's number: as ext4 does at once
    and others sooner or later.
    """
    before = path.stat()
    path.unlink()
    aside = []
    for number in range(64):
        path.write_bytes(content)
        if path.stat().st_ino == before.st_ino:
            break
        aside.append(path.rename(path.with_name(f"aside {number}")))
    else:
        pytest.skip("this file system gives no number twice")
    if as_it_was:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        path.chmod(0o600)
    for each in aside:
        each.unlink()


def wait_for_the_clock_of(path):
    """A change in the same tick of the file system's clock leaves no trace."""
    probe = path.with_name("probe")
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            probe.unlink()
            return


@pytest.mark.parametrize("as_it_was", [False, True], ids=["longer", "same size and time"])
@pytest.mark.parametrize("opened_before", [False, True])
def test_a_file_that_has_the_number_of_a_deleted_one_is_another(root, opened_before, as_it_was):
    file = root / "sub" / "file"
    file.chmod(0o644)
    wait_for_the_clock_of(file)
    tree = scan(str(root))
    node = node_of(tree, "sub/file")
    if birth_of(file) is None:
        pytest.skip("this file system notes no births")
    made_anew(file, b"SECRET".ljust(10_000 if as_it_was else 20_000), as_it_was=as_it_was)
    files = ScannedFiles(tree)
    for _ in range(1 + opened_before):
        with pytest.raises(HostReadError, match="was replaced after the scan"):
            files.read(node, 0, 5)
    with pytest.raises(HostReadError, match="was replaced after the scan"):
        files.descriptor(node)
    told = []
    files = ScannedFiles(tree, on_change=told.append)
    assert files.read(node, 0, 5) == files.read(node, 0, 5) == b"SECRE"
    assert [text.partition(str(file))[2] for text in told] == [
        " was replaced after the scan; what is there now is read"
    ]


def birth_of(path):
    with open(path, "rb") as file:
        return birth_ns(file.fileno())


def grow(path):
    with open(path, "ab") as file:
        file.write(b"more")


def change_mode(path):
    path.chmod(path.stat().st_mode ^ 0o4)


@pytest.mark.parametrize("change", [grow, change_mode], ids=lambda change: change.__name__)
def test_births_are_asked_for_once_an_opening_and_of_changed_files_alone(root, monkeypatch, change):
    file, asked = root / "sub" / "file", []

    def asking(descriptor):
        asked.append(descriptor)
        return birth_ns(descriptor)

    monkeypatch.setattr(host, "birth_ns", asking)
    wait_for_the_clock_of(file)
    tree = scan(str(root))
    node = node_of(tree, "sub/file")
    files = ScannedFiles(tree)
    assert files.read(node, 0, 5) == files.read(node, 0, 5) == b"01234"
    assert not asked
    change(file)
    for _ in range(2):
        for _ in range(3):
            assert files.read(node, 0, 5) == b"01234"
        files.close()
    assert len(asked) == 2


def stated(monkeypatch, **fields):
    """Has descriptors say something else of their files."""
    real = os.fstat

    def status(descriptor):
        found = real(descriptor)
        names = [name for name in dir(found) if name.startswith("st_")]
        return SimpleNamespace(**{name: getattr(found, name) for name in names} | fields)

    monkeypatch.setattr(os, "fstat", status)


# A file that was scanned when it was 1000.5 or 1000 s: when it was born, its ctime now, and whether
# that may be the scan's file, grown.
LIVES = [
    (1_000_500_000_000, 999_000_000_000, 1_001_000_000_000, True),
    (1_000_500_000_000, 1_000_500_000_000, 1_001_000_000_000, True),  # made and let be
    (1_000_500_000_000, 1_000_500_000_001, 1_001_000_000_000, False),
    (1_000_500_000_000, 999_000_000_000, 1_000_000_000_000, False),  # the clock was set back
    (1_000_500_000_000, None, 1_001_000_000_000, True),  # no births here
    (1_000_000_000_000, 1_001_990_000_000, 1_004_000_000_000, True),  # FAT
    (1_000_000_000_000, 1_002_000_000_000, 1_004_000_000_000, False),
]


@pytest.mark.parametrize(("scanned", "born", "now", "is_same"), LIVES)
def test_the_scans_file_was_born_before_it_was_last_changed(
    root, monkeypatch, scanned, born, now, is_same
):
    tree = scan(str(root))
    node = node_of(tree, "other")
    tree.origins.ctimes_ns[node] = scanned
    (root / "other").write_bytes(b"other, grown")
    stated(monkeypatch, st_ctime_ns=now)
    monkeypatch.setattr(host, "birth_ns", lambda _descriptor: born)
    files = ScannedFiles(tree)
    if is_same:
        assert files.read(node, 0, 5) == b"other"
    else:
        with pytest.raises(HostReadError, match="was replaced after the scan"):
            files.read(node, 0, 5)


@pytest.mark.parametrize("year", [1600, 2400])
def test_a_file_of_another_age_may_change_its_mode(root, monkeypatch, year):
    """Its time is beyond what a column holds, as XFS and btrfs have them."""
    time_ns = (year - 1970) * 365 * 86400 * 10**9
    tree = scan(str(root))
    node = node_of(tree, "other")
    tree.mtimes_ns[node] = rows._times([time_ns])[0]
    wait_for_the_clock_of(root / "other")
    (root / "other").chmod(0o600)
    stated(monkeypatch, st_mtime_ns=time_ns)
    files = ScannedFiles(tree)
    assert files.read(node, 0, 5) == files.read(node, 0, 5) == b"other"


def test_where_files_have_no_lasting_numbers_the_time_decides(root, monkeypatch):
    tree = scan(str(root))
    node = node_of(tree, "other")
    tree.inodes[node] += 1
    monkeypatch.setattr(host, "has_lasting_numbers", lambda _descriptor: False)
    files = ScannedFiles(tree)
    assert files.read(node, 0, 5) == files.read(node, 0, 5) == b"other"
    shrink(root / "other")
    with pytest.raises(HostReadError, match="was replaced after the scan"):
        files.read(node, 0, 5)


def test_closing_closes_all_files_and_nothing_between_them(root):
    tree = scan(str(root))
    files = ScannedFiles(tree)
    others = []
    for path in ("other", "sub/file"):
        assert files.read(node_of(tree, path), 0, 1)
        others.append(os.dup(0))
    own = [files.descriptor(node_of(tree, path)) for path in ("other", "sub/file")]
    files.close()
    assert files.open_count == 0
    for each in own:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)
    for each in others:
        os.close(each)  # is still open
    assert files.read(node_of(tree, "other"), 0, 5) == b"other"
