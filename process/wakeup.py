"""Waiting for a client so that a signal is heard at once, also one that comes a moment too early.

Python runs a signal's handler between its own steps. A signal that comes just before a system call
begins to sleep is heard when that ends: with a lease wanted back, a writer would wait as long. So
the system call that sleeps here also watches a pipe that the signal has written to.
"""

from __future__ import annotations

import os
import select
import signal
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from .ending import Ending


class RequestTimeoutError(Exception):
    """A request began to come, and its rest did not."""


class Waiting:
    """Waits until a descriptor has something to read."""

    def __init__(
        self,
        descriptor: int,
        wakeup: int | None,
        patience_s: float | None,
        ending: Ending,
        *,
        request_timeout_s: float,
        lifeline: int | None = None,
    ) -> None:
        """`lifeline` is a socket whose other end is closed when this process is asked to end."""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._wakeup = wakeup
        if wakeup is not None:
            self._poll.register(wakeup, select.POLLIN)
        self._lifeline = lifeline
        if lifeline is not None:
            self._poll.register(lifeline, 0)  # a hangup is always told
        self._patience_s = patience_s
        self._ending = ending
        self._request_timeout_s = request_timeout_s
        self._deadline: float | None = None  # for the rest of what has begun to come

    def __call__(self) -> None:
        """Returns when there is something, or there was a signal. Raises BlockingIOError after
        silence and at the end, and RequestTimeoutError when half a request is all that comes.
        """
        patience_s = self._patience_s
        if self._deadline is not None:
            patience_s = max(self._deadline - time.monotonic(), 0)
        patience_ms = None if patience_s is None else patience_s * 1000
        ready = () if self._ending.asked else self._poll.poll(patience_ms)
        if not ready:
            if self._deadline is not None and not self._ending.asked:
                self.expect_rest()
            raise BlockingIOError
        for descriptor, _ in ready:
            if descriptor == self._wakeup:
                with suppress(BlockingIOError):
                    os.read(descriptor, 4096)
            elif descriptor == self._lifeline:
                self._ending.asked = True
                raise BlockingIOError

    def expect_rest(self) -> None:
        """Something has begun to come: from the first call on until `expect_all`, the time for it
        runs. Raises RequestTimeoutError when it is over.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + self._request_timeout_s
        elif time.monotonic() >= self._deadline:
            raise RequestTimeoutError(
                f"half a request came, and not the rest in {self._request_timeout_s:g} s"
            )

    def expect_all(self) -> None:
        """Nothing has begun to come."""
        self._deadline = None


@contextmanager
def woken_by_signals() -> Iterator[int | None]:
    """A descriptor that can be read once a signal has come; None outside of the main thread."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        try:
            before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        except ValueError:
            yield None
            return
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(before)
    finally:
        os.close(reader)
        os.close(writer)


class SignalAlerts:
    """Hears signals for the readers of this process; see `Alerts`.

    A reader that answers lets a writer go on, to the next file perhaps, and so there may be another
    signal before all were called. It is noted, and then they are called once more.
    """

    def __init__(self) -> None:
        self._callbacks: list[weakref.WeakMethod[Callable[[int], None]]] = []
        self._heard: set[int] = set()
        self._is_busy = False

    def listen(self, callback: Callable[[int], None], numbers: Iterable[int]) -> bool:
        """See `Alerts.listen`."""
        try:
            for number in numbers:
                signal.signal(number, self._handle)
        except ValueError:  # not in the main thread
            return False
        self._callbacks.append(weakref.WeakMethod(callback))
        return True

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._heard.add(number)
        while self._heard and not self._is_busy:
            self._is_busy, number = True, self._heard.pop()
            try:
                for each in tuple(self._callbacks):
                    if (callback := each()) is not None:
                        callback(number)
            finally:
                self._is_busy = False
