"""Importing ahead of time what would be imported later, when Python's files may be out of reach."""

from __future__ import annotations

import ast
import codecs
import importlib
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType

from ..synth.formats import NAMES, format_named

_CODECS = ("ascii", "utf-8", "utf-16-le", "utf-16-be", "idna")
_PACKAGE = __package__.partition(".")[0]


def preload(*, everything: bool) -> None:
    """Import what a sandbox would keep Python from reading.

    With `everything`, for another user, import whatever a function of ours imports when it is
    called. What is not installed is left out.
    """
    for name in _CODECS:
        codecs.lookup(name)
    if everything:
        codecs.lookup("cp437")  # of 8.3 names that guests have written
        for name in NAMES:
            format_named(name)
        seen: set[str] = set()
        while left := {name for name in sys.modules if _is_ours(name)} - seen:
            for name in left:
                _import_all(_late_imports(sys.modules[name]))
            seen |= left


def _is_ours(name: str) -> bool:
    return name == _PACKAGE or name.startswith(f"{_PACKAGE}.")


def _import_all(names: Iterator[tuple[str, str | None]]) -> None:
    for module, name in names:
        try:
            found = importlib.import_module(module)
            if name and not hasattr(found, name):
                importlib.import_module(f"{module}.{name}")
        except ImportError:  # an extra that is not there: who needs it will say so
            continue


def _late_imports(module: ModuleType) -> Iterator[tuple[str, str | None]]:
    """Yield the modules that a module's functions import, and names that may be modules in them."""
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):  # no source here, as in a zip of compiled files
        return
    package = (module.__package__ or "").split(".")
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                yield from ((base, alias.name) for alias in node.names)
