"""A server that is told to end while it begins leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from tools import ENVIRONMENT, VFLOPPY

RUNS = 45
# Sends SIGTERM after so many system calls of the kinds that make and remove what could be left.
_SCRIPT = """
import os, signal, socket, sys
from vfloppy.cli import main
left = int(sys.argv.pop(1))

def counted(owner, name):
    real = getattr(owner, name)
    def call(*arguments, **options):
        global left
        try:
            return real(*arguments, **options)
        finally:
            left -= 1
            if left in (0, -1):
                os.kill(os.getpid(), signal.SIGTERM)
    setattr(owner, name, call)

for name in ("mkdir", "rmdir", "unlink", "lstat", "stat", "fstat", "open", "umask", "getpid"):
    counted(os, name)
counted(signal, "signal")
class Socket(socket.socket):
    pass
for name in ("bind", "listen", "close"):
    counted(Socket, name)
socket.socket = Socket
main()
"""


@pytest.mark.parametrize("where", ["private", "named"])
def test_sigterm_at_any_call_of_the_start_leaves_nothing(tmp_path, tree, where):
    """Twice each time, and the second one may come while it cleans up."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    socket_path = "-" if where == "private" else str(scratch / "socket")
    arguments = ["serve", "-q", "-U", socket_path, "--pidfile", str(scratch / "pid"), str(tree)]
    ended = 0
    for number in range(1, RUNS + 1):
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(3 * number), *arguments, "--idle-exit", "0"],
            cwd="/", env=ENVIRONMENT | {"TMPDIR": str(scratch)}, stderr=subprocess.PIPE,
        )  # fmt: skip
        _, said = process.communicate(timeout=60)
        assert os.listdir(scratch) == [], (number, said.decode())
        assert b"Traceback" not in said, (number, said.decode())
        ended += process.returncode == 128 + signal.SIGTERM
    assert 0 < ended < RUNS  # the last calls come too late


def test_sigterm_at_any_time_of_the_start_leaves_nothing(tmp_path, tree):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    for number in range(30):
        process = subprocess.Popen(
            [*VFLOPPY, "serve", "-U", "-", str(tree)],
            cwd="/", env=ENVIRONMENT | {"TMPDIR": str(scratch)}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while not os.listdir(scratch) and process.poll() is None:
            pass  # until the directory is made, and then a little more each time
        time.sleep(number * 0.001)
        process.terminate()
        process.wait(60)
        assert os.listdir(scratch) == [], number
