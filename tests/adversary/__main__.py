"""The long run: changes files under the eyes of readers on every file system, as root.

    make adversary SECONDS=3600
    python -m tests.adversary --seconds 60 --seed 5 --only ext4 --round 12

Exit status 1 when a byte was wrong, a connection lost, or a read refused without a cause.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from .changer import TroubleError
from .figures import Figures, Report
from .filesystems import NAMES, UnavailableError, mounted
from .play import play
from .rounds import Plan, plans

LEAST_PASSES = 1
"""Through all operations, however little time there is."""
_TOLD_EVERY_S = 60.0


def main() -> int:
    """Run the command; return its exit status."""
    options = _options()
    if os.geteuid() != 0:
        print("only root can make and mount file systems", file=sys.stderr)
        return 2
    if shutil.which("unshare") is None:
        print("unshare is not installed: on Debian, apt-get install util-linux", file=sys.stderr)
        return 2
    if not options.inside:  # what is mounted is nobody else's, and goes with the last process
        command = [sys.executable, "-m", __spec__.parent, "--inside", *sys.argv[1:]]
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "--", *command])
    report = Report(options.seed)
    names = options.only or NAMES
    end = time.monotonic() + options.seconds
    try:
        with tempfile.TemporaryDirectory(prefix="adversary-") as work:
            for place, name in enumerate(names):
                share = (end - time.monotonic()) / (len(names) - place)
                _run(name, Path(work), time.monotonic() + share, options, report)
    except KeyboardInterrupt:
        print("interrupted; so far:", file=sys.stderr)
    print("\n".join(report.lines()))
    if options.report:
        report.save(Path(options.report))
    return 0 if all(each.is_good for each in report.figures.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="adversary", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", action="append", choices=NAMES, help="this file system; repeat")
    parser.add_argument("--round", type=int, help="nothing but the round of this number")
    parser.add_argument("--report", help="a file for the figures, as JSON")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(name: str, work: Path, end: float, options: argparse.Namespace, report: Report) -> None:
    """Play rounds on one file system until the time is over."""
    folder = work / f"{name}.out"
    folder.mkdir()
    told = time.monotonic()
    try:
        with mounted(name, work) as mount:
            figures = report.figures[name] = Figures()
            for which, plan in _rounds(name, options):
                if time.monotonic() > end and which >= LEAST_PASSES and options.round is None:
                    break
                try:
                    play(name, mount, folder, plan, figures, options.seed)
                except TroubleError as error:
                    figures.trouble.append(f"--round {plan.number}: {error}")
                if time.monotonic() - told > _TOLD_EVERY_S:
                    told = time.monotonic()
                    print(f"{name}: {figures.line()}", flush=True)
    except UnavailableError as error:
        report.left_out[name] = str(error)


def _rounds(name: str, options: argparse.Namespace) -> Iterator[tuple[int, Plan]]:
    found = plans(name, options.seed)
    return found if options.round is None else islice(found, options.round, options.round + 1)


if __name__ == "__main__":
    sys.exit(main())
