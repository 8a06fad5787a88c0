"""Waiting for a client so that a signal is heard at once, also one that comes a moment too early.

Python runs a signal's handler between its own steps. A signal that comes just before a system call
begins to sleep is heard when that ends: with a lease wanted back, a writer would wait as long. So
the system call that sleeps here also watches a pipe that the signal has written to.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Waiting:
    """Waits until a descriptor has something to read."""

    def __init__(self, descriptor: int, wakeup: int | None, patience_s: float | None) -> None:
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._wakeup = wakeup
        if wakeup is not None:
            self._poll.register(wakeup, select.POLLIN)
        self._patience_ms = None if patience_s is None else patience_s * 1000

    def __call__(self) -> None:
        """Returns when there is something, or there was a signal. Raises BlockingIOError after
        silence.
        """
        ready = self._poll.poll(self._patience_ms)
        if not ready:
            raise BlockingIOError
        for descriptor, _ in ready:
            if descriptor == self._wakeup:
                with suppress(BlockingIOError):
                    os.read(descriptor, 4096)


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
