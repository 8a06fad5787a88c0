"""A server in a process of its own: on a Unix socket and on TCP, its log in a file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vfloppy.export import Export
from vfloppy.nbd import Limits, Sandbox, Server, listen_tcp, listen_unix
from vfloppy.process import children as processes
from vfloppy.synth.host import files as host


class Manner(NamedTuple):
    """The manner in which a disk is served."""

    form: str = "fat"
    leases: bool = True
    sandbox: bool = False
    park_after_s: float | None = None
    most_open_files: int | None = None
    """A number so low that files are closed for each other; None: as usual."""


class Served(NamedTuple):
    """The addresses at which clients find it."""

    unix: str
    host: str
    port: int
    log: Path

    def uri(self, kind: str) -> str:
        """Return a URI for the plain client; `kind` is unix or tcp."""
        return (
            f"nbd+unix:///?socket={self.unix}"
            if kind == "unix"
            else f"nbd://{self.host}:{self.port}"
        )


@contextlib.contextmanager
def serving(image: Export, root: Path, folder: Path, manner: Manner) -> Iterator[Served]:
    """Serve until the block ends. `folder` is for the socket and the log."""
    socket, log = folder / "socket", folder / "log"
    listeners = [listen_unix(socket), listen_tcp("127.0.0.1", 0)]
    server = Server(
        listeners,
        {"": image},
        sandbox=Sandbox([root]) if manner.sandbox else None,
        limits=Limits(park_after_s=manner.park_after_s),
    )

    def work() -> int:
        logging.basicConfig(filename=log, level=logging.INFO, force=True)
        if manner.most_open_files is not None:
            host._MOST_OPEN_FILES = manner.most_open_files
        server.serve_forever()
        return 0

    process_id = processes.fork(work)
    tcp = listeners[1]
    assert tcp.host is not None
    assert tcp.port is not None
    found = Served(str(socket), tcp.host, tcp.port, log)
    for listener in listeners:
        listener.forget()
    try:
        yield found
    finally:
        processes.end_all([process_id])
        server.close()
        log.unlink(missing_ok=True)
        socket.unlink(missing_ok=True)
