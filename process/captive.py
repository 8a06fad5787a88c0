"""Captive mode: a command runs while the server does, and finds it by variables.

The server is a child in a process group of its own, so that Ctrl-C, which reaches the command,
doesn't end the server under it. It holds the reading end of a pipe whose writing end only this
process has: however this process ends, the server ends with it. A signal tells it the same, since a
server that scans looks at no pipe; one that has barely begun ignores it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from types import FrameType

from . import children as processes
from .errors import CaptiveError
from .reports import log
from .system import end_with_parent

SERVER_GRACE_S = processes.GRACE_S + 3.0  # its children have GRACE_S
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)
_LEFT_TO_COMMAND = (signal.SIGINT, signal.SIGQUIT)


def run(
    command: str,
    variables: Mapping[str, str],
    serve: Callable[[int], None],
    forget: Callable[[], None],
) -> int:
    """Run `command` while `serve` runs in a child; return its exit status, 128 + N for signal N.

    `variables` are in the command's environment, and so in that of the programs that it starts.
    `serve` is called with a descriptor that becomes readable when it should end. `forget` is called
    in this process, to close what only the server needs. Raise CaptiveError when the server ended
    first, or failed.
    """
    lifeline, held = os.pipe()
    own_id = os.getpid()
    server_id = processes.fork(
        lambda: _serve(serve, own_id, lifeline, held), ignore={signal.SIGTERM}
    )
    os.close(lifeline)
    forget()
    try:
        status = _run_shell(command, variables)
    finally:
        ended = processes.ended(server_id)
        os.close(held)
        stopped = 0
        if ended is None:
            stopped = processes.end_all([server_id], SERVER_GRACE_S)[server_id]
    if ended is not None:
        raise _failure(ended, "before the command did")
    if stopped:
        raise _failure(stopped, "when it was asked to stop")
    return status


def _serve(serve: Callable[[int], None], starter: int, lifeline: int, held: int) -> int:
    os.close(held)
    os.setpgid(0, 0)
    end_with_parent(starter)
    try:
        serve(lifeline)
    except Exception as error:  # whatever it is, the command's end tells no more
        log.error("the server failed: %s", str(error) or type(error).__name__)
        return 1
    return 0


def _run_shell(command: str, variables: Mapping[str, str]) -> int:
    """Run a shell to its end, and return its exit status; pass SIGTERM and SIGHUP on to it."""
    early: list[int] = []
    shell: subprocess.Popen[bytes] | None = None

    def forward(number: int, _frame: FrameType | None) -> None:
        if shell is None:
            early.append(number)
        else:
            shell.send_signal(number)

    def ignore(_number: int, _frame: FrameType | None) -> None:
        """Do nothing: the terminal has sent the signal to the command as well."""

    # Handlers, not SIG_IGN: that would be inherited by the command.
    old = {number: signal.signal(number, forward) for number in _FORWARDED}
    old |= {number: signal.signal(number, ignore) for number in _LEFT_TO_COMMAND}
    try:
        shell = subprocess.Popen(["/bin/sh", "-c", command], env=os.environ | variables)
        for number in early:
            shell.send_signal(number)
        status = shell.wait()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _failure(status: int, when: str) -> CaptiveError:
    """Return the error of a server that ended with `status`, -N for signal N."""
    if status >= 0:
        return CaptiveError(f"The server ended with status {status} {when}.")
    name = signal.Signals(-status).name
    return CaptiveError(f"The server was ended by {name} {when}.", 128 - status)
