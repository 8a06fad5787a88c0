"""The order of tests, how to repeat a failure, and what tests of faults and races have tried."""

from __future__ import annotations

import random
import secrets
import shlex
from collections import Counter

import pytest
from hypothesis import settings

_FIGURES: Counter[str] = Counter()

# Quick ones first: what a planner gets wrong need not wait for an emulated machine to be noticed.
# The last of these that a test's name starts with is its place.
_ORDER = (
    "tests/test_",
    "tests/synth/",
    "tests/process/",
    "tests/nbd/",
    "tests/library/",
    "tests/properties/",
    "tests/cli/",
    "tests/library/test_outside.py",
    "tests/nbd/test_tools.py",
    "tests/interop/",
    "tests/interop/test_boot.py",
    "tests/interop/test_bios.py",
    "tests/interop/test_iso_boot.py",
)

# With each example that fails, a line that repeats it; none fails for a machine that is busy.
settings.register_profile("vfloppy", print_blob=True, deadline=None)
settings.load_profile("vfloppy")


def pytest_addoption(parser):
    parser.addoption(
        "--seed", type=int, help="what `random` starts from in each test; drawn anew for each run"
    )


def pytest_configure(config):
    if config.option.seed is None:
        config.option.seed = secrets.randbelow(1 << 32)


def pytest_report_header(config):
    return f"seed: {config.option.seed}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before any fixture: contents that don't matter come from `random.randbytes`."""
    random.seed(item.config.option.seed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        command = f"python -m pytest {shlex.quote(item.nodeid)} --seed {item.config.option.seed}"
        report.sections.append(("To repeat it", command))
    return report


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _place(item.nodeid))


def _place(name: str) -> int:
    places = [place for place, start in enumerate(_ORDER) if name.startswith(start)]
    return places[-1] if places else 0


@pytest.fixture
def figures():
    """Counts what is to be told at the end; `wrong bytes` and `deaths` have to stay 0."""
    return _FIGURES


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # one of several processes that run tests
        session.config.workeroutput["figures"] = dict(_FIGURES)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    _FIGURES.update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_terminal_summary(terminalreporter):
    if _FIGURES:
        told = {"wrong bytes": 0, "secrets": 0, "deaths": 0} | _FIGURES
        order = sorted(told, key=lambda name: (name in {"wrong bytes", "secrets", "deaths"}, name))
        line = ", ".join(f"{name}: {told[name]}" for name in order)
        terminalreporter.write_sep("=", "faults and races")
        terminalreporter.write_line(line)
