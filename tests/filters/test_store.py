"""The file of an overlay: made, opened again, refused, and never more work than was written."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from pathlib import Path

import pytest
from fakes import FakeExport, pattern
from vfloppy.export import Hole
from vfloppy.filters.header import OverlayError
from vfloppy.filters.overlay import Overlay
from vfloppy.filters.store import OverlayFile
from vfloppy.process import children as processes

MIB = 1 << 20
SIZE = 8 * MIB


def blocks(path: Path) -> int:
    """The bytes that a file takes."""
    return path.stat().st_blocks * 512


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Connections that outlive their server are waited for where that is tested."""
    monkeypatch.setattr("vfloppy.filters.header._ENDING_S", 0.05)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "overlay")


def test_what_is_known_of_the_disk_is_kept_with_what_was_written(path):
    description = {"paths": ["/tree", "\udcff"], "options": {"size": "+1G"}}
    with OverlayFile.create(path, SIZE, b"\0\xffid", description) as made:
        assert not made.is_touched
        Overlay(FakeExport([Hole(SIZE)]), made).open().write(512, bytes(512))
        assert made.is_touched
    with OverlayFile.open(path) as opened:
        assert (opened.size, opened.identity) == (SIZE, b"\0\xffid")
        assert opened.description == description
        assert list(opened.touched()) == [(512, 512)]
        assert opened.is_touched


def test_another_disk_may_take_the_place_of_one_that_was_never_written(path):
    with OverlayFile.create(path, SIZE, b"one", {"n": 1}) as made:
        made.renew(SIZE, b"two", {"n": "x" * 9000})
        Overlay(FakeExport([Hole(SIZE)]), made).open().write(SIZE - 512, pattern(512))
    with OverlayFile.open(path) as opened:
        assert (opened.identity, opened.description) == (b"two", {"n": "x" * 9000})
        assert opened.read(FakeExport([Hole(SIZE)]).open(), SIZE - 512, 512) == pattern(512)


def test_a_huge_disk_costs_what_was_written_of_it(tmp_path):
    size = 4 << 40
    path = tmp_path / "overlay"
    base = FakeExport([Hole(size)])
    with OverlayFile.create(str(path), size) as made:
        writer = Overlay(base, made).open()
        for offset in (0, size // 2, size - 4096):
            writer.write(offset, pattern(4096))
        writer.trim(0, size)  # zeros below need no mark
        writer.write(size // 4, pattern(512))
        assert list(made.touched()) == [
            (0, 4096), (size // 4, 512), (size // 2, 4096), (size - 4096, 4096)
        ]  # fmt: skip
        extents = list(writer.extents(0, size))
        assert [each.hole for each in extents].count(False) == 1
        assert len(made.summary) <= 4 * MIB + 3
    assert blocks(path) < MIB
    with OverlayFile.open(str(path)) as opened:
        assert len(list(opened.touched())) == 4


def test_trimmed_and_zeroed_sectors_give_their_room_back(tmp_path):
    path = tmp_path / "overlay"
    with OverlayFile.create(str(path), SIZE) as made:
        writer = Overlay(FakeExport([pattern(SIZE)]), made).open()
        writer.write(0, pattern(4 * MIB))
        os.sync()
        full = blocks(path)
        assert full >= 4 * MIB
        writer.trim(0, 2 * MIB)
        assert blocks(path) <= full - MIB
        writer.zero(2 * MIB, 2 * MIB)
        assert blocks(path) < MIB
        writer.zero(0, MIB, may_trim=False)
        assert blocks(path) >= MIB, "it keeps its room"
        with pytest.raises(OSError, match="as data are") as refused:
            writer.zero(0, MIB, may_trim=False, fast=True)
        assert refused.value.errno == errno.ENOTSUP


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"a photo" * 99), "it is no overlay of vfloppy's"),
        (lambda path: path.write_bytes(b"vfloppy overlay\n"), "it is no overlay of vfloppy's"),
        (lambda path: os.truncate(path, 3 * MIB), "it has been cut short"),
        (lambda path: poke(path, 16, b"\7"), "it is of version 7, and 1 is known here"),
        (lambda path: poke(path, 24, b"\1"), "its header is damaged"),
        (lambda path: poke(path, 4097, b"@"), "its header is damaged"),
        (lambda path: poke(path, 8192, b"\3"), "is damaged: its map makes no sense"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "it is no regular file"),
        (lambda path: path.unlink(), "No such file or directory"),
    ],
)
def test_a_file_that_is_no_overlay_is_refused_and_left_alone(spoil, reason, path):
    OverlayFile.create(path, SIZE, b"id", {}).close()
    spoil(Path(path))
    before = Path(path).read_bytes() if Path(path).is_file() else None
    with pytest.raises(Exception, match=reason):
        OverlayFile.open(path, writable=True)
    if before is not None:
        assert Path(path).read_bytes() == before
        with pytest.raises(OverlayError, match="something else has come there"):
            OverlayFile.create(path, SIZE)


def poke(path: Path, place: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(data)


def test_it_is_never_made_through_a_link(path, tmp_path):
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(OverlayError, match="symbolic links"):
        OverlayFile.create(path, SIZE)
    assert not (tmp_path / "elsewhere").exists()


def test_two_writers_never_have_it_at_a_time(path):
    with OverlayFile.create(path, SIZE):
        for writable in (True, False):
            with pytest.raises(OverlayError, match="another process has it open"):
                OverlayFile.open(path, writable=writable)
        OverlayFile.open(path, live=True).close()
        with pytest.raises(OverlayError, match="another process has it open"):
            OverlayFile.open(path, writable=True)
    first, second = OverlayFile.open(path), OverlayFile.open(path)
    with first, second, pytest.raises(OverlayError, match="another process has it open"):
        OverlayFile.open(path, writable=True)
    OverlayFile.open(path, writable=True).close()


def test_it_stays_locked_while_a_process_that_was_forked_has_it(path):
    reader, writer = os.pipe()
    file = OverlayFile.create(path, SIZE)

    def wait() -> int:
        os.close(writer)
        return len(os.read(reader, 1))

    child = processes.fork(wait)
    file.close()
    with pytest.raises(OverlayError, match="another process has it open"):
        OverlayFile.open(path, writable=True)
    os.close(writer)
    os.waitpid(child, 0)
    os.close(reader)
    OverlayFile.open(path, writable=True).close()


class Slow(FakeExport):
    """Lets others go on in the middle of a read."""

    def pieces(self, offset, length):
        time.sleep(0.0001)
        return super().pieces(offset, length)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_writers_to_parts_of_one_sector_never_undo_each_other(kind):
    """All begin at once, on sectors that nobody has written yet."""
    base = Slow([random.Random(1).randbytes(SIZE)])
    file = OverlayFile.temporary(SIZE)
    overlay = Overlay(base, file)
    sectors, share = 100, 64

    def write(number: int) -> int:
        with overlay.open() as writer:
            for sector in range(sectors):
                writer.write(sector * 512 + number * share, bytes([number + 1]) * share)
        return 0

    writers = range(512 // share)
    if kind == "threads":
        threads = [threading.Thread(target=write, args=(n,)) for n in writers]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    else:
        children = [processes.fork(lambda n=n: write(n)) for n in writers]
        assert [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children] == [0] * 8
    right = b"".join(bytes([n + 1]) * share for n in writers) * sectors
    with overlay.open() as reader:
        assert reader.read(0, len(right)) == right
        assert reader.read(len(right), 5000) == base.data[len(right) : len(right) + 5000]
    file.close()


def test_a_process_sees_at_once_what_another_has_written():
    base = FakeExport([Hole(SIZE)])
    file = OverlayFile.temporary(SIZE)
    overlay = Overlay(base, file)
    with overlay.open() as reader:
        assert reader.read_simple(5 * MIB, 4096) is None
        child = processes.fork(lambda: overlay.open().write(5 * MIB, pattern(4096)) or 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert reader.read_simple(5 * MIB, 4096) == pattern(4096)
        assert file.is_touched
    file.close()
