"""Checkouts of vfloppy, each installed in an environment of its own: as users have it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "build", "dist",
                                     "*.egg-info", "__pycache__", "fixtures")  # fmt: skip


def install(checkout: Path, venv: Path) -> str:
    """Install a checkout in an environment, made if it isn't there; return the path of its Python.

    The checkout is copied first, since building a package leaves files behind. Exits if pip fails.
    """
    if not (checkout / "pyproject.toml").is_file():
        raise SystemExit(f"{checkout} is no checkout of vfloppy: it has no pyproject.toml")
    python = str(venv / "bin" / "python")
    fresh = not Path(python).exists()
    if fresh:
        _run(sys.executable, "-m", "venv", str(venv))
    source = venv / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(checkout, source, symlinks=True, ignore=_NOT_COPIED)
    # Dependencies are looked up in both cases: they may have changed. A version that is there
    # already is not fetched again, but the package has one version for all of its checkouts.
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    if not fresh:
        _run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "vfloppy")
    _run(*pip, f"{source}[speed]")
    return python


def install_both(old: Path, new: Path, venvs: Path) -> dict[str, str]:
    """Install two checkouts below a directory; return their Pythons as `old` and `new`."""
    venvs.mkdir(parents=True, exist_ok=True)
    pythons = {}
    for side, checkout in (("old", old), ("new", new)):
        print(f"installing {checkout} ...", file=sys.stderr)
        pythons[side] = install(checkout.absolute(), venvs.absolute() / side)
    return pythons


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, cwd="/", capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
