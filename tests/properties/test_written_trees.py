"""Drawn operations of a foreign writer: what is harvested is what a model of the disk says."""

from __future__ import annotations

import shutil
import signal
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
import vfloppy
from compare import assert_same
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tools import need_tool, run
from trees import settle_times
from written import Contents, Written, applied, harvested

SERVED = {
    "Docs": None,
    "Docs/Deep Within": None,
    "Docs/Deep Within/Some File.txt": b"some" * 2000,
    "Docs/Of Five Clusters.bin": bytes(range(256)) * 10,
    "Docs/Empty One.x": b"",
    "Other Folder": None,
    "Other Folder/First.text": b"1",
    "Other Folder/Second.text": b"2" * 513,
    "At The Root.txt": b"root" * 300,
    "Another Empty.txt": b"",
}
NAMES = ("New Name.text", "At The Root.txt", "Docs", "Some File.txt", "日本 und Grüße.xyz",
         "Yet Another Rather Long Name Of A File.tar.gz", "First.text")  # fmt: skip
DISKS = ({"floppy": "720k"}, {"fat": 16, "cluster_size": "512", "size": "4M", "partition": "none"})

picks = st.integers(0, 50)
operations = st.lists(
    st.tuples(
        st.sampled_from(("write", "write", "make", "move", "move", "move", "remove")),
        picks,
        picks,
        st.sampled_from(NAMES),
        st.binary(max_size=40).map(lambda data: data * 60),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def disks(tmp_path_factory) -> list[tuple[vfloppy.Disk, Path]]:
    root = tmp_path_factory.mktemp("served")
    tree = root / "tree"
    tree.mkdir()
    for path, content in SERVED.items():
        (tree / path).mkdir() if content is None else (tree / path).write_bytes(content)
    settle_times(tree)
    found = []
    for number, options in enumerate(DISKS):
        disk = vfloppy.open_disk(tree, **options)
        disk.write_to(root / str(number))
        found.append((disk, root / str(number)))
    return found


class Mtools:
    """Each operation by a program."""

    def __init__(self, image: Path) -> None:
        self._image = str(image)
        self._source = image.with_name("source")

    def write(self, path: str, data: bytes) -> None:
        self._source.write_bytes(data)
        self._run("mcopy", "-o", str(self._source), f"::/{path}")

    def make(self, path: str) -> None:
        self._run("mmd", f"::/{path}")

    def move(self, old: str, new: str) -> None:
        self._run("mmove", f"::/{old}", f"::/{new}")

    def remove(self, path: str) -> None:
        self._run("mdeltree", f"::/{path}")

    def close(self) -> None:
        pass

    def _run(self, tool: str, *arguments: str) -> None:
        done = run(tool, "-i", self._image, *arguments)
        assume(done.returncode != -signal.SIGABRT)  # mmove trips over a cache of its own
        assert done.returncode == 0, done.stderr


class Pyfatfs:
    """Each operation by a library, which keeps the disk open; it copies what it moves."""

    def __init__(self, image: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pyfatfs.PyFatFS import PyFatFS  # noqa: PLC0415

            self._disk: Any = PyFatFS(str(image), preserve_case=True)

    def write(self, path: str, data: bytes) -> None:
        if self._disk.exists(path):  # it writes over a file into clusters that it has just freed
            self._disk.remove(path)
        self._disk.writebytes(path, data)

    def make(self, path: str) -> None:
        self._disk.makedir(path)

    def move(self, old: str, new: str) -> None:
        if self._disk.isdir(old):
            self._disk.movedir(old, new, create=True)
        else:
            self._disk.move(old, new)

    def remove(self, path: str) -> None:
        if self._disk.isdir(path):
            self._disk.removetree(path)
        else:
            self._disk.remove(path)

    def close(self) -> None:
        self._disk.close()


def play(writer: Any, model: Contents, steps: list[tuple[str, int, int, str, bytes]]) -> None:
    """Do what of the operations can be done."""
    for kind, one, other, name, data in steps:
        folders = ["", *sorted(path for path, content in model.items() if content is None)]
        folder = folders[one % len(folders)]
        target = f"{folder}/{name}" if folder else name
        paths = sorted(model)
        source = paths[other % len(paths)] if paths else ""
        if kind == "write" and model.get(target, b"") is not None:
            writer.write(target, data)
            model[target] = data
        elif kind == "make" and target not in model:
            writer.make(target)
            model[target] = None
        elif kind == "remove" and source:
            writer.remove(source)
            _taken_out(model, source)
        elif kind == "move" and source and target not in model:
            if f"{target}/".startswith(f"{source}/"):
                continue
            writer.move(source, target)
            for path, content in _taken_out(model, source).items():
                model[target + path[len(source) :]] = content


def _taken_out(model: Contents, path: str) -> Contents:
    found = {each: model[each] for each in model if each == path or each.startswith(f"{path}/")}
    for each in found:
        del model[each]
    return found


@pytest.mark.parametrize("writer", [Mtools, Pyfatfs])
@settings(max_examples=200)
@given(steps=operations, number=st.integers(0, len(DISKS) - 1))
def test_what_is_harvested_is_what_was_done(writer, disks, steps, number):
    need_tool("mcopy", "fsck.fat")
    disk, served = disks[number]
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image")
        shutil.copy(served, image)
        model = dict(SERVED)
        writing = writer(image)
        try:
            play(writing, model, steps)
        finally:
            writing.close()
        # pyfatfs lets old entries come to light behind a directory's new end.
        assume(run("fsck.fat", "-n", str(image)).returncode == 0)
        for everything in (False, True):
            found = harvested(disk, Written.of(served, image, everything=everything))
            assert found.problems == ()
            assert_same(applied(dict(SERVED), found), model)
