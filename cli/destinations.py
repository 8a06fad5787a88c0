"""Files that options name: read with a bound and no waiting, written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

import click

from ..errors import ScanError
from ..synth.host.paths import NamedPaths
from ..synth.output.replacement import Replacement, remove_own

_Result = TypeVar("_Result")


class Destination:
    """A file that an option wants a text in. Raise ClickException where there can't be one.

    A link to a file stays one, if it was there at first; a device or a pipe is written to. Only the
    first text waits for a pipe's reader.
    """

    def __init__(self, option: str, path: str, named: NamedPaths | None = None) -> None:
        self._option = option
        self._path = path
        self._new: Replacement | None = None
        self._made = -1  # stays open, so that no other file gets its inode
        self._found = self._told(lambda: (named or NamedPaths()).find(path, to_write=True))
        status = self._found.status
        try:
            if self._found.is_directory:
                raise click.ClickException(f"{option} {path}: {os.strerror(errno.EISDIR)}")
            if status is None or stat.S_ISREG(status.st_mode):
                self._told(self._prepare)
        except BaseException:
            self._found.__exit__()
            raise

    def _prepare(self) -> None:
        self._new = Replacement(self._found.folder, self._found.name)
        self._made = os.dup(self._new.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        if self._new:
            self._new.discard()
            os.close(self._made)
        self._found.__exit__()

    def write(self, parts: Iterable[str]) -> None:
        """Write a text, once. It takes the place of what is there when it is complete.

        Raise ClickException, and then leave what was there.
        """
        self._told(lambda: self._write(parts))

    def remove(self) -> None:
        """Remove the file that was written, by this process or a child, if it is still there."""
        if self._new:
            remove_own(self._found.folder, self._found.name, self._made)

    def _write(self, parts: Iterable[str]) -> None:
        if self._new:
            with open(self._new.descriptor, "w", encoding="utf-8", closefd=False) as file:
                file.writelines(parts)
            self._new.commit(sync=False)
            return
        opened = self._found.reopen(os.O_WRONLY, wait=self._found.is_first)
        with open(opened, "w", encoding="utf-8") as file:
            file.writelines(parts)

    def _told(self, act: Callable[[], _Result]) -> _Result:
        return _told(self._option, self._path, act)


def write_whole(
    option: str, path: str, parts: Iterable[str], named: NamedPaths | None = None
) -> None:
    """Write a text as `Destination.write` does. Raise ClickException."""
    with Destination(option, path, named) as destination:
        destination.write(parts)


def _told(option: str, path: str, act: Callable[[], _Result]) -> _Result:
    """Return what `act` returns. Raise ClickException, which names the option, for its errors."""
    try:
        return act()
    except OSError as error:
        raise click.ClickException(f"{option} {path}: {error.strerror}") from error
    except ScanError as error:
        raise click.ClickException(f"{option} {error}") from error
