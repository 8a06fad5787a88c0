"""docs/promises.md, row by row: whatever becomes of a host file, its bytes are served or EIO is."""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

import pytest
from compare import assert_same
from disks import disk_of, files_of, has_leases
from fakes import Client, answers, is_mapped, parked, pattern
from tools import output, run
from vfloppy.export import FileSlice
from vfloppy.nbd import Limits, Sandbox, listen_unix
from vfloppy.nbd.protocol import wire
from vfloppy.process import reports
from vfloppy.synth.host import files as host
from vfloppy.synth.scanning.scan import scan

CONTENT = pattern(100_000, 1)
OTHER = pattern(50_000, 2)
PROMISES = Path(__file__).parents[2] / "docs" / "promises.md"


def rewritten(file):
    with file.open("r+b") as out:
        out.write(b"SECRET")


def replaced(file):
    other = file.with_name("new")
    other.write_bytes(b"SECRET".ljust(len(CONTENT)))
    other.rename(file)


def made_anew(file):
    file.unlink()  # its number goes to the next one, on some file systems
    file.write_bytes(b"SECRET".ljust(200_000))


def owned(file):
    os.chown(file, os.getuid(), os.getgid())  # its own, but nothing in its status tells that


def attributed(file):
    try:
        os.setxattr(file, "user.note", b"a note")
    except OSError as error:
        pytest.skip(f"no attributes here: {error.strerror}")


def linked(file):
    secret = file.parent.parent.parent / "secret"
    secret.write_bytes(b"SECRET".ljust(len(CONTENT)))
    file.unlink()
    file.symlink_to(secret)


def fifo(file):
    file.unlink()
    os.mkfifo(file)


def device(file):
    file.unlink()
    try:
        os.mknod(file, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root makes devices")


def directory_is_a_link(file):
    moved = file.parent.rename(file.parent.with_name("moved"))
    file.parent.symlink_to(moved)


# What it is called in docs/promises.md: how it is done, what is read then where the file's
# descriptor is open, and where it is not.
UNDER_LEASE = "bytes under lease, else EIO"
CHANGES = {
    "grows": (lambda file: os.truncate(file, 200_000), "bytes", "bytes"),
    "shrinks": (lambda file: os.truncate(file, 10), "EIO", "EIO"),
    "is rewritten in place": (rewritten, "EIO", "EIO"),
    "is replaced by rename": (replaced, "bytes", "EIO"),
    "is deleted and made anew, longer": (made_anew, "bytes", "EIO"),
    "is itself renamed": (lambda file: file.rename(file.with_name("new")), UNDER_LEASE, "EIO"),
    "gets another owner": (owned, UNDER_LEASE, "EIO"),
    "gets an extended attribute": (attributed, UNDER_LEASE, "EIO"),
    "gets another mode": (lambda file: file.chmod(0o640), "bytes", "bytes"),
    "gets another hard link": (lambda file: os.link(file, file.parents[2] / "new"),
                               "bytes", "bytes"),
    "is deleted": (lambda file: file.unlink(), "bytes", "EIO"),
    "becomes unreadable": (lambda file: file.chmod(0), "bytes", None),
    "becomes a symbolic link": (linked, "bytes", "EIO"),
    "becomes a fifo": (fifo, "bytes", "EIO"),
    "becomes a device": (device, "bytes", "EIO"),
    "is in a directory that is renamed": (
        lambda file: file.parent.rename(file.parent.with_name("moved")), "bytes", None
    ),
    "is in a directory that becomes a link": (directory_is_a_link, "bytes", None),
    "gets a new neighbour": (lambda file: file.with_name("new").write_text("SECRET"),
                             "bytes", "bytes"),
}  # fmt: skip

# With --on-change current: what a file reads as that has become another one.
CURRENT = {
    "shrinks": CONTENT[:10].ljust(len(CONTENT), b"\0"),
    "is rewritten in place": b"SECRET" + CONTENT[6:],
    "is replaced by rename": b"SECRET".ljust(len(CONTENT)),
    "is deleted and made anew, longer": b"SECRET".ljust(len(CONTENT)),
    "gets another owner": CONTENT,
    "gets an extended attribute": CONTENT,
}


# Copied, by sendfile, and several at once, so that they are read and checked together.
LENGTHS = [(512, 1), (100_000, 1), (20_000, 5), (40_000, 1), (5000, 20), (512, 1)]


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_bytes(CONTENT)
    (root / "other").write_bytes(OTHER)
    _wait_for_the_clock_of(root / "sub" / "file")
    return scan(str(root))


def _wait_for_the_clock_of(file):
    """A change in the same tick of the file system's clock leaves no trace."""
    probe = file.parents[2] / "probe"
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > file.stat().st_ctime_ns:
            return


def read(client, offset, length, content, times=1):
    """ "bytes" or "EIO", of all of several reads at once; anything else fails."""
    found = set(read_data(client, offset, length, times))
    assert len(found) == 1
    if found == {None}:
        return "EIO"
    assert found == {content[:length]}
    return "bytes"


def read_data(client, offset, length, times=1):
    """Of each read; None for EIO, which comes with the file's name."""
    found = []
    for replies in answers(client, [(offset, length)] * times):
        errors = {each.error for each in replies if each.error}
        if errors:
            assert errors == {wire.NBD_EIO}
            assert "file" in " ".join(each.text for each in replies)
            found.append(None)
            continue
        data = [each for each in replies if each.kind == wire.NBD_REPLY_TYPE_OFFSET_DATA]
        found.append(b"".join(each.payload for each in data))
    return found


def start(serve, tmp_path, tree, form, files, **options):
    """Where each file's contents begin, by its name; a listener, and the server's process."""
    image = disk_of(tree, form, files)
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"": image}, sandbox=Sandbox([tmp_path / "root"]), **options)
    return _offsets(image, tree), listener, running


@pytest.mark.parametrize("kept_open", [True, False], ids=["kept open", "closed again"])
@pytest.mark.parametrize("leases", [True, False], ids=["leases", "checks"])
@pytest.mark.parametrize("read_before", [0, 1, 3], ids=["not read", "read before", "read often"])
@pytest.mark.parametrize("form", ["fat", "iso"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_gives_its_bytes_or_eio(
    serve, tmp_path, tree, monkeypatch, change, form, read_before, leases, kept_open
):
    monkeypatch.setattr(host, "_MOST_OPEN_FILES", 4096 if kept_open else 1)
    files = files_of(tree, leases=leases)
    at, listener, running = start(serve, tmp_path, tree, form, files)
    act, held, anew = CHANGES[change]
    with Client(listener.path) as client, Client(listener.path) as second:
        client.go()
        second.go()
        assert read(second, at[b"other"], 50_000, OTHER) == "bytes"
        for _ in range(read_before):  # often: then it is under lease, and mapped
            assert read(client, at[b"file"], 100_000, CONTENT) == "bytes"
            for _ in range(read_before):
                assert read(client, at[b"file"], 20_000, CONTENT, read_before) == "bytes"
            assert read(client, at[b"other"], 512, OTHER) == "bytes"
        if read_before > 1 and leases and kept_open and has_leases(tmp_path):
            assert is_mapped(tmp_path / "root" / "sub" / "file", running)
        act(tmp_path / "root" / "sub" / "file")
        if held == UNDER_LEASE:
            held = "bytes" if leases else "EIO"
        expected = held if read_before and kept_open else anew
        for length, times in LENGTHS:
            outcome = read(client, at[b"file"], length, CONTENT, times)
            assert outcome == expected or expected is None
            assert read(client, at[b"other"], 512, OTHER) == "bytes"
        assert read(second, at[b"other"], 50_000, OTHER) == "bytes"
    running.stop()
    lines = running.log.read_text().splitlines()
    told = [line for line in lines if "sub/file" in line]
    assert len(told) == len(set(told)) <= 1
    assert bool(told) == (expected == "EIO") or expected is None


@pytest.mark.parametrize("leases", [True, False], ids=["leases", "checks"])
@pytest.mark.parametrize("form", ["fat", "iso"])
@pytest.mark.parametrize("change", CHANGES)
def test_silence_closes_no_file_and_keeps_no_writer_waiting(
    serve, tmp_path, tree, change, form, leases
):
    """What a connection has open, the next process of it has."""
    files = files_of(tree, leases=leases)
    at, listener, running = start(
        serve, tmp_path, tree, form, files, limits=Limits(park_after_s=0.02)
    )
    act, held, _ = CHANGES[change]
    with Client(listener.path) as client:
        client.go()
        for _ in range(2):
            for length in (100_000, 20_000, 20_000):  # then it is under lease, and mapped
                assert read(client, at[b"file"], length, CONTENT, 3) == "bytes"
            parked(running)
        started = time.monotonic()
        act(tmp_path / "root" / "sub" / "file")
        assert time.monotonic() - started < 20, "that of /proc/sys/fs/lease-break-time is 45"
        held = "EIO" if held == UNDER_LEASE else held
        for length, times in LENGTHS:
            assert_same(read(client, at[b"file"], length, CONTENT, times), held)
            assert read(client, at[b"other"], 512, OTHER) == "bytes"
            parked(running)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("read_before", [True, False], ids=["read before", "not read"])
@pytest.mark.parametrize("form", ["fat", "iso"])
def test_a_file_system_that_is_unmounted(serve, tmp_path, form, read_before):
    mounted = tmp_path / "root" / "sub"
    mounted.mkdir(parents=True)
    output("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mounted))
    try:
        (mounted / "file").write_bytes(CONTENT)
        tree = scan(str(tmp_path / "root"))
        places, listener, running = start(serve, tmp_path, tree, form, files_of(tree, leases=False))
        at = places[b"file"]
        with Client(listener.path) as client:
            client.go()
            if read_before:
                assert read(client, at, 100_000, CONTENT) == "bytes"
                assert run("umount", str(mounted)).returncode, "it is in use"
    finally:
        output("umount", "-l", str(mounted))
    with Client(listener.path) as client:
        client.go()
        assert read(client, at, 512, CONTENT) == "EIO"
    assert running.stop() == 0


@pytest.mark.parametrize("leases", [True, False], ids=["leases", "checks"])
@pytest.mark.parametrize("read_before", [True, False], ids=["read before", "not read"])
@pytest.mark.parametrize("form", ["fat", "iso"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_there_now_is_served_on_request(
    serve, tmp_path, tree, change, form, read_before, leases
):
    files = files_of(tree, leases=leases, on_change=reports.log.warning)
    at, listener, running = start(serve, tmp_path, tree, form, files)
    act, held, anew = CHANGES[change]
    with Client(listener.path) as client, Client(listener.path) as second:
        client.go()
        second.go()
        if read_before:
            assert read(client, at[b"file"], 100_000, CONTENT) == "bytes"
        act(tmp_path / "root" / "sub" / "file")
        first = held if read_before else anew
        content = CONTENT
        if is_touched := first == UNDER_LEASE:  # which a file has that was read twice
            first = "bytes"
        if change in CURRENT and (not read_before or first == "EIO"):
            first, content = "bytes", CURRENT[change]
        for length, times in LENGTHS:
            outcome = read(client, at[b"file"], length, content, times)
            assert outcome == first or first is None
            if change in CURRENT:  # to others, too
                assert read(second, at[b"file"], length, CURRENT[change], times) == "bytes"
            assert read(second, at[b"other"], 512, OTHER) == "bytes"
    running.stop()
    lines = running.log.read_text().splitlines()
    told = [line for line in lines if "sub/file" in line]
    assert len(told) == len(set(told)) <= 1
    assert bool(told) == (change in CURRENT or is_touched or first == "EIO") or first is None


def _offsets(image, tree):
    """Where each file's contents begin, by its name."""
    found = {}
    position = 0
    for piece in image.open().pieces(0, image.size):
        if isinstance(piece, FileSlice):
            found.setdefault(tree.name(piece.index), position)
        position += len(piece) if isinstance(piece, bytes) else piece.length
    return found


def test_the_document_and_the_matrix_speak_of_the_same_changes():
    rows = re.findall(r"^\| ([a-z][^|]+?) \|", PROMISES.read_text(), re.MULTILINE)
    assert set(CHANGES) <= set(rows)
