"""Replies that are lent from mapped files: whatever part of a batch goes out, the rest follows."""

from __future__ import annotations

import errno
import mmap
import os

import pytest
from compare import assert_same
from vfloppy.nbd import wire
from vfloppy.nbd.reading import Lent
from vfloppy.nbd.session import Session
from vfloppy.pieces import HostReadError, HostSlice

from .fakes import FakeColumns, FakeFiles, chunks, pattern, request, take_simple

READ = wire.NBD_CMD_READ
PLACES = [(1100, 70), (0, 40), (1000, 90), (6000, 30), (1200, 50)]  # the second is computed


@pytest.fixture
def files(tmp_path):
    """The first file is mapped, the second only steady."""
    files = FakeFiles(tmp_path, [pattern(5000, 1), pattern(3000, 2)])
    files.steady = dict(enumerate(files.descriptors))
    mapping = mmap.mmap(files.descriptors[0], 0, prot=mmap.PROT_READ)
    files.mapped = {0: memoryview(mapping)}
    return files


@pytest.fixture
def export(files):
    return FakeColumns(
        [pattern(1000, 9), HostSlice(files, 0, 0, 5000), HostSlice(files, 1, 0, 3000)]
    )


def talk(
    export, *, sent=None, structured=True, lends=True, transfer_min_bytes=10_000, meanwhile=None
):
    """What a client gets that asks for all `PLACES`, when `sent` bytes of what is lent go at once;
    and how many batches were lent.
    """
    session = Session(
        export, structured=structured, lends=lends, transfer_min_bytes=transfer_min_bytes
    )
    stream = b"".join(request(READ, *each, cookie=n) for n, each in enumerate(PLACES))
    session.space()[: len(stream)] = stream
    received, lent = [], 0
    for item in session.received(len(stream)):
        if isinstance(item, Lent):
            assert export.host_runs.files.pinned
            whole = b"".join(item.buffers)
            item.sent = len(whole) if sent is None else min(sent, len(whole))
            received.append(whole[: item.sent])
            lent += 1
            if meanwhile:
                meanwhile()
        elif isinstance(item, list):
            assert not export.host_runs.files.pinned
            assert all(type(each) is bytes for each in item)
            received += map(bytes, item)
        else:
            received += (item.slice.read(),)
    assert not export.host_runs.files.pinned
    return b"".join(received), lent


def answers(stream):
    """Payload and error by cookie."""
    return {each.cookie: (each.payload, each.error) for each in chunks(stream)}


def expected(export):
    return {n: (export.data[at : at + length], 0) for n, (at, length) in enumerate(PLACES)}


def test_what_is_mapped_is_lent(export):
    stream, lent = talk(export)
    assert (answers(stream), lent) == (expected(export), 1)


def test_nothing_is_lent_to_who_can_not_borrow(export, files):
    stream, lent = talk(export, lends=False)
    assert (answers(stream), lent) == (expected(export), 0)


@pytest.mark.parametrize("structured", [True, False])
def test_whatever_goes_at_once_the_rest_follows(export, structured):
    whole, _ = talk(export, structured=structured)
    for sent in range(len(whole) + 1):
        assert_same(talk(export, structured=structured, sent=sent)[0], whole)


def test_a_batch_before_a_transfer_is_lent_with_its_header(export):
    """The three reads before the one of 90 bytes, which comes as a transfer."""
    whole, lent = talk(export, transfer_min_bytes=80)
    assert lent == 2
    for sent in range(len(whole)):
        assert_same(talk(export, transfer_min_bytes=80, sent=sent)[0], whole)


def test_what_was_not_sent_is_read_and_may_fail(export, files):
    def breaks():
        files.broken = {0}

    first = wire.CHUNK.size + 8 + PLACES[1][1]  # computed, so it comes first
    stream, _ = talk(export, sent=first, meanwhile=breaks)
    found = answers(stream)
    assert {n: error for n, (_, error) in found.items()} == {0: 5, 1: 0, 2: 5, 3: 0, 4: 5}
    assert_same(found[3], expected(export)[3])
    files.broken = set()
    with pytest.raises(HostReadError, match="half of a reply"):
        talk(export, sent=first + 1, meanwhile=breaks)
    assert not files.pinned
    monkeypatch.undo()
    with pytest.raises(HostReadError, match="half of a reply"):  # or somebody empties the file
        talk(export, sent=first + 1, meanwhile=lambda: os.truncate(files.paths[0], 0))


def test_after_an_alarm_nothing_is_lent_but_read_and_checked(export, files):
    class Alarming(dict):
        def get(self, index):
            files.alarms += 1
            files.broken = {0}
            return dict.get(self, index)

    files.mapped = Alarming(files.mapped)
    stream, lent = talk(export)
    errors = {n: error for n, (_, error) in answers(stream).items()}
    assert (errors, lent) == ({0: 5, 1: 0, 2: 5, 3: 0, 4: 5}, 0)
