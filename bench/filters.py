"""Rates with each filter, beside those without: 4 KiB reads at depth 32 and 1.

The rates are taken in turn within each round. The exit status is 1 if `log` at depth 32 is below
--least of what there is without.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import measure
from measure import random_reads, serving
from run import figure, machine, warm
from trees import gibibytes

measure.FIO_SECONDS, measure.FIO_RAMP_SECONDS = 1.5, 0.5
DEPTHS = (32, 1)
FILTERS = {
    "none": (),
    "log": ("--filter", "log:file=requests.log"),
    "delay": ("--filter", "delay:write=1ms"),
    "error": ("--filter", "error:file=switch"),
    "rate": ("--filter", "rate:bytes=1000G"),
    "rate in all": ("--filter", "rate:total=1000G"),
    "readonly": ("--filter", "readonly"),
}


def main() -> int:
    """Measure, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*FILTERS], default=[*FILTERS])
    parser.add_argument("--least", type=float, default=0.8)
    options = parser.parse_args()
    names = dict.fromkeys(["none", *options.only])
    rates: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="vfloppy-filters-") as folder:
        tree = Path(folder, "tree")
        tree.mkdir()
        gibibytes(tree)
        for _ in range(options.rounds):
            for name in names:
                warm(tree)
                with serving("vfloppy", tree, *FILTERS[name]) as running:
                    for depth in DEPTHS:
                        rate = random_reads(running, "4k", depth, 1)
                        rates.setdefault((name, depth), []).append(rate)
    medians = {key: statistics.median(each) for key, each in rates.items()}
    print("| filter | depth | reads a second | of those without |\n|---|---|---|---|")
    for (name, depth), rate in medians.items():
        share = rate / medians["none", depth]
        print(f"| {name} | {depth} | {figure(rate)} | {share:.2f} |")
    print(f"\nmedians of {options.rounds} rounds, in turn; {machine()}")
    return "log" in names and medians["log", 32] < options.least * medians["none", 32]


if __name__ == "__main__":
    raise SystemExit(main())
