"""Log lines: text for people, JSON for programs; on standard error, a line an event."""

from __future__ import annotations

import logging
import os
import select
import sys
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from ..console import complain_by, one_line

LEVELS = ("error", "warning", "info", "debug")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = one_line(record.getMessage())
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


class _Patient(logging.Handler):
    """Writes where there is room. A reader that has stopped reading must not stop the server.

    Where there is room at all, there is room for PIPE_BUF bytes, so nothing longer is written at
    once. The rest of a line that was begun waits until there is room again, and lines that come
    meanwhile are lost, and counted.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._descriptor = -1
        with suppress(OSError, ValueError):  # there is none behind it
            self._descriptor = stream.fileno()
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._rest = b""
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, as much of it as there is room for, unless an earlier one waits."""
        try:
            if not self._go_on():
                self._lost += 1
                return
            self._rest = self._line(record)
            self._go_on()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits, as far as there is room."""
        with suppress(OSError, ValueError):
            self._go_on()

    def _go_on(self) -> bool:
        """Return whether nothing waits any more, and there is room for more."""
        self._write()
        if self._lost and not self._rest and self._has_room():
            text = f"{self._lost} lines were lost before: nobody read them"
            self._lost = 0
            details = {"levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
            self._rest = self._line(logging.makeLogRecord(details))
            self._write()
        return not self._rest and self._has_room()

    def _write(self) -> None:
        if self._rest and self._descriptor < 0:
            self._stream.write(self._rest.decode(self._encoding, "replace"))
            self._stream.flush()
            self._rest = b""
        while self._rest and self._has_room():
            try:
                written = os.write(self._descriptor, self._rest[: select.PIPE_BUF])
            except BlockingIOError:  # somebody else made it so
                return
            except OSError:
                self._rest = b""  # nobody can read it
                raise
            self._rest = self._rest[written:]

    def _has_room(self) -> bool:
        if self._descriptor < 0:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode(self._encoding, "backslashreplace")


def log_to_stderr(level: str, style: str) -> None:
    """Send what the server has to say to standard error.

    With the style "json", all else that is said there from now on is said in the same way.
    """
    if sys.stderr is None:
        logging.basicConfig(level=level.upper(), handlers=[logging.NullHandler()], force=True)
        return
    handler = _Patient(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if style == "json":
        complain_by(_log_complaint)
        logging.captureWarnings(True)
        sys.excepthook = _log_exception
        sys.unraisablehook = _log_unraisable


def _log_complaint(message: str, level: str) -> None:
    logging.getLogger("vfloppy").log(logging.getLevelNamesMapping()[level.upper()], "%s", message)


def _log_exception(
    kind: type[BaseException], error: BaseException, _trace: TracebackType | None
) -> None:
    _log_complaint(f"{kind.__name__}: {error}", "error")


def _log_unraisable(failure: Any) -> None:
    text = failure.err_msg or "an exception was ignored"
    _log_complaint(f"{text}: {failure.exc_type.__name__}: {failure.exc_value}", "error")


def _stamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
