"""Inputs of a disk besides its directories: files that options name, and orders for the scan."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

from ..errors import ScanError, option_named
from ..options import Option, Values
from ..synth.formats import Format
from ..synth.host.paths import NamedPaths
from ..synth.names.patterns import excluded_by, lines_of
from ..synth.scanning.options import ScanOptions
from .description import Description, options_of

_LARGE_BYTES = (1 << 32) - 1  # the longest file of FAT


def file_contents(description: Description, named: NamedPaths) -> dict[str, Any]:
    """Read the files that options name; of several, a tuple. Raise VfloppyError."""
    contents: dict[str, Any] = {}
    for name, option in options_of(description.format.name).items():
        value = description.values[name]
        if option.most_bytes and value:
            paths = value if option.is_repeatable else [value]
            found = tuple(_content(option, path, named) for path in paths)
            contents[name] = found if option.is_repeatable else found[0]
    return contents


def _content(option: Option, path: str, named: NamedPaths) -> bytes:
    try:
        return named.read(path, option.most_bytes)
    except ScanError as error:
        raise ScanError(f"{option_named(option.name)} {error.marked}") from error
    except OSError as error:
        raise ScanError(f"{option_named(option.name, path)}: {error.strerror}") from error


def scan_options(
    form: Format[Any], values: Values, leave_out: Iterable[str], named: NamedPaths
) -> ScanOptions:
    """Return the orders for a scan; files of `leave_out` are no part of the tree."""
    patterns = chain(values["exclude"], *map(lines_of, values["exclude_from"]))
    return ScanOptions(
        skip_unreadable=values["skip_unreadable"],
        leave_out=_identities(leave_out),
        skip_larger_than=_LARGE_BYTES if values["skip_large"] else None,
        excluded=excluded_by(list(patterns)),
        symlinks=values["symlinks"],
        keep_special_files=form.keeps_links(values),
        owners=values.get("preserve", False),
        processes=values["processes"],
        strict=values["strict"] or values["distinct"],
        fold=form.fold(values),
        order=form.order(values),
        named=named,
    )


def _identities(paths: Iterable[str]) -> frozenset[tuple[int, int]]:
    """Device and inode of files, where they exist."""
    found = set()
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)
