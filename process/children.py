"""Child processes: forked with signals in order, reported on, reaped, and ended within a bound."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import NoReturn, Self

from .system import end_with_parent

GRACE_S = 2.0
_POLL_S = 0.005
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


ENDING = frozenset({signal.SIGINT, signal.SIGTERM})
"""The signals that ask a server to end."""


class EndedError(BaseException):
    """A signal that asks for the end, while work is under way that is of no use any more.

    It is no Exception, so that no handler takes it for a failure of that work.
    """


class SignalWatch:
    """A context in which SIGINT, SIGTERM, SIGHUP and SIGCHLD make the socket `receiver` readable.

    `seen` returns which have come; bytes that somebody else writes there mean nothing.
    """

    def __enter__(self) -> Self:
        self._noted: set[int] = set()
        self._is_abandoning = False
        self.receiver, self._sender = socket.socketpair()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._old_handlers = {each: signal.signal(each, self._note) for each in _HANDLED}
        return self

    def __exit__(self, *_details: object) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        self.forget()

    def forget(self) -> None:
        """Close this process's copies of the sockets only: for a forked child."""
        self.receiver.close()
        self._sender.close()

    def seen(self) -> set[int]:
        """Return the signals that came since the last call."""
        with contextlib.suppress(BlockingIOError):
            while self.receiver.recv(4096):
                pass
        seen, self._noted = self._noted, set()
        return seen

    @contextlib.contextmanager
    def abandoning(self) -> Iterator[None]:
        """Have SIGINT or SIGTERM raise EndedError out of the block, a system call included.

        So does one that has come before. Only the first does: a second one shall not disturb those
        who clean up behind the first. `seen` returns it afterwards, should it have been swallowed.
        """
        self._is_abandoning = True
        try:
            if self._noted & ENDING:
                raise EndedError
            yield
        finally:
            self._is_abandoning = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal; the loop is woken by the wakeup descriptor, which Python writes to."""
        self._noted.add(number)
        if self._is_abandoning and number in ENDING:
            self._is_abandoning = False
            raise EndedError


def fork(work: Callable[[], int], *, ignore: Iterable[int] = ()) -> int:
    """Run `work` in a child; return its process id. The result of `work` is its exit status.

    Signals have their default actions there, but for those to `ignore`. Raise OSError when the
    system allows no more processes.
    """
    # A signal between fork and the child's own handlers would run the parent's in the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        process_id = os.fork()
        if not process_id:
            _run_child(work, ignore)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    return process_id


def _run_child(work: Callable[[], int], ignore: Iterable[int]) -> NoReturn:
    """Run `work` in the child, and end it: with the result as exit status, or 1 if it raised."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_IGN if number in ignore else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        gc.freeze()  # the parent's objects stay shared pages
        status = work()
    finally:
        os._exit(status)  # no exit handlers, no buffers of the parent's to flush


def ended(process_id: int) -> int | None:
    """Return the exit status of a child that has ended, -N for signal N; None while it runs."""
    found, status = os.waitpid(process_id, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def run_to_end(work: Callable[[], int]) -> int:
    """Run `work` in a child that ends with this process; return its exit status.

    It is 128 + N if signal N has ended the child. Raise OSError as `fork` does.
    """
    parent = os.getpid()

    def run() -> int:
        end_with_parent(parent)
        return work()

    process_id = fork(run, ignore={signal.SIGINT, signal.SIGHUP})
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    except BaseException:  # a signal asks for the end
        end_all([process_id])
        raise
    return status if status >= 0 else 128 - status


def end_all(process_ids: Iterable[int], grace_s: float = GRACE_S) -> dict[int, int]:
    """End children by SIGTERM, and by SIGKILL after `grace_s`; return exit statuses by id."""
    running = set(process_ids)
    statuses: dict[int, int] = {}
    _signal_all(running, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while running and time.monotonic() < deadline:
        for process_id in tuple(running):
            status = ended(process_id)
            if status is not None:
                statuses[process_id] = status
                running.discard(process_id)
        if running:
            time.sleep(_POLL_S)
    _signal_all(running, signal.SIGKILL)
    for process_id in running:
        statuses[process_id] = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    return statuses


def _signal_all(process_ids: Iterable[int], number: int) -> None:
    for process_id in process_ids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, number)


def discard_streams() -> None:
    """Have the standard streams lead to /dev/null.

    They are the parent's: a terminal, say, which takes orders from any process that holds it, or a
    pipe whose reader waits for the last writer to end.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, f"__{name}__") is not None:  # else the number is something else's
            os.dup2(null, number)
    if null > 2:
        os.close(null)
