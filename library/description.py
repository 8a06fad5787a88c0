"""A disk to be: directories, format and options, checked before anything is scanned."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import OptionError, PlanError, ScanError, option_named
from ..options import Option, Values
from ..synth.formats import NAMES, Format, format_named
from ..synth.formats import options_of as own_options
from .options import OPTIONS
from .presets import PRESETS

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Description(NamedTuple):
    """A disk to be: all that is needed to open it, now or again later."""

    paths: tuple[str, ...]
    """The directories that it is made of."""
    format: Format[Any]
    values: Values
    """The value of each option of `options_of(format)`."""
    given: frozenset[str]
    """The names of the options that were given by themselves, not by a preset."""
    words: Mapping[str, Any] = MappingProxyType({})
    """Their values, as they were given."""
    base: Mapping[str, Any] = MappingProxyType({})
    """Converted values that counted where nothing was given."""


@cache
def options_of(format_name: str) -> Mapping[str, Option]:
    """Return the options of a format by name, those of every disk first."""
    return {each.name: each for each in (*OPTIONS, *own_options(format_name))}


@cache
def all_options() -> Mapping[str, tuple[Option, str | None]]:
    """Return the options of all formats, each with the one format that it is for, or None."""
    found: dict[str, tuple[Option, str | None]] = {each.name: (each, None) for each in OPTIONS}
    for name in NAMES:
        found |= {each.name: (each, name) for each in own_options(name)}
    return found


def describe(
    paths: Path | Iterable[Path], given: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> Description:
    """Return the description of a disk. Raise OptionError; ScanError for an empty name.

    `given` has values as users write them; `base` has converted ones that count where nothing is
    given, as those of a preset do.
    """
    single = isinstance(paths, str | bytes | os.PathLike)
    directories = tuple(map(os.fsdecode, [paths] if single else paths))  # type: ignore[arg-type]
    chosen = {name: _converted(name, value) for name, value in given.items() if value is not None}
    form = format_named(chosen.get("format") or (base or {}).get("format") or NAMES[0])
    options = options_of(form.name)
    for name in sorted(chosen.keys() - options.keys()):
        right = all_options()[name][1]
        raise OptionError(f"{option_named(name)} is for {option_named('format', right)}")
    values = {name: option.default for name, option in options.items()}
    preset = PRESETS[chosen["preset"]].values if "preset" in chosen else {}
    for layer in (base or {}, preset, chosen):
        values |= {name: value for name, value in layer.items() if name in options}
    values["format"] = form.name
    keeps_links = form.keeps_links(values)
    if values["symlinks"] is None:
        values["symlinks"] = "keep" if keeps_links else "skip"
    try:
        form.check(values, chosen.keys())
    except PlanError as error:  # a text that the format can't hold
        raise OptionError(error.marked) from None
    if values["symlinks"] == "keep" and not keeps_links:
        iso = option_named("format", "iso")
        raise OptionError(f"{option_named('symlinks', 'keep')} needs {iso} with Rock Ridge")
    for inner in form.inner_disks(values):
        try:
            describe(inner.directory, inner.attempts[0])
        except OptionError as error:
            where = option_named(inner.option, inner.directory)
            raise OptionError(f"{where}: {error.marked}") from None
    if not directories and not values["graft"]:
        raise OptionError(f"no directory given, and no {option_named('graft')}")
    if "" in directories:
        raise ScanError("a directory's name is empty")
    words = {name: given[name] for name in chosen}
    return Description(directories, form, values, frozenset(chosen), words, dict(base or {}))


def _converted(name: str, value: Any) -> Any:
    if name not in all_options():
        raise OptionError(f"there is no option {name}", name)
    return all_options()[name][0].value_of(value)
