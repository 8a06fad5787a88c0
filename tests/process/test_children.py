"""Children: their exit statuses, and how they are ended."""

from __future__ import annotations

import os
import signal

import pytest
from vfloppy.process import children as processes


def child(*, deaf: bool = False) -> int:
    """A process that waits for its end; it has begun when this returns."""
    ready, begun = os.pipe()

    def wait() -> int:
        if deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(begun, b"!")
        while True:
            signal.pause()

    process_id = processes.fork(wait)
    os.close(begun)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    return process_id


def test_what_work_returns_is_the_exit_status():
    process_id = processes.fork(lambda: 7)
    assert os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1]) == 7


def test_children_are_asked_first():
    some = [child(), child()]
    assert processes.end_all(some) == dict.fromkeys(some, -signal.SIGTERM)


def test_children_that_do_not_listen_are_killed():
    deaf = child(deaf=True)
    assert processes.end_all([deaf], grace_s=0.05) == {deaf: -signal.SIGKILL}


def test_an_ended_child_is_reaped_once():
    process_id = child()
    assert processes.ended(process_id) is None
    os.kill(process_id, signal.SIGKILL)
    os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)
    assert processes.ended(process_id) == -signal.SIGKILL
    with pytest.raises(ChildProcessError):
        processes.ended(process_id)


def test_signals_are_seen_and_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with processes.SignalWatch() as watch:
        os.kill(os.getpid(), signal.SIGTERM)
        assert watch.seen() == {signal.SIGTERM}
        assert watch.seen() == set()
    assert signal.getsignal(signal.SIGTERM) is before
