"""The register of filters, and `NAME[:KEY=VALUE,...]` by which people ask for them.

A filter of ours is a module with a class, and a row of `KINDS`; anybody else's is asked for as
`module:Class`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from ..errors import OptionError, option_named
from ..export import Export
from .filter import Filter


class Kind(NamedTuple):
    """A filter that comes with vfloppy."""

    help: str
    home: str
    """The module and the class."""


KINDS: Mapping[str, Kind] = {
    "log": Kind("Log each request to a file, one JSON document a line.", "log:Log"),
    "delay": Kind("Answer requests later, by kind.", "delay:Delay"),
    "error": Kind("Have requests fail: some, or while a file is there.", "error:Error"),
    "rate": Kind(
        "Bound bytes and requests a second, for each connection and for all.", "rate:Rate"
    ),
    "readonly": Kind("Let nobody write to what is writable.", "readonly:ReadOnly"),
}


def filters_of(words: Sequence[str]) -> list[Filter]:
    """Return the filters that some words ask for, the nearest to the client first.

    Raise OptionError; and what a class of the user's raises, as one.
    """
    made: list[Filter] = []
    try:
        for word in words:
            made.append(_made(word))  # noqa: PERF401  so that those before are closed
    except BaseException:
        for each in made:
            each.close()
        raise
    return made


def filtered(export: Export, filters: Sequence[Filter], name: str = "") -> Export:
    """Return an export with filters around it; the first is the outermost."""
    for each in reversed(filters):
        export = each.around(export, name)
    return export


def class_of(name: str, module: str = "") -> type[Filter]:
    """Return the class of a filter: one of ours, or one of the user's. Raise OptionError."""
    place = option_named("filter", f"{module}:{name}" if module else name)
    try:
        if not module:
            home, _, name = KINDS[name].home.partition(":")
            found = getattr(import_module(f".{home}", __package__), name)
        else:
            found = getattr(_users_module(module), name)
    except KeyError:
        known = ", ".join(KINDS)
        text = f"{place}: there is no such filter; expected {known}, or MODULE:CLASS"
        raise OptionError(text) from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise OptionError(f"{place} can't be imported: {reason}") from error
    if not (isinstance(found, type) and issubclass(found, Filter)):
        raise OptionError(f"{place}: it is no class that derives from vfloppy.Filter")
    return found


def _users_module(name: str) -> Any:
    """Import a module from where Python looks for some, or from the current directory."""
    folder = os.getcwd()
    sys.path.append(folder)
    try:
        return import_module(name)
    finally:
        sys.path.remove(folder)


def _made(word: str) -> Filter:
    """Return the filter of one word. Raise OptionError."""
    if "\0" in word:
        raise OptionError(f"{option_named('filter', repr(word))} has a NUL")
    name, _, rest = word.partition(":")
    module = ""
    if rest and name not in KINDS:
        module = name
        name, _, rest = rest.partition(":")
    kind = class_of(name, module)
    given: dict[str, Any] = {}
    for pair in _split(rest):
        key, equals, value = pair.partition("=")
        if key in given:
            raise OptionError(f"{option_named('filter', word)}: {key} is given twice")
        given[key] = value if equals else True
    return made(kind, given, word)


def made(kind: type[Filter], given: Mapping[str, Any], word: str = "") -> Filter:
    """Return a filter of some values. Raise OptionError."""
    place = option_named("filter", word or kind.__name__)
    known = {each.name: each for each in kind.options}
    for key in given:
        if key not in known:
            expected = ", ".join(known) or "none"
            raise OptionError(f"{place}: {key!r} is no option of it; expected {expected}")
    values: dict[str, Any] = {}
    for name, option in known.items():
        try:
            values[name] = option.value_of(given[name]) if name in given else option.default
        except OptionError as error:
            raise OptionError(f"{place}: {name}: {error.marked}") from None
    try:
        return kind(**values)
    except OptionError as error:
        raise OptionError(f"{place}: {error.marked}") from None
    except Exception as error:
        raise OptionError(f"{place}: {type(error).__name__}: {error}") from error


def _split(text: str) -> list[str]:
    """Return what commas separate; a doubled one stands for itself, as QEMU has it."""
    return [each.replace("\0", ",") for each in text.replace(",,", "\0").split(",") if each]
