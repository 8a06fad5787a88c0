"""`vfloppy serve`: directories as disks over NBD."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ...library.disk import Disk
from ...library.exports import Source, Sources
from ...library.preload import preload
from ...library.serving import server_of
from ...library.summary import human_size
from ...nbd import Limits, Listener, Security, Server, StdioConnection
from ...process.children import run_to_end
from ...process.reports import log
from ...process.system import afterwards, end_with_parent, notify
from ...process.users import become
from ..console import complain, one_line, report_changes
from ..destinations import Destination
from ..options.disk import DiskOptions, disk_options
from ..options.serve import ServeOptions, serve_options
from ..serving.exports import sources_of
from ..serving.listening import listeners
from ..serving.logs import log_to_stderr
from ..serving.written import disks_written, settle_writes

if TYPE_CHECKING:
    pass

_EPILOG = """\b
Examples:
  vfloppy serve ~/esp
  vfloppy serve -U /tmp/esp.sock ~/esp
  vfloppy serve --for ovmf ~/esp
  vfloppy serve --format iso installer/
  vfloppy serve tools=/srv/tools seed=/srv/seed
  vfloppy serve fat:floppy:/drivers                   as QEMU has it
  vfloppy serve --writable ~/esp                      written to, and then forgotten
  vfloppy serve --overlay changes ~/esp               written to, and kept in a file
  vfloppy serve disk.img.xz                           decompressed where it is read
  vfloppy serve memory:64M --filter log:file=requests.log --filter delay:read=40ms
  vfloppy serve ~/esp --run 'nbdinfo "$uri"'
  vfloppy serve ~/esp --run 'qemu-system-x86_64 -m 512 \\
      -drive file="$uri",format=raw,if=virtio,readonly=on'

\b
CMD of --run is run by /bin/sh with these variables, in the environment:
  $uri, $nbd      where the disk is          $unixsocket   the path of the socket
  $exportname     the name of the export     $port         the TCP port
  $tls            on or require, if it is    $tls_certificates, $tls_psk   as given
"""


@click.command("serve", epilog=_EPILOG)
@disk_options
@click.argument("directories", metavar="[NAME=]SOURCE...", nargs=-1)
@serve_options
def command(options: DiskOptions, directories: tuple[str, ...], serving: ServeOptions) -> None:
    """Serve SOURCE as a disk over NBD, until SIGINT or SIGTERM; read-only, unless --writable is
    given.

    SOURCE is a directory; or a raw image or block device, also compressed by xz (disk.img.xz);
    memory:SIZE; script:FILE, or script:- for one on standard input.

    No file of a directory is read before a client asks for it. Several directories are merged; of
    two files of one name the last one is taken. With names, each is a disk of its own.

    The disk is that of the moment when it was scanned: a file that is changed afterwards gives read
    errors, never wrong bytes. It is scanned again when somebody connects while nobody else is.
    """
    parent = os.getppid()
    if not serving.single:  # it asks for a scan: one is made anyway
        signal.signal(signal.SIGHUP, lambda *_: None)
    log_to_stderr(serving.log_level, serving.log_format)
    security = _security(serving)
    preload(everything=serving.user is not None)
    quiet = serving.quiet or serving.single
    with _listening(serving) as listening:
        sources = sources_of(options, directories, serving)
        disks = [each.what for each in sources.each if isinstance(each.what, Disk)]
        if not quiet:
            for disk in disks:
                report_changes(disk)
        if serving.exit_with_parent and not end_with_parent(parent):
            raise click.UsageError("--exit-with-parent is there on Linux only")
        with _pidfile(serving.pidfile) as write_pid:

            def on_ready() -> None:
                write_pid()
                notify("READY=1", os.environ)
                if not quiet and serving.captive is None:
                    _announce(sources.each[0], _what(sources), server.uri())
                    _tell_more(sources, serving)

            server = server_of(
                listening,
                sources,
                default=serving.default_export,
                rescan=_rescans(sources, serving),
                security=security,
                limits=Limits(
                    handshake_timeout_s=serving.handshake_timeout,
                    connections=serving.max_connections,
                    idle_exit_s=serving.idle_exit,
                ),
                on_ready=on_ready,
            )
            try:
                status = _run(server, serving, sources, quiet=quiet)
            finally:
                is_settled = settle_writes(sources, serving, quiet=quiet)
            if status or not is_settled:
                sys.exit(status or 1)


@contextlib.contextmanager
def _listening(serving: ServeOptions) -> Iterator[list[Listener]]:
    """Listen, as who started us, then become `--user`; close all at the end."""
    needs_no_rights = serving.single or serving.is_private
    if serving.user and needs_no_rights:
        become(serving.user)  # before: a private directory is that user's, too
    found: list[Listener] = []

    def close() -> None:
        for each in found:
            each.close()

    with afterwards(close):
        if not serving.single:
            listeners(serving, found)
        if serving.user and not needs_no_rights:
            become(serving.user)
        yield found


def _rescans(sources: Sources, serving: ServeOptions) -> bool:
    """Return whether directories are scanned again.

    With --run the server is a child, whose new disks this process would not know at the end.
    """
    is_apart = serving.captive is not None and any(disks_written(sources))
    return not serving.no_rescan and not is_apart


def _run(server: Server, serving: ServeOptions, sources: Sources, *, quiet: bool) -> int:
    """Serve, and return the exit status."""
    if serving.single:
        serve = partial(server.serve_single, _standard_connection())
        # In the sandbox, which only ends with its process, the file could not be removed.
        return run_to_end(serve) if serving.pidfile else serve()
    if serving.captive is not None:
        if not quiet:
            _tell(f"serving {_what(sources)} at {server.uri()}", serving)
            _tell_more(sources, serving)
        return server.run_captive(serving.captive)
    server.serve_forever()
    return 0


def _what(sources: Sources) -> str:
    """Return all disks in one line."""
    return ", ".join(
        f"{each.name}: {each.description}" if each.name else each.description
        for each in sources.each
    )


def _tell(text: str, serving: ServeOptions) -> None:
    """Print a line for people, or log it where the log is for programs."""
    if serving.log_format == "json":
        log.info("%s", text)
    else:
        complain(text)


def _tell_more(sources: Sources, serving: ServeOptions) -> None:
    """Tell what is in force against a client that takes a connection's process over, and where
    what is written goes.
    """
    summary = sources.sandbox.summary if sources.sandbox else "none (--no-sandbox)"
    written = [*disks_written(sources)]
    if written and sources.sandbox:
        summary += "; writing to the overlay"
    _tell(f"sandbox: {summary}", serving)
    for each in sources.each:
        if each.note:
            _tell(each.note, serving)
    for title, source, file in written:
        if source.writes_back:
            assert isinstance(source.what, Disk)
            disk = source.what
            homes = ", ".join(disk.description.paths)
            text = f"what is written is in the overlay {file.name}, and goes to {homes} at the end"
            _tell(f"{title}writable: {text}", serving)
        elif file.name:
            held = human_size(file.written_bytes) if file.is_touched else "nothing yet"
            _tell(
                f"{title}writable: the overlay {file.name} holds what is written, {held}", serving
            )
        else:
            text = "what is written is gone at the end (--overlay FILE keeps it)"
            _tell(f"{title}writable: {text}", serving)


def _security(serving: ServeOptions) -> Security:
    """Return what TLS needs. Raise TlsError."""
    if serving.tls == "off":
        return Security()
    from ...process.tls import certificate_context, key_context  # noqa: PLC0415  slow, and seldom needed

    if serving.tls_psk:
        context, user = key_context(serving.tls_psk)
        return Security(serving.tls, context, keys=os.path.abspath(serving.tls_psk), user=user)
    assert serving.tls_cert_dir is not None
    context = certificate_context(serving.tls_cert_dir, verify_peer=serving.tls_verify_peer)
    return Security(serving.tls, context, os.path.abspath(serving.tls_cert_dir))


def _standard_connection() -> Any:
    """Return standard input and output as a connection; inetd gives one socket for both."""
    if sys.stdin is None or sys.stdout is None:
        raise click.UsageError("--single needs standard input and output")
    status = os.fstat(0)
    if stat.S_ISSOCK(status.st_mode) and os.path.samestat(status, os.fstat(1)):
        return socket.socket(fileno=os.dup(0))
    for descriptor in (0, 1):
        os.set_blocking(descriptor, True)
    return StdioConnection(0, 1)


@contextlib.contextmanager
def _pidfile(path: str | None) -> Iterator[Any]:
    """Yield what writes the number of this process to a file, when it is called.

    The file is removed at the end, if it is still the one that was made.
    """
    if path is None:
        yield lambda: None
        return
    owner = os.getpid()
    with Destination("--pidfile", path) as destination:

        def remove() -> None:
            if os.getpid() == owner:  # with --run, a child has written it
                destination.remove()

        with afterwards(remove):
            yield lambda: destination.write([f"{os.getpid()}\n"])


def _announce(source: Source, what: str, uri: str) -> None:
    """Print what is served and where, and lines to paste."""
    disk = source.what if isinstance(source.what, Disk) else None
    device = disk.format.drive(disk.layout) if disk else "if=virtio"
    mountable = f" -m {disk.format.device(disk.layout)}" if disk else ""
    is_writable = source.export.features.writable
    read_only, mode = ("", "--rw") if is_writable else (",readonly=on", "--ro")
    drive = shlex.quote(f"file={uri},format=raw,{device}{read_only}")
    lines = [f"serving {what} at {uri}"]
    if uri.startswith(("nbd:", "nbd+unix:")):
        as_guestfish_has_it = shlex.quote(uri.replace("nbd+unix:", "nbd:", 1))
        lines += [
            f"  qemu-system-x86_64 -m 1024 -drive {drive}",
            f"  guestfish {mode} --format=raw -a {as_guestfish_has_it}{mountable}",
        ]
    else:  # QEMU's and guestfish's URIs go no further
        lines.append(f"  nbdinfo {shlex.quote(uri)}")
    try:
        click.echo("\n".join(map(one_line, lines)))  # at once: `| head -n 1` leaves after the first
    except OSError as error:
        # Whoever was to read it has gone; those who connect don't need it.
        log.warning("standard output: %s; it serves all the same, at %s", error.strerror, uri)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer goes there
