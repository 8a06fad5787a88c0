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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from limits import TRIALS, held
from measure import (
    BUILDERS,
    SERVERS,
    Running,
    build,
    copy_to_null,
    first_byte,
    memory_at_first_byte,
    metadata,
    random_reads,
    serving,
)
from trees import (
    directories,
    documents,
    file_system,
    gibibytes,
    million_files,
    names_alike,
    small_files,
)

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
    floors = {"C floor": 0.7, "C floor, simple": 0.7}
    return {"nbdkit floppy": floppy, "nbdkit file": 1.0, "qemu-nbd": 1.0, **floors}


def _first_byte(title: str, tree: str, ours: str, target: float) -> Case:
    peer = "nbdkit iso" if ours == "vfloppy iso" else "nbdkit floppy"
    name = f"first byte, {title}"
    return Case(name, tree, "s", first_byte, {peer: target}, ours, less_is_better=True)


def _memory(title: str, tree: str, ours: str, target: float) -> Case:
    targets = {"nbdkit floppy": target}
    name = f"memory, {title}"
    return Case(name, tree, "MB", memory_at_first_byte, targets, ours, less_is_better=True)


def _build(title: str, tree: str, ours: str, targets: dict[str, float]) -> Case:
    return Case(f"build, {title}", tree, "s", build, targets, ours, less_is_better=True)


CASES = (
    Case("random 4 KiB, depth 32", "1gib", "IOPS", _random("4k", 32), _rates(2.0)),
    Case("random 64 KiB, depth 32", "1gib", "IOPS", _random("64k", 32), _rates(1.5)),
    Case("random 1 MiB, depth 8", "1gib", "IOPS", _random("1m", 8), _rates(1.3)),
    Case("random 4 KiB, depth 16, 4 jobs", "1gib", "IOPS", _random("4k", 16, 4), _rates(2.5)),
    Case("random 4 KiB, depth 1", "1gib", "IOPS", _random("4k", 1), _rates(1.2)),
    Case("nbdcopy to null", "1gib", "MB/s", _while_serving(copy_to_null), _rates(2.0)),
    Case("nbdcopy of 20,000 small files", "documents", "MB/s", _while_serving(copy_to_null),
         {"nbdkit floppy": 1.0}),
    _first_byte("100,000 files", "100k", "vfloppy", 1.2),
    _memory("100,000 files", "100k", "vfloppy", 0.8),
    _first_byte("1,000,000 files", "1m", "vfloppy", 1.0),
    _memory("1,000,000 files", "1m", "vfloppy", 0.4),
    Case("metadata of 1,000,000 files", "1m", "MB/s", metadata, {"nbdkit floppy": 0.5}),
    _first_byte("21,000 names alike", "alike", "vfloppy", 1.2),
    _first_byte("60,000 files in 20,000 directories", "directories", "vfloppy", 1.2),
    _first_byte("60,000 files in 20,000 directories as ISO", "directories", "vfloppy iso", 0.1),
    _first_byte("1 GiB as ISO", "1gib", "vfloppy iso", 0.1),
    _first_byte("100,000 files as ISO", "100k", "vfloppy iso", 0.1),
    _first_byte("60,000 names alike as ISO", "60k alike", "vfloppy iso", 0.1),
    _build("1 GiB as FAT", "1gib", "vfloppy", {"cp -r": 1.1}),
    _build("1 GiB as ISO", "1gib", "vfloppy iso",
           {"cp -r": 1.1, "xorriso": 0.5, "genisoimage": 0.5}),
    _build("10,000 files as FAT", "10k", "vfloppy", {"mkfs.fat, mcopy": 1.0}),
    _build("100,000 files as ISO", "100k", "vfloppy iso", {"xorriso": 1.0, "genisoimage": 1.0}),
    *(
        # Blocks are shared in next to no time: with less, it is the start that is measured.
        _build(f"4 GiB as {kind} on {name}", f"4gib {name}", ours, {"cp --reflink=never": 0.05})
        for name in ("btrfs", "xfs")
        for kind, ours in (("FAT", "vfloppy"), ("ISO", "vfloppy iso"))
    ),
)  # fmt: skip
TREES = {
    "1gib": gibibytes,
    "4gib": lambda root: gibibytes(root, 4),
    "100k": small_files,
    "1m": million_files,
    "documents": documents,
    "directories": directories,
    "10k": lambda root: small_files(root, 100),  # with ten times as many, mcopy takes ten minutes
    "alike": names_alike,
    "60k alike": lambda root: names_alike(root, 60_000),
}


@contextmanager
def made_trees(names: set[str]) -> Iterator[dict[str, Path]]:
    """Directories by name, removed at the end."""
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="vfloppy-bench-"))
        paths = {}
        for name in sorted(names):
            print(f"making the tree {name} ...", file=sys.stderr)
            tree, _, elsewhere = name.partition(" ")
            if elsewhere in {"btrfs", "xfs"}:
                paths[name] = stack.enter_context(file_system(elsewhere)) / tree
            else:
                tree, paths[name] = name, Path(root) / name
            paths[name].mkdir()
            TREES[tree](paths[name])
        yield paths


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("words", nargs="*", help="only cases whose name has one of these")
    options = parser.parse_args()

    def wanted(name: str) -> bool:
        return not options.words or any(word in name for word in options.words)

    cases = [case for case in CASES if wanted(case.name)]
    with made_trees({case.tree for case in cases}) as trees:
        print("| case | unit | vfloppy | peer | its figure | ratio | target | |")
        print("|---|---|---|---|---|---|---|---|")
        for case in cases:
            peers = [name for name in case.targets if is_there(name)]
            medians = measured(case, [case.ours, *peers], trees[case.tree], options.rounds)
            for peer in case.targets:
                print(row(case, peer, medians), flush=True)
    trials = [each for each in TRIALS if wanted(each.name)]
    if trials:
        print("\n| case | unit | vfloppy | target | |\n|---|---|---|---|---|")
    for trial in trials:
        print(*held(trial, options.rounds), sep="\n", flush=True)
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
