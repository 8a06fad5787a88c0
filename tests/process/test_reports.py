"""What processes of connections tell their parent, who does not trust them."""

from __future__ import annotations

import logging
import os
import tracemalloc

import pytest
from fakes import Client, FakeExport, pattern, request
from vfloppy.nbd import listen_unix
from vfloppy.nbd.protocol import wire
from vfloppy.process.reports import MOST_REPORTS, REPORTS_A_TURN, Reporter, Reports, log


@pytest.fixture
def reporter():
    made = Reporter(Reports(), "connection 1")
    made.open()
    yield made
    made.close()


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.DEBUG, logger="vfloppy.nbd")
    return lambda: [(each.levelno, each.getMessage()) for each in caplog.records]


@pytest.mark.parametrize("datagram", [b"", b"\0", b"\x07seven", b"\xffmost", b"\x32critical"])
def test_what_is_no_report_is_told_of_and_ends_nobody(reporter, logged, datagram):
    reporter.sender.send(datagram)
    reporter.send(logging.WARNING, "the next one")
    reporter.drain()
    (level, text), after = logged()
    assert level == logging.ERROR
    assert text.startswith("connection 1 told what is no report: b'")
    assert after == (logging.WARNING, "the next one")


def test_what_a_terminal_would_obey_is_escaped(reporter, logged):
    reporter.send(logging.INFO, "\x1b[2J two\nlines \u202e \udcff grüße")
    reporter.drain()
    ((_, text),) = logged()
    assert text == "\\x1b[2J two\\nlines \\u202e \\udcff grüße"


def test_a_flood_has_its_turn_and_an_end(reporter, logged):
    for number in range(REPORTS_A_TURN * 4):
        reporter.send(logging.INFO, f"{number}")  # what the kernel doesn't take is lost
    assert not reporter.drain(1) or len(logged()) == 1
    while not reporter.is_exhausted:
        reporter.send(logging.INFO, "more")
        reporter.drain()
    reporter.send(logging.INFO, "more")
    reporter.drain()
    said = logged()
    assert len(said) == MOST_REPORTS + 1
    assert said[-1] == (
        logging.ERROR, f"connection 1 has told {MOST_REPORTS} things; no more of it is logged"
    )  # fmt: skip


def test_a_failure_is_logged_once_and_everything_else_each_time(logged):
    reports = Reports()
    for _ in range(3):
        reports.tell(logging.WARNING, "a file")
        reports.tell(logging.INFO, "closed")
    assert [text for _, text in logged()] == ["a file", "closed", "closed", "closed"]


def test_what_is_remembered_does_not_grow_with_the_connections(monkeypatch):
    """A service runs for a year."""
    monkeypatch.setattr(log, "disabled", True)
    reports = Reports()

    def connections(numbers: range) -> None:
        for number in numbers:
            reporter = Reporter(reports, f"connection {number}")
            reports.tell(logging.INFO, f"connection {number} opened: {'x' * 300}")
            reports.tell(logging.WARNING, f"file {number} has changed since the scan {'x' * 300}")
            reporter.close()

    connections(range(10_000))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        connections(range(10_000, 40_000))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 1 << 20


def test_a_process_that_floods_neither_stops_the_parent_nor_silences_others(serve, tmp_path):
    class Flooding(FakeExport):
        def pieces(self, offset, length):
            number = 0
            while offset == 13:
                number += 1
                log.warning("flood %d", number)
            if offset == 14:
                log.warning("a word of another")
            return super().pieces(offset, length)

    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"disk": Flooding([pattern(1000)])})
    with Client(listener.path) as first:
        first.go()
        first.send(request(wire.NBD_CMD_READ, 13, 1))
        for _ in range(3):
            with Client(listener.path) as second:
                second.go()
                assert second.read(14, 10) == pattern(1000)[14:24]
        assert running.stop() == 0
    text = running.log.read_text()
    assert "a word of another" in text
    assert text.count("flood") <= MOST_REPORTS
    assert not os.path.lexists(listener.path)
