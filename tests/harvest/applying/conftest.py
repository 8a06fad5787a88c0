"""Where hundreds of trees are made and applied to: in memory, where there is such a place."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def quick():
    """A directory in memory (in the temporary one elsewhere than on Linux)."""
    shared = Path("/dev/shm")
    parent = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="vfloppy-test-", dir=parent))
    yield path
    shutil.rmtree(path)
