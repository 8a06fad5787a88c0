"""A folder with files for command lines that name some."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("tree/sub", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("tree/a.txt", "tree/sub/b.o", "other/c", "user-data", "a=b"):
        (tmp_path / name).write_text(name)
    return tmp_path
