"""The files that options name, as a disk takes them in: boot code, lists of patterns."""

from __future__ import annotations

from typing import Any

from ..errors import ScanError, option_named
from ..options import Option
from ..synth.host.paths import NamedPaths
from .description import Description, options_of


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
