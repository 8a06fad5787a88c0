"""A command line of mkisofs or its like, taken apart: options with their values, and paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ..errors import OptionError
from .table import BEFORE_AS, Fate, Word, by_name, named, plain

_VERBOSE = re.compile(r"v{2,}")
EMULATED = ("mkisofs", "genisoimage", "xorrisofs")
"""The names that `xorriso -as` takes."""
_ASKED = ("help", "version")


class Found(NamedTuple):
    """An option with its values, or a path if there is no word."""

    word: Word | None
    spelled: str
    """As it was written."""
    values: tuple[str, ...]


def asks_for(arguments: Sequence[str]) -> str:
    """Return `help` or `version` if a command line asks for that and for nothing else."""
    words = [each.lstrip("-") for each in arguments if each.startswith("-")]
    return next((each for each in words if each in _ASKED), "")


def found_in(arguments: Sequence[str], tool: str) -> Iterator[Found]:
    """Yield options and paths in the order of a command line.

    Raise OptionError for an option that isn't known or lacks a value, and for one that is refused.
    """
    return _found_in(arguments, by_name(), tool)


def split_xorriso(arguments: Sequence[str]) -> tuple[list[Found], list[str]]:
    """Return the options of xorriso itself before `-as mkisofs`, and all that comes after it.

    Raise OptionError for a command line that wants xorriso's own language.
    """
    for at, argument in enumerate(arguments):
        if plain(argument).lstrip("-") == "as" and argument.startswith("-"):
            name = arguments[at + 1] if at + 1 < len(arguments) else ""
            if name not in EMULATED:
                raise _native(f"-as {name}".rstrip())
            before = list(_found_in(arguments[:at], named(BEFORE_AS), "xorriso", _unknown_native))
            if paths := [each.spelled for each in before if each.word is None]:
                raise _native(paths[0])
            return before, list(arguments[at + 2 :])
    raise _native(arguments[0] if arguments else "no arguments")


def _native(what: str) -> OptionError:
    return OptionError(
        f"{what}: only `xorriso -as mkisofs` is there; the rest of xorriso's language, which reads "
        "and changes images, needs xorriso itself"
    )


def _unknown(spelled: str, tool: str) -> OptionError:
    return OptionError(f"{tool}: {spelled}: no such option; `{tool} -help` lists them")


def _unknown_native(spelled: str, _tool: str) -> OptionError:
    return _native(spelled)


def _found_in(
    arguments: Sequence[str],
    words: Mapping[str, Word],
    tool: str,
    unknown: Callable[[str, str], OptionError] = _unknown,
) -> Iterator[Found]:
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            # What follows are paths for mkisofs, and more of its own language for xorriso.
            rest = list(left)
            if rest and tool.startswith("xorriso"):
                raise _native(rest[0])
            yield from (Found(None, each, ()) for each in rest)
            return
        if not argument.startswith("-") or argument == "-":
            yield Found(None, argument, ())
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        name = "v" if _VERBOSE.fullmatch(name) else plain(name)
        word = words.get(name)
        if word is None or (equals and word.takes != 1):
            raise unknown(argument, tool)
        values = [value] if equals else [*islice(left, word.takes)]
        if len(values) < word.takes:
            raise OptionError(f"{argument} wants {word.values}, and the command line ends")
        if word.fate is Fate.REFUSED:
            raise OptionError(f"{argument}: refused: {word.says}")
        yield Found(word, argument.partition("=")[0], tuple(values))
