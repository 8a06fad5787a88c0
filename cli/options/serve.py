"""The options of `vfloppy serve` that are not about the disk, and what contradicts itself there."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from ...nbd.protocol.handshake import Tls
from ..serving.logs import LEVELS

_MODE = re.compile(r"0?[0-7]{3}")
_MOST_SECONDS = 1e9


class _Seconds(click.FloatRange):
    """A time in seconds that a clock holds."""

    name = "seconds"

    def __init__(self, least: float) -> None:
        super().__init__(least, _MOST_SECONDS)

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):  # which is in no range, nor out of one
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


class ServeOptions(NamedTuple):
    """The options of `vfloppy serve` that are not about the disk."""

    unix: str | None
    socket_mode: str | None
    socket_owner: str | None
    port: int | None
    ip: tuple[str, ...]
    vsock: int | None
    insecure: bool
    single: bool
    export_name: str
    default_export: str | None
    config: str | None
    overlay: str | None
    changes: str | None
    write_back: bool
    filters: tuple[str, ...]
    captive: str | None
    tls: Tls
    tls_cert_dir: str | None
    tls_verify_peer: bool
    tls_psk: str | None
    user: str | None
    sandbox: bool
    no_rescan: bool
    max_connections: int | None
    handshake_timeout: float
    idle_exit: float | None
    exit_with_parent: bool
    pidfile: str | None
    log_level: str
    log_format: str
    quiet: bool

    @property
    def names_a_socket(self) -> bool:
        """Return whether the user says where to listen."""
        by_port = self.port is not None or self.vsock is not None
        return by_port or bool(self.unix or self.ip)

    @property
    def is_private(self) -> bool:
        """Return whether to listen where nobody else gets in."""
        return self.unix == "-" or (self.captive is not None and not self.names_a_socket)


_OPTIONS = (
    click.option(
        "-U",
        "--unix",
        metavar="PATH",
        help="Listen on a Unix socket; `-` makes one in a private directory.",
    ),
    click.option(
        "--socket-mode", metavar="MODE", help="The permissions of the Unix socket, such as 660."
    ),
    click.option("--socket-owner", metavar="USER[:GROUP]", help="The owner of the Unix socket."),
    click.option(
        "-p",
        "--port",
        type=click.IntRange(0, 65535),
        help="The TCP port; 0 lets the system choose.  [default: 10809]",
    ),
    click.option(
        "-i",
        "--ip",
        metavar="ADDRESS",
        multiple=True,
        help="The TCP address to listen at. Repeatable.  [default: 127.0.0.1]",
    ),
    click.option(
        "--vsock",
        type=click.IntRange(0, (1 << 32) - 2),
        metavar="PORT",
        help="Listen on a vsock port, for the virtual machines of this computer.",
    ),
    click.option(
        "--insecure", is_flag=True, help="Let other computers in although --tls isn't required."
    ),
    click.option("--single", is_flag=True, help="Serve one client on standard input and output."),
    click.option("-e", "--export-name", default="", metavar="NAME", help="The name of the export."),
    click.option(
        "--default-export",
        metavar="NAME",
        help="The export for clients that ask for none; else the first of several.",
    ),
    click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="Take exports, each with its options, from a TOML file: docs/serving.md.",
    ),
    click.option(
        "--overlay",
        metavar="FILE",
        help="As --writable, and keep what is written in FILE: served with it again, the disk is "
        "as it was left.",
    ),
    click.option(
        "--changes",
        metavar="OUT",
        help="As --writable, and write what guests have changed to OUT when serving ends: a new "
        "directory, or an archive that ends with .tar or .zip.",
    ),
    click.option(
        "--write-back",
        is_flag=True,
        help="As --writable, and bring what guests have changed home into the directories when "
        "serving ends, as vfloppy harvest --apply does. fat:rw:DIR means this.",
    ),
    click.option(
        "--filter",
        "filters",
        metavar="NAME[:KEY=VALUE,...]",
        multiple=True,
        help="Put a filter around what is served: log, delay, error, rate, readonly, or a class of "
        "your own, MODULE:CLASS; see docs/filters.md. Repeatable; the first is nearest to clients.",
    ),
    click.option(
        "--run",
        "captive",
        metavar="CMD",
        help="Serve while CMD runs, on a private socket unless another is asked for; exit with its "
        "status.",
    ),
    click.option(
        "--tls",
        type=click.Choice(["off", "on", "require"]),
        default="off",
        show_default=True,
        help="on: clients may speak TLS; require: they must.",
    ),
    click.option(
        "--tls-cert-dir",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help="The directory with ca-cert.pem, server-cert.pem and server-key.pem.",
    ),
    click.option(
        "--tls-verify-peer",
        is_flag=True,
        help="Refuse clients whose certificate is not one of ca-cert.pem's.",
    ),
    click.option(
        "--tls-psk",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="Pre-shared keys for TLS, a line NAME:HEX each (Python 3.13 and later).",
    ),
    click.option(
        "--user",
        metavar="USER[:GROUP]",
        help="Once it listens, and before the directory is scanned, become that user.",
    ),
    click.option(
        "--sandbox/--no-sandbox",
        default=True,
        help="Let a connection's process read beneath the directories and nothing else, where the "
        "kernel has Landlock.  [default: sandbox]",
    ),
    click.option(
        "--no-rescan", is_flag=True, help="Serve the directory as it was at the start, for ever."
    ),
    click.option(
        "--max-connections",
        type=click.IntRange(1),
        metavar="N",
        help="Serve N connections at a time; others wait until one ends.",
    ),
    click.option(
        "--handshake-timeout",
        type=_Seconds(0.01),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="The time for each message of a client until it has chosen an export.",
    ),
    click.option(
        "--idle-exit",
        type=_Seconds(0),
        metavar="SECONDS",
        help="End when nobody was connected for so many seconds.",
    ),
    click.option("--exit-with-parent", is_flag=True, help="End when the starting process does."),
    click.option("--pidfile", metavar="FILE", help="Write the process's number when it is ready."),
    click.option(
        "--log-level",
        type=click.Choice(LEVELS),
        default="warning",
        show_default=True,
        help="The least level that is logged; info tells of connections and rescans, too.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="json: one document a line, for programs.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
)


def serve_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as one argument, `serving`."""

    @functools.wraps(command)
    def with_options(**given: Any) -> Any:
        values = {name: given.pop(name) for name in ServeOptions._fields}
        serving = ServeOptions(**values)
        _check(serving)
        return command(serving=serving, **given)

    decorated: Callable[..., Any] = with_options
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _check(serving: ServeOptions) -> None:
    """Raise UsageError for options that contradict each other."""
    if serving.unix == "":
        raise click.UsageError("--unix is empty; a path, or `-`, is expected")
    if serving.unix is not None and (serving.port is not None or serving.ip):
        raise click.UsageError("--unix goes without --port and --ip: it is no TCP")
    if serving.single and (serving.names_a_socket or serving.captive is not None):
        raise click.UsageError("--single goes without sockets and without --run")
    if (serving.socket_mode or serving.socket_owner) and serving.unix in {None, "-"}:
        raise click.UsageError("--socket-mode and --socket-owner are those of --unix PATH")
    if serving.socket_mode and not _MODE.fullmatch(serving.socket_mode):
        raise click.UsageError(f"--socket-mode {serving.socket_mode}: one like 660 is expected")
    if serving.captive is not None and serving.idle_exit is not None:
        raise click.UsageError("--run goes without --idle-exit: it ends when the command does")
    if serving.overlay == "":
        raise click.UsageError("--overlay is empty; a file is expected")
    for name, is_given in (("changes", serving.changes), ("write-back", serving.write_back)):
        if is_given and serving.config:
            raise click.UsageError(f"--{name} goes without --config")
        if is_given and serving.single:
            raise click.UsageError(f"--{name} goes without --single, which nobody outlives")
    if serving.overlay and serving.config:
        raise click.UsageError("--overlay goes without --config, where each export has its own")
    if serving.export_name and serving.config:
        raise click.UsageError("--export-name goes without --config, which names the exports")
    _check_tls(serving)


def _check_tls(serving: ServeOptions) -> None:
    with_keys = bool(serving.tls_cert_dir) + bool(serving.tls_psk)
    if with_keys > 1:
        raise click.UsageError("--tls-cert-dir goes without --tls-psk: it is one or the other")
    if serving.tls != "off" and not with_keys:
        raise click.UsageError(f"--tls {serving.tls} needs --tls-cert-dir DIR, or --tls-psk FILE")
    if serving.tls == "off" and (with_keys or serving.tls_verify_peer):
        raise click.UsageError("certificates and keys are for --tls on or --tls require")
    if serving.tls_verify_peer and serving.tls_psk:
        raise click.UsageError("--tls-verify-peer is about certificates; --tls-psk has none")
