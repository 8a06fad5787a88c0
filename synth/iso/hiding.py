"""Files that a tree of an image doesn't show, although the image holds them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from ...errors import PlanError, option_named
from ..tree.columns import Tree, printable

APPENDED = "[appended partition]"
"""The name in the tree of a host's file that is a partition behind the image."""


def hidden_nodes(tree: Tree, globs: Iterable[str], option: str) -> frozenset[int]:
    """Return the nodes whose names or paths match one of some shell patterns.

    Raise PlanError for a directory, whose contents would still be found by path tables.
    """
    wanted = [re.compile(translate(each.strip("/"))).match for each in globs]
    found: set[int] = set()
    for node in range(1, len(tree)) if wanted else ():
        path = tree.path(node).decode("utf-8", "surrogateescape")
        if any(match(text) for match in wanted for text in (path.rpartition("/")[2], path)):
            found.add(node)
            if tree.is_directory(node):
                where = option_named(option, printable(tree.path(node)))
                raise PlanError(f"{where}: a directory; only files can be hidden")
    return frozenset(found)
