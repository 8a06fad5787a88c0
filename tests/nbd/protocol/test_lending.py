"""Replies that are lent from mapped files: whatever part of a batch goes out, the rest follows."""

from __future__ import annotations

import errno
import mmap
import os

import pytest
from compare import assert_same
from fakes import FakeColumns, FakeFiles, FakeReader, chunks, pattern, request
from vfloppy.export import Batch, HostReadError
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.reading import LentBuffers
from vfloppy.nbd.protocol.session import Session
from vfloppy.nbd.server.sending import IOV_MAX
from vfloppy.synth.host.batch import HostSlice

READ = wire.NBD_CMD_READ
PLACES = [(1100, 70), (0, 40), (1000, 90), (6000, 30), (1200, 50)]  # the second is computed


@pytest.fixture
def files(tmp_path):
    """The first file is mapped, the second only leased."""
    files = FakeFiles(tmp_path, [pattern(5000, 1), pattern(3000, 2)])
    files.leased = dict(enumerate(files.descriptors))
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
        export.open(), structured=structured, lends=lends, transfer_min_bytes=transfer_min_bytes
    )
    stream = b"".join(request(READ, *each, cookie=n) for n, each in enumerate(PLACES))
    session.space()[: len(stream)] = stream
    received, lent = [], 0
    for item in session.received(len(stream)):
        if isinstance(item, LentBuffers):
            assert export.files.pinned
            whole = b"".join(item.buffers)
            item.sent = len(whole) if sent is None else min(sent, len(whole))
            received.append(whole[: item.sent])
            lent += 1
            if meanwhile:
                meanwhile()
        elif isinstance(item, list):
            assert not export.files.pinned
            assert all(type(each) is bytes for each in item)
            received += map(bytes, item)
        else:
            received += (item.slice.read(),)
    assert not export.files.pinned
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


def test_what_did_not_go_at_once_is_read_before_a_writer_may_go_on(export, files, monkeypatch):
    read, pinned = files.read, []

    def spied_on(*arguments):
        pinned.append(files.pinned)
        return read(*arguments)

    monkeypatch.setattr(files, "read", spied_on)
    whole, _ = talk(export, structured=False)
    assert not pinned
    assert talk(export, structured=False, sent=0)[0] == whole
    assert pinned == [True] * 4


def test_what_was_not_sent_is_read_and_may_fail(export, files):

    def breaks():
        files.broken = {0}
        files.leased = {1: files.descriptors[1]}

    first = sum(wire.CHUNK.size + 8 + length for _, length in PLACES[:2])
    stream, _ = talk(export, sent=first, meanwhile=breaks)
    found = answers(stream)
    assert {n: error for n, (_, error) in found.items()} == {0: 0, 1: 0, 2: 5, 3: 0, 4: 5}
    assert {n: found[n] for n in (0, 1, 3)} == {n: expected(export)[n] for n in (0, 1, 3)}


def test_a_reply_that_is_half_sent_is_completed_from_the_file(export, files):
    """Whatever becomes of the others: while the file is pinned, its bytes are the right ones."""
    first = sum(wire.CHUNK.size + 8 + length for _, length in PLACES[:3])
    whole, _ = talk(export)

    def breaks():
        files.broken = {0}
        files.leased = {1: files.descriptors[1]}

    stream, _ = talk(export, sent=first + 40, meanwhile=breaks)
    found = answers(stream)
    assert {n: error for n, (_, error) in found.items()} == {0: 0, 1: 0, 2: 0, 3: 0, 4: 5}
    assert stream.startswith(whole[: first + wire.CHUNK.size + 8 + PLACES[3][1]])


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("more", [1, 20, 40, 80])
def test_of_a_reply_that_is_half_sent_the_rest_follows_whoever_comes_to_write(
    export, files, structured, more
):
    """Somebody wants to write to the file, waits until it is not pinned, and then writes."""
    whole, _ = talk(export, structured=structured)

    def knocks():
        files.broken_leases += 1
        files.leased.pop(0)

    def writes(path):
        files.broken = {0}
        with open(path, "r+b") as file:
            file.write(b"overwritten" * 400)

    files.unpin = lambda: (setattr(files, "pinned", False), files.broken or writes(files.paths[0]))
    header = wire.CHUNK.size + 8 if structured else wire.SIMPLE_REPLY.size
    sent = header + PLACES[0][1] + more
    assert talk(export, structured=structured, sent=sent, meanwhile=knocks)[0] == whole


def test_the_connection_ends_when_half_of_a_reply_is_sent_and_the_disk_fails(
    export, files, monkeypatch
):
    first = sum(wire.CHUNK.size + 8 + length for _, length in PLACES[:2])

    def fails(*_arguments):
        raise OSError(errno.EIO, "the disk is gone")

    def breaks():
        monkeypatch.setattr(os, "pread", fails)

    with pytest.raises(OSError, match=r"the disk is gone|half of a reply"):
        talk(export, sent=first + 1, meanwhile=breaks)
    assert not files.pinned
    monkeypatch.undo()
    with pytest.raises(HostReadError, match="half of a reply"):  # or somebody empties the file
        talk(export, sent=first + 1, meanwhile=lambda: os.truncate(files.paths[0], 0))


def test_after_a_broken_lease_nothing_is_lent_but_read_and_checked(export, files):
    class Breaking(dict):
        def get(self, index):
            files.broken_leases += 1
            files.broken = {0}
            files.leased = {1: files.descriptors[1]}
            return dict.get(self, index)

    files.mapped = Breaking(files.mapped)
    stream, lent = talk(export)
    errors = {n: error for n, (_, error) in answers(stream).items()}
    assert (errors, lent) == ({0: 5, 1: 0, 2: 5, 3: 0, 4: 5}, 0)


@pytest.mark.parametrize("lends", [True, False])
def test_a_batch_of_many_small_reads_is_no_more_than_one_call_takes(export, lends):
    session = Session(export.open(), structured=True, lends=lends)
    stream = b"".join(request(READ, 1000 + n, 3, cookie=n) for n in range(1800))
    session.space()[: len(stream)] = stream
    buffers, received = [], b""
    for item in session.received(len(stream)):
        found = item.buffers if isinstance(item, LentBuffers) else item
        assert isinstance(item, LentBuffers) == lends
        buffers.append(len(found))
        received += b"".join(found)
        if isinstance(item, LentBuffers):
            item.sent = sum(map(len, found))
    assert max(buffers) <= IOV_MAX
    assert len(buffers) <= 5
    assert answers(received) == {n: (export.data[1000 + n : 1003 + n], 0) for n in range(1800)}


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize("is_lent", [True, False])
def test_whatever_was_committed_is_released(export, is_good, is_lent):
    calls = []

    class Noted(Batch):
        def commit(self):
            calls.append("commit")
            self.is_lent = is_lent
            export.files.pinned = is_lent and is_good
            return is_good

        def release(self):
            calls.append("release")
            export.files.pinned = False

    class Reading(FakeReader):
        def read_batch(self, ranges, *, lends=False):
            return Noted([self.read(*each) for each in ranges])

    export.open = lambda alerts=None: Reading(export)
    stream, lent = talk(export)
    assert (answers(stream), lent) == (expected(export), is_lent and is_good)
    assert calls == ["commit", "release"]
