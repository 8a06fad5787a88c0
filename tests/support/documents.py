"""The command lines of documents, and a folder in which they can be run."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import ENVIRONMENT

ROOT = Path(__file__).parents[2]
PROGRAMS = {"eval", "git", "guestfish", "make", "nbdinfo", "pipx", "qemu-img", "qemu-system-x86_64",
            "syslinux", "vfloppy"}  # fmt: skip
BOUND_S = 30

# These are looked for in the folder of a test, not on the host.
PLACES = re.compile(r"(?<![\w./])/(?=(?:some/directory|dir|srv|etc/vfloppy\.toml|etc/pki)\b)")
DIRECTORIES = ("some/directory", "dir", "srv/tools", "srv/more", "srv/seed", "srv/installer",
               "esp/EFI/BOOT", "seed", "tree", "DIR", "etc")  # fmt: skip
ISOLINUX = Path("/usr/lib/ISOLINUX")


def blocks(text: str) -> list[str]:
    """The blocks of a document that are indented, and the fenced ones that are not Python's."""
    fenced = re.findall(r"^```(?!python)\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:(?<=\n\n)|\A)((?:    .*\n|\n(?=    ))+)", rest)
    return [*fenced, *(re.sub(r"^    ", "", each, flags=re.MULTILINE) for each in indented)]


def commands(text: str) -> list[str]:
    """The command lines of a document, without comments, those of several lines joined.

    In sentences, those of vfloppy; its name alone, or with `serve`, only speaks of it.
    """
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = (" ".join(each.split()) for each in re.findall(r"`([^`]+)`", prose))
    found = [each for each in spans if re.match("vfloppy (?!serve$)", each)]
    for block in blocks(text):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            command = re.sub(r"(^|\s+)# .*", "", line).removeprefix("ExecStart=").strip()
            if command.split(" ", 1)[0] in PROGRAMS:
                found.append(command)
    return found


class Sandbox:
    """A folder with the files that the documents speak of, and how commands are run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in DIRECTORIES:
            (folder / name).mkdir(parents=True)
            (folder / name / "hello.txt").write_text("hello")
        for name in ("tree", "srv/installer"):
            (folder / name / "isolinux").mkdir()
            program = ISOLINUX / "isolinux.bin"
            if program.exists():
                shutil.copy(program, folder / name / "isolinux")
        text = (ROOT / "docs" / "serving.md").read_text()
        [table] = [each for each in blocks(text) if "[export.tools]" in each]
        (folder / "etc" / "vfloppy.toml").write_text(self.here(table))
        self.environment = ENVIRONMENT | {"HOME": str(folder)}
        self._programs()

    def _programs(self) -> None:
        """Put programs that stand for others in the way of these."""
        programs = self.folder / "programs"
        programs.mkdir()
        path = self.environment["PATH"]
        machine = shutil.which("qemu-system-x86_64", path=path)
        scripts = {"vfloppy": f'exec {shlex.quote(sys.executable)} -m vfloppy "$@"'}
        if machine:  # its drives are opened, and no instruction is run
            scripts["qemu-system-x86_64"] = (
                f'(echo info block; echo quit) | timeout {BOUND_S} {machine} "$@" '
                "-accel tcg -nodefaults -S -display none -monitor stdio"
            )
        for name, script in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        self.environment["PATH"] = f"{programs}:{path}"

    def here(self, text: str) -> str:
        """What a text means in this folder."""
        return PLACES.sub(f"{self.folder}/", text)

    def run(self, command: str) -> str:
        """What a command prints that has to succeed."""
        done = subprocess.run(
            ["sh", "-c", self.here(command)], cwd=self.folder, env=self.environment, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * BOUND_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    @contextmanager
    def serving(self, command: str) -> Iterator[str]:
        """Run a server at a port that is free, until it is ready; what it has printed.

        At the end it is asked to end, and has to do so well.
        """
        line = command.replace("vfloppy serve", "vfloppy serve -p 0", 1)
        server = subprocess.Popen(
            ["sh", "-c", f"exec {self.here(line)}"], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield until(server, b"sandbox: ")
            server.terminate()
            assert server.wait(BOUND_S) == 0
        finally:
            server.kill()
            server.wait()
            assert server.stdout
            server.stdout.close()


def until(process: subprocess.Popen[bytes], mark: bytes) -> str:
    """What a process prints until a line with `mark` is complete."""
    assert process.stdout
    said, deadline = b"", time.monotonic() + BOUND_S
    while not re.search(re.escape(mark) + rb".*\n", said):
        ready, _, _ = select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0))
        data = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
        assert data, f"no {mark!r} in\n{said.decode(errors='replace')}"
        said += data
    return said.decode(errors="replace")
