"""Time and memory until the first byte, by the number of files: writes docs/growth.svg.

`python bench/growth.py [FILE]`; about two minutes.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from math import log10
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from measure import peak_mb, serving

STEPS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FILES_A_DIRECTORY = 1000
ROUNDS = 3
SERVERS = {"vfloppy": "#1f6fb2", "nbdkit floppy": "#c2571a"}
WIDTH, HEIGHT, MARGIN, GAP = 340, 240, 56, 40


class Panel(NamedTuple):
    """One diagram: both axes are logarithmic."""

    title: str
    low: float
    high: float
    lines: dict[str, list[float]]


def grow(root: Path, start: int, stop: int) -> None:
    """Adds files up to `stop` of them."""
    for number in range(start, stop):
        folder = root / f"directory-{number // FILES_A_DIRECTORY:04}"
        if number % FILES_A_DIRECTORY == 0:
            folder.mkdir()
        os.close(os.open(f"{folder}/file-{number:07}.txt", os.O_CREAT | os.O_WRONLY))


def measured() -> dict[str, list[tuple[float, float]]]:
    """Seconds and MB of each server at each step."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SERVERS}
    with tempfile.TemporaryDirectory(prefix="vfloppy-bench-") as folder:
        root, before = Path(folder), 0
        for step in STEPS:
            grow(root, before, step)
            before = step
            for name, values in found.items():
                rounds = []
                for _ in range(ROUNDS):
                    with serving(name, root) as running:
                        rounds.append((running.seconds_to_first_byte, peak_mb(running.process)))
                seconds, memory = zip(*rounds, strict=True)
                values.append((statistics.median(seconds), statistics.median(memory)))
                print(f"{step:>9,} {name:14} {values[-1][0]:7.3f} s {values[-1][1]:6.0f} MB")
    return found


def drawing(found: dict[str, list[tuple[float, float]]]) -> str:
    """The picture, as SVG."""
    seconds = {name: [each[0] for each in values] for name, values in found.items()}
    memory = {name: [each[1] for each in values] for name, values in found.items()}
    panels = (
        Panel("seconds to the first byte", 0.01, 10, seconds),
        Panel("memory by then, MB", 1, 1000, memory),
    )
    width = 2 * (WIDTH + MARGIN) + GAP + 24  # for the last number of the axis
    height = HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        left = MARGIN + number * (WIDTH + MARGIN + GAP / 2)
        parts += _panel(panel, left)
    parts.append(
        f'<text x="{MARGIN}" y="{height - 8}" fill="#666">files on a FAT disk, both axes '
        f"logarithmic; medians of {ROUNDS}, {date.today()}</text></svg>\n"
    )
    return "\n".join(parts)


def _panel(panel: Panel, left: float) -> Iterator[str]:
    def x(files: float) -> float:
        return left + WIDTH * (log10(files) - 3) / 3

    def y(value: float) -> float:
        low, high = log10(panel.low), log10(panel.high)
        return MARGIN + HEIGHT * (high - log10(max(value, panel.low))) / (high - low)

    yield f'<text x="{left}" y="{MARGIN - 16}" font-weight="bold">{escape(panel.title)}</text>'
    for files in (1_000, 10_000, 100_000, 1_000_000):
        yield _line(x(files), y(panel.low), x(files), y(panel.high))
        yield _text(x(files), MARGIN + HEIGHT + 16, f"{files:,}", "middle")
    value = panel.low
    while value <= panel.high * 1.001:
        yield _line(x(1_000), y(value), x(1_000_000), y(value))
        yield _text(left - 6, y(value) + 4, f"{value:g}", "end")
        value *= 10
    for number, (name, values) in enumerate(panel.lines.items()):
        colour = SERVERS[name]
        points = " ".join(
            f"{x(files):.1f},{y(each):.1f}" for files, each in zip(STEPS, values, strict=True)
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield _text(left + 12, MARGIN + 18 + 16 * number, name, "start", colour)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def main(arguments: Sequence[str]) -> None:
    """Measures and draws."""
    out = Path(arguments[0] if arguments else Path(__file__).parents[1] / "docs" / "growth.svg")
    out.write_text(drawing(measured()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
