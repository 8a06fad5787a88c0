"""The house's order, kept by a test: who imports whom, sizes, a first line for each module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    path for folder in ("cli", "nbd", "synth") for path in (ROOT / folder).rglob("*.py")
) + [ROOT / name for name in ("__init__.py", "__main__.py", "errors.py", "export.py")]

# Planners and records: what they import can't read the host, the clock or chance.
PURE = ["synth/tree.py", "synth/partition.py", "synth/image.py", "synth/kept.py",
        "synth/upcase.py", "synth/compose.py", *(
    f"synth/fat/{name}.py"
    for name in ("bulk", "bulk_names", "directories", "disk", "geometry", "lint", "names", "plan",
                 "records", "slots", "table", "times")
), *(
    f"synth/iso/{name}.py"
    for name in ("dates", "directories", "disk", "eltorito", "facets", "hybrid", "layout", "lint",
                 "names", "plan", "records", "rockridge", "symlinks", "volume")
)]  # fmt: skip
IMPURE = {"io", "pathlib", "random", "secrets", "shutil", "socket", "subprocess", "tempfile",
          "time", "urllib"}  # fmt: skip
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
# What may be looked for by name: what a platform or a kind of connection may not have.
MAY_LACK = {"os", "socket", "context", "connection"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    """What a module imports, relative imports as paths from the root."""
    found = set()
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def top(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


every = pytest.mark.parametrize("path", MODULES, ids=name_of)


@every
def test_imports_run_one_way(path):
    found = imports(path)
    tops = {name.split(".")[0] for name in found}
    if top(path) == "nbd":
        assert not tops & {"synth", "cli"}
    if top(path) == "synth":
        assert not tops & {"nbd", "cli"}
    if path.name in ("export.py", "errors.py", "__init__.py") and path.parent == ROOT:
        assert not tops & {"synth", "nbd", "cli"}
    assert "vfloppy" not in tops, "relative imports, which the checks here understand"
    if "synth/fat" in str(path):
        assert not any(name.startswith("synth.iso") for name in found)


@pytest.mark.parametrize("path", [path for path in MODULES if top(path) == "nbd"], ids=name_of)
def test_the_server_knows_nothing_of_files_of_the_host(path):
    """An export answers it, or a filter around one, and nothing goes around them."""
    module = ast.parse(path.read_text())
    assert not {"synth", "fcntl", "mmap"} & {each.split(".")[0] for each in imports(path)}
    assert not identifiers(module) & OF_SYNTH


def identifiers(module: ast.Module) -> set[str]:
    """All names in a module but those in texts."""
    fields = ("id", "attr", "arg", "name", "asname")
    names = {getattr(node, field, None) for node in ast.walk(module) for field in fields}
    return {name.lstrip("_") for name in names if isinstance(name, str)}


@every
def test_no_one_asks_an_export_or_a_reader_what_more_it_has(path):
    """A filter around it would hide that, or pass on what it means to change."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and (node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) > 2))
        ):
            asked = ast.unparse(node.args[0])
            assert asked in MAY_LACK or (asked == "self" and top(path) == "synth"), asked


@pytest.mark.parametrize("name", PURE)
def test_planners_cannot_read_the_host(name):
    path = ROOT / name
    assert not {each.split(".")[0] for each in imports(path)} & IMPURE
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            spelled = f"{node.value.id}.{node.attr}"
            assert not spelled.startswith("os.") or spelled in PURE_OS, spelled
        if isinstance(node, ast.Attribute):
            assert node.attr not in ASKING, node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "input", "print")


@every
def test_a_module_says_what_it_is_for_in_its_first_line(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))


@every
def test_modules_are_of_a_readable_size(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 400
    assert not [line for line in lines if re.search(r"\b(TODO|FIXME|XXX)\b", line)]
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef) and node.end_lineno:
            assert node.end_lineno - node.lineno < 70, node.name


@every
def test_only_the_command_line_prints(path):
    if top(path) == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("stdout", "stderr") or name_of(path) == "nbd/captive.py"


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


ASKED = {"What", "Whether", "Where", "Which", "How", "Who", "When", "Why"}


@pytest.mark.parametrize("path", [path for path in MODULES if top(path) == "synth"], ids=name_of)
def test_no_docstring_begins_with_a_question(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            words = (ast.get_docstring(node) or "").split()
            assert not words or words[0] not in ASKED, f"{path}: {words[:9]}"
