"""Excludes mean what they mean to git."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tools import need_tool, output
from vfloppy.errors import OptionError
from vfloppy.synth.names.patterns import excluded_by, lines_of

PARTS = ["a", "b", "*.o", "*", "**", "src", "build", "keep", "x.?", "[ab]", "[[:alpha:]]*"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A repository of some directories and files of few names."""
    need_tool("git")
    root: Path = tmp_path_factory.mktemp("git") / "tree"
    numbers = random.Random(1)
    names = ["a", "b", "x.o", "src", "build", "keep"]
    for _ in range(80):
        folder = root.joinpath(*(numbers.choice(names) for _ in range(numbers.randrange(3))))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (numbers.choice(names) + numbers.choice([".c", ".o", " "]))).touch()
    output("git", "init", "-q", str(root))
    return root


def left_by_git(root: Path, patterns: list[str]) -> set[str]:
    (root / ".git" / "info" / "exclude").write_text("\n".join(patterns) + "\n")
    listed = output("git", "-C", str(root), "ls-files", "-o", "--exclude-standard", "-z")
    return set(filter(None, listed.split("\0")))


def left(root: Path, patterns: list[str]) -> set[str]:
    """What a scan would take, which enters no directory that is left out."""
    excluded = excluded_by(patterns)
    assert excluded is not None
    found = set()
    for folder, directories, files in os.walk(root):
        at = os.path.relpath(folder, root) + "/" if folder != str(root) else ""
        directories[:] = [
            name for name in directories if name != ".git" and not excluded(f"{at}{name}/")
        ]
        found |= {at + name for name in files if not excluded(at + name)}
    return found


@pytest.mark.parametrize(
    "patterns",
    [
        ["build/**", "!build/keep.c"],
        ["*", "!*/", "!*.c"],
        ["a", "!/src/"],
        ["[[:alpha:]].o"],
        ["/src/**/"],
        ["**/", "!a/"],
        ["a\\ ", "b "],
        ["# no pattern", "", "\\#"],
        ["[[]b"],
        ["a.c\t"],
        ["[a.o", "[!a", "[[:alpha:", "[]"],
        ["a**/b.c"],
    ],
    ids=str,
)
def test_what_is_left_is_what_git_leaves(tree, patterns):
    assert left(tree, patterns) == left_by_git(tree, patterns)


@pytest.mark.parametrize("seed", range(8))
def test_any_patterns_leave_what_git_leaves(tree, seed):
    numbers = random.Random(seed)
    for _ in range(25):
        patterns = [
            numbers.choice(["", "", "!"])
            + numbers.choice(["", "/"])
            + "/".join(numbers.choice(PARTS) for _ in range(numbers.randrange(1, 3)))
            + numbers.choice(["", "", "/"])
            for _ in range(numbers.randrange(1, 4))
        ]
        assert left(tree, patterns) == left_by_git(tree, patterns), patterns


ODD = [
    ["[", "]", "[!", "[^", "-", "a", "b", "\\", "[[", "[]", "[:alpha:]", "[[:alpha:]]", "[:", "*",
     "[a-b]", "?", "/", "x.o", "\\]", "a-", "!", " ", "\t"],
    ["*", "**", "/", "/**/", "**/", "/**", "a", "b", "x.o", "?", "!", "\\*", "\\/", "***"],
    ["*", "/", "a", "[ab]", "[!a]", "?", "#", " ", "\t", "[^\\", "]", "[[:punct:]]", "[[:space:]]",
     "[\\]]", "[a\\-b]", "[+--]", "\u00e9"],
]  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """A repository of files with names that patterns have to escape."""
    need_tool("git")
    root: Path = tmp_path_factory.mktemp("git") / "odd"
    numbers = random.Random(2)
    names = ["a", "b", "ab", "a-b", "a]", "[a", "]", "-", "!", "^", "\\", "x.o", "a ", "a\t",
             "\u00e4", "[", "#a", "[]", "b]", "a*", "*", "?"]  # fmt: skip
    for _ in range(60):
        folder = root.joinpath(*(numbers.choice(names) for _ in range(numbers.randrange(3))))
        if not any(each.is_file() for each in (folder, *folder.parents)):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / numbers.choice(names)
            if not path.exists():
                path.touch()
    output("git", "init", "-q", str(root))
    return root


@pytest.mark.parametrize("parts", ODD, ids=["sets", "stars", "mixed"])
@pytest.mark.parametrize("seed", range(2))
def test_odd_patterns_leave_what_git_leaves(odd, parts, seed):
    numbers = random.Random(seed)
    for _ in range(60):
        patterns = [
            "".join(numbers.choice(parts) for _ in range(numbers.randrange(1, 6)))
            for _ in range(numbers.randrange(1, 3))
        ]
        try:
            mine = left(odd, patterns)
        except OptionError:  # a class that nobody knows, which git takes for nothing
            continue
        assert mine == left_by_git(odd, patterns), patterns


def test_lines_are_those_that_git_sees():
    data = b"\xef\xbb\xbf*.o\r\nx\xc2\x85f\nx\x0cf\n\xff"
    assert lines_of(data) == ["*.o", "x\x85f", "x\x0cf", "\udcff"]


def test_a_class_that_is_not_known_is_told():
    with pytest.raises(OptionError, match="is not known; alnum, alpha, blank"):
        excluded_by(["[[:letters:]]"])


def test_no_patterns_leave_all():
    assert excluded_by([]) is None
