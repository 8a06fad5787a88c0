"""Side by side with the peers: `make bench`, or `make bench ARGS="--rounds 1 random"`.

Each case is measured in rounds, the servers in turn within each round, and the medians are
compared; so what else the machine does hits all of them alike. Figures of different runs are not
comparable, the ratios within one run are.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from measure import (
    BUILDERS,
    SERVERS,
    Running,
    build,
    copy_to_null,
    first_byte,
    random_reads,
    serving,
)
from trees import names_alike, one_gibibyte, small_files

Measure = Callable[[str, Path], float]


@dataclass(frozen=True)
class Case:
    """What is measured on which tree, and the ratio to reach against each peer: a row each."""

    name: str
    tree: str
    unit: str
    measure: Measure
    targets: dict[str, float]
    ours: str = "vfloppy"
    less_is_better: bool = False


def _while_serving(work: Callable[[Running], float]) -> Measure:
    def measure(server: str, directory: Path) -> float:
        with serving(server, directory) as running:
            return work(running)

    return measure


def _random(block: str, depth: int, jobs: int = 1) -> Measure:
    return _while_serving(lambda running: random_reads(running, block, depth, jobs))


def _rates(floppy: float) -> dict[str, float]:
    return {"nbdkit floppy": floppy, "nbdkit file": 1.0, "qemu-nbd": 1.0, "C floor": 0.7}


def _seconds(name: str, tree: str, measure: Measure, ours: str, **targets: float) -> Case:
    spelled = {peer.replace("_", " "): target for peer, target in targets.items()}
    return Case(name, tree, "s", measure, spelled, ours, less_is_better=True)


CASES = (
    Case("random 4 KiB, depth 32", "1gib", "IOPS", _random("4k", 32), _rates(2.0)),
    Case("random 64 KiB, depth 32", "1gib", "IOPS", _random("64k", 32), _rates(1.5)),
    Case("random 1 MiB, depth 8", "1gib", "IOPS", _random("1m", 8), _rates(1.3)),
    Case("random 4 KiB, depth 16, 4 jobs", "1gib", "IOPS", _random("4k", 16, 4), _rates(2.5)),
    Case("random 4 KiB, depth 1", "1gib", "IOPS", _random("4k", 1), _rates(1.2)),
    Case("nbdcopy to null", "1gib", "MB/s", _while_serving(copy_to_null), _rates(2.0)),
    _seconds("first byte, 100,000 files", "100k", first_byte, "vfloppy", nbdkit_floppy=1.2),
    _seconds("first byte, 21,000 names alike", "alike", first_byte, "vfloppy", nbdkit_floppy=1.2),
    _seconds("first byte of ISO, 1 GiB", "1gib", first_byte, "vfloppy iso", nbdkit_iso=0.1),
    _seconds("first byte of ISO, 100,000 files", "100k", first_byte, "vfloppy iso", nbdkit_iso=0.1),
    _seconds("build ISO of 1 GiB", "1gib", build, "vfloppy iso", xorriso=0.5, genisoimage=0.5),
    _seconds(
        "build ISO of 100,000 files", "100k", build, "vfloppy iso", xorriso=1.0, genisoimage=1.0
    ),
    Case("build FAT of 1 GiB", "1gib", "s", build, {"cp -r": 1.1}, less_is_better=True),
    Case(
        "build FAT of 100,000 files", "100k", "s", build, {"mkfs.fat, mcopy": 1.0},
        less_is_better=True,
    ),
)  # fmt: skip
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
    with made_trees({case.tree for case in cases}) as trees:
        print("| case | unit | vfloppy | peer | its figure | ratio | target | |")
        print("|---|---|---|---|---|---|---|---|")
        for case in cases:
            peers = [name for name in case.targets if is_there(name)]
            medians = measured(case, [case.ours, *peers], trees[case.tree], options.rounds)
            for peer in case.targets:
                print(row(case, peer, medians), flush=True)
    print(f"\nmedians of {options.rounds} rounds, in turn; {machine()}")


def is_there(name: str) -> bool:
    """Whether the program is installed."""
    return shutil.which((SERVERS | BUILDERS)[name].program) is not None


def machine() -> str:
    """The date, and what the figures were taken on."""
    words = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0]
    cpu = words.strip(" :\t")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return (
        f"{date.today()}, {os.cpu_count()} x {cpu}, {memory} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def measured(case: Case, names: list[str], tree: Path, rounds: int) -> dict[str, float]:
    """The median of each program."""
    results: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            warm(tree)
            results[name].append(case.measure(name, tree))
    return {name: statistics.median(values) for name, values in results.items()}


def warm(tree: Path) -> None:
    """Has a tree, and an image beside it, in the page cache: a system may have taken it away."""
    buffer = memoryview(bytearray(1 << 20))
    for path in (*tree.rglob("*"), tree.with_name(f"{tree.name}.img")):
        if path.is_file() and path.stat().st_size > buffer.nbytes // 2:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def row(case: Case, peer: str, medians: dict[str, float]) -> str:
    """A line of the table."""
    ours, target = medians[case.ours], case.targets[peer]
    start = f"| {case.name} | {case.unit} | {figure(ours)} | {peer} "
    if peer not in medians:
        return start + "| not installed | | | |"
    ratio = ours / medians[peer]
    reached = ratio <= target if case.less_is_better else ratio >= target
    sign = "≤" if case.less_is_better else "≥"
    verdict = "reached" if reached else "MISSED"
    return start + f"| {figure(medians[peer])} | {ratio:.2f} | {sign} {target} | {verdict} |"


def figure(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
