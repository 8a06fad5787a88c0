"""The examples of docs/library.md do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools import ENVIRONMENT

DOCUMENT = Path(__file__).parents[2] / "docs" / "library.md"
EXAMPLES = re.findall(
    r"^## (.*?)$.*?^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all of them run, one after the other: later ones use what earlier ones made."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "files").mkdir()
    (folder / "files" / "hello.txt").write_text("hello")
    return folder


def test_there_are_ten_and_more():
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_example(folder, title, code):
    is_test = "import pytest" in code
    script = folder / ("test_example.py" if is_test else "example.py")
    script.write_text(code)
    words = [
        sys.executable,
        "-W",
        "error",
        *(["-m", "pytest", "-q"] if is_test else []),
        str(script),
    ]
    done = subprocess.run(
        words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
