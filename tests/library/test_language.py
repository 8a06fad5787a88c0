"""Docstrings of the library and of the command line: what one does is said in the imperative."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for top in ("library", "cli") for path in (ROOT / top).rglob("*.py"))
RIDDLES = {"What", "Whether", "Where", "How", "Who"}


def texts(path: Path) -> list[str]:
    """Docstrings, those behind constants and fields too."""
    nodes = ast.walk(ast.parse(path.read_text()))
    values = [node.value for node in nodes if isinstance(node, ast.Expr)]
    return [
        each.value.strip()
        for each in values
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_begin_with_what_they_are_about(path):
    found = texts(path)
    assert not [each for each in found if each.split()[0] in RIDDLES]
    assert not [each for each in found if "Raises " in each or each.startswith("Returns ")]
