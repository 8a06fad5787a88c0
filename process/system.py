"""Signals at the right moment, readiness for systemd, and the end of a parent process."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Have signals that end a process wait until the block has ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def afterwards(undo: Callable[[], None]) -> Iterator[None]:
    """Have `undo`, which may be called twice, called at the end of the block.

    It is done even if a signal comes when it has begun, and raises.
    """

    def undisturbed() -> None:
        with uninterrupted():
            undo()

    try:
        try:
            yield
        finally:
            undisturbed()
    finally:
        undisturbed()


def notify(message: str, environment: Mapping[str, str]) -> None:
    """Tell systemd, if it started us and asked for it, as sd_notify(3) does."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # a name without a file
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        try:
            client.sendto(message.encode(), address)
        except OSError:
            return


def end_with_parent(parent: int) -> bool:
    """Have this process get SIGTERM when `parent`, which started it, ends.

    Return False where the system can't do that.
    """
    if sys.platform != "linux":
        return False
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        return False
    if os.getppid() != parent:  # it has ended before
        os.kill(os.getpid(), signal.SIGTERM)
    return True
