"""Two checkouts of vfloppy raced: `bench/race.py OLD NEW`, one row a thing that users wait for.

Each row is measured in rounds, old and new in turn within each and the first of them by turns, so
that what else the machine does hits both alike. The ratio of the medians is told as a rate: above
1, new is faster. The exit status is 1 if a row is below --least.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import measure
from checkouts import install_both
from measure import BUILDERS, SERVERS, Running, first_byte, random_reads, run_builder, serving
from run import figure, machine, warm
from trees import documents, gibibytes, million_files, small_files

measure.FIO_SECONDS, measure.FIO_RAMP_SECONDS = 1.5, 0.5
STARTS = 15
METADATA_BYTES = 44_000_000 >> 18 << 18
METADATA_READERS = 3

Measure = Callable[[str, Path], float]
"""Measures a side, `old` or `new`, on a tree."""


@dataclass(frozen=True)
class Row:
    """A measurement of both checkouts on one tree; a row of the table."""

    name: str
    tree: str
    unit: str
    measure: Measure
    less_is_better: bool = False
    repeats: int = 1
    """The number of measurements that a trial is the mean of: several where one is very short."""

    def trial(self, side: str, tree: Path) -> float:
        """Return what a side takes or reaches, on a tree that is in the page cache."""
        warm(tree)
        return statistics.mean(self.measure(side, tree) for _ in range(self.repeats))


def _random(block: str, depth: int, jobs: int = 1) -> Measure:
    def measured(side: str, tree: Path) -> float:
        with serving(f"{side} fat", tree) as running:
            return random_reads(running, block, depth, jobs)

    return measured


def _random_on_tcp(block: str, depth: int) -> Measure:
    def measured(side: str, tree: Path) -> float:
        with serving_on_tcp(side, tree) as running:
            return random_reads(running, block, depth, 1)

    return measured


def _copy(side: str, tree: Path) -> float:
    with serving(f"{side} fat", tree) as running:
        return measure.copy_to_null(running)


def _metadata(side: str, tree: Path) -> float:
    """Each reader has a connection of its own, so that nothing was computed for it before."""
    with serving(f"{side} fat", tree) as running:
        rates = [measure.read_front(running, METADATA_BYTES) for _ in range(METADATA_READERS)]
    return statistics.mean(rates)


def _first_byte(form: str) -> Measure:
    return lambda side, tree: first_byte(f"{side} {form}", tree)


def _build(form: str) -> Measure:
    """The time until the program ends; what it wrote is brought to the disk off the clock."""

    def measured(side: str, tree: Path) -> float:
        with tempfile.TemporaryDirectory(prefix="out-", dir=tree.parent) as folder:
            started = time.perf_counter()
            run_builder(f"{side} {form}", tree, f"{folder}/out")
            took = time.perf_counter() - started
            subprocess.run(["sync", "-f", folder], check=True)
            return took

    return measured


def _start(side: str, _tree: Path) -> float:
    program = os.path.join(os.path.dirname(SERVERS[f"{side} fat"].program), "vfloppy")
    started = time.perf_counter()
    for _ in range(STARTS):
        subprocess.run([program, "--help"], check=True, cwd="/", capture_output=True)
    return (time.perf_counter() - started) / STARTS


def _seconds(name: str, tree: str, what: Measure, repeats: int = 1) -> Row:
    return Row(name, tree, "s", what, less_is_better=True, repeats=repeats)


ROWS = (
    Row("random 4 KiB, depth 1", "1gib", "IOPS", _random("4k", 1)),
    Row("random 4 KiB, depth 32", "1gib", "IOPS", _random("4k", 32)),
    Row("random 4 KiB, depth 16, 4 jobs", "1gib", "IOPS", _random("4k", 16, 4)),
    Row("random 64 KiB, depth 8", "1gib", "IOPS", _random("64k", 8)),
    Row("random 1 MiB, depth 4", "1gib", "IOPS", _random("1m", 4)),
    Row("random 4 KiB, depth 32, TCP", "1gib", "IOPS", _random_on_tcp("4k", 32)),
    Row("nbdcopy of 1 GiB", "1gib", "MB/s", _copy, repeats=3),
    Row("nbdcopy of 20,000 small files", "documents", "MB/s", _copy, repeats=3),
    Row("metadata of 500,000 files", "500k", "MB/s", _metadata),
    _seconds("first byte, 100,000 files as FAT", "100k", _first_byte("fat"), 3),
    _seconds("first byte, 100,000 files as ISO", "100k", _first_byte("iso"), 3),
    _seconds("build, 1 GiB as FAT", "1gib", _build("fat"), 3),
    _seconds("build, 1 GiB as ISO", "1gib", _build("iso"), 3),
    _seconds("build, 20,000 small files as FAT", "documents", _build("fat"), 3),
    _seconds("build, 20,000 small files as ISO", "documents", _build("iso"), 3),
    _seconds("start, --help", "nothing", _start),
)
TREES = {
    "1gib": gibibytes,
    "documents": documents,
    "500k": lambda root: million_files(root, 500),
    "100k": small_files,
    "nothing": lambda _root: None,
}


def enter(pythons: dict[str, str]) -> None:
    """Have both checkouts among the servers and builders that are measured, each by its Python."""
    for side, python in pythons.items():
        for form in ("fat", "iso"):
            name = "vfloppy iso" if form == "iso" else "vfloppy"
            for table, options in ((SERVERS, ()), (BUILDERS, ("--no-fsync",))):
                command = (python, *table[name].command[1:], *options)
                table[f"{side} {form}"] = table[name]._replace(program=python, command=command)


@contextmanager
def serving_on_tcp(side: str, tree: Path) -> Iterator[Running]:
    """Start a server on a free port of 127.0.0.1, wait for its pidfile, and end it afterwards."""
    python = SERVERS[f"{side} fat"].program
    with tempfile.TemporaryDirectory(prefix="vfloppy-bench-") as folder:
        pidfile, port = Path(folder, "pid"), measure.free_port()
        process = subprocess.Popen(
            [python, "-m", "vfloppy", "serve", "-q", "-i", "127.0.0.1", "-p", str(port),
             "--pidfile", str(pidfile), str(tree)],
            cwd=folder,
        )  # fmt: skip
        try:
            started = time.perf_counter()
            while not pidfile.exists():
                if process.poll() is not None or time.perf_counter() - started > 60:
                    raise SystemExit(f"{process.args!r} does not serve")
                time.sleep(0.001)
            took = time.perf_counter() - started
            yield Running(process.pid, "", f"nbd://127.0.0.1:{port}", 0, took)
        finally:
            process.terminate()
            process.wait(60)


class Result(NamedTuple):
    """The medians of a row, their ratio as a rate (above 1: faster now), and each round's."""

    old: float
    new: float
    ratio: float
    rounds: list[float]


def race(row: Row, tree: Path, rounds: int) -> Result:
    """Measure a row: the first of the two is old in the first round, new in the second, and so on.

    A trial that isn't counted comes first: it has all modules and the tree in the page cache.
    """
    found: dict[str, list[float]] = {"old": [], "new": []}
    row.trial("old", tree)
    for number in range(rounds):
        for side in ("old", "new") if number % 2 == 0 else ("new", "old"):
            found[side].append(row.trial(side, tree))
    old, new = statistics.median(found["old"]), statistics.median(found["new"])

    def rate(old: float, new: float) -> float:
        return old / new if row.less_is_better else new / old

    return Result(old, new, rate(old, new), list(map(rate, found["old"], found["new"])))


def main() -> int:
    """Race, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="a checkout's directory")
    parser.add_argument("new", type=Path, help="another one's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", default=[], metavar="WORD",
                        help="only rows whose name has one of these")  # fmt: skip
    parser.add_argument("--least", type=float, default=0.95, help="the least ratio; 0.95")
    parser.add_argument("--venvs", type=Path, help="where environments are kept between runs")
    options = parser.parse_args()
    rows = [
        row for row in ROWS if not options.rows or any(word in row.name for word in options.rows)
    ]
    if not rows or options.rounds < 1:
        parser.error(f"--rounds is at least 1; the rows are: {'; '.join(row.name for row in ROWS)}")
    if os.getloadavg()[0] > 0.5:
        print(f"others are at work here (load {os.getloadavg()[0]:.1f}): ratios will mean little",
              file=sys.stderr)  # fmt: skip
    below = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vfloppy-race-")))
        enter(install_both(options.old, options.new, options.venvs or root / "venvs"))
        trees: dict[str, Path] = {}
        print("| row | unit | old | new | new/old | its rounds |\n|---|---|---|---|---|---|")
        for row in rows:
            if row.tree not in trees:
                trees[row.tree] = root / row.tree
                trees[row.tree].mkdir()
                TREES[row.tree](trees[row.tree])
            done = race(row, trees[row.tree], options.rounds)
            print(
                f"| {row.name} | {row.unit} | {figure(done.old)} | {figure(done.new)} "
                f"| {done.ratio:.2f} | {min(done.rounds):.2f} to {max(done.rounds):.2f} |",
                flush=True,
            )
            if done.ratio < options.least:
                below.append(f"{row.name} ({done.ratio:.2f})")
    print(f"\nmedians of {options.rounds} rounds, in turn; {machine()}")
    if below:
        print(f"below {options.least}: {', '.join(below)}", file=sys.stderr)
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
