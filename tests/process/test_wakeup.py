"""Waiting for a client: no signal is heard later than it comes."""

from __future__ import annotations

import os
import signal
import socket
import threading

import pytest
from vfloppy.process.ending import Ending
from vfloppy.process.wakeup import ClientWatch, woken_by_signals


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.fixture
def heard(monkeypatch):
    """The signals that a handler has heard of."""
    found: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: found.append(number))
    yield found
    signal.signal(signal.SIGUSR1, before)


def test_it_returns_when_there_is_something_to_read(pair):
    near, far = pair
    with woken_by_signals() as wakeup:
        watch = ClientWatch(near.fileno(), wakeup, 0.01, Ending(), request_timeout_s=60)
        with pytest.raises(BlockingIOError):
            watch.wait()
        far.send(b"x")
        watch.wait()
        far.close()
        near.recv(1)
        watch.wait()
        assert near.recv(1) == b""


def test_a_signal_that_came_before_it_sleeps_wakes_it(pair, heard):
    near, _ = pair
    with woken_by_signals() as wakeup:
        watch = ClientWatch(near.fileno(), wakeup, 20, Ending(), request_timeout_s=60)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == [signal.SIGUSR1], "so nothing is pending any more"
        watch.wait()
        quick = ClientWatch(near.fileno(), wakeup, 0.01, Ending(), request_timeout_s=60)
        with pytest.raises(BlockingIOError):
            quick.wait()


def test_what_was_there_before_is_there_again(pair):
    before = signal.set_wakeup_fd(-1)
    try:
        with woken_by_signals():
            pass
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(before)


def test_outside_of_the_main_thread_it_waits_for_the_client_alone(pair):
    near, far = pair
    results = []

    def run():
        with woken_by_signals() as wakeup:
            results.append(wakeup)
            ClientWatch(near.fileno(), wakeup, None, Ending(), request_timeout_s=60).wait()
            results.append("ready")

    thread = threading.Thread(target=run)
    thread.start()
    far.send(b"x")
    thread.join(20)
    assert results == [None, "ready"]
