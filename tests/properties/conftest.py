"""Many disks in one process keep many host files open; like the command line, allow that."""

from __future__ import annotations

import resource


def pytest_configure() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
