"""Log lines: text for people, JSON for programs; on standard error, a line an event."""

from __future__ import annotations

import logging
import select
import sys
from datetime import UTC, datetime
from typing import TextIO

LEVELS = ("error", "warning", "info", "debug")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = " ".join(record.getMessage().splitlines())
        # What a person is not used to see gets a time; a complaint needs none.
        return (
            f"{_stamp(record)} {text}" if record.levelno < logging.WARNING else f"vfloppy: {text}"
        )


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json  # noqa: PLC0415  most servers write no JSON

        return json.dumps(
            {
                "time": _stamp(record),
                "level": record.levelname.lower(),
                "message": record.getMessage(),
            }
        )


class _Patient(logging.StreamHandler[TextIO]):
    """Writes where there is room. A reader that has stopped reading must not stop the server."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            has_room = bool(select.select([], [self.stream], [], 0)[1])
        except (OSError, ValueError):  # no descriptor behind it, or too large a one
            has_room = True
        if not has_room:
            self._lost += 1
            return
        super().emit(record)
        if self._lost:
            lost, self._lost = self._lost, 0
            text = "%d lines were lost before: nobody read them"
            super().emit(
                logging.makeLogRecord(
                    {
                        "levelno": logging.WARNING,
                        "levelname": "WARNING",
                        "msg": text,
                        "args": (lost,),
                    }
                )
            )


def log_to_stderr(level: str, style: str) -> None:
    """Sends what the server has to say to standard error."""
    handler = _Patient(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _stamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
