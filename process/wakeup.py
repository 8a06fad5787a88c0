"""Waiting for a client so that a signal is heard at once, also one that comes a moment too early.

Python runs a signal's handler between its own steps, not when the signal comes: the C handler only
notes it. A signal that comes after Python has looked for notes, and before the system call begins
to sleep, would be heard when that ends: with a lease wanted back, a writer would wait as long.

So the C handler also writes a byte to a pipe (`signal.set_wakeup_fd`), and the system call that
sleeps watches its other end beside the client:

    Python looks for noted signals: none
        <- the kernel breaks a lease, SIGRTMIN + 3: it is noted, and the pipe gets a byte
    poll(client, pipe)     returns at once, since the pipe is readable
    the pipe is emptied
    Python looks again, and runs the handler: the lease is given up

`poll` alone would sleep here until the client says something, for hours perhaps.
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
from typing import ClassVar

from .ending import Ending


class RequestTimeoutError(Exception):
    """A request of which a part has come, and not the rest in time."""


class ClientWatch:
    """Waits for a client to say something, for a signal, or for the end, with time limits."""

    def __init__(
        self,
        descriptor: int,
        wakeup: int | None,
        silence_s: float | None,
        ending: Ending,
        *,
        request_timeout_s: float,
        lifeline: int | None = None,
    ) -> None:
        """Watch `descriptor` for the client, and `wakeup`, of `woken_by_signals`, for signals.

        `silence_s` is the time after which a silent client is given up on; None: never.
        `lifeline` is a socket whose other end is closed when this process is asked to end.
        """
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._wakeup = wakeup
        if wakeup is not None:
            self._poll.register(wakeup, select.POLLIN)
        self._lifeline = lifeline
        if lifeline is not None:
            self._poll.register(lifeline, 0)  # a hangup is always told
        self._silence_s = silence_s
        self._ending = ending
        self._request_timeout_s = request_timeout_s
        self._deadline: float | None = None  # for the rest of what has begun to come

    def wait(self) -> None:
        """Return when the client has said something, or a signal has come.

        Raise BlockingIOError after silence, and when this process is asked to end;
        RequestTimeoutError at the deadline of a request.
        """
        left_s = self._silence_s
        if self._deadline is not None:
            left_s = max(self._deadline - time.monotonic(), 0)
        left_ms = None if left_s is None else left_s * 1000
        ready = () if self._ending.asked else self._poll.poll(left_ms)
        if not ready:
            if self._deadline is not None and not self._ending.asked:
                self.check_deadline()
            raise BlockingIOError
        for descriptor, _ in ready:
            if descriptor == self._wakeup:
                with suppress(BlockingIOError):
                    os.read(descriptor, 4096)
            elif descriptor == self._lifeline:
                self._ending.asked = True
                raise BlockingIOError

    def check_deadline(self) -> None:
        """Note that a part of a request has come: its time runs from the first such call on.

        Raise RequestTimeoutError when the time is over.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + self._request_timeout_s
        elif time.monotonic() >= self._deadline:
            raise RequestTimeoutError(
                f"half a request came, and not the rest in {self._request_timeout_s:g} s"
            )

    def clear_deadline(self) -> None:
        """Note that the request is whole: no time runs."""
        self._deadline = None


@contextmanager
def woken_by_signals() -> Iterator[int | None]:
    """Provide a descriptor that is readable once a signal has come.

    It is None outside of the main thread, which alone hears signals.
    """
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
    """Passes signals of this process on to readers; an `Alerts` of `export`.

    A process has one handler for a signal, so all objects hear together. A reader that gives up a
    lease lets a writer go on, to another file perhaps, and so the next signal may come before all
    readers were called. It is noted; then they are called once more.
    """

    _callbacks: ClassVar[list[weakref.WeakMethod[Callable[[int], None]]]] = []
    _heard: ClassVar[set[int]] = set()
    _is_busy: ClassVar[bool] = False

    def listen(self, callback: Callable[[int], None], numbers: Iterable[int]) -> bool:
        """Have `callback` called in the main thread with the number of a signal.

        Return False in any other thread, where signals can't be heard.
        """
        try:
            for number in numbers:
                signal.signal(number, SignalAlerts._handle)
        except ValueError:  # not in the main thread
            return False
        callbacks = SignalAlerts._callbacks
        callbacks[:] = [each for each in callbacks if each() is not None]
        callbacks.append(weakref.WeakMethod(callback))
        return True

    @classmethod
    def _handle(cls, number: int, _frame: FrameType | None) -> None:
        cls._heard.add(number)
        while cls._heard and not cls._is_busy:
            cls._is_busy, number = True, cls._heard.pop()
            try:
                for each in tuple(cls._callbacks):
                    if (callback := each()) is not None:
                        callback(number)
            finally:
                cls._is_busy = False
