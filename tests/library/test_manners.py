"""The library as a guest of somebody's process: it leaves everything as it was, beside threads."""

from __future__ import annotations

import gc
import io
import os
import pickle
import shutil
import subprocess
import sys
import threading

import pytest
import vfloppy
from tools import ENVIRONMENT
from vfloppy.nbd.client import Client


def open_descriptors() -> set[str]:
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def many(tmp_path):
    """A tree of several directories, whose entries the caches of a reader can't all keep."""
    root = tmp_path / "many"
    for directory in range(12):
        folder = root / f"directory {directory}"
        folder.mkdir(parents=True)
        for number in range(40):
            (folder / f"a file with a long name {number}.text").write_bytes(b"%d" % number * 500)
    return root


@pytest.mark.parametrize(
    "kind", [os.fsdecode, os.fsencode, lambda path: path], ids=["str", "bytes", "path"]
)
def test_paths_of_any_kind(tree, tmp_path, kind):
    odd = os.fsencode(tree) + b"/caf\xe9"
    os.mkdir(odd)
    with open(odd + b"/one", "wb") as file:
        file.write(b"one")
    code = tmp_path / "code"
    code.write_bytes(bytes(440))
    ignore = tmp_path / "ignore"
    ignore.write_text("hello*\n")
    path = kind(os.fsdecode(odd)) if kind is not os.fsencode else odd
    if not isinstance(path, str | bytes):
        path = type(tmp_path)(os.fsdecode(odd))
    disk = vfloppy.open_disk(
        [path, kind(os.fsdecode(os.fsencode(tree)))],
        mbr_code=kind(os.fsdecode(os.fsencode(code))),
        exclude_from=kind(os.fsdecode(os.fsencode(ignore))),
        graft={"there": path},
    )
    names = {each["path"] for each in disk.files()}
    assert {"one", "sub", "there", "there/one"} <= names
    assert "hello.txt" not in names
    out = os.fsencode(tmp_path) + b"/\xff.img"
    for target in (out, os.fsdecode(out)):
        disk.write_to(target)
        assert os.path.getsize(out) == disk.size
        os.unlink(out)
    with (
        vfloppy.serve(disk, unix=os.fsencode(tmp_path) + b"/sock") as server,
        Client(server.uri) as client,
    ):
        assert client.size == disk.size


@pytest.mark.parametrize("form", ["fat", "iso"])
def test_threads_read_one_disk_and_files_of_it_and_serve_it(many, form):
    disk = vfloppy.open_disk(many, format=form, cache_size=0)
    with disk.open() as file:
        expected = file.read()
    ends = [region.offset for region in disk.regions() if region.kind == "directory"]
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def same(data: bytes, at: int) -> None:
        if data != expected[at : at + len(data)]:
            raise AssertionError(f"other bytes at {at}")

    def reads() -> None:
        for at in ends * 5:
            same(disk.read(at, 512), at)

    def opens() -> None:
        for _ in range(3):
            with disk.open() as file:
                for at in ends:
                    file.seek(at)
                    same(file.read(512), at)

    def serves() -> None:
        for _ in range(3):
            with vfloppy.serve(disk) as server, Client(server.uri) as client:
                for at in ends:
                    same(client.read(at, 512), at)

    def closes() -> None:
        for _ in range(50):
            disk.close()

    def guarded(work) -> None:
        try:
            start.wait(60)
            work()
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=guarded, args=(work,))
        for work in (reads, reads, opens, opens, serves, serves, opens, closes)
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join(120)
            assert not each.is_alive()
    finally:
        sys.setswitchinterval(before)
    disk.close()
    assert not failures, failures[0]


def test_descriptors_are_all_closed(many, tmp_path):
    vfloppy.open_disk(many).check()  # what is imported and kept once
    before = open_descriptors()
    for form in ("fat", "iso"):
        disk = vfloppy.open_disk(many, format=form)
        disk.read(0, disk.size)
        file = disk.open()
        file.read()
        disk.write_to(tmp_path / "image")
        with vfloppy.serve(disk) as server, Client(server.uri) as client:
            client.read(0, 1 << 16)
        during = len(open_descriptors() - before)
        assert during
        file.close()
        disk.close()
        assert len(open_descriptors() - before) <= 1  # the directory, by the tree
        unclosed = disk.open()
        unclosed.read()
        del disk, file, server, unclosed
        assert open_descriptors() == before
    with pytest.raises(vfloppy.VfloppyError):
        vfloppy.open_disk(many, strict=True, label="x" * 50)
    with pytest.raises(vfloppy.VfloppyError):
        vfloppy.open_disk(many, fat=12, size="64G")
    with pytest.raises(vfloppy.VfloppyError):
        vfloppy.serve(vfloppy.open_disk(many), unix=tmp_path)
    with pytest.raises(vfloppy.VfloppyError):
        vfloppy.serve({"\0": vfloppy.open_disk(many)})
    assert open_descriptors() == before


MANNERS = """
import gc, locale, logging, os, resource, signal, sys, threading
from pathlib import Path
import vfloppy

def state():
    return {
        "signals": [signal.getsignal(each) for each in signal.valid_signals()],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "wakeup": (lambda fd: (signal.set_wakeup_fd(fd), fd)[1])(signal.set_wakeup_fd(-1)),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "gc": (gc.isenabled(), gc.get_threshold()),
        "umask": (lambda mask: (os.umask(mask), mask)[1])(os.umask(0)),
        "limits": [
            resource.getrlimit(getattr(resource, each))
            for each in dir(resource)
            if each.startswith("RLIMIT_")
        ],
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "threads": threading.active_count(),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "recursion": sys.getrecursionlimit(),
        "switch": sys.getswitchinterval(),
        "locale": locale.setlocale(locale.LC_ALL),
        "handlers": logging.getLogger().handlers[:],
        "children": Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
    }

before = state()
for form in ("fat", "iso"):
    disk = vfloppy.open_disk("tree", format=form, processes=2)
    vfloppy.check("tree", format=form), disk.check(), list(disk.files()), list(disk.regions())
    disk.write_to("image")
    with disk.open() as file:
        file.read()
    with vfloppy.serve(disk) as server:
        assert disk.verify(server.uri) == []
    disk.rescan()
    disk.close()
    try:
        vfloppy.open_disk("tree", format=form, label="x" * 99)
    except vfloppy.VfloppyError:
        pass
vfloppy.serve_forever(vfloppy.open_disk("tree"), unix="socket", idle_exit=0.05)
after = state()
changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
assert not changed, changed
"""


def test_nothing_of_the_process_is_changed_and_nothing_printed(tree):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MANNERS],
        cwd=tree.parent,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_disk_as_a_file_is_a_raw_file(tree):
    disk = vfloppy.open_disk(tree, floppy="1.44M")
    whole = disk.read(0, disk.size)
    raw = disk.open()
    assert isinstance(raw, io.RawIOBase)
    assert (raw.readable(), raw.seekable(), raw.writable()) == (True, True, False)
    assert raw.readall() == whole
    assert raw.read(1) == raw.readall() == b""
    assert raw.seek(-2, os.SEEK_END) == disk.size - 2 == raw.tell()
    assert raw.read(10) == whole[-2:]
    assert raw.seek(1 << 40) == 1 << 40
    assert (raw.read(10), raw.readinto(bytearray(4)), raw.tell()) == (b"", 0, 1 << 40)
    assert raw.seek(510) + raw.seek(0, os.SEEK_CUR) == 1020
    for offset, whence in ((-1, os.SEEK_SET), (-disk.size - 1, os.SEEK_END), (0, 9)):
        with pytest.raises(ValueError):
            raw.seek(offset, whence)
    assert raw.tell() == 510
    with pytest.raises(io.UnsupportedOperation):
        raw.write(b"x")
    with pytest.raises(io.UnsupportedOperation):
        raw.truncate()
    with pytest.raises(io.UnsupportedOperation):
        raw.fileno()
    with pytest.raises(TypeError):
        pickle.dumps(raw)
    raw.seek(0)
    copied = io.BytesIO()
    shutil.copyfileobj(raw, copied)
    assert copied.getvalue() == whole
    buffered = io.BufferedReader(raw, 4096)
    assert buffered.seek(3) == 3
    assert buffered.read(5000) == whole[3:5003]
    assert buffered.peek()[:4] == whole[5003:5007]
    buffered.close()
    buffered.close()
    assert raw.closed
    for use in (
        lambda: raw.read(1), raw.readall, lambda: raw.readinto(bytearray(1)), raw.tell,
        lambda: raw.seek(0), raw.readable, raw.seekable, raw.writable, raw.__enter__,
    ):  # fmt: skip
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_changed_file_is_an_error_of_both_kinds(tree):
    disk = vfloppy.open_disk(tree)
    at = next(each.offset for each in disk.regions() if each.name.endswith("hello.txt"))
    assert disk.read(at, 5) == b"hello"
    (tree / "hello.txt").write_text("other")
    disk.close()
    with disk.open() as file:
        file.seek(at)
        with pytest.raises(vfloppy.HostReadError, match=r"hello\.txt") as caught:
            file.read(5)
    assert isinstance(caught.value, vfloppy.VfloppyError)
    assert isinstance(caught.value, OSError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with disk.open() as image, pytest.raises(vfloppy.VfloppyError, match=r"hello\.txt"):
        disk.verify(image)


class Inverted(vfloppy.Export):
    """A filter: another's bytes, inverted."""

    def __init__(self, inner):
        self.inner = inner

    @property
    def size(self):
        return self.inner.size

    def open(self, alerts=None):
        return InvertedReader(self.inner.open(alerts))


class InvertedReader(vfloppy.Reader):
    def __init__(self, inner):
        self.inner, self.size = inner, inner.size

    def pieces(self, offset, length):
        return [bytes(each ^ 255 for each in self.inner.read(offset, length))]

    def close(self):
        self.inner.close()


def test_a_filter_of_one_s_own_is_served_and_read_as_a_file(tree):
    disk = vfloppy.open_disk(tree, floppy="1.44M")
    export = Inverted(disk.export)
    with vfloppy.serve({"inverted": export, "plain": disk}) as server:
        with Client(server.uri_of("inverted")) as client:
            assert client.read(510, 2) == b"\xaa\x55"
        with Client(server.uri_of("plain")) as client:
            assert client.read(510, 2) == b"\x55\xaa"
    with vfloppy.DiskFile(export) as file:
        file.seek(510)
        assert file.read(2) == b"\xaa\x55"
