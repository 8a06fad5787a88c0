"""A format more is a folder and a name: with these alone it is built, mapped, checked and served.

The format of this test puts the files one after the other, each from the start of a block, behind a
block that has a number and a title in it.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tools import ENVIRONMENT

OPTIONS = """
from ...options import Option, number

SUFFIXES = (".row",)
OPTIONS = (
    Option(name="row_number", convert=number(0, 255), default=7, metavar="N", help="A number."),
)
"""
FORMAT = """
from array import array
from itertools import accumulate
from typing import NamedTuple

from ...errors import PlanError
from ...export import Kind
from ..findings import Finding
from ..formats import Format, Renamed
from ..image.contents import Contents
from ..image.image import Image
from ..image.section import Fixed
from ..tree.columns import printable
from .options import OPTIONS


class Layout(NamedTuple):
    starts: array
    number: int


class Row(Format[Layout]):
    name = "row"
    options = OPTIONS
    readers = ("cat",)

    def check(self, values, given):
        return

    def plan(self, tree, values, inner):
        blocks = [-(-size // 512) for size in tree.sizes]
        return Layout(array("Q", accumulate([0, *blocks])), values["row_number"])

    def image(self, layout, tree, source, inner):
        head = bytes([layout.number]) + b"ROW".ljust(511)
        contents = Contents(tree, source, layout.starts, 512)
        return Image([Fixed(head, Kind.RESERVED, "head"), contents])

    def title(self, layout):
        return "Row"

    def renamed(self, layout, tree):
        return iter(())

    def renamed_count(self, layout):
        return 0

    def entries(self, layout, tree):
        for node in range(1, len(tree)):
            yield {"first_block": layout.starts[node]}

    def lint(self, layout, tree):
        for node in range(1, len(tree)):
            if tree.is_directory(node):
                yield Finding(printable(tree.path(node)), "trips", "is a directory", ("cat",))

    def device(self, layout):
        return "/dev/sda"

    def drive(self, layout):
        return "if=virtio"


FORMAT = Row()
"""
# What takes the place of the one line: its name among `NAMES`.
REGISTERED = """
import sys
import vfloppy.synth
from vfloppy.synth import formats
vfloppy.synth.__path__.append(sys.argv.pop(1))
formats.NAMES += ("row",)
"""
LIBRARY = """
import vfloppy
from vfloppy.nbd.client import Client

disk = vfloppy.open_disk("tree", format="row", row_number=9)
assert disk.title == "Row"
assert disk.read(0, 4) == b"\\x09ROW"
[place] = [each.offset for each in disk.regions() if each.name == "hello.txt"]
assert disk.read(place, 5) == b"hello"
assert [each.path for each in vfloppy.check("tree", format="row")] == ["sub"]
assert {each["path"] for each in disk.files()} == {"hello.txt", "sub", "sub/large.bin"}
with vfloppy.serve(disk) as server, Client(server.uri) as client:
    assert client.read(0, disk.size) == disk.read(0, disk.size)
disk.write_to("library.row")
try:
    disk.verify("library.row")
except vfloppy.VfloppyError as error:
    assert str(error) == "library.row: nothing is known that reads images of this format back"
else:
    raise AssertionError
"""
COMMAND = "from vfloppy.cli import main; main()"


@pytest.fixture
def run(tree, tmp_path):
    folder = tmp_path / "formats" / "row"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('"""A row of files."""\n')
    (folder / "options.py").write_text(OPTIONS)
    (folder / "format.py").write_text(FORMAT)

    def run(code: str, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", REGISTERED + code, folder.parent, *words],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_library_has_it(run):
    run(LIBRARY)


def test_the_command_line_has_it(run, tmp_path):
    assert "--row-number N" in run(COMMAND, "build", "--help")
    run(COMMAND, "build", "-q", "--row-number", "3", "tree", "a.row")  # by how the name ends
    built = (tmp_path / "a.row").read_bytes()
    assert built[:4] == b"\x03ROW"
    document = json.loads(run(COMMAND, "map", "--json", "--format", "row", "tree"))
    assert (document["format"], document["size"]) == ("Row", len(built))
    found = json.loads(run(COMMAND, "check", "--json", "--format", "row", "tree", status=1))
    assert [each["path"] for each in found["findings"]] == ["sub"]
    words = ("serve", "-q", "--format", "row", "tree", "-U", "-", "--run", 'echo "$uri"')
    assert run(COMMAND, *words).startswith("nbd+unix:")


def test_its_options_are_no_others_and_others_are_not_its(run):
    run(COMMAND, "build", "-q", "--row-number", "3", "tree", "a.img", status=2)
    run(COMMAND, "build", "-q", "--fat", "16", "tree", "a.row", status=2)
