"""Files that are written whole or not at all: manifests, numbers of processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import click


def write_whole(option: str, path: str, parts: Iterable[str]) -> None:
    """Writes a text file that takes the place of what is there when it is complete.

    A link to a file stays one; a device or a pipe is written to. Raises ClickException, with the
    option that names it, and then leaves what was there.
    """
    target = os.path.realpath(path)
    is_other = os.path.exists(path) and not os.path.isfile(path)
    temporary = f"{target}.{os.getpid()}"
    try:
        with open(path if is_other else temporary, "w", encoding="utf-8") as file:
            file.writelines(parts)
        if not is_other:
            os.replace(temporary, target)
    except BaseException as error:
        if not is_other:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError):
            raise click.ClickException(f"{option} {path}: {error.strerror}") from error
        raise
