"""A disk that fails: all requests of some kinds, or a share; always, or while a file is there."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Sequence
from typing import Any

from ..export import Range, Reader
from ..options import Option, share
from .filter import Filter, Operation, RequestReader


class InjectedError(OSError):
    """A failure that a user wished for."""

    def __str__(self) -> str:
        return str(self.strerror)


# Those that NBD knows.
ERRORS = ("EIO", "ENOSPC", "EPERM", "ENOMEM", "EINVAL", "EOVERFLOW", "ENOTSUP", "ESHUTDOWN")
_ALL = frozenset(Operation)


def _operations(given: Any) -> frozenset[Operation]:
    """Take `read+write`. Raise ValueError."""
    try:
        return frozenset(map(Operation, str(given).split("+")))
    except ValueError:
        known = "+".join(Operation)
        raise ValueError(f"{given!r} is no kind of request; expected some of {known}") from None


class Error(Filter):
    """Has requests fail."""

    options = (
        Option(
            name="rate",
            convert=share,
            default=1.0,
            metavar="SHARE",
            shown_default="100%",
            help="The share of requests that fail.",
        ),
        Option(
            name="operation",
            convert=_operations,
            default=_ALL,
            metavar="KINDS",
            shown_default="all",
            help="The kinds of requests that fail, `+` between them.",
        ),
        Option(name="errno", choices=ERRORS, default="EIO", help="The error."),
        Option(
            name="file", is_path=True, metavar="FILE", help="They fail while this file is there."
        ),
        Option(
            name="seed",
            convert=int,
            metavar="N",
            shown_default="another each time",
            help="Has each connection draw the same each time.",
        ),
    )

    def __init__(
        self,
        *,
        rate: float = 1.0,
        operation: frozenset[Operation] = _ALL,
        errno: str = "EIO",
        file: str | None = None,
        seed: int | None = None,
    ) -> None:
        self.rate = rate
        self.operations = operation
        self.number = _number_of(errno)
        self.file = file and os.path.abspath(file)
        self.seed = seed

    def reader(self, inner: Reader) -> Reader:
        """See `Filter.reader`."""
        return _ErrorReader(inner, self)

    @property
    def is_armed(self) -> bool:
        """True while requests may fail."""
        # Looking whether a file is there is what a sandbox leaves to a process.
        return self.rate > 0 and (self.file is None or os.path.lexists(self.file))


def _number_of(name: str) -> int:
    number: int = vars(errno)[name]
    return number


class _ErrorReader(RequestReader):
    def __init__(self, inner: Reader, error: Error) -> None:
        super().__init__(inner)
        self._error = error
        self._random = random.Random(error.seed)  # noqa: S311  chance, and no secret

    @property
    def is_single(self) -> bool:
        """See `RequestReader`: one may fail, and the others not."""
        return Operation.READ in self._error.operations and self._error.is_armed

    def begin(self, operation: Operation, ranges: Sequence[Range]) -> None:  # noqa: ARG002
        """See `RequestReader.begin`. A batch comes here only while none may fail."""
        error = self._error
        if operation not in error.operations or not error.is_armed:
            return
        if error.rate >= 1 or self._random.random() < error.rate:
            text = f"filter error: {os.strerror(error.number)}"
            raise InjectedError(error.number, text)
