"""What is held against a number and not against a peer: large disks, tables, idle connections."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from measure import converse, peak_mb, serving

LARGE = (1 << 32) - 1  # as large as a file on FAT can be
IDLE = 1000
IDLE_PATIENCE_S = 60.0


class Limit(NamedTuple):
    """What a figure has to stay within."""

    name: str
    unit: str
    limit: float
    less_is_better: bool = True


class Trial(NamedTuple):
    """A run, and the limits of the figures that it gives."""

    measure: Callable[[], tuple[float, ...]]
    limits: tuple[Limit, ...]

    @property
    def name(self) -> str:
        """What it is called: the names of its figures."""
        return ", ".join(each.name for each in self.limits)


@contextmanager
def sparse_tree(count: int, size: int) -> Iterator[Path]:
    """A directory of files that are nothing but holes."""
    with tempfile.TemporaryDirectory(prefix="vfloppy-bench-") as folder:
        for number in range(count):
            with open(f"{folder}/file-{number:05}.bin", "wb") as file:
                file.truncate(size)
        yield Path(folder)


def large_disk(count: int, size: int, *options: str) -> tuple[float, float, float]:
    """Seconds to the first byte, memory in MB, and seconds for the map of all of it."""
    with sparse_tree(count, size) as tree, serving("vfloppy", tree, *options) as running:
        started = time.perf_counter()
        subprocess.run(
            ["nbdinfo", "--map", running.uri], check=True, cwd="/", stdout=subprocess.DEVNULL
        )
        map_s = time.perf_counter() - started
        return running.seconds_to_first_byte, peak_mb(running.process), map_s


def table() -> tuple[float, float]:
    """The rate of computing 256 MiB of the table of a disk of 2 TiB, and what is kept of it."""
    code = (
        "import sys, time, resource, vfloppy\n"
        "image = vfloppy.open_disk(sys.argv[1], partition='none').export\n"
        "table = next(each for each in image.regions() if each.name == 'FAT 1')\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "reader = image.open()\n"
        "reader.pieces(table.offset, 1 << 20)\n"
        "bytes(16 << 20)\n"  # as in a connection: what is freed is used again
        "USED = 250 << 20  # all of it is in use\n"
        "before, started, done = peak(), time.perf_counter(), 0\n"
        "for at in range(table.offset, table.offset + USED, 1 << 20):\n"
        "    length = min(1 << 20, table.offset + USED - at)\n"
        "    done += sum(map(len, reader.pieces(at, length)))\n"
        "print(done / (time.perf_counter() - started) / 1e6, (peak() - before) / 1e3)\n"
    )
    with sparse_tree(511, LARGE) as tree:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tree)], check=True, cwd="/", capture_output=True
        )
    rate, kept = map(float, done.stdout.split())
    return rate, kept


def idle_connections() -> tuple[float]:
    """What each of many connections adds to the memory of the server, in MB, once all of them have
    read something and then been silent for so long that they have no process any more.
    """
    with sparse_tree(1, 1 << 20) as tree, serving("vfloppy", tree) as running:
        before = _memory_mb(running.process)
        clients = []
        try:
            for _ in range(IDLE):
                clients.append(socket.socket(socket.AF_UNIX))
                clients[-1].connect(running.path)
                converse(clients[-1])
            deadline = time.monotonic() + IDLE_PATIENCE_S
            while children := _children(running.process):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.5)
            after = sum(map(_memory_mb, (running.process, *children)))
            return ((after - before) / IDLE,)
        finally:
            for each in clients:
                each.close()


def _children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(each) for each in listed.split()]


def _memory_mb(process: int) -> float:
    """Memory that is shared counts in equal parts for those who share it."""
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(re.search(r"\nPss:\s+(\d+)", rollup)[1]) * 1024 / 1e6


def _large(title: str, count: int, size: int, *options: str) -> Trial:
    limits = (
        Limit(f"first byte of a sparse tree, {title}", "s", 0.5),
        Limit("memory of that", "MB", 60),
        Limit("map of that", "s", 1.0),
    )
    return Trial(lambda: large_disk(count, size, *options), limits)


TRIALS = (
    Trial(
        table,
        (
            Limit("computing 256 MiB of a table", "MB/s", 1000, less_is_better=False),
            Limit("kept of 256 MiB of a table", "MB", 4),
        ),
    ),
    _large("2 TiB", 511, LARGE),
    _large("8 TiB, GPT, sectors of 4096", 2040, LARGE, "--partition=gpt", "--sector-size=4096"),
    _large("8 TiB, ISO", 8, (1 << 40) - (1 << 30), "--format", "iso"),
    Trial(idle_connections, (Limit(f"each of {IDLE:,} idle connections", "MB", 1),)),
)


def held(trial: Trial, rounds: int) -> Iterator[str]:
    """The lines of the table."""
    runs = [trial.measure() for _ in range(rounds)]
    for limit, values in zip(trial.limits, zip(*runs, strict=True), strict=True):
        value = statistics.median(values)
        reached = value <= limit.limit if limit.less_is_better else value >= limit.limit
        sign = "≤" if limit.less_is_better else "≥"
        verdict = "reached" if reached else "MISSED"
        yield f"| {limit.name} | {limit.unit} | {value:.3g} | {sign} {limit.limit:g} | {verdict} |"


if __name__ == "__main__":
    for each in TRIALS:
        print(*held(each, 1), sep="\n", flush=True)
