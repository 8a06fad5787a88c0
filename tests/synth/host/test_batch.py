"""Batches: many small reads of host files, checked together, some of them lent and none wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from array import array

import pytest
from vfloppy.export import HostReadError
from vfloppy.process.wakeup import SignalAlerts
from vfloppy.synth.host import files as host
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.contents import Contents
from vfloppy.synth.image.image import Image, ImageReader
from vfloppy.synth.scanning.scan import scan

ALERTS = SignalAlerts()
LARGE = bytes(range(256)) * 400  # 25 blocks
SMALL = b"small file"
AT_SMALL = len(LARGE)
PLACES = [(AT_SMALL, 5), (100, 70), (9000, 1), (AT_SMALL + 2, 3), (0, 4000), (50_000, 900)]
WHOLE = LARGE + SMALL.ljust(4096, b"\0")
EXPECTED = [WHOLE[offset : offset + length] for offset, length in PLACES]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "a").write_bytes(LARGE)
    (tmp_path / "b").write_bytes(SMALL)
    return tmp_path


def reader_of(root, alerts=ALERTS, **options) -> ImageReader:
    """Of an image that is a file of 25 blocks and a small one behind it."""
    tree = scan(str(root))
    starts = array("I", [0, 0, 25, 26])
    return Image([Contents(tree, HostFiles(tree, **options), starts, 4096)]).open(alerts)


def read_all(reader, *, lends=True):
    """What a batch of `PLACES` has, which must be good, and whether it was lent."""
    batch = reader.read_batch(PLACES, lends=lends)
    assert batch.commit()
    found = list(map(bytes, batch.buffers))
    assert batch.is_lent or all(type(each) is bytes for each in batch.buffers)
    batch.release()
    return found, batch.is_lent


@pytest.fixture
def warm(root):
    """A reader whose large file is under lease and mapped, the small one only under lease."""
    reader = reader_of(root)
    for _ in range(3):
        read_all(reader)
    if not read_all(reader)[1]:
        pytest.skip("no leases to be had on this file system")
    return reader


def writer_of(path, text="overwritten"):
    """Another process that writes to a file, as soon as it may."""
    program = f"open({str(path)!r}, 'r+').write({text!r})"
    return subprocess.Popen([sys.executable, "-c", program])


def wait_for_alarm(reader):
    """Until a writer is at the door."""
    (files,) = reader._files.all
    for _ in range(5000):
        if files.broken_leases:
            return
        signal.sigtimedwait([], 0.001)
    pytest.fail("no writer was announced")


# --- what is read ---


@pytest.mark.parametrize("lends", [True, False])
@pytest.mark.parametrize("alerts", [ALERTS, None], ids=["leases", "checks"])
def test_a_batch_holds_what_each_range_does(root, alerts, lends):
    reader = reader_of(root, alerts)
    for _ in range(5):
        assert read_all(reader, lends=lends)[0] == EXPECTED


def test_a_batch_goes_on_behind_the_end_of_a_file_and_from_file_to_file(root):
    reader = reader_of(root, None)
    places = [(AT_SMALL + 7, 100), (AT_SMALL + 10, 50), (AT_SMALL - 5, 10), (AT_SMALL + 4095, 1)]
    batch = reader.read_batch(places)
    assert batch.commit()
    zeros = {bytes(50), None}, {bytes(1), None}
    assert batch.buffers[0] == SMALL[7:].ljust(100, b"\0")
    assert batch.buffers[1] in zeros[0]
    assert batch.buffers[2] == WHOLE[AT_SMALL - 5 : AT_SMALL + 5]
    assert batch.buffers[3] in zeros[1]


@pytest.mark.parametrize("alerts", [ALERTS, None], ids=["leases", "checks"])
def test_what_fails_is_left_out_and_the_rest_is_good(root, alerts):
    reader = reader_of(root, alerts)
    os.truncate(root / "b", 4)
    for _ in range(4):
        batch = reader.read_batch(PLACES)
        if not batch.commit():  # of several reads the first alone is checked at once
            batch = reader.read_batch([place for place in PLACES if place[0] < AT_SMALL])
            assert batch.commit()
            assert batch.buffers == [e for e, p in zip(EXPECTED, PLACES, strict=True)
                                     if p[0] < AT_SMALL]  # fmt: skip
        else:
            for (offset, _), data, expected in zip(PLACES, batch.buffers, EXPECTED, strict=True):
                assert data == (None if offset >= AT_SMALL else expected)
        batch.release()
    with pytest.raises(HostReadError, match="b has 4 bytes, 10 at the scan"):
        reader.read(AT_SMALL, 3)


def test_a_file_is_checked_with_its_first_read_and_once_more(root, monkeypatch):
    reader = reader_of(root, None)
    read_all(reader)
    read_all(reader)
    real, checked = os.fstat, []
    monkeypatch.setattr(host.os, "fstat", lambda each: (checked.append(each), real(each))[1])
    batch = reader.read_batch([(number, 10) for number in range(100)])
    assert len(checked) == 1
    assert batch.commit()
    assert len(checked) == 2


# --- who changes it meanwhile ---


def test_a_file_that_changes_between_its_reads_and_the_check_spoils_the_batch(root):
    reader = reader_of(root, None)
    batch = reader.read_batch(PLACES)
    with open(root / "a", "r+b") as file:
        file.write(b"overwritten")
    os.utime(root / "a", (1, 1))
    assert not batch.commit()
    batch.release()
    small = [place for place in PLACES if place[0] >= AT_SMALL]
    batch = reader.read_batch(small)
    assert batch.commit(), "the next batch is another one"
    assert batch.buffers == [WHOLE[offset : offset + length] for offset, length in small]


def test_a_writer_that_comes_before_the_batch_is_committed_spoils_it_and_waits_for_nobody(
    warm, root
):
    batch = warm.read_batch(PLACES, lends=True)
    writer = writer_of(root / "a")
    wait_for_alarm(warm)
    assert not batch.commit()
    assert writer.wait(60) == 0, "before `release`"
    batch.release()
    with pytest.raises(HostReadError, match="a was written to after the scan"):
        warm.read(0, 10)


def test_a_writer_that_comes_later_waits_until_the_batch_is_released(warm, root):
    batch = warm.read_batch(PLACES, lends=True)
    assert batch.commit()
    assert batch.is_lent
    writer = writer_of(root / "a")
    wait_for_alarm(warm)
    assert writer.poll() is None
    assert list(map(bytes, batch.buffers)) == EXPECTED
    assert warm.read(50_000, 900) == EXPECTED[-1], "what did not go at once can still be read"
    batch.release()
    assert writer.wait(60) == 0
    batch = warm.read_batch(PLACES, lends=True)
    assert None in batch.buffers or not batch.commit()
    batch.release()


# --- what is lent ---


def test_what_is_mapped_is_lent(warm):
    batch = warm.read_batch(PLACES, lends=True)
    kinds = [bytes if offset >= AT_SMALL else memoryview for offset, _ in PLACES]
    assert [type(each) for each in batch.buffers] == kinds
    assert batch.commit()
    assert batch.is_lent
    batch.release()


def test_nothing_is_lent_to_who_can_not_borrow(warm):
    assert read_all(warm, lends=False) == (EXPECTED, False)
    assert read_all(warm, lends=True) == (EXPECTED, True)


def test_a_file_that_is_mapped_during_a_batch_is_lent_with_it(root):
    """Read again and again, it is opened, put under lease and mapped in the middle of one."""
    reader = reader_of(root)
    batch = reader.read_batch([(0, 4000)] * 20, lends=True)
    if all(type(each) is bytes for each in batch.buffers):
        pytest.skip("no leases to be had on this file system")
    assert type(batch.buffers[0]) is bytes
    assert batch.commit()
    assert batch.is_lent
    writer = writer_of(root / "a")
    wait_for_alarm(reader)
    assert writer.poll() is None
    assert set(map(bytes, batch.buffers)) == {LARGE[:4000]}
    batch.release()
    assert writer.wait(60) == 0


def test_a_batch_may_be_released_that_was_not_committed_and_twice(warm, root):
    batch = warm.read_batch(PLACES, lends=True)
    batch.release()
    batch = warm.read_batch(PLACES, lends=True)
    assert batch.commit()
    batch.release()
    batch.release()
    assert writer_of(root / "a").wait(60) == 0


def test_a_file_that_is_shorter_now_is_padded_however_often_it_is_read(root):
    """As with --on-change current; what is mapped of it is shorter than a read of it."""
    told = []
    reader = reader_of(root, on_change=told.append)
    os.truncate(root / "a", 70_000)
    places = [(69_000, 900), (69_500, 1000), (80_000, 2000), (0, 4000)]
    now = LARGE[:70_000].ljust(len(LARGE), b"\0")
    for _ in range(10):
        batch = reader.read_batch(places, lends=True)
        if batch.commit():
            for (offset, length), data in zip(places, batch.buffers, strict=True):
                assert data is None or bytes(data) == now[offset : offset + length]
        batch.release()
        for offset, length in places:
            assert reader.read(offset, length) == now[offset : offset + length]
    assert len(told) == 1
