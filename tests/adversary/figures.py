"""Figures: all that was tried, and all that came of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_MOST_FINDINGS = 40


@dataclass
class Figures:
    """The figures of one file system."""

    changes: Counter[str] = field(default_factory=Counter)
    """By the name of the operation."""
    rounds: int = 0
    reads: int = 0
    failed: int = 0
    """Reads that failed, and were allowed to."""
    builds: int = 0
    builds_failed: int = 0
    wrong: int = 0
    """Bytes that are not the scan's."""
    lost: int = 0
    """Connections that ended."""
    cut: int = 0
    """Connections that ended in the middle of a reply, for a reason that docs/promises.md has."""
    causeless: int = 0
    """Reads that failed though nothing was done to their files."""
    longest_wait_s: float = 0.0
    """The longest time that a step of a change took."""
    trouble: list[str] = field(default_factory=list)
    """Changes that could not be made, or clients that could not connect."""
    findings: list[str] = field(default_factory=list)
    by_operation: Counter[str] = field(default_factory=Counter)
    """The number of findings by the operations that came before."""

    def find(self, text: str, operation: str) -> None:
        """Note something that should not be, the first times with all particulars."""
        self.by_operation[operation] += 1
        if len(self.findings) < _MOST_FINDINGS and self.by_operation[operation] <= 3:
            self.findings.append(text)

    @property
    def is_good(self) -> bool:
        """Return True if nothing was wrong, lost, or refused without a cause."""
        return not (self.wrong or self.lost or self.causeless or self.trouble)

    def line(self) -> str:
        """Return the figures as one line."""
        return (
            f"{self.rounds} rounds, {self.changes.total()} changes of {len(self.changes)} kinds, "
            f"{self.reads} reads of which {self.failed} failed, "
            f"{self.builds} builds of which {self.builds_failed} failed, "
            f"wrong bytes {self.wrong}, connections lost {self.lost} (and {self.cut} cut short), "
            f"failed without cause {self.causeless}, "
            f"longest wait of a writer {self.longest_wait_s:.2f} s"
        )


@dataclass
class Report:
    """The outcome of a run: figures by file system, and why others were left out."""

    seed: int
    figures: dict[str, Figures] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return all of it as lines for people."""
        found = [f"seed {self.seed}"]
        found += [f"{name}: {each.line()}" for name, each in self.figures.items()]
        found += [f"{name}: left out: {why}" for name, why in self.left_out.items()]
        kinds: Counter[str] = Counter()
        for each in self.figures.values():
            kinds += each.changes
        found += ["changes by kind: " + ", ".join(f"{n} {kinds[n]}" for n in sorted(kinds))]
        for name, each in self.figures.items():
            found += [f"{name}: trouble: {text}" for text in each.trouble[:_MOST_FINDINGS]]
            found += [f"{name}: {text}" for text in each.findings]
            if each.by_operation:
                counts = ", ".join(f"{op}: {n}" for op, n in each.by_operation.most_common())
                found.append(f"{name}: findings by the operation before them: {counts}")
        return found

    def save(self, path: Path) -> None:
        figures = {name: vars(each) for name, each in self.figures.items()}
        path.write_text(json.dumps(vars(self) | {"figures": figures}))

    @classmethod
    def load(cls, path: Path) -> Report:
        """Return what `save` wrote."""
        data = json.loads(path.read_text())
        figures = {
            name: Figures(
                **{
                    key: Counter(value) if isinstance(value, dict) else value
                    for key, value in each.items()
                }
            )
            for name, each in data["figures"].items()
        }
        return cls(data["seed"], figures, data["left_out"])
