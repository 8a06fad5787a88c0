"""Failures that the user can do something about; each message is one line.

A message that speaks of an option names it by `option_named`, so that Python's users read
`skip_large=True` and those of the command line `--skip-large`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Characters for private use, which `printable` never lets through: no path can hold a mark.
_START, _VALUE, _END = "\ue000", "\ue001", "\ue002"
_MARK = re.compile(f"{_START}([^{_VALUE}{_END}]*)(?:{_VALUE}([^{_END}]*))?{_END}")

Spelling = Callable[[str, str | None], str]
"""Words an option, given its name and a value, or None where it is only spoken of."""


def option_named(name: str, value: object = None) -> str:
    """Return the mark of an option for a message: `option_named("fat", 32)`.

    `True` and `False` stand for switches.
    """
    return f"{_START}{name}{'' if value is None else f'{_VALUE}{value}'}{_END}"


def in_python(name: str, value: str | None) -> str:
    """Return how an option is written in a call: `fat=32`, `esp=True`, `label='x'`, `label`."""
    if value is None:
        return name
    is_plain = value in {"True", "False"} or value.isdecimal()
    return f"{name}={value if is_plain else repr(value)}"


def worded(text: str, spelling: Spelling = in_python) -> str:
    """Return a message in which options are spelled out."""
    return _MARK.sub(lambda mark: spelling(mark[1], mark[2]), text)


class VfloppyError(Exception):
    """A failure in one sentence: what was found and expected, the file or option, what to do."""

    exit_status = 1
    """Of a program that ends by it."""

    def __str__(self) -> str:
        return self.worded(in_python)

    @property
    def marked(self) -> str:
        """The sentence with its marks, to be part of another."""
        return super().__str__()

    def worded(self, spelling: Spelling) -> str:
        """Return the sentence with options spelled as `spelling` does it."""
        return worded(self.marked, spelling)


class OptionError(VfloppyError):
    """An option that doesn't exist, a value that it doesn't take, or options that exclude others.

    `option` is the name of the one whose value is wrong; empty where several are to blame.
    """

    exit_status = 2

    def __init__(self, text: str, option: str = "") -> None:
        super().__init__(text)
        self.option = option


class ScanError(VfloppyError):
    """A directory that can't be offered as it is."""


class ApplyError(VfloppyError):
    """Changes of a guest that could not be applied to the directory, or not all of them yet."""


class PlanError(VfloppyError):
    """A tree or an option that doesn't fit the format."""


class WriteError(VfloppyError):
    """An image that could not be written."""
