"""The trees that all interop tests share, built once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from readers import Contents, host_tree
from tools import vfloppy
from trees import MADE, real_trees, settle_times

MIB = 1 << 20


class Built(NamedTuple):
    """A tree as a disk."""

    directory: Path
    image: Path
    expected: Contents
    """What a reader should find: the host's names, but those that the rules change."""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Makes the trees by name, as they are asked for."""
    directories: dict[str, Path] = {}
    builds: dict[str, Built] = {}

    def directory(name: str) -> Path:
        if name not in directories:
            if name in real_trees():
                directories[name] = real_tree(name, tmp_path_factory)
            else:
                root = tmp_path_factory.mktemp(name) / "tree"
                root.mkdir()
                MADE[name](root)
                settle_times(root)
                directories[name] = root
        return directories[name]

    def build(name: str) -> Built:
        if name not in builds:
            source = directory(name)
            image = tmp_path_factory.mktemp("image") / f"{name}.img"
            done = vfloppy("build", "-q", source, image)
            assert (done.returncode, done.stderr) == (0, b"")
            builds[name] = Built(source, image, expected_contents(source))
        return builds[name]

    return build


def real_tree(name: str, tmp_path_factory) -> Path:
    """A real tree; of Python's library a copy without what was installed beside it."""
    source = real_trees()[name]
    if name != "python":
        return source
    target = tmp_path_factory.mktemp(name) / "tree"
    ignored = shutil.ignore_patterns("site-packages", "__pycache__", "test")
    shutil.copytree(source, target, symlinks=True, ignore=ignored)
    return target


def expected_contents(source: Path) -> Contents:
    """The host's files under their names on the disk, as `vfloppy map --json` tells them."""
    report = json.loads(vfloppy("map", "--json", source).stdout)
    renamed = {each["path"]: each["name"] for each in report["renamed"]}
    names: Contents = {}
    for path, data in host_tree(source).items():
        parts = path.split("/")
        for depth, _ in enumerate(parts, 1):
            printed = printed_path("/".join(path.split("/")[:depth]))
            if printed in renamed:
                parts[depth - 1] = renamed[printed]
        names["/".join(parts)] = data
    return names


def printed_path(path: str) -> str:
    """A path as messages show it."""
    from vfloppy.synth.tree import printable  # noqa: PLC0415

    return printable(path.encode("utf-8", "surrogateescape"))
