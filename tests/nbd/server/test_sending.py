"""Sending what is mapped: never waiting while it is lent, never looking at it."""

from __future__ import annotations

import mmap
import os
import socket
import threading
import time

import pytest
from compare import assert_same
from fakes import FakeFiles, pattern
from vfloppy.nbd.protocol.reading import LentBuffers
from vfloppy.nbd.server.sending import Sender
from vfloppy.synth.host.batch import HostSlice

SIZE = 3 << 20


@pytest.fixture
def files(tmp_path):
    files = FakeFiles(tmp_path, [pattern(SIZE, 1)])
    files.leased = {0: files.descriptors[0]}
    files.mapped = {0: memoryview(mmap.mmap(files.descriptors[0], 0, prot=mmap.PROT_READ))}
    return files


@pytest.fixture(params=[socket.AF_UNIX, socket.AF_INET])
def pair(request):
    """A sender, and the socket where what it sends arrives."""
    if request.param == socket.AF_UNIX:
        near, far = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = socket.create_connection(listening.getsockname())
            near, _ = listening.accept()
    far.settimeout(20)
    with near, far:
        yield Sender(near), far


def received(far, count):
    found = bytearray()
    while len(found) < count:
        part = far.recv(count - len(found))
        assert part
        found += part
    return bytes(found)


def test_of_very_many_lent_buffers_go_as_many_as_the_kernel_takes_in_one_call(pair, files):
    sender, far = pair
    lent = LentBuffers([files.mapped[0][2 * each : 2 * each + 2] for each in range(1500)])
    sender.send_lent(lent)
    assert lent.sent == 2 * 1024
    assert_same(received(far, lent.sent), pattern(SIZE, 1)[: lent.sent])


def test_what_is_lent_goes_as_far_as_there_is_room_and_then_waits_for_nobody(pair, files):
    sender, far = pair
    expected, arrived = pattern(SIZE, 1) * 10, 0
    for _ in range(10):
        lent = LentBuffers([files.mapped[0][: SIZE // 2], files.mapped[0][SIZE // 2 :]])
        sender.send_lent(lent)
        arrived += lent.sent
        if lent.sent < SIZE:
            break
    assert arrived < len(expected)
    assert_same(received(far, arrived), expected[:arrived])


def test_a_page_that_is_gone_is_not_sent_and_ends_nothing(pair, files):
    sender, far = pair
    os.truncate(f"/proc/self/fd/{files.descriptors[0]}", 8192)
    lent = LentBuffers([b"head", files.mapped[0][4096:8192], b"next", files.mapped[0][8192:12288]])
    sender.send_lent(lent)
    assert lent.sent <= 4 + 4096 + 4
    assert_same(
        received(far, lent.sent), (b"head" + pattern(SIZE, 1)[4096:8192] + b"next")[: lent.sent]
    )
    nothing = LentBuffers([files.mapped[0][8192:12288]])
    sender.send_lent(nothing)
    assert nothing.sent == 0


def test_who_has_left_is_told_apart(pair, files):
    sender, far = pair
    far.close()

    def send():
        for _ in range(10):  # TCP finds out a little later
            sender.send_lent(LentBuffers([files.mapped[0][:100_000]]))
            time.sleep(0.05)

    with pytest.raises(ConnectionError):
        send()


@pytest.mark.parametrize("size", [SIZE, SIZE // 2])
def test_a_large_slice_of_a_mapped_file_is_whole_or_padded_and_told(pair, files, size):
    sender, far = pair
    os.truncate(f"/proc/self/fd/{files.descriptors[0]}", size)
    found = []
    reader = threading.Thread(target=lambda: found.append(received(far, SIZE - 100)))
    reader.start()
    failure = sender.send_slice(HostSlice(files, 0, 100, SIZE - 100))
    reader.join(20)
    whole = size == SIZE
    sure = (
        size if whole else size - (64 << 10)
    )  # the kernel sends no part of what it copies at once
    assert len(found[0]) == SIZE - 100
    assert found[0].startswith(pattern(SIZE, 1)[100:sure])
    assert found[0].endswith(bytes(SIZE - size))
    assert (failure is None) == whole
