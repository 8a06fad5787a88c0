"""`vfloppy serve`: a directory as a disk over NBD."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys

import click

from ..nbd import Listener, Sandbox, Server, listen_private, listen_tcp, listen_unix
from ..synth.fat.plan import Layout as FatLayout
from .console import complain, describe, report_changes
from .disks import Disk, open_disk
from .options import DiskOptions, disk_options

_EPILOG = """\b
Examples:
  vfloppy serve ~/esp
  vfloppy serve -U /tmp/esp.sock ~/esp
  vfloppy serve --for ovmf ~/esp
  vfloppy serve --format iso installer/
  vfloppy serve fat:floppy:/drivers                   as QEMU has it
  vfloppy serve -U - ~/esp --run 'nbdinfo "$uri"'
  vfloppy serve -U - ~/esp --run 'qemu-system-x86_64 -m 512 \\
      -drive file="$uri",format=raw,if=virtio,readonly=on'

\b
CMD of --run is run by /bin/sh with these variables, not exported:
  $uri, $nbd      where the disk is          $unixsocket   the path of the socket
  $exportname     the name of the export     $port         the TCP port
"""


@click.command("serve", epilog=_EPILOG)
@disk_options
@click.argument("directories", metavar="DIR...", nargs=-1)
@click.option(
    "-U",
    "--unix",
    metavar="PATH",
    help="Listen on a Unix socket; `-` makes one in a private directory.",
)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    help="The TCP port; 0 lets the system choose.  [default: 10809]",
)
@click.option("-i", "--ip", metavar="ADDRESS", help="Listen there.  [default: 127.0.0.1]")
@click.option("--export-name", default="", metavar="NAME", help="The name of the export.")
@click.option("--run", "captive", metavar="CMD", help="Serve while CMD runs; exit with its status.")
@click.option(
    "--sandbox/--no-sandbox",
    default=True,
    help="Let a connection's process read beneath the directories and nothing else, where the "
    "kernel has Landlock.  [default: sandbox]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    options: DiskOptions,
    directories: tuple[str, ...],
    unix: str | None,
    port: int | None,
    ip: str | None,
    export_name: str,
    captive: str | None,
    sandbox: bool,
    quiet: bool,
) -> None:
    """Serve DIR as a read-only disk over NBD, until SIGINT or SIGTERM.

    No file is read before a client asks for it. The disk is that of the moment when the server
    started: a file that is changed afterwards gives read errors, never wrong bytes. Several
    directories are merged; of two files of one name the last one is taken.
    """
    if unix is not None and (port is not None or ip is not None):
        raise click.UsageError("--unix goes without --port and --ip: it is no TCP")
    if len(export_name.encode("utf-8", "surrogateescape")) > 4096:
        raise click.UsageError("--export-name is too long; NBD holds at most 4096 bytes")
    _log_to_stderr()
    disk = open_disk(options, directories, leases=True)
    summary = describe(disk)
    if not quiet:
        report_changes(disk)
    listener = _listener(unix, ip, port)
    confined = Sandbox(_roots(disk)) if sandbox else None
    server = Server([listener], {export_name: disk.image}, {export_name: summary}, sandbox=confined)
    with contextlib.closing(server):
        if captive is not None:
            if not quiet:
                complain(f"serving {summary} at {server.uri()}")
                complain(_confinement(confined))
            sys.exit(server.run_captive(captive))
        if not quiet:
            _announce(disk, summary, server.uri())
            complain(_confinement(confined))
        server.serve_forever()


def _roots(disk: Disk) -> list[bytes]:
    return [home.name for home in disk.tree.homes if home.parent < 0]


def _confinement(sandbox: Sandbox | None) -> str:
    return f"sandbox: {sandbox.summary if sandbox else 'none (--no-sandbox)'}"


def _listener(unix: str | None, ip: str | None, port: int | None) -> Listener:
    if unix == "-":
        return listen_private()
    if unix is not None:
        return listen_unix(unix)
    return listen_tcp(ip or "127.0.0.1", 10809 if port is None else port)


def _announce(disk: Disk, summary: str, uri: str) -> None:
    """What is served and where, and lines to paste."""
    device = "if=virtio" if disk.is_fat else "media=cdrom"
    drive = shlex.quote(f"file={uri},format=raw,{device},readonly=on")
    click.echo(f"serving {summary} at {uri}")
    click.echo(f"  qemu-system-x86_64 -m 1024 -drive {drive}")
    click.echo(f"  guestfish --ro --format=raw -a {shlex.quote(uri)} -m {_mountable(disk)}")
    sys.stdout.flush()


def _mountable(disk: Disk) -> str:
    """Where the file system is, as guestfish calls it."""
    layout = disk.layout
    has_partition = isinstance(layout, FatLayout) and layout.options.partition != "none"
    return "/dev/sda1" if has_partition else "/dev/sda"


def _log_to_stderr() -> None:
    """Warnings and errors of the server, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("vfloppy: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
