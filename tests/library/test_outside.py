"""A project outside of the checkout: the installed package runs, and its types are checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest
from tools import ENVIRONMENT, missing_dependency, run

ROOT = Path(__file__).parents[2]
NOT_INSTALLED = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "bench")

RIGHT = '''
from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import vfloppy
from vfloppy.export import Alerts, Hole, Piece


class Blanked(vfloppy.Export):
    """An export whose first sector reads as zeros."""

    def __init__(self, inner: vfloppy.Export) -> None:
        self.inner = inner

    @property
    def size(self) -> int:
        return self.inner.size

    def open(self, alerts: Alerts | None = None) -> vfloppy.Reader:
        return BlankedReader(self.inner.open(alerts))


class BlankedReader(vfloppy.Reader):
    def __init__(self, inner: vfloppy.Reader) -> None:
        self.size = inner.size
        self.inner = inner

    def pieces(self, offset: int, length: int) -> Iterable[Piece]:
        blank = min(max(512 - offset, 0), length)
        if blank:
            yield Hole(blank)
        if length > blank:
            yield from self.inner.pieces(offset + blank, length - blank)

    def close(self) -> None:
        self.inner.close()


def read(folder: Path) -> bytes:
    disk = vfloppy.open_disk(
        folder, fat=16, size="64M", label="DATA", exclude=["*.o"], cluster_size=4096,
        graft={"sub/file": folder / "hello.txt"}, partition="mbr",
    )
    with disk.open() as raw:
        start: bytes = raw.read(512)
    assert start == disk.read(0, 512)
    disk.write_to(folder.parent / "disk.img")
    with vfloppy.serve(Blanked(disk.export), unix=folder.parent / "socket") as server:
        uri: str = server.uri
    assert uri.startswith("nbd+unix:")
    with Blanked(disk.export).open() as reader:
        assert reader.read(0, 512) == bytes(512)
    return start


def iso(folder: Path) -> int:
    disk: vfloppy.Disk = vfloppy.open_disk(
        [folder], format="iso", iso_level="2", joliet=True, volume_date=date(2026, 1, 1)
    )
    names: list[str] = [each["path"] for each in disk.files()]
    assert names == ["hello.txt"]
    with vfloppy.serve({"one": disk, "two": disk.export}, port=0) as server:
        assert server.uri_of("two").endswith("/two")
    return disk.size


def failure(folder: Path) -> str:
    try:
        vfloppy.open_disk(folder, fat=12, size="64G")
    except vfloppy.VfloppyError as error:
        return str(error)
    raise AssertionError


folder = Path("files").absolute()
folder.mkdir()
(folder / "hello.txt").write_text("hello")
print(len(read(folder)), iso(folder) % 2048, failure(folder) != "", vfloppy.__file__)
'''

# Each line but the first is wrong, and has to be told so.
WRONG = """
import vfloppy
vfloppy.open_disk("x", fatt=16)
vfloppy.open_disk("x", fat=13)
vfloppy.open_disk("x", joliet="yes")
vfloppy.serve("x")
vfloppy.open_disk("x").read("0", 1)
""".lstrip()
WRONG_LINES = list(range(2, len(WRONG.splitlines()) + 1))
MISSPELLED = "import vfloppy\n\nvfloppy.open_dsk('x')\n"


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an environment in which this checkout is installed, as users have it.

    What the package needs comes from the environment of the tests: its packages, and not its
    installation of the checkout itself, by which type checkers might see what users don't have.
    """
    folder = tmp_path_factory.mktemp("outside")
    shutil.copytree(ROOT, folder / "checkout", ignore=NOT_INSTALLED)
    venv.create(folder / "env", with_pip=False)
    interpreter = folder / "env" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "env" / "lib" / version / "site-packages"
    done = run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        "--disable-pip-version-check", "--target", str(packages), str(folder / "checkout"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "misspelled.py").write_text(MISSPELLED)
    return tmp_path


def need_module(name: str) -> None:
    if find_spec(name) is None:
        missing_dependency(f"Python has no {name} here; the extra `test` has it")


def told_by_mypy(python: Path, project: Path, name: str) -> list[tuple[int, str]]:
    need_module("mypy")
    done = run(
        sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context",
        "--no-pretty", "--cache-dir", str(project / "cache"),
        "--python-executable", str(python), name,
        cwd=project,
    )  # fmt: skip
    text = done.stdout.decode()
    assert done.returncode in {0, 1}, text + done.stderr.decode()
    found = [line.split(":", 2) for line in text.splitlines() if ": note:" not in line]
    return [(int(line), message.strip()) for _name, line, message in found]


def told_by_pyright(python: Path, project: Path, name: str) -> list[tuple[int, str]]:
    need_module("pyright")
    (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done = run(
        sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(python),
        "--project", str(project / "pyrightconfig.json"),
        cwd=project, env=ENVIRONMENT | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stdout.decode() + done.stderr.decode()
    report = json.loads(done.stdout)
    return [
        (each["range"]["start"]["line"] + 1, each["message"])
        for each in report["generalDiagnostics"]
        if os.path.basename(each["file"]) == name and each["severity"] == "error"
    ]


CHECKERS = pytest.mark.parametrize("told_by", [told_by_mypy, told_by_pyright])


def test_it_runs(python, project):
    done = subprocess.run(
        [python, "-W", "error", "right.py"],
        cwd=project, env=ENVIRONMENT, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    *results, file = done.stdout.decode().split()
    assert results == ["512", "0", "True"]
    assert Path(file).is_relative_to(python.parents[1])


@CHECKERS
def test_type_checkers_find_nothing_wrong_with_what_is_right(python, project, told_by):
    found = told_by(python, project, "right.py")
    assert not found, "\n".join(f"{line}: {message}" for line, message in found)


@CHECKERS
def test_type_checkers_tell_what_is_wrong(python, project, told_by):
    found = told_by(python, project, "wrong.py")
    assert sorted({line for line, _ in found}) == WRONG_LINES, "\n".join(map(str, found))


# The package's __getattr__, by which it imports late, promises type checkers a value for any name.
@CHECKERS
def test_type_checkers_tell_that_a_name_is_not_there(python, project, told_by):
    assert told_by(python, project, "misspelled.py")
