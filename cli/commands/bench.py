"""`vfloppy bench`: how fast a directory is served here, beside the peers that are installed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count as counting
from typing import NamedTuple

import click

from ...errors import VfloppyError
from ...nbd.client import Client
from ...nbd.errors import ClientError
from ...synth.formats import NAMES
from ..console import complain

_EPILOG = """\b
Examples:
  vfloppy bench ~/esp
  vfloppy bench --format iso installer/
  vfloppy bench --seconds 1 --no-peers ~/esp

Options of `vfloppy serve` that say what the disk is like go behind `--`:

\b
  vfloppy bench ~/esp -- --fat 16 --size 512M
"""
_START_S = 300.0
_PAUSE_S = 0.002
_WARM_S = 10.0
_WARM_BYTES = 1 << 20


class _Case(NamedTuple):
    """Reads of one length, so many in flight, at random places or one after the other."""

    title: str
    length: int
    depth: int
    is_random: bool


_CASES = (
    _Case("random 4 KiB, 1 in flight", 4 << 10, 1, True),
    _Case("random 4 KiB, 32 in flight", 4 << 10, 32, True),
    _Case("random 64 KiB, 32 in flight", 64 << 10, 32, True),
    _Case("from start to end, 256 KiB, 8 in flight", 256 << 10, 8, False),
)
_NBDKIT = ("nbdkit", "--foreground", "--unix", "SOCKET")
# Who else serves a directory as a disk of a format, at SOCKET.
_PEERS: dict[str, dict[str, tuple[str, ...]]] = {
    "fat": {
        "nbdkit floppy": (*_NBDKIT, "floppy", "{directory}"),
        "QEMU vvfat": (
            *("qemu-nbd", "--read-only", "--persistent", "--socket", "SOCKET"),
            *("--image-opts", "driver=vvfat,dir={escaped},fat-type=16"),
        ),
    },
    "iso": {"nbdkit iso": (*_NBDKIT, "iso", "{directory}")},
}
_PERCENTILES = (50, 99, 99.9)


class BenchError(VfloppyError):
    """A program that is measured does not serve."""


@click.command("bench", epilog=_EPILOG)
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.argument("options", metavar="[-- OPTION...]", nargs=-1)
@click.option(
    "--format", "disk_format", type=click.Choice(NAMES), default=NAMES[0], show_default=True
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.05, 60),
    default=2.0,
    show_default=True,
    help="How long each program is measured in each case.",
)
@click.option("--peers/--no-peers", default=True, help="Measure others, too.  [default: peers]")
def command(
    directory: str, options: tuple[str, ...], disk_format: str, seconds: float, peers: bool
) -> None:
    """Serve DIR on a private socket and read from it: rates, and how long a read takes.

    What others are installed (nbdkit, and QEMU's vvfat) is measured beside it by the same client,
    which is Python and takes some microseconds for each read itself. The disk is read once before.
    """
    commands = _commands(os.path.abspath(directory), disk_format, options)
    for name in [each for each in commands if each != "vfloppy"]:
        if not peers or shutil.which(commands[name][0]) is None:
            del commands[name]
    width = max(len(case.title) for case in _CASES)
    heads = "".join(f"{f'{each:g}%':>9}" for each in _PERCENTILES)
    click.echo(f"{'':{width}}  {'':13}{'a second':>10}{'MB/s':>8}{heads}  of reads took ms")
    for name, words in commands.items():
        try:
            with _serving(name, words) as (uri, first_byte_s):
                click.echo(f"{'time to the first byte':{width}}  {name:13}{first_byte_s:9.3f} s")
                _warm(uri)
                for case in _CASES:
                    click.echo(f"{case.title:{width}}  {name:13}{_measured(uri, case, seconds)}")
        except VfloppyError as error:
            if name == "vfloppy":
                raise
            complain(f"{name}: {error}")


def _commands(
    directory: str, disk_format: str, options: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return the commands that serve a directory at SOCKET, by name."""
    ours = (sys.executable, "-m", "vfloppy", "serve", "-q", "--format", disk_format)
    commands = {"vfloppy": (*ours, *options, "-U", "SOCKET", directory)}
    for name, words in _PEERS.get(disk_format, {}).items():
        commands[name] = tuple(
            each.format(directory=directory, escaped=directory.replace(",", ",,"))
            if "{" in each
            else each
            for each in words
        )
    return commands


@contextmanager
def _serving(name: str, words: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Start a server, and yield its URI and the seconds to its first byte. Raise BenchError."""
    with tempfile.TemporaryDirectory(prefix="vfloppy-") as folder:
        path = os.path.join(folder, "socket")
        started = time.perf_counter()
        with open(os.path.join(folder, "said"), "w+b") as said:
            process = subprocess.Popen(
                [path if word == "SOCKET" else word for word in words],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            try:
                uri = f"nbd+unix:///?socket={path}"
                while not _answers(uri):
                    if process.poll() is not None or time.perf_counter() - started > _START_S:
                        said.seek(0)
                        reason = said.read().decode(errors="replace").strip().partition("\n")[0]
                        raise BenchError(f"does not serve this directory: {reason}")
                    time.sleep(_PAUSE_S)
                yield uri, time.perf_counter() - started
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    complain(f"{name} did not end when it was told to")
                    process.kill()
                    process.wait()


def _answers(uri: str) -> bool:
    try:
        with Client(uri) as client:
            client.read(0, 512)
    except ClientError:
        return False
    return True


def _measured(uri: str, case: _Case, seconds: float) -> str:
    """Return a case's line: reads a second, megabytes a second, percentiles in milliseconds."""
    with Client(uri) as client:
        took = array("d")
        started = time.perf_counter()
        _read(client, case, started + seconds, took)
        passed = time.perf_counter() - started
    if not took:
        return "  the disk is shorter than one such read"
    rate = len(took) / passed
    ordered = sorted(took)
    marks = [ordered[min(int(len(took) * each / 100), len(took) - 1)] for each in _PERCENTILES]
    cells = "".join(f"{1000 * each:9.3f}" for each in marks)
    return f"{rate:10.0f}{rate * case.length / 1e6:8.0f}{cells}"


def _warm(uri: str) -> None:
    """Read the disk once, for some seconds at most, so that all find the same files in memory."""
    deadline = time.perf_counter() + _WARM_S
    with Client(uri) as client:
        for offset in range(0, client.size, _WARM_BYTES):
            client.read(offset, min(_WARM_BYTES, client.size - offset))
            if time.perf_counter() > deadline:
                return


def _read(client: Client, case: _Case, deadline: float, took: array[float]) -> None:
    """Read until the deadline, and note how long each read took, in seconds."""
    places = (client.size - case.length) // case.length + 1
    if places < 1:
        return
    generator = random.Random(0)  # noqa: S311  places to read, no secrets
    cookies = counting()
    sent: dict[int, float] = {}
    lengths: dict[int, int] = {}
    while True:
        now = time.perf_counter()
        if now < deadline and len(sent) <= case.depth // 2:
            reads = []
            for cookie in (next(cookies) for _ in range(case.depth - len(sent))):
                place = generator.randrange(places) if case.is_random else cookie % places
                reads.append((cookie, place * case.length, case.length))
                sent[cookie], lengths[cookie] = now, case.length
            client.ask(reads)
        if not sent:
            return
        cookie, _data = client.answer(lengths)
        took.append(time.perf_counter() - sent.pop(cookie))
        del lengths[cookie]
