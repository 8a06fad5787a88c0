"""Configuration files: exports by name, each with directories and options of its own.

[export.NAME]
directories = ["/some/directory"]       # or directory = "..."
label = "NAME"                          # options as on the command line
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from ..errors import OptionError, option_named
from ..options import Option
from .description import Path, all_options


class Configured(NamedTuple):
    """An export that a file describes."""

    directories: tuple[str, ...]
    given: Mapping[str, Any]
    """Values by the names of the library's options."""
    manifest: str | None
    """The file that is to list what is on the disk."""
    overlay: str | None = None
    """The file for what is written over the disk."""


def read_config(path: Path) -> dict[str, Configured]:
    """Return the exports of a configuration file by name.

    Raise OptionError, which says where in the file something is wrong.
    """
    import tomllib  # noqa: PLC0415  most programs have no such file

    path = os.fsdecode(path)
    place = option_named("config", path)
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise OptionError(f"{place}: {error.strerror}") from None
    except ValueError as error:  # no TOML, no UTF-8, or a path with a NUL
        raise OptionError(f"{place}: {error}") from None
    exports = document.pop("export", None)
    if document or not isinstance(exports, dict) or not exports:
        odd = f"; {next(iter(document))} is no part of it" if document else ""
        raise OptionError(f"{place}: tables [export.NAME] are expected{odd}")
    return {name: _configured(f"{place}: export.{name}", each) for name, each in exports.items()}


def _configured(where: str, table: Any) -> Configured:
    if not isinstance(table, dict):
        raise OptionError(f"{where}: a table is expected")
    left = dict(table)
    directories = left.pop("directories", [])
    if "directory" in left:
        directories = [left.pop("directory"), *directories]
    if not isinstance(directories, list) or not all(isinstance(each, str) for each in directories):
        raise OptionError(f"{where}: directories is no list of texts")
    if any("\0" in each for each in directories):
        raise OptionError(f"{where}: a directory's name has a NUL")
    names = tuple(os.fsdecode(each.encode()) for each in directories)  # whatever the locale is
    overlay = left.pop("overlay", None)
    if overlay is not None and (not isinstance(overlay, str) or not overlay or "\0" in overlay):
        raise OptionError(f"{where}: overlay is no name of a file")
    try:
        given, manifest = options_from(left)
    except OptionError as error:
        raise OptionError(f"{where}: {error.marked}") from None
    if not names and not given.get("graft"):
        raise OptionError(f"{where}: directories is missing")
    return Configured(names, given, manifest, overlay)


def options_from(table: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the options of a table, whose keys are as on the command line, less the dashes in
    front; and the manifest's file, if one is wanted. Raise OptionError.
    """
    given: dict[str, Any] = {}
    manifest: str | None = None
    for word, value in table.items():
        name = word.replace("_", "-")
        if name == "manifest":
            manifest = str(value)
            continue
        option, is_off = _by_word().get(name, (None, False))
        if option is None:
            raise OptionError(f"there is no option {word}")
        if option.is_switch and not isinstance(value, bool):
            raise OptionError(f"{word} is true or false")
        for each in value if isinstance(value, list) else [value]:
            if not option.is_switch and (not isinstance(each, str | int) or isinstance(each, bool)):
                raise OptionError(f"{word} is a text or a number, or a list of them")
        chosen = value is not is_off if option.is_switch else _as_text(value)
        try:
            option.value_of(chosen)
        except OptionError as error:
            raise OptionError(f"{word}: {error.marked}") from None
        given[option.name] = chosen
    return given, manifest


@cache
def _by_word() -> Mapping[str, tuple[Option, bool]]:
    """Return the options by how one types them, and whether that switches them off."""
    words = {}
    for option, _ in all_options().values():
        if option.is_for_python:
            continue
        words[option.spelled or option.name.replace("_", "-")] = option, False
        if option.short:
            words[option.short] = option, False
        if option.off:
            words[option.off] = option, True
    return words


def _as_text(value: Any) -> Any:
    return [_as_text(each) for each in value] if isinstance(value, list) else str(value)
