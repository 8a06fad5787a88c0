"""Foreign programs: whether they are there, and running them where our `nbd/` is not in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ON_CI = bool(os.environ.get("CI"))
VFLOPPY = [sys.executable, "-m", "vfloppy"]
_NEWER = Path(__file__).parents[2] / ".venv" / "newer"

# fsck.fat and sfdisk are out of an ordinary user's way.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
# Python programs among the tools belong to the system's Python, not to the one of the tests.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "VIRTUAL_ENV", "SOURCE_DATE_EPOCH"))
} | {
    "PATH": _PATH,
    "LC_ALL": "C.UTF-8",
    "MTOOLS_SKIP_CHECK": "0",
    "LIBGUESTFS_BACKEND": "direct",
    "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
}


def need_tool(*names: str) -> None:
    """Skips the test where a program is missing, and says so; on CI that is a failure."""
    missing = [name for name in names if shutil.which(name, path=_PATH) is None]
    if missing:
        missing_dependency(f"not installed: {', '.join(missing)} (`make tools` says how)")


def need_file(name: str) -> None:
    """Skips the test where a program's file is missing, as `need_tool` does."""
    if not Path(name).exists():
        missing_dependency(f"not installed: {name} (`make tools` says how)")


def newer(name: str) -> str:
    """The path of a client that tests/newer.sh has fetched; skips as `need_tool` does."""
    if not (_NEWER / "complete").exists():
        told = _NEWER / "missing"
        reason = told.read_text().strip() if told.exists() else "`make tools` was not run"
        missing_dependency(f"no newer clients: {reason}")
    return str(_NEWER / "bin" / name)


def missing_dependency(reason: str) -> None:
    """Skips for a reason that may hold on a user's machine and must not on CI."""
    if ON_CI:
        pytest.fail(reason)
    pytest.skip(reason)


def run(
    *command: str | bytes | Path, cwd: Path | str = "/", **options: object
) -> subprocess.CompletedProcess[bytes]:
    """Runs a program to its end, its output captured; the caller looks at the exit status."""
    defaults: dict[str, object] = {"capture_output": True, "timeout": 300, "env": ENVIRONMENT}
    return subprocess.run(command, cwd=cwd, check=False, **(defaults | options))  # type: ignore[call-overload,no-any-return]


def output(*command: str | bytes | Path, **options: object) -> str:
    """Standard output of a program that must succeed."""
    done = run(*command, **options)  # type: ignore[arg-type]
    assert done.returncode == 0, (
        f"{command}: exit status {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}"
    )
    return done.stdout.decode()


def vfloppy(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Runs the command line as a user would."""
    return run(*VFLOPPY, *arguments, **options)  # type: ignore[arg-type]
