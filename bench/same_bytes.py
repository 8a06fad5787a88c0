"""Two checkouts of vfloppy build the same images: `bench/same_bytes.py OLD NEW [--trees 200]`.

Trees and options are drawn from a seed; both checkouts build each, and write a manifest, a map and
what `check` says. The first difference is told, its tree is kept, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from checkouts import install_both
from drawn import Drawn

SIDES = ("old", "new")
CHUNK = 1 << 22


class Driver:
    """A process that runs one checkout's command line again and again."""

    def __init__(self, python: str, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "SOURCE_DATE_EPOCH"))
        } | {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("driver.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment,
        )  # fmt: skip

    def start(self, arguments: list[str]) -> None:
        """Begin a job."""
        assert self.process.stdin
        job = {"folder": str(self.folder), "arguments": arguments}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def status(self) -> int:
        """Wait for the end of the job; return its exit status, negative for a signal."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args!r} ended without an answer")
        return int(line)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)


def commands(drawn: Drawn) -> Iterator[list[str]]:
    """The command lines that are compared; the image is `disk` in the driver's folder."""
    sources = [str(source) for source in drawn.sources]
    yield ["build", "--no-fsync", "--manifest", "manifest", *drawn.options, *sources, "disk"]
    yield ["map", "--json", *drawn.options, *sources]
    yield ["check", *drawn.options, *sources]


def run_both(drivers: dict[str, Driver], arguments: list[str]) -> dict[str, int]:
    """Run a command line with both checkouts at the same time; return the exit statuses."""
    for driver in drivers.values():
        for name in ("disk", "manifest"):
            (driver.folder / name).unlink(missing_ok=True)
        driver.start(arguments)
    return {side: driver.status() for side, driver in drivers.items()}


def difference(drivers: dict[str, Driver], statuses: dict[str, int]) -> str | None:
    """A text that tells what two runs of one command line made differently."""
    if statuses["old"] != statuses["new"]:
        texts = (f"{side}: {(drivers[side].folder / 'stderr').read_text()}" for side in SIDES)
        return "\n".join([f"exit status: {statuses}", *texts])
    for name in ("stderr", "stdout", "manifest", "disk"):
        paths = {side: drivers[side].folder / name for side in SIDES}
        there = {side: path.exists() for side, path in paths.items()}
        if there["old"] != there["new"]:
            return f"{name} is written by one of them: {there}"
        if not there["old"]:
            continue
        at = first_difference(paths["old"], paths["new"])
        if at is not None:
            return f"{name}: differs from byte {at:,} on\n" + "\n".join(
                f"  {side} ({path.stat().st_size:,} bytes): {_around(path, at)!r}"
                for side, path in paths.items()
            )
    return None


def first_difference(one: Path, other: Path) -> int | None:
    """Return the offset of the first byte in which two files differ; None if none does.

    Where one is the beginning of the other, that is its length.
    """
    at = 0
    with one.open("rb", buffering=0) as first, other.open("rb", buffering=0) as second:
        sizes = [os.fstat(file.fileno()).st_size for file in (first, second)]
        while at < max(sizes):
            starts = [_data_from(file.fileno(), at, max(sizes)) for file in (first, second)]
            at = min(starts)
            if at >= min(sizes):
                break
            chunks = [os.pread(file.fileno(), CHUNK, at) for file in (first, second)]
            if chunks[0] != chunks[1]:
                return at + _common_length(*chunks)
            at += len(chunks[0])
    return None if sizes[0] == sizes[1] else min(sizes)


def _common_length(one: bytes, other: bytes) -> int:
    """Return the length of the common beginning of two strings that differ, by bisection."""
    same, end = 0, min(len(one), len(other))
    while same < end:
        middle = (same + end + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            end = middle - 1
    return same


def _data_from(file: int, at: int, end: int) -> int:
    """Return the offset of a sparse file's next data, from `at` on; `end` if there is none."""
    try:
        return os.lseek(file, at, os.SEEK_DATA)
    except OSError:  # none from here on
        return end


def _around(path: Path, at: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(at - 16, 0))
        return file.read(64)


def told_by_map(drivers: dict[str, Driver], drawn: Drawn, at: int) -> Iterator[str]:
    """Lines that say what lies at an offset, by the map of each checkout."""
    sources = [str(source) for source in drawn.sources]
    run_both(drivers, ["map", "--json", *drawn.options, *sources])
    for side, driver in drivers.items():
        try:
            regions = json.loads((driver.folder / "stdout").read_text())["regions"]
        except (ValueError, KeyError) as error:
            yield f"  {side}: its map can't be read: {error!r}"
            continue
        for region in regions:
            if region["offset"] <= at < region["offset"] + region["length"]:
                inside = at - region["offset"]
                yield f"  {side}: {region['kind']} {region['name']!r}, {inside:,} bytes into it"


def compare(drivers: dict[str, Driver], drawn: Drawn, outcomes: Counter[str]) -> list[str]:
    """Lines that tell the first difference of a tree; none if there is none."""
    for arguments in commands(drawn):
        statuses = run_both(drivers, arguments)
        found = difference(drivers, statuses)
        if found:
            lines = ["vfloppy " + shlex.join(arguments), found]
            if found.startswith("disk:"):
                disks = [drivers[side].folder / "disk" for side in SIDES]
                at = first_difference(*disks)
                lines += told_by_map(drivers, drawn, at or 0)
            return lines
        if arguments[0] == "build":
            form = "iso" if "iso" in arguments else "fat"
            outcomes[form if statuses["old"] == 0 else f"{form} refused"] += 1
    return []


def main() -> int:
    """Compare, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="a checkout's directory")
    parser.add_argument("new", type=Path, help="another one's")
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first tree")
    parser.add_argument("--venvs", type=Path, help="where environments are kept between runs")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="vfloppy-same-"))
    outcomes: Counter[str] = Counter()
    kept = False
    try:
        with ExitStack() as stack:
            pythons = install_both(options.old, options.new, options.venvs or root / "venvs")
            started = time.monotonic()
            drivers = {
                side: stack.enter_context(Driver(pythons[side], root / side)) for side in SIDES
            }
            for number in range(options.first, options.first + options.trees):
                folder = root / f"tree{number}"
                folder.mkdir()
                lines = compare(drivers, Drawn(options.seed, number, folder), outcomes)
                if lines:
                    print(
                        f"tree {number} of seed {options.seed}, kept in {folder}:", *lines, sep="\n"
                    )
                    print(f"to repeat: --seed {options.seed} --first {number} --trees 1")
                    kept = True
                    return 1
                shutil.rmtree(folder)
    finally:
        if not kept:
            shutil.rmtree(root)
    told = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
    print(f"all alike: {told}; seed {options.seed}, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
