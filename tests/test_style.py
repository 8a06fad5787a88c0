"""The house's order, kept by a test: who imports whom, sizes, a first line for each module."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from vfloppy.synth.formats import NAMES as FORMATS

ROOT = Path(__file__).parent.parent
PACKAGES = ("cli", "dropins", "filters", "harvest", "library", "nbd", "process", "sources", "synth")
MODULES = sorted(
    [*ROOT.glob("*.py"), *(p for each in PACKAGES for p in (ROOT / each).rglob("*.py"))]
)

# Who may import whom, from the top down; export, errors and options at the root are for all.
MAY_IMPORT = {
    "cli": {"dropins", "filters", "harvest", "library", "nbd", "process", "sources", "synth"},
    "dropins": {"library", "synth"},
    "filters": set(),
    "harvest": {"synth"},
    "library": {"filters", "harvest", "nbd", "process", "sources", "synth"},
    "nbd": {"process"},
    "process": set(),
    "sources": set(),
    "synth": set(),
}
# Whom modules at the root import: __init__ hands out what is in library, when it is asked for.
AT_ROOT = {"__init__.py": {"filters", "library"}, "__main__.py": {"cli"}}

# Planners and records: what they import can't read the host, the clock or chance.
PURE_FOLDERS = (*FORMATS, "tree", "image", "names")
PURE = [
    path
    for path in MODULES
    if path == ROOT / "synth" / "lru.py"
    or (path.parent.parent == ROOT / "synth" and path.parent.name in PURE_FOLDERS)
]
# The module that describes a format to others may have work done in other processes.
FORKS = {"synth.forks"}
ASKS_THE_HOST = {"synth.host", "synth.scanning", "synth.output", "synth.forks"}
IMPURE = {"ctypes", "fcntl", "io", "mmap", "multiprocessing", "pathlib", "random", "secrets",
          "select", "shutil", "signal", "socket", "subprocess", "tempfile", "time",
          "urllib"}  # fmt: skip
# os is for the names of paths there, and for nothing that asks the host.
PURE_OS = {"os.path", "os.fsencode", "os.fsdecode", "os.stat_result", "os.major", "os.minor"}
# What asks the clock, the host or chance by way of a module that is pure otherwise.
ASKING = {"now", "today", "utcnow", "uuid1", "uuid4", "getnode", "environ", "getenv", "getcwd",
          "stat", "lstat", "exists", "isfile", "isdir", "realpath", "abspath"}  # fmt: skip

# What only synth knows: where bytes come from, and how a writer is kept waiting meanwhile.
OF_SYNTH = {"FileSource", "Files", "HostBatch", "HostFiles", "HostRuns", "HostSlice", "Leases",
            "ScannedFiles", "Tree", "block_shift", "broken_leases", "host_files", "host_runs",
            "leased", "leases", "mapped", "mmap", "node", "nodes", "pin", "pread", "reads_changed",
            "sizes", "starts", "unpin", "verify"}  # fmt: skip
# What may be looked for by name: what a platform, a kind of connection or a stream may not have.
MAY_LACK = {
    "fcntl",
    "os",
    "signal",
    "socket",
    "selectors",
    "context",
    "connection",
    "stream",
    "ctypes.CDLL(None)",
}

RIDDLES = re.compile(r"(What|Whether|Where|How|Who|Whom|Whose)\b")
MOST_LINES, MOST_FUNCTION_LINES = 400, 60


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """What a module imports, relative imports as paths from the root."""
    found = set()
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def top(path: Path) -> str:
    """The package that a module is in; its own name for one at the root."""
    return path.relative_to(ROOT).parts[0]


def is_within(name: str, packages: set[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in packages)


every = pytest.mark.parametrize("path", MODULES, ids=name_of)
passing_on = pytest.mark.parametrize(
    "path", [path for path in MODULES if top(path) in {"nbd", "process"}], ids=name_of
)


def test_no_package_is_forgotten():
    """Neither here nor where setuptools, mypy and the tests are told of them."""
    folders = {
        ".".join(("vfloppy", *path.parent.relative_to(ROOT).parts))
        for path in MODULES
        if path.name == "__init__.py"
    }
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert found == set(PACKAGES)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["packages"]) == folders
    makefile = (ROOT / "Makefile").read_text()
    checked = set(re.findall(r"-p vfloppy\.(\w+)", makefile))
    assert checked == set(PACKAGES)
    at_root = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert set(re.findall(r"-m vfloppy\.(\w+)", makefile)) == at_root
    assert all((ROOT / "tests" / each).is_dir() for each in PACKAGES)


def test_every_folder_of_modules_is_a_package_and_says_what_it_is_for():
    for folder in {path.parent for path in MODULES}:
        first = folder / "__init__.py"
        assert first.exists(), folder
        assert ast.get_docstring(parsed(first)), folder


@every
def test_imports_run_one_way(path):
    found = imports(path)
    tops = {name.split(".")[0] for name in found}
    assert "vfloppy" not in tops, "relative imports, which the checks here understand"
    allowed = MAY_IMPORT[top(path)] | {top(path)} if path.parent != ROOT else AT_ROOT.get(path.name)
    assert not (tops & set(PACKAGES)) - (allowed or set())


@every
def test_a_format_never_imports_another(path):
    for own in FORMATS:
        others = {f"synth.{other}" for other in FORMATS if other != own}
        if path.parent == ROOT / "synth" / own:
            assert not [name for name in imports(path) if is_within(name, others)]


@every
def test_only_the_command_line_needs_a_parser_of_command_lines(path):
    tops = {name.split(".")[0] for name in imports(path)}
    assert top(path) == "cli" or not tops & {"click", "rich"}


@passing_on
def test_the_server_knows_nothing_of_files_of_the_host(path):
    """An export answers it, or a filter around one, and nothing goes around them."""
    assert not {"synth", "fcntl", "mmap"} & {each.split(".")[0] for each in imports(path)}
    assert not identifiers(parsed(path)) & OF_SYNTH


def identifiers(module: ast.Module) -> set[str]:
    """All names in a module but those in texts."""
    fields = ("id", "attr", "arg", "name", "asname")
    names = {getattr(node, field, None) for node in ast.walk(module) for field in fields}
    return {name.lstrip("_") for name in names if isinstance(name, str)}


@every
def test_no_one_asks_an_export_or_a_reader_what_more_it_has(path):
    """A filter around it would hide that, or pass on what it means to change."""
    for node in ast.walk(parsed(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and (node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) > 2))
        ):
            asked = ast.unparse(node.args[0])
            is_module = path.name == "preload.py" and asked == "found"
            assert asked in MAY_LACK or is_module or (asked == "self" and top(path) == "synth"), (
                asked
            )


def test_planners_are_found():
    names = {name_of(path) for path in PURE}
    assert names >= {"synth/fat/plan.py", "synth/iso/continuations.py", "synth/lru.py"}
    assert {path.parent.name for path in PURE} == {*PURE_FOLDERS, "synth"}


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_planners_cannot_read_the_host(path):
    is_format = path.name == "format.py"
    found = imports(path)
    assert not {each.split(".")[0] for each in found} & IMPURE
    assert not [
        each
        for each in found
        if is_within(each, ASKS_THE_HOST) and not (is_format and is_within(each, FORKS))
    ]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            spelled = f"{node.value.id}.{node.attr}"
            assert not spelled.startswith("os.") or spelled in PURE_OS, spelled
        if isinstance(node, ast.Attribute):
            assert node.attr not in ASKING, node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "input", "print")


@every
def test_a_module_says_what_it_is_for_in_its_first_line(path):
    docstring = ast.get_docstring(parsed(path))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))


def documented(path: Path) -> Iterator[tuple[int, str]]:
    """Lines and texts of docstrings, those of attributes and constants included."""
    for node in ast.walk(parsed(path)):
        body = getattr(node, "body", ())
        for each in body if isinstance(body, list) else ():  # that of a lambda is none
            if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
                text = each.value.value
                if isinstance(text, str):
                    yield each.lineno, text


@every
def test_docstrings_say_what_something_does_or_is_and_ask_no_riddles(path):
    """`Return the size.`, and not `What is in it.` or `Whether it is full.`."""
    found = [f"{line}: {text[:60]!r}" for line, text in documented(path) if RIDDLES.match(text)]
    assert not found, "\n".join(found)


@every
def test_modules_are_of_a_readable_size(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    assert not [line for line in lines if re.search(r"\b(TODO|FIXME|XXX)\b", line)]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            count = node.end_lineno - node.lineno + 1
            assert count <= MOST_FUNCTION_LINES, f"{node.name} has {count} lines"


@every
def test_only_the_command_line_prints(path):
    if top(path) == "cli":
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("stdout", "stderr")


def test_no_import_takes_libnbd_s_name():
    text = (ROOT / "pyproject.toml").read_text()
    assert 'package-dir = { "vfloppy" = "." }' in text


@pytest.mark.parametrize("form", ["fat", "iso"])
def test_a_format_asks_for_nothing_of_where_nodes_come_from(form):
    """So that a tree may come from something else than directories of the host."""
    origins = ast.parse((ROOT / "synth/tree/origins.py").read_text())
    (declared,) = (each for each in origins.body if isinstance(each, ast.ClassDef))
    columns = {
        ast.unparse(each.target) for each in declared.body if isinstance(each, ast.AnnAssign)
    }
    assert "home_names" in columns
    for path in (ROOT / "synth" / form).glob("*.py"):
        asked = identifiers(ast.parse(path.read_text()))
        assert not asked & (columns | {"origins", "Origins", "host_path", "host_name"})


ASKED = {"What", "Whether", "Where", "Which", "How", "Who", "When", "Why", "That", "Those"}


@pytest.mark.parametrize("path", [path for path in MODULES if top(path) == "synth"], ids=name_of)
def test_no_docstring_begins_with_a_question_or_points_elsewhere(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            words = (ast.get_docstring(node) or "").split()
            assert not words or words[0] not in ASKED, f"{path}: {words[:9]}"


DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
_NAMED = re.compile(r"`((?:synth|nbd|process|library|cli|tests|bench|docs)/[\w./-]*[\w/])`")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_files_that_documents_name_are_there(path):
    named = [each for each in _NAMED.findall(path.read_text()) if "NAME" not in each]
    assert not [
        each for each in named if not any((ROOT / f"{each}{end}").exists() for end in ("", ".py"))
    ]
