"""The paths of a command line: where on the image each file and directory goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..errors import OptionError

_SPECIAL = "\\*?["


class Spec(NamedTuple):
    """A file or directory of the host, and its place in the tree; "" is the root."""

    target: str
    source: str


def spec(text: str, *, may_graft: bool, root: str) -> Spec:
    """Return what a path of the command line asks for; with `may_graft`, TARGET=SOURCE too.

    A directory's contents go to the target, or to the root. A file goes there by its own name
    where no target is given, or one that ends with a slash.
    """
    target, source = split_graft(text) if may_graft else (None, text)
    if not source:
        raise OptionError(f"{text!r}: no path on the host")
    if target is None:
        target = "/"
    name = os.path.basename(os.path.normpath(source))
    if target.endswith("/") or not target:
        target += "" if os.path.isdir(source) else name
    return Spec(clean(f"{root}/{target}"), source)


def split_graft(text: str) -> tuple[str | None, str]:
    r"""Split TARGET=SOURCE at the first `=` that no backslash is before; None: there is none.

    In both parts, `\=` stands for `=` and `\\` for a backslash.
    """
    parts = [""]
    escaped = False
    for character in text:
        if escaped:
            parts[-1] += character if character in "=\\" else f"\\{character}"
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "=" and len(parts) == 1:
            parts.append("")
        else:
            parts[-1] += character
    if escaped:
        parts[-1] += "\\"
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def clean(path: str) -> str:
    """Return a path in the tree without `.`, empty names and the slash at its start."""
    return "/".join(name for name in path.split("/") if name not in {"", "."})


def patterns(globs: Iterable[str], specs: Sequence[Spec]) -> list[str]:
    """Return what mkisofs leaves out as patterns of .gitignore, which are about the tree.

    A glob without a slash is about names; any other about paths on the host, which are found below
    those that were given.
    """
    found: list[str] = []
    for glob in globs:
        whole = glob.rstrip("/")
        if "/" not in whole:
            found.append(_safe(whole))
        for target, rest in _in_tree(whole, specs):
            place = f"{_literal(target)}/" if target else ""
            found.append(f"/{place}{rest}")
    return found


def hidden_paths(globs: Iterable[str], specs: Sequence[Spec]) -> list[str]:
    """Return globs for names and for paths in the tree, given some that may be about the host."""
    found: list[str] = []
    for glob in globs:
        found.append(glob)
        found += [f"{target}/{rest}" for target, rest in _in_tree(glob, specs)]
    return found


def _in_tree(glob: str, specs: Sequence[Spec]) -> Iterator[tuple[str, str]]:
    """Yield where in the tree a glob for paths on the host is, and what comes below that."""
    wanted = os.path.abspath(glob)
    for each in specs if "/" in glob else ():
        rest = wanted.removeprefix(os.path.abspath(each.source).rstrip("/") + "/")
        if rest != wanted:
            yield each.target, rest


def _safe(glob: str) -> str:
    """Return a glob for names with what only .gitignore takes for something else escaped."""
    glob = f"\\{glob}" if glob[:1] in {"!", "#"} else glob
    return glob[:-1] + "\\ " if glob.endswith(" ") else glob


def _literal(text: str) -> str:
    return "".join(f"\\{each}" if each in _SPECIAL else each for each in text)
