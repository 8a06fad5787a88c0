"""What the tests of faults and races have tried, in one line at the end of a run."""

from __future__ import annotations

from collections import Counter

import pytest

_FIGURES: Counter[str] = Counter()


@pytest.fixture
def figures():
    """Counts what is to be told at the end; `wrong bytes` and `deaths` have to stay 0."""
    return _FIGURES


def pytest_terminal_summary(terminalreporter):
    if _FIGURES:
        told = {"wrong bytes": 0, "secrets": 0, "deaths": 0} | _FIGURES
        order = sorted(told, key=lambda name: (name in {"wrong bytes", "secrets", "deaths"}, name))
        line = ", ".join(f"{name}: {told[name]}" for name in order)
        terminalreporter.write_sep("=", "faults and races")
        terminalreporter.write_line(line)
