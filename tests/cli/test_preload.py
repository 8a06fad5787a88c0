"""With --user, nothing is imported once the rights are given up: it may be out of reach."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from tools import ENVIRONMENT
from vfloppy.nbd.client import Client

# Who becomes another user can't read Python's files any more.
_SCRIPT = """
import os
import sys
from vfloppy.cli import main
from vfloppy.cli.commands import serve
from vfloppy.synth.fat import bulk, directories

told = os.dup(2)  # processes of connections discard their streams

class Nothing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        os.write(told, f"imported late: {name}\\n".encode())
        raise ImportError(f"{name} is out of reach")

def become(user):
    directories.MANY_NODES = bulk._WORTH_ROWS = 1  # numpy makes the entries of any tree
    sys.meta_path.insert(0, Nothing)

serve.become = become
main()
"""
_CONFIG = """
[export.fat]
directory = "{tree}"
exclude = ["*.o"]
manifest = "{out}/fat.json"
[export.iso]
directory = "{tree}"
format = "iso"
exclude-from = "{out}/patterns"
boot-uefi-dir = "{tree}"
manifest = "{out}/iso.json"
"""


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_server_with_a_configuration_imports_nothing_late(tmp_path, tree, style):
    os.utime(tree / "hello.txt", (10**9, 10**9))  # times of several days are made in another way
    out = tmp_path / "out"
    out.mkdir()
    (out / "patterns").write_text("*.o\n[[:alpha:]].a\n")
    (out / "config").write_text(_CONFIG.format(tree=tree, out=out))
    path = out / "socket"
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, "serve", "--user", "somebody", "-U", path,
         "--config", out / "config", "--log-level", "debug", "--log-format", style],
        cwd="/", env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(2):
        for name in ("fat", "iso"):
            if process.poll() is None:
                with Client(f"nbd+unix:///{name}?socket={path}") as client:
                    client.read(0, min(client.size, 8 << 20))
        (tree / f"new{time.monotonic_ns()}").write_text("new")
        process.send_signal(signal.SIGHUP)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert b"imported late" not in said, said.decode()
    assert process.returncode == 0, said.decode()
    assert sorted(os.listdir(out)) == ["config", "fat.json", "iso.json", "patterns"]


@pytest.mark.parametrize(
    "arguments",
    [["-U", "-", "--run", 'test -S "$unixsocket"'], ["-p", "0", "--idle-exit", "0"]],
    ids=["captive", "tcp"],
)
def test_no_kind_of_server_imports_anything_late(tree, arguments):
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, "serve", "--user", "somebody", *arguments, str(tree)],
        cwd="/", env=ENVIRONMENT, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert b"imported late" not in done.stderr, done.stderr.decode()
    assert done.returncode == 0, done.stderr.decode()
