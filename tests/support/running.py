"""A server in a process of its own, with its log in a file."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from pathlib import Path

import pytest
from vfloppy.nbd import Server
from vfloppy.process import children as processes


class Running:
    """A server process that a test started."""

    def __init__(self, server: Server, log: Path) -> None:
        self.server = server
        self.log = log
        self.status: int | None = None
        self.process_id = processes.fork(self._serve)
        for listener in server.listeners:
            listener.forget()

    def _serve(self) -> int:
        logging.basicConfig(filename=self.log, level=logging.INFO, force=True)
        self.server.serve_forever()
        return 0

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit status; a test's timeout is the bound."""
        if self.status is None:
            os.kill(self.process_id, number)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.process_id, 0)[1])
        return self.status

    def children(self) -> list[int]:
        """The processes of its connections (Linux)."""
        listed = Path(f"/proc/{self.process_id}/task/{self.process_id}/children").read_text()
        return [int(each) for each in listed.split()]


@pytest.fixture
def serve(tmp_path):
    running = []

    def start(listeners, exports, descriptions=None, **options) -> Running:
        server = Server(listeners, exports, descriptions, **options)
        running.append(Running(server, tmp_path / f"log{len(running)}"))
        return running[-1]

    yield start
    for each in running:
        with contextlib.suppress(ProcessLookupError):
            each.stop(signal.SIGKILL)
        each.server.close()
