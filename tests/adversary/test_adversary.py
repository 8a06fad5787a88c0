"""A byte served is the byte of the scan, or an error, whatever is done to files on any system.

ADVERSARY_SECONDS says for how long in all; `make adversary` does the same for an hour.
"""

from __future__ import annotations

import os
import re
import sys
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import pytest
from tools import ENVIRONMENT, missing_dependency, need_tool, run
from vfloppy.export import HostReadError
from vfloppy.synth.host.files import ScannedFiles

from . import operations
from .changer import Deed
from .contents import content, first_difference, whose
from .figures import Figures, Report
from .filesystems import NAMES, REQUIRED, TOOLS, mounted
from .play import play
from .promises import Effect, may_follow
from .rounds import MODES, Plan, plans
from .served import Manner

ROOT = Path(__file__).parents[2]
SEED = 1
SECONDS = float(os.environ.get("ADVERSARY_SECONDS", "60"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make and mount file systems")
def test_what_is_served_is_of_the_scan_whatever_is_changed(tmp_path, figures):
    need_tool(*TOOLS)
    command = [sys.executable, "-m", "tests.adversary", "--seconds", str(SECONDS)]
    done = run(
        *command, "--seed", str(SEED), "--report", str(tmp_path / "report"),
        cwd=ROOT, env=ENVIRONMENT | {"PYTHONPATH": "tests/support"}, timeout=SECONDS + 900,
    )  # fmt: skip
    print(done.stdout.decode(), done.stderr.decode())
    assert done.returncode in {0, 1}, done.stderr.decode()
    report = Report.load(tmp_path / "report")
    every = report.figures.values()
    for name in ("changes", "reads", "failed", "builds"):
        value = sum(_number(getattr(each, name)) for each in every)
        figures[f"adversary's {name}"] += value
    figures["wrong bytes"] += sum(each.wrong for each in every)
    bad = [name for name, each in report.figures.items() if not each.is_good]
    assert not bad, "what was wrong stands above, with the way to have it again"
    for name, each in report.figures.items():
        missed = {kind.name for kind in operations.of(name)} - set(each.changes)
        assert not missed, f"{name}: never made: {missed}"
        assert each.reads > each.failed > 0, f"{name}: {each.line()}"
    assert sum(each.builds for each in every) > sum(each.builds_failed for each in every) > 0
    missing = {name: report.left_out[name] for name in REQUIRED if name in report.left_out}
    if missing:
        missing_dependency(f"not tried: {missing}")


def _number(value):
    return value.total() if hasattr(value, "total") else value


def played(tmp_path, mode, operation, **manner):
    """Return the figures of a round that does one thing to one file, and nothing to another."""
    figures = Figures()
    plan = Plan(
        number=0,
        mode=mode,
        deeds=[Deed(operation, victim=0, seed=1)],
        sizes={0: 200_000, 1: 70_001},
        in_lower=frozenset(),
        unread=frozenset(),
        manner=Manner(**manner),
        seed=1,
    )
    folder = tmp_path / "out"
    folder.mkdir()
    with mounted("here", tmp_path) as mount:
        play("here", mount, folder, plan, figures, SEED)
    return figures


@pytest.mark.parametrize("leases", [True, False], ids=["leases", "checks"])
@pytest.mark.parametrize("mode", MODES)
def test_an_honest_server_is_found_to_be_honest(tmp_path, mode, leases):
    figures = played(tmp_path, mode, "write", leases=leases)
    assert figures.is_good, figures.findings
    assert figures.failed or figures.builds_failed


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_checks_nothing_is_found_out(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(ScannedFiles, "_is_as_scanned", lambda *_: True)
    monkeypatch.setattr(ScannedFiles, "_check", lambda *_: None)
    figures = played(tmp_path, mode, "write", leases=False)
    assert figures.wrong
    assert "file 0, version 1" in figures.findings[0]
    assert not figures.is_good


def test_zeros_for_what_is_missing_are_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(ScannedFiles, "_changed", lambda *_: None)
    figures = played(tmp_path, "step by step", "truncate", leases=False)
    assert figures.wrong
    assert "zeros, where file 0, version 0" in figures.findings[0]


def test_connections_that_end_are_counted(tmp_path, monkeypatch):
    def crash(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(ScannedFiles, "_check", crash)
    figures = played(tmp_path, "step by step", "write", leases=False)
    assert figures.lost
    assert not figures.is_good


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_refuses_what_is_unharmed_is_found_out(tmp_path, monkeypatch, mode):
    def refuse(*_):
        raise HostReadError("I don't feel like it")

    monkeypatch.setattr(ScannedFiles, "_check", refuse)
    figures = played(tmp_path, mode, "chmod", leases=False)
    assert figures.causeless
    assert not figures.is_good


def test_rounds_follow_from_the_seed_and_leave_nothing_out():
    for name in NAMES:
        first, again = (list(islice(plans(name, SEED), 60)) for _ in range(2))
        assert first == again
        for which, found in groupby(first[:-20], key=itemgetter(0)):
            made = {deed.operation for _, plan in found for deed in plan.deeds}
            if which == 0:
                assert made == {each.name for each in operations.of(name)}
        assert {plan.mode for _, plan in first} == set(MODES)
    assert list(islice(plans("ext4", 2), 60)) != list(islice(plans("ext4", SEED), 60))


def test_only_what_is_not_promised_may_not_follow():
    rewrites, lengthens = Effect.REWRITES, Effect.LENGTHENS
    assert may_follow(Effect.NONE, rewrites)
    assert may_follow(rewrites, Effect.RELABELS)
    assert not may_follow(rewrites, lengthens)
    assert not may_follow(lengthens, rewrites)
    assert not may_follow(rewrites | Effect.PUTS_BACK, Effect.RELABELS)
    assert not may_follow(Effect.RELABELS, rewrites | Effect.PUTS_BACK)
    assert not may_follow(Effect.ENDS, rewrites)


def test_bytes_tell_whose_they_are():
    sizes = {1: 1000, 2: 500}
    assert content(1, 0, 1000)[:500] == content(1, 0, 500)
    assert whose(content(2, 3, 500)[77:], sizes, 5) == "file 2, version 3, byte 77"
    assert whose(bytes(8), sizes, 5) == "zeros"
    assert whose(content(3, 0, 8), sizes, 5).startswith("nobody's")
    data = content(1, 0, 9000)
    assert first_difference(data, data) is None
    assert first_difference(data[:5000] + b"\0" + data[5001:], data) in {None, 5000}
    assert first_difference(data[:8999], data) == 8999


def test_the_table_and_the_document_speak_of_the_same_promises():
    text = _plain((ROOT / "docs" / "promises.md").read_text())
    names = [each.name for each in operations.OPERATIONS]
    assert len(names) == len(set(names))
    assert not [each.promise for each in operations.OPERATIONS if each.promise not in text]


def test_every_exclusion_stands_on_a_sentence_of_the_document():
    """If the sentence goes, the exclusion has to go."""
    text = _plain((ROOT / "docs" / "promises.md").read_text())
    quoted = []
    for path in Path(__file__).parent.glob("*.py"):
        comments = re.findall(r"^ *# (.*)$", path.read_text(), re.MULTILINE)
        quoted += re.findall(r'"([A-Z][^"]{40,}?)(?: \.\.\.)?"', " ".join(comments))
    assert len(quoted) >= 8, quoted
    assert not [each for each in quoted if _plain(each) not in text]


def _plain(text):
    return re.sub(r"\s+", " ", text.replace("`", ""))
