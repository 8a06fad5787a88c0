"""Side by side with the peers: `make bench`, or `make bench ARGS="--rounds 1 random"`.

Each case is measured in rounds, the servers in turn within each round, and the medians are
compared; so what else the machine does hits all of them alike. Figures of different runs are not
comparable, the ratios within one run are.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import SERVERS, Running, copy_to_null, first_byte, random_reads, serving
from trees import names_alike, one_gibibyte, small_files

Measure = Callable[[str, Path], float]


@dataclass(frozen=True)
class Case:
    """One row of the table: what is measured on which tree, and the ratio to reach."""

    name: str
    tree: str
    unit: str
    target: float
    measure: Measure
    less_is_better: bool = False


def _while_serving(work: Callable[[Running], float]) -> Measure:
    def measure(server: str, directory: Path) -> float:
        with serving(server, directory) as running:
            return work(running)

    return measure


def _random(block: str, depth: int, jobs: int = 1) -> Measure:
    return _while_serving(lambda running: random_reads(running, block, depth, jobs))


CASES = (
    Case("random 4 KiB, depth 32", "1gib", "IOPS", 1.5, _random("4k", 32)),
    Case("random 64 KiB, depth 32", "1gib", "IOPS", 1.3, _random("64k", 32)),
    Case("random 1 MiB, depth 8", "1gib", "IOPS", 1.3, _random("1m", 8)),
    Case("random 4 KiB, depth 16, 4 jobs", "1gib", "IOPS", 2.5, _random("4k", 16, 4)),
    Case("random 4 KiB, depth 1", "1gib", "IOPS", 1.2, _random("4k", 1)),
    Case("nbdcopy to null", "1gib", "MB/s", 1.5, _while_serving(copy_to_null)),
    Case("first byte, 100,000 files", "100k", "s", 1.5, first_byte, less_is_better=True),
    Case("first byte, 21,000 names alike", "alike", "s", 1.5, first_byte, less_is_better=True),
)
TREES = {"1gib": one_gibibyte, "100k": small_files, "alike": names_alike}


@contextmanager
def made_trees(names: set[str]) -> Iterator[dict[str, Path]]:
    """Directories by name, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="vfloppy-bench-") as root:
        paths = {name: Path(root) / name for name in names}
        for name, path in paths.items():
            print(f"making the tree {name} ...", file=sys.stderr)
            path.mkdir()
            TREES[name](path)
        yield paths


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("words", nargs="*", help="only cases whose name has one of these")
    options = parser.parse_args()
    cases = [
        case
        for case in CASES
        if not options.words or any(word in case.name for word in options.words)
    ]
    servers = [name for name, server in SERVERS.items() if shutil.which(server.program)]
    missing = [name for name in SERVERS if name not in servers]
    with made_trees({case.tree for case in cases}) as trees:
        print("| case | unit | vfloppy | nbdkit floppy | ratio | target | |")
        print("|---|---|---|---|---|---|---|")
        for case in cases:
            print(row(case, measured(case, servers, trees[case.tree], options.rounds)), flush=True)
    print(f"\nmedians of {options.rounds} rounds, the servers in turn")
    if missing:
        print(f"missing peers: {', '.join(missing)} (apt-get install nbdkit)")


def measured(case: Case, servers: list[str], tree: Path, rounds: int) -> dict[str, float]:
    """The median of each server."""
    results: dict[str, list[float]] = {server: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            results[server].append(case.measure(server, tree))
    return {server: statistics.median(values) for server, values in results.items()}


def row(case: Case, medians: dict[str, float]) -> str:
    """A line of the table."""
    ours, theirs = medians["vfloppy"], medians.get("nbdkit floppy")
    start = f"| {case.name} | {case.unit} | {figure(ours)} "
    if theirs is None:
        return start + "| missing | | | |"
    ratio = ours / theirs
    reached = ratio <= case.target if case.less_is_better else ratio >= case.target
    sign = "≤" if case.less_is_better else "≥"
    verdict = "reached" if reached else "MISSED"
    return start + f"| {figure(theirs)} | {ratio:.2f} | {sign} {case.target} | {verdict} |"


def figure(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
