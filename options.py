"""Options of disks, each declared once: its name, default and help, and the meaning of its values.

The command line, configuration files and Python's callers all take them from these declarations.
`convert` is called with a text by the first two and with any object by the last; it raises
ValueError, whose message says what was expected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from .errors import OptionError, option_named

_SIZE = re.compile(r"(\+?)(\d{1,30}(?:\.\d{1,9})?)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|)", re.ASCII)
_SECONDS = {"ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(%?)", re.ASCII)
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d):?(\d\d)Z?)?")

DEFAULT_LABEL = "VFLOPPY"
"""The label of a volume that nobody gave one, whatever its format."""

Convert = Callable[[Any], Any]
Values = Mapping[str, Any]
"""Converted values of all options of a disk, by name."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of a disk."""

    name: str
    """As Python's callers write it. On the command line, `_` is `-`."""
    help: str
    default: Any = None
    """A converted value."""
    convert: Convert | None = None
    """Turns a given value into one of the type that is worked with; None takes a text as it is."""
    choices: tuple[str, ...] = ()
    """The texts that it takes, if only these; numbers are taken for their digits."""
    metavar: str | None = None
    """The word for a value in help, such as SIZE."""
    shown_default: str | None = None
    """The default in words, where `default` doesn't say it by itself."""
    is_switch: bool = False
    """Takes True and False, and no value on the command line."""
    off: str | None = None
    """The option that switches it off on the command line, without dashes; None: there is none."""
    is_repeatable: bool = False
    """Takes several values; its value is a tuple."""
    short: str | None = None
    """Its letter on the command line."""
    spelled: str | None = None
    """Its name on the command line, where that is another."""
    is_for_python: bool = False
    """The command line has no such option: it sets the value by itself."""
    most_bytes: int = 0
    """It names a file of at most so many bytes, and stands for its contents; 0: it doesn't."""
    is_path: bool = False
    """Names something on the host; bytes and os.PathLike are taken, too."""

    def value_of(self, given: Any) -> Any:
        """Return a given value converted, several as a tuple. Raise OptionError."""
        try:
            if self.is_repeatable:
                return tuple(map(self._one, _several(given)))
            return self._one(given)
        except (ValueError, TypeError) as error:
            raise OptionError(str(error), self.name) from None

    def _one(self, given: Any) -> Any:
        if self.is_switch:
            if not isinstance(given, bool):
                raise ValueError(f"{given!r} is neither true nor false")
            return given
        if self.is_path and isinstance(given, bytes | os.PathLike):
            given = os.fsdecode(given)
        if self.choices:
            return _chosen(given, self.choices)
        if self.convert is not None:
            return self.convert(given)
        if not isinstance(given, str):
            raise ValueError(f"{given!r} is no text")
        return given


def _several(given: Any) -> Iterable[Any]:
    if isinstance(given, Mapping):
        return given.items()
    return given if isinstance(given, list | tuple | set | frozenset) else [given]


def _chosen(given: Any, choices: Sequence[str]) -> str:
    text = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""
    for choice in choices:
        if text.lower() == choice.lower():
            return choice
    raise ValueError(f"{given!r} is not one of {', '.join(map(repr, choices))}")


def size(given: Any) -> tuple[bool, int]:
    """Return True if a size is of room to leave free (`+100M`), and its bytes. Raise ValueError.

    Taken are texts like `64M` and `1.5G`, with units of 1024, and bytes as a number.
    """
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return False, given
    match = _SIZE.fullmatch(given) if isinstance(given, str) else None
    if not match:
        raise ValueError(f"{given!r} is no size; expected one like 64M, 1.5G or +100M")
    plus, number, unit = match.groups()
    factor = _UNITS[unit.lower()]
    return bool(plus), int(float(number) * factor) if "." in number else int(number) * factor


def byte_count(given: Any) -> int:
    """Return the bytes that `64M`, or a number of bytes, stands for. Raise ValueError."""
    try:
        is_free, count = size(given)
    except ValueError:
        is_free, count = True, 0
    if is_free:
        raise ValueError(f"{given!r} is no number of bytes; expected one like 64M")
    return count


def number(least: int, most: int) -> Convert:
    """Return a `convert` that takes whole numbers from `least` to `most`, as numbers or texts."""

    def convert(given: Any) -> int:
        text = str(given)
        if isinstance(given, bool) or not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"{given!r} is no number from {least} to {most}")
        return int(text)

    return convert


def duration(given: Any) -> float:
    """Return the seconds that `40ms`, `1.5s`, or a number of seconds, stands for.

    Raise ValueError.
    """
    match = _TIME.fullmatch(str(given)) if not isinstance(given, bool) else None
    if not match:
        raise ValueError(f"{given!r} is no time; expected one like 40ms or 1.5s")
    return float(match[1]) * _SECONDS[match[2]]


def share(given: Any) -> float:
    """Return the part of one that `25%`, or a number from 0 to 1, stands for. Raise ValueError."""
    match = _SHARE.fullmatch(str(given)) if not isinstance(given, bool) else None
    found = float(match[1]) / (100 if match[2] else 1) if match else 2
    if found > 1:
        raise ValueError(f"{given!r} is no share; expected one like 25% or 0.25")
    return found


def moment(given: Any) -> int:
    """Return a moment in nanoseconds since 1970. Raise ValueError.

    Taken are `2026-11-23` and `2026-11-23T10:00:00`, in UTC, and a date or datetime, in UTC unless
    it says another zone.
    """
    if isinstance(given, date):
        if not isinstance(given, datetime):
            given = datetime(given.year, given.month, given.day)
        when = given if given.tzinfo else given.replace(tzinfo=UTC)
        return int(when.timestamp()) * 1_000_000_000
    match = _DATE.fullmatch(given) if isinstance(given, str) else None
    try:
        if match:
            numbers = [int(each or 0) for each in match.groups()]
            when = datetime(*numbers, tzinfo=UTC)  # type: ignore[misc,arg-type]
            return int(when.timestamp()) * 1_000_000_000
    except ValueError:
        pass
    raise ValueError(f"{given!r} is no date; expected one like 2026-11-23T10:00:00, in UTC")


def excluding(name: str, others: Iterable[str], given: Collection[str]) -> None:
    """Raise OptionError if one of `others` was given beside the option `name`."""
    for other in others:
        if other in given:
            raise OptionError(f"{option_named(name)} goes without {option_named(other)}")
