"""Log lines: text for people, JSON for programs; on standard error, a line an event."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

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


def log_to_stderr(level: str, style: str) -> None:
    """Sends what the server has to say to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _stamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
