"""Without what Linux alone has, disks are built and served as ever, or refused before that."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tools import ENVIRONMENT, need_tool, output, run, vfloppy
from vfloppy.nbd.client import Client

MACOS = [sys.executable, str(Path(__file__).parents[1] / "support" / "macos.py")]
PATIENCE_S = 30


@pytest.fixture
def built(tree, tmp_path) -> bytes:
    (tree / "sub").mkdir()
    (tree / "sub" / "data").write_bytes(bytes(range(256)) * 1000)
    output(*MACOS, "build", "-q", str(tree), str(tmp_path / "macos.img"))
    assert vfloppy("build", "-q", tree, tmp_path / "linux.img").returncode == 0
    image = (tmp_path / "linux.img").read_bytes()
    assert (tmp_path / "macos.img").read_bytes() == image
    return image


@pytest.mark.parametrize("where", [(), ("-p", "0")])
def test_a_command_s_disk_is_read(tree, built, tmp_path, where):
    need_tool("nbdcopy")
    command = f'nbdcopy "$uri" {tmp_path}/copy'
    done = run(*MACOS, "serve", "-q", *where, str(tree), "--run", command)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "copy").read_bytes() == built


def test_clients_come_and_go(tree, built, tmp_path):
    path, pidfile = tmp_path / "socket", tmp_path / "pid"
    process = subprocess.Popen(
        [*MACOS, "serve", "-U", path, "--pidfile", pidfile, "--log-level", "info", tree],
        cwd="/", env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline().startswith("serving ")
        uri = f"nbd+unix:///?socket={path}"
        length = 4 << 20
        with Client(uri) as first, Client(uri) as second:
            assert first.read(0, length) == second.read(0, length) == built[:length]
        (tree / "new").write_text("new")
        for line in process.stderr:
            if "connection 2 closed" in line or "connection 1 closed" in line:
                break
        deadline = time.monotonic() + PATIENCE_S
        found = built[:length]
        while found == built[:length] and time.monotonic() < deadline:
            with Client(uri) as third:  # once the others have left, it is scanned again
                found = third.read(0, length)
        assert found != built[:length]
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert not path.exists()
    assert not pidfile.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--vsock", "1"), "Cannot listen on vsock"),
        (("-U", "-", "--exit-with-parent"), "--exit-with-parent is there on Linux only"),
    ],
)
def test_what_is_missing_is_refused_before_it_serves(tree, options, words):
    done = run(*MACOS, "serve", *options, str(tree))
    text = done.stderr.decode()
    assert done.returncode in {1, 2}
    assert words in text
    assert text.count("\n") == 1
    assert done.stdout == b""
