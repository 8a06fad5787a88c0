"""Files that are written whole or not at all: manifests, numbers of processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import click


def write_whole(option: str, path: str, parts: Iterable[str]) -> None:
    """Writes a text file that takes the place of what is there when it is complete.

    Raises ClickException, with the option that names it, and then leaves what was there.
    """
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines(parts)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise click.ClickException(f"{option} {path}: {error.strerror}") from error
        raise
