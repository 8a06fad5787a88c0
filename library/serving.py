"""Serving disks over NBD: by threads beside other work, or by processes and for ever."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import VfloppyError, option_named
from ..process.reports import log
from .description import Path
from .disk import Disk
from .exports import Offered, Source, Sources, by_name

if TYPE_CHECKING:
    from ..nbd import Limits, Listener, Security, Server
    from ..nbd.server.threads import ThreadedServer


def serve(
    what: Offered | Mapping[str, Offered],
    *,
    unix: Path | None = None,
    host: str = "localhost",
    port: int | None = None,
) -> ThreadedServer:
    """Serve a disk, or several by name, over NBD by threads of this process, until it is closed.

    With `unix`, listen on a Unix socket at that path; with `port`, on TCP (0: any free port); with
    neither, on a Unix socket in a private directory. May be called from any thread.

        with vfloppy.serve(disk, unix="/tmp/disk.sock") as server:
            print(server.uri)

    Raise OptionError for a name that NBD can't carry, ListenError (a VfloppyError, too).
    """
    from ..nbd.server.threads import ThreadedServer  # noqa: PLC0415  most who open a disk serve none

    exports = {name: Source(name, each).export for name, each in by_name(what).items()}
    return ThreadedServer(_listener(unix, host, port), exports)


def serve_forever(
    what: Offered | Mapping[str, Offered],
    *,
    unix: Path | None = None,
    host: str = "localhost",
    port: int | None = None,
    default: str | None = None,
    rescan: bool = True,
    sandbox: bool = True,
    max_connections: int | None = None,
    idle_exit: float | None = None,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve as `vfloppy serve` does, a process for each connection, until SIGINT or SIGTERM.

    Faster than `serve`, and a client that takes its connection's process over can read beneath the
    directories and nothing else (`sandbox`, where the kernel has Landlock). `on_ready` is called
    with the URI once clients can connect. With `rescan`, disks are scanned again when somebody
    connects while nobody else is. To clients that ask for no name, the export `default` answers, or
    the first one. At most `max_connections` are served at a time; the server ends when nobody was
    connected for `idle_exit` seconds. Where it listens is as for `serve`.

    It forks, and handles SIGINT, SIGTERM, SIGHUP and SIGCHLD until it returns: call it in the main
    thread of a process without other threads. Raise VfloppyError where there are some, OptionError
    and ListenError (which are VfloppyErrors).
    """
    if threading.current_thread() is not threading.main_thread() or threading.active_count() > 1:
        raise VfloppyError(
            "serve_forever forks, and handles signals: it is for the main thread of a process that "
            "has no other; vfloppy.serve works beside threads"
        )
    from ..nbd import Limits  # noqa: PLC0415  most who open a disk serve none

    named = by_name(what)
    if default is not None and default not in named:
        raise VfloppyError(f"{option_named('default', default)}: there is no export of that name")
    scan = _rescanned if rescan else None
    sources = Sources([Source(*each, scan) for each in named.items()], confined=sandbox)
    try:
        server = server_of(
            [_listener(unix, host, port)],
            sources,
            default=default,
            rescan=rescan,
            limits=Limits(connections=max_connections, idle_exit_s=idle_exit),
            on_ready=lambda: on_ready(server.uri()),
        )
        server.serve_forever()
    finally:
        sources.close()


def server_of(
    listeners: Sequence[Listener],
    sources: Sources,
    *,
    default: str | None = None,
    rescan: bool = True,
    security: Security | None = None,
    limits: Limits | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> Server:
    """Return the server of some sources, which closes the listeners in the end."""
    from ..nbd import Limits, Security, Server  # noqa: PLC0415  as above
    from .preload import preload  # noqa: PLC0415  as above

    preload(everything=False)
    return Server(
        listeners,
        sources.exports(),
        sources.descriptions(),
        default_name=default or sources.each[0].name,
        refresh=sources.refresh if rescan else None,
        security=security or Security(),
        sandbox=sources.sandbox,
        limits=limits or Limits(),
        on_ready=on_ready,
    )


def _rescanned(disk: Disk) -> Disk:
    return disk.rescan(warn=log.warning)


def _listener(unix: Path | None, host: str, port: int | None) -> Listener:
    """Listen where a caller says. Raise ListenError."""
    from ..process.listeners import listen_private, listen_tcp, listen_unix  # noqa: PLC0415  see above

    if unix is not None:
        return listen_unix(os.fsdecode(unix))
    return listen_private() if port is None else listen_tcp(host, port)
