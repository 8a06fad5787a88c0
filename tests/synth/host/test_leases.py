"""Leases: writers announce themselves, and nothing else changes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
import threading

import pytest
from compare import assert_same
from vfloppy.export import HostReadError
from vfloppy.process.wakeup import SignalAlerts
from vfloppy.synth.host import leases
from vfloppy.synth.host.files import ScannedFiles
from vfloppy.synth.host.leases import Leases
from vfloppy.synth.scanning.scan import scan

ALERTS = SignalAlerts()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "a").write_bytes(b"as it was scanned")
    (tmp_path / "b").write_bytes(b"another")
    return tmp_path


@pytest.fixture
def files(root):
    files = ScannedFiles(scan(str(root)), alerts=ALERTS)
    read_twice(files, 1, 2)
    if not files.leased:
        pytest.skip("no leases to be had on this file system")
    return files


def read_twice(files, *nodes):
    for node in nodes:
        files.read(node, 0, 1)
        files.read(node, 0, 1)


def write_elsewhere(path, text):
    """By another process, as writers are."""
    program = f"open({str(path)!r}, 'r+').write({text!r})"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def await_broken_lease(files):
    """Wait, in bounds, until the kernel has told of a writer, who waits for it in turn."""
    for _ in range(5000):
        if files.broken_leases:
            break
        signal.sigtimedwait([], 0.001)


def test_a_writer_breaks_the_lease_of_its_file_alone(files, root):
    assert (sorted(files.leased), files.broken_leases) == ([1, 2], 0)
    write_elsewhere(root / "a", "overwritten")
    assert (sorted(files.leased), files.broken_leases) == ([2], 1)
    with pytest.raises(HostReadError, match="was written to after the scan"):
        files.read(1, 0, 1)
    assert files.read(2, 0, 7) == b"another"


def test_the_writers_of_two_sets_of_files_are_both_heard(files, tmp_path_factory, root):
    """As an image has, with a disk inside."""
    (other := tmp_path_factory.mktemp("other") / "c").write_bytes(b"of another set")
    others = ScannedFiles(scan(str(other.parent)), alerts=ALERTS)
    read_twice(others, 1)
    write_elsewhere(root / "a", "overwritten")
    assert (sorted(files.leased), sorted(others.leased)) == ([2], [1])
    write_elsewhere(other, "overwritten")
    assert (sorted(files.leased), sorted(others.leased)) == ([2], [])
    with pytest.raises(HostReadError, match="was written to after the scan"):
        files.read(1, 0, 1)


def test_a_writer_that_goes_from_file_to_file_is_let_on_each_time(files, root):
    """Its next signal comes while the one before is being answered."""
    names = [root / f"more {number}" for number in range(200)]
    for name in names:
        name.write_bytes(b"more")
    many = ScannedFiles(scan(str(root)), alerts=ALERTS)
    read_twice(many, *range(1, 203))
    assert len(many.leased) == 202
    program = (
        "import os, sys\nfor path in sys.argv[1:]: os.close(os.open(path, os.O_RDWR))"  # no writes
    )
    for _ in range(3):
        read_twice(many, *range(1, 203))
        subprocess.run([sys.executable, "-c", program, *map(str, names)], check=True, timeout=40)
        assert sorted(many.leased) == [1, 2]
        many.close()
        read_twice(many, *range(1, 203))
        assert len(many.leased) == 202
    assert files.read(1, 0, 2) == b"as"


def test_when_the_kernel_queues_no_more_signals_one_asks_for_all(root, monkeypatch):
    monkeypatch.setattr(leases, "_signal_of", lambda _descriptor: signal.SIGIO)
    files = ScannedFiles(scan(str(root)), alerts=ALERTS)
    read_twice(files, 1, 2)
    if not files.leased:
        pytest.skip("no leases to be had on this file system")
    write_elsewhere(root / "a", "overwritten")
    assert (sorted(files.leased), files.broken_leases) == ([2], 1)


@pytest.mark.parametrize(
    "change",
    [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC],
    ids=["write", "both", "truncate"],
)
def test_our_own_process_may_write_too(files, root, change):
    os.close(os.open(root / "b", change))
    assert (sorted(files.leased), files.broken_leases) == ([1], 1)


def test_a_reader_that_empties_the_file_breaks_no_lease_but_leaves_nothing_to_read(files, root):
    """Linux asks no lease about O_RDONLY with O_TRUNC; what comes after it needs one broken."""
    os.close(os.open(root / "b", os.O_RDONLY | os.O_TRUNC))
    assert files.broken_leases == 0
    assert os.pread(files.leased[2], 7, 0) == b""  # too short: whoever reads asks for a check
    with pytest.raises(HostReadError, match="has 0 bytes, 7 at the scan"):
        files.read(2, 0, 7)


LARGE = 1 << 20


@pytest.fixture
def warm(root):
    """The node of a file of which a sixteenth was read, and the files."""
    (root / "large").write_bytes(random.randbytes(LARGE))
    tree = scan(str(root))
    files = ScannedFiles(tree, alerts=ALERTS)
    node = tree.sizes.index(LARGE)
    read_twice(files, node)
    if not files.leased:
        pytest.skip("no leases to be had on this file system")
    files.count(node, LARGE // 16 - 1)
    assert not files.mapped
    files.count(node, 1)
    return node, files


def test_a_lease_that_is_wanted_back_at_once_is_not_held(root, monkeypatch):
    """The signal comes before the call that takes the lease has returned."""
    real, writers = fcntl.fcntl, []

    def taking(descriptor, command, *argument):
        result = real(descriptor, command, *argument)
        if (command, *argument) == (fcntl.F_SETLEASE, fcntl.F_RDLCK):
            program = f"open({str(root / 'a')!r}, 'r+').write('overwritten')"
            writers.append(subprocess.Popen([sys.executable, "-c", program]))
            for _ in range(5000):  # until the writer is at the door
                if files.broken_leases:
                    break
                signal.sigtimedwait([], 0.001)
        return result

    files = ScannedFiles(scan(str(root)), alerts=ALERTS)
    files.read(1, 0, 1)
    monkeypatch.setattr(leases.fcntl, "fcntl", taking)
    with contextlib.suppress(HostReadError):
        files.descriptor(1)
    if not writers:
        pytest.skip("no leases to be had on this file system")
    assert writers[0].wait(20) == 0, "it waits for the kernel to lose its patience"
    assert 1 not in files.leased
    with pytest.raises(HostReadError, match="was written to after the scan"):
        files.read(1, 0, 1)


def test_a_large_file_is_mapped_when_as_much_was_read_as_is_in_it(warm, root):
    (root / "large").write_bytes(b"")
    os.truncate(root / "large", 17 << 20)
    tree = scan(str(root))
    files = ScannedFiles(tree, alerts=ALERTS)
    node = tree.sizes.index(17 << 20)
    read_twice(files, node)
    files.count(node, (17 << 20) - 1)
    assert not files.mapped
    files.count(node, 1)
    assert len(files.mapped[node]) == 17 << 20


def test_a_file_is_mapped_when_a_sixteenth_of_it_was_read(warm, root):
    node, files = warm
    assert_same(bytes(files.mapped[node]), (root / "large").read_bytes())
    files.count(node, LARGE)
    assert list(files.mapped) == [node]


def test_a_reader_that_empties_a_file_while_it_is_being_mapped(warm, root, monkeypatch):
    _, files = warm
    (root / "large").write_bytes(os.urandom(LARGE))
    tree = scan(str(root))
    files = ScannedFiles(tree, alerts=ALERTS)
    node = tree.sizes.index(LARGE)
    read_twice(files, node)
    real = os.fstat

    def and_then_empties(descriptor):
        status = real(descriptor)
        os.close(os.open(root / "large", os.O_RDONLY | os.O_TRUNC))
        return status

    monkeypatch.setattr(os, "fstat", and_then_empties)
    files.count(node, LARGE)
    monkeypatch.undo()
    assert not files.mapped
    with pytest.raises(HostReadError, match=f"has 0 bytes, {LARGE} at the scan"):
        files.read(node, 0, 7)


def test_small_files_are_not_mapped(files):
    files.count(1, LARGE)
    assert not files.mapped


@pytest.mark.usefixtures("warm")
def test_so_much_is_mapped_and_no_more(root, monkeypatch):
    monkeypatch.setattr(leases, "_MOST_MAPPED_BYTES", LARGE * 3 // 2)
    (root / "larger").write_bytes(random.randbytes(LARGE))
    tree = scan(str(root))
    more = ScannedFiles(tree, alerts=ALERTS)
    large = [number for number, size in enumerate(tree.sizes) if size == LARGE]
    for each in (*large, *large):
        read_twice(more, each)
        more.count(each, LARGE)
    assert len(more.mapped) == 1
    more.close()
    assert not more.mapped
    read_twice(more, large[1])
    more.count(large[1], LARGE)
    assert list(more.mapped) == large[1:]


def test_a_writer_ends_the_mapping(warm, root):
    node, files = warm
    write_elsewhere(root / "large", "overwritten")
    assert (dict(files.mapped), files.broken_leases) == ({}, 1)
    files.count(node, LARGE)
    assert not files.mapped


def test_a_writer_waits_until_what_was_lent_is_back(warm, root):
    node, files = warm
    before = bytes(files.mapped[node][:100])
    view = files.mapped[node][:100]
    files.pin()
    program = f"import os; os.write(os.open({str(root / 'large')!r}, os.O_WRONLY), b'x' * 100)"
    writer = subprocess.Popen([sys.executable, "-c", program])
    try:
        await_broken_lease(files)
        assert (dict(files.mapped), bytes(view)) == ({}, before)
        assert writer.poll() is None
    finally:
        files.unpin()
    assert writer.wait(60) == 0
    assert bytes(view) == b"x" * 100


def test_a_closed_file_keeps_no_writer_waiting_however_long_its_bytes_are_lent(warm, root):
    node, files = warm
    view = files.mapped[node][:10]
    files.close()
    write_elsewhere(root / "large", "overwritten")
    assert (bytes(view), files.broken_leases) == (b"overwritte", 1)  # who has lent it looks again


def test_what_is_detached_keeps_no_writer_waiting_and_another_leases_it_again(warm, root):
    node, files = warm
    read_twice(files, 1)
    nodes, descriptors = files.detach()
    assert not files.leased
    assert not files.mapped
    with open(os.open(root / "large", os.O_WRONLY | os.O_NONBLOCK), "wb"):  # else EAGAIN
        pass
    other = ScannedFiles(scan(str(root)), alerts=ALERTS)
    other.adopt(nodes, [os.dup(descriptor) for descriptor in descriptors])
    read_twice(other, 1, node)
    assert sorted(other.leased) == sorted(nodes) == [1, node]


def test_readers_break_nothing(files, root):
    assert (root / "a").read_bytes() == b"as it was scanned"
    os.rename(root / "a", root / "c")
    os.chmod(root / "c", 0o600)
    assert (sorted(files.leased), files.broken_leases) == ([1, 2], 0)


def test_a_file_that_is_being_written_is_just_checked(root):
    tree = scan(str(root))
    with open(root / "a", "r+b"):
        files = ScannedFiles(tree, alerts=ALERTS)
        assert files.read(1, 0, 2) == files.read(1, 0, 2) == b"as"
    assert 1 not in files.leased


def test_a_child_takes_leases_of_its_own(files, root):
    """A lease lives as long as the descriptor, and its signal goes to who took it."""
    tree = scan(str(root))
    process_id = os.fork()
    if not process_id:
        status = 1
        try:
            own = ScannedFiles(tree, alerts=ALERTS)
            read_twice(own, 1)
            os.close(os.open(root / "a", os.O_WRONLY))
            status = 0 if own.broken_leases == 1 and not own.leased else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1]) == 0
    assert files.broken_leases == 1


def test_no_leases_outside_of_the_main_thread(root):
    """Signals come to the main thread, so a lease of another could be broken in mid-read."""
    files = ScannedFiles(scan(str(root)), alerts=ALERTS)
    thread = threading.Thread(target=read_twice, args=(files, 1))
    thread.start()
    thread.join()
    assert files.leased == {}


def test_no_leases_where_another_machine_may_write():
    ours = Leases(ALERTS)
    with open("/proc/version", "rb") as file:
        ours.take(1, file.fileno(), os.fstat(file.fileno()).st_dev, 0)
    assert ours.held == {}


def test_so_many_leases_and_no_more(root, monkeypatch):
    monkeypatch.setattr(leases, "_MOST_HELD", 1)
    files = ScannedFiles(scan(str(root)), alerts=ALERTS)
    read_twice(files, 1, 2)
    assert list(files.leased) == [1]
    assert files.read(2, 0, 7) == b"another"


def test_a_file_that_is_read_once_is_not_worth_a_lease(files, root):
    files.close()
    files.read(1, 0, 1)
    assert files.leased == {}
    assert files.descriptor(1) == files.leased[1]


def test_no_leases_unless_asked_for(root):
    files = ScannedFiles(scan(str(root)))
    read_twice(files, 1)
    assert (files.leased, files.broken_leases) == ({}, 0)


def test_a_descriptor_that_makes_room_gives_its_lease_back(root, monkeypatch):
    files = ScannedFiles(scan(str(root)), alerts=ALERTS)
    monkeypatch.setattr(files, "_most_open", 1)
    read_twice(files, 1, 2)
    assert 1 not in files.leased
    write_elsewhere(root / "a", "x")
    assert files.broken_leases == 0


def test_a_lease_that_is_owed_is_given_back_with_its_file_and_not_another_s(root, monkeypatch):
    """Its descriptor is closed to make room while it is lent, and the number is used again."""
    files = ScannedFiles(scan(str(root)), alerts=ALERTS)
    read_twice(files, 1)
    if not files.leased:
        pytest.skip("no leases to be had on this file system")
    monkeypatch.setattr(files, "_most_open", 1)
    files.pin()
    program = f"open({str(root / 'a')!r}, 'r+').write('overwritten')"
    writer = subprocess.Popen([sys.executable, "-c", program])
    try:
        await_broken_lease(files)
        assert writer.poll() is None
        read_twice(files, 2)
    finally:
        files.unpin()
    assert writer.wait(60) == 0
    assert list(files.leased) == [2]
    write_elsewhere(root / "b", "OTHER")
    assert (dict(files.leased), files.broken_leases) == ({}, 2)
    with pytest.raises(HostReadError, match="was written to after the scan"):
        files.read(2, 0, 7)
