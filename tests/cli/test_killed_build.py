"""A build that is killed, at any point, leaves the old file or the new one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from compare import assert_same
from tools import ENVIRONMENT, VFLOPPY, run

KILLS = 12


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    generator = random.Random(5)
    for number in range(24):
        (root / f"file{number}").write_bytes(generator.randbytes(2 << 20))
    return root


@pytest.mark.parametrize("name", ["disk.img", "disk.iso"])
def test_kill_9_leaves_the_old_or_the_new_file(tmp_path, tree, name):
    out = tmp_path / "out" / name
    out.parent.mkdir()
    command = [*VFLOPPY, "build", "-q", str(tree), str(out)]
    started = time.monotonic()
    assert run(*command).returncode == 0
    took = time.monotonic() - started
    new = out.read_bytes()
    outcomes = {"old": 0, "new": 0}
    for number in range(KILLS):
        out.write_bytes(b"the old file")
        process = subprocess.Popen(
            command, cwd="/", env=ENVIRONMENT, start_new_session=True, stderr=subprocess.DEVNULL
        )
        time.sleep(took * (number + 1) / KILLS)
        os.killpg(process.pid, signal.SIGKILL)  # its helpers, too
        process.wait(30)
        found = out.read_bytes()
        assert found in {b"the old file", new}
        outcomes["old" if found != new else "new"] += 1
        for left in out.parent.iterdir():
            if left != out:  # between its two last calls, it may have had a name
                assert left.name.startswith(".vfloppy-")
                assert_same(left.read_bytes(), new)
                left.unlink()
    assert outcomes["old"]
    print(f"\n{KILLS} builds killed: {outcomes['old']} old files, {outcomes['new']} new ones")
    assert run(*command).returncode == 0
    assert_same(out.read_bytes(), new)
