"""Disks that are written, side by side with the peers that keep writes apart as we do.

    .venv/bench/bin/python bench/writing.py [--rounds 5] [--cases WORD...]

All serve the disk of one tree of 1 GiB: ours computes it, the peers have it as an image that we
built. Writes are a fixed amount, so nobody gains by coming round to what is written already. The
servers take turns within each round, and medians are compared. The exit status is 1 if a ratio is
below its target.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import measure
from measure import Running, Server, serving
from trees import gibibytes

OURS = (sys.executable, "-m", "vfloppy", "serve", "-q", "-U", "{socket}", "--size", "+1G")
measure.SERVERS |= {
    "read-only": Server(sys.executable, (*OURS, "{directory}")),
    "--writable": Server(sys.executable, (*OURS, "--writable", "{directory}")),
    "nbdkit cow": Server(
        "nbdkit", ("nbdkit", "-f", "-U", "{socket}", "--filter=cow", "file", "{image}")
    ),
    "qemu-nbd -s": Server(
        "qemu-nbd", ("qemu-nbd", "-s", "-t", "-e", "8", "-f", "raw", "-k", "{socket}", "{image}")
    ),
}
PEERS = ("nbdkit cow", "qemu-nbd -s")
MIB = 1 << 20


class Case(NamedTuple):
    """A figure of each server, and the ratio to reach against the best of some of them."""

    name: str
    unit: str
    figure: Callable[[Running], float]
    against: tuple[str, ...]
    target: float


def fio(running: Running, **options: object) -> dict[str, float]:
    """Return the figures of one job of fio, which is all reads or all writes."""
    words = {"name": "job", "ioengine": "nbd", "uri": running.uri, "size": "1g", **options}
    done = subprocess.run(
        ["fio", "--output-format=json", *(f"--{name}={value}" for name, value in words.items())],
        check=True, cwd="/tmp", stdout=subprocess.PIPE,
    )  # fmt: skip
    (job,) = json.loads(done.stdout[done.stdout.index(b"{") :])["jobs"]
    told: dict[str, float] = job["write" if "write" in str(options["rw"]) else "read"]
    return told


def random_writes(running: Running) -> float:
    """Thousands of writes of 4 KiB a second, 32 in flight: 100,000 of them."""
    return fio(running, rw="randwrite", bs="4k", iodepth=32, io_size="400m")["iops"] / 1000


def sequential_writes(running: Running) -> float:
    """MB a second, by writes of 1 MiB, 4 in flight, of 1 GiB."""
    return fio(running, rw="write", bs="1m", iodepth=4)["bw_bytes"] / 1e6


def reads_beside_writes(running: Running) -> float:
    """Thousands of reads of 4 KiB a second, 32 in flight, where nothing is written.

    What can be written is, at the end of the disk.
    """
    if "--writable" in Path(f"/proc/{running.process}/cmdline").read_text():
        fio(
            running, rw="randwrite", bs="4k", iodepth=32, io_size="10m", offset="1100m", size="200m"
        )
    told = fio(
        running, rw="randread", bs="4k", iodepth=32, time_based=1, runtime=3, ramp_time=1,
        offset="2m", size="1000m",
    )  # fmt: skip
    return told["iops"] / 1000


CASES = (
    Case("random writes, 4 KiB, depth 32", "kIOPS", random_writes, PEERS, 1.3),
    Case("sequential writes, 1 MiB", "MB/s", sequential_writes, PEERS, 1.0),
    Case("reads of what is untouched, 4 KiB", "kIOPS", reads_beside_writes, ("read-only",), 0.95),
)


def compare(case: Case, directory: Path, rounds: int) -> bool:
    """Measures a case in rounds, and prints a row; returns whether the target is reached."""
    found: dict[str, list[float]] = {name: [] for name in ("--writable", *case.against)}
    for _ in range(rounds):
        for name, figures in found.items():
            with serving(name, directory) as running:
                figures.append(case.figure(running))
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    ratio = medians["--writable"] / max(medians[name] for name in case.against)
    listed = ", ".join(f"{name} {median:.4g}" for name, median in medians.items())
    is_good = ratio >= case.target
    verdict = "ok" if is_good else "TOO LOW"
    print(f"{case.name}: {listed} {case.unit}; ratio {ratio:.2f} of {case.target} {verdict}")
    return is_good


def memory(directory: Path) -> bool:
    """Prints the memory of the server's processes after little and much was written."""
    found = []
    for amount in (16 * MIB, 1024 * MIB):
        with serving("--writable", directory) as running:
            job = subprocess.Popen(
                ["fio", "--name=job", "--ioengine=nbd", f"--uri={running.uri}", "--size=1g",
                 "--rw=randwrite", "--bs=4k", "--iodepth=32", f"--io_size={amount}"],
                cwd="/tmp", stdout=subprocess.DEVNULL,
            )  # fmt: skip
            peak = 0.0
            while job.poll() is None:
                peak = max(peak, sum(anonymous_mb(each) for each in processes(running.process)))
            found.append(peak)
    print(f"memory of the server with 16 MiB and 1 GiB written: {found[0]:.1f}, {found[1]:.1f} MB")
    return found[1] < found[0] * 1.05 + 2.5  # the summary, and the pages of counted references


def processes(process: int) -> list[int]:
    """A server's process, and those of its connections."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [process, *map(int, children.split())]


def anonymous_mb(process: int) -> float:
    """The memory that is a process's own, or shared without a file, in MB; 0 for one that ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    sizes = [status.partition(f"{name}:")[2].split() for name in ("RssAnon", "RssShmem")]
    return sum(int(size[0]) for size in sizes if size) * 1024 / 1e6


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tree", type=Path, help="a tree of 1 GiB, and its image beside it")
    parser.add_argument("--cases", nargs="*", metavar="WORD", help="those with one of the words")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vfloppy-bench-") as folder:
        directory = arguments.tree or Path(folder, "tree")
        if not directory.exists():
            directory.mkdir()
            gibibytes(directory)

        def wanted(name: str) -> bool:
            return not arguments.cases or any(word in name for word in arguments.cases)

        results = [
            compare(case, directory, arguments.rounds) for case in CASES if wanted(case.name)
        ]
        if wanted("memory"):
            results.append(memory(directory))
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
