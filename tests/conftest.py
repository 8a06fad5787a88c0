"""What all tests share: foreign tools, made trees, and images read whole."""

from __future__ import annotations

import os
import shutil

import pytest

# Foreign programs are run elsewhere: in the checkout, `import nbd` would find our nbd/ and not
# libnbd's module.
ON_CI = bool(os.environ.get("CI"))


def need_tool(*names: str) -> None:
    """Skips the test where a program is missing, and says so; on CI that is a failure."""
    missing = [name for name in names if shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        missing_dependency(f"not installed: {', '.join(missing)} (`make tools` says how)")


SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def missing_dependency(reason: str) -> None:
    """Skips for a reason that may hold on a user's machine, and must not on CI."""
    if ON_CI:
        pytest.fail(reason)
    pytest.skip(reason)
