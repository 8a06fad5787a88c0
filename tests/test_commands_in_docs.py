"""Every command line in README.md and docs/ is run, each in a folder with the files that it names.

`HOW` has a way for each of them: a command that isn't there fails, and so does a way whose command
no document has any more. Servers get a port that is free, and what `/srv` and the like mean is in
the folder. Machines are started with the drives that a line gives them, and are not let run.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tools import ENVIRONMENT, missing_dependency, need_tool, output
from vfloppy.nbd.client import Client

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = {"git", "guestfish", "make", "nbdinfo", "pipx", "qemu-img", "qemu-system-x86_64",
            "syslinux", "vfloppy"}  # fmt: skip
BOUND_S = 30

# These are looked for in the folder of a test, not on the host.
PLACES = re.compile(r"(?<![\w./])/(?=(?:some/directory|dir|srv|etc/vfloppy\.toml|etc/pki)\b)")
DIRECTORIES = ("some/directory", "dir", "srv/tools", "srv/more", "srv/seed", "srv/installer",
               "esp/EFI/BOOT", "seed", "tree", "DIR", "etc")  # fmt: skip
ISOLINUX = Path("/usr/lib/ISOLINUX")
SYSLINUX_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
OVMF = Path("/usr/share/ovmf/OVMF.fd")


def blocks(text: str) -> list[str]:
    """The blocks of a document that are indented, and the fenced ones that are not Python's."""
    fenced = re.findall(r"^```(?!python)\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:(?<=\n\n)|\A)((?:    .*\n|\n(?=    ))+)", rest)
    return [*fenced, *(re.sub(r"^    ", "", each, flags=re.MULTILINE) for each in indented)]


def commands(text: str) -> list[str]:
    """The command lines of a document, without comments, those of several lines joined."""
    found = []
    for block in blocks(text):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            command = re.sub(r"(^|\s+)# .*", "", line).removeprefix("ExecStart=").strip()
            if command.split(" ", 1)[0] in PROGRAMS:
                found.append(command)
    return found


COMMANDS = {each: path.name for path in DOCUMENTS for each in commands(path.read_text())}


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


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def need_file(path: Path, package: str) -> None:
    """Skip as `need_tool` does."""
    if not path.exists():
        missing_dependency(f"not installed: {package}")


# --- Ways to run a command ---

Way = Callable[[Sandbox, str], None]


def uri_in(printed: str) -> str:
    """The URI that a server has printed."""
    found = re.search(r"\bat (nbds?://\S+)", printed)
    assert found, printed
    return found[1]


def served(sandbox: Sandbox, command: str) -> None:
    """Served until it is ready, read from, and asked to end."""
    with sandbox.serving(command) as printed, Client(uri_in(printed)) as client:
        assert any(client.read(0, min(client.size, 1 << 16)))


def installer_served(sandbox: Sandbox, command: str) -> None:
    """Likewise, with ISOLINUX."""
    need_file(ISOLINUX / "isolinux.bin", "isolinux")
    with sandbox.serving(command) as printed:
        for name, at, mark in (("tools", 510, b"\x55\xaa"), ("installer", 32769, b"CD001")):
            with Client(uri_in(printed).rpartition("/")[0] + f"/{name}") as client:
                assert client.read(at, len(mark)) == mark


def built(
    sandbox: Sandbox, command: str, *, image: str, wants: tuple[Path, str] | None = None
) -> None:
    """Run as it is; an image has to be there. `wants` is a file, and the package that has it."""
    if wants:
        need_file(*wants)
    sandbox.run(command)
    with (sandbox.folder / image).open("rb") as file:
        data = file.read(1 << 16)
    assert data[32769:32774] == b"CD001" if image.endswith(".iso") else data[510:512] == b"\x55\xaa"


def mapped(sandbox: Sandbox, command: str) -> None:
    assert "hello.txt" in sandbox.run(command)


def copied(sandbox: Sandbox, command: str) -> None:
    need_tool("nbdcopy")
    built(sandbox, command, image="esp.img")


def firmware_started(sandbox: Sandbox, command: str) -> None:
    need_tool("qemu-system-x86_64")
    need_file(OVMF, "ovmf")
    assert "nbd+unix:" in sandbox.run(command)


def at_port(command: str, uri: str) -> str:
    """A client's command with the port of the server that is there, not of the one by default."""
    port = re.search(r":(\d+)/", uri)[1]  # type: ignore[index]
    command = re.sub(r"://(127\.0\.0\.1|host)(:10809)?/", f"://127.0.0.1:{port}/", command)
    return command.replace("host=host,port=10809", f"host=127.0.0.1,port={port}")


DRIVE = "qemu-system-x86_64 -drive file=nbd://127.0.0.1:10809/,format=raw"


def attached(sandbox: Sandbox, command: str, *, serve: str, is_printed: bool = False) -> None:
    """A machine is made with the drive, and shows it; `is_printed`: the server gives that line."""
    need_tool("qemu-system-x86_64")
    with sandbox.serving(serve) as printed:
        line = at_port(command, uri_in(printed))
        assert line in printed or not is_printed
        assert "nbd" in sandbox.run(line)


def mountable(sandbox: Sandbox, command: str) -> None:
    """guestfish takes the options and QEMU the drive; nothing is booted to mount it."""
    need_tool("guestfish", "qemu-img")
    with sandbox.serving("vfloppy serve /some/directory") as printed:
        uri = uri_in(printed)
        line = at_port(command, uri)
        assert line in printed
        options, _mount = line.split(" -m ")
        assert "major" in sandbox.run(f"echo version | {options}")
        assert "virtual size" in sandbox.run(f"qemu-img info -f raw {uri}")


def asked(sandbox: Sandbox, command: str) -> None:
    """A client asks a server, and prints something."""
    need_tool("nbdinfo")
    with sandbox.serving("vfloppy serve DIR") as printed:
        assert sandbox.run(at_port(command, uri_in(printed))).strip()


TLS_SERVER = "vfloppy serve -i 0.0.0.0 --tls require --tls-cert-dir /etc/pki/vfloppy DIR"


def asked_by_tls(sandbox: Sandbox, command: str) -> None:
    """The server of the same block at an address of this machine only, and a client of it."""
    need_tool("openssl", "nbdinfo", "qemu-img")
    make_certificates(sandbox.folder / "etc" / "pki")
    with sandbox.serving(TLS_SERVER.replace("0.0.0.0", "127.0.0.1")) as printed:
        if command != TLS_SERVER:
            assert "size" in sandbox.run(at_port(command, uri_in(printed)))


def make_certificates(folder: Path) -> None:
    """An authority, and what it has signed for a server and a client."""
    folder.mkdir()
    (folder / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    request = ("req", "-newkey", "rsa:2048", "-nodes", "-subj")
    output("openssl", *request, "/CN=authority", "-x509", "-keyout", "ca-key.pem",
           "-out", "ca-cert.pem", cwd=folder)  # fmt: skip
    for place, name in (("vfloppy", "server"), ("client", "client")):
        (folder / place).mkdir()
        shutil.copy(folder / "ca-cert.pem", folder / place)
        key, certificate = f"{place}/{name}-key.pem", f"{place}/{name}-cert.pem"
        output("openssl", *request, f"/CN={name}", "-keyout", key, "-out", "request", cwd=folder)
        output("openssl", "x509", "-req", "-in", "request", "-CA", "ca-cert.pem", "-CAkey",
               "ca-key.pem", "-CAcreateserial", "-out", certificate, "-extfile", "extensions",
               cwd=folder)  # fmt: skip


SYSLINUX_BUILD = "vfloppy build --mbr-code /usr/lib/syslinux/mbr/mbr.bin DIR disk.img"


def booted(sandbox: Sandbox, command: str) -> None:
    """Installed on the image of the line before, and started by a BIOS until it misses a file."""
    need_file(SYSLINUX_MBR, "syslinux-common")
    need_tool("syslinux", "qemu-system-x86_64")
    text = "SERIAL 0\nPROMPT 0\nDEFAULT none\nLABEL none\n  LINUX not-there\n"
    (sandbox.folder / "DIR" / "syslinux.cfg").write_text(text)
    sandbox.run(SYSLINUX_BUILD)
    sandbox.run(command)
    machine = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none",
         "-serial", "stdio", "-drive", "file=disk.img,format=raw"],
        cwd=sandbox.folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until(machine, b"not-there")
    finally:
        machine.kill()
        machine.communicate()


def made(_sandbox: Sandbox, command: str) -> None:
    """Told by make, and not done: it would install packages."""
    need_tool("make")
    target, directory = command.removeprefix("make ").split(" DIR=")
    told = output("make", "-n", target, f"DIR={directory}", cwd=ROOT)
    assert f"/vfloppy serve {directory}" in told
    assert f"vfloppy serve {directory}" in HOW


def left(_sandbox: Sandbox, command: str, *, reason: str) -> None:
    """Not run, for a reason; the extras that it names are looked up."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"\[(\w+)\]", command):
        assert extra in known["optional-dependencies"]


from_network = partial(left, reason="it would fetch from elsewhere")
HOW: dict[str, Way] = {
    # README.md
    "git clone ... vfloppy && cd vfloppy": from_network,
    "make serve DIR=/some/directory": made,
    "qemu-system-x86_64 -m 1024 -drive "
    "file=nbd://127.0.0.1:10809/,format=raw,if=virtio,readonly=on": partial(
        attached, serve="vfloppy serve /some/directory", is_printed=True
    ),
    "guestfish --ro --format=raw -a nbd://127.0.0.1:10809/ -m /dev/sda1": mountable,
    "pipx install .": from_network,
    "pipx install '.[speed]'": from_network,
    "vfloppy serve /some/directory": served,
    "vfloppy build /some/directory disk.img": partial(built, image="disk.img"),
    "vfloppy build /some/directory disk.iso": partial(built, image="disk.iso"),
    "vfloppy map /some/directory": mapped,
    """vfloppy serve -U - ~/esp --run 'nbdcopy "$uri" esp.img'""": copied,
    "vfloppy serve -U - ~/esp --run 'qemu-system-x86_64 -m 512 -bios /usr/share/ovmf/OVMF.fd "
    """-drive file="$uri",format=raw,if=virtio,readonly=on'""": firmware_started,
    "vfloppy serve --format iso -V cidata seed/": served,
    "vfloppy build --boot-bios isolinux/isolinux.bin --boot-uefi-dir esp/ "
    "--hybrid --mbr-code /usr/lib/ISOLINUX/isohdpfx.bin tree/ boot.iso": partial(
        built, image="boot.iso", wants=(ISOLINUX / "isolinux.bin", "isolinux")
    ),
    # docs/migrating.md
    "vfloppy serve fat:/dir": served,
    "vfloppy serve fat:floppy:/dir": served,
    "vfloppy serve fat:floppy:12:/dir": served,
    f"{DRIVE},if=virtio,readonly=on": partial(attached, serve="vfloppy serve fat:/dir"),
    f"{DRIVE},if=floppy,readonly=on": partial(attached, serve="vfloppy serve fat:floppy:/dir"),
    f"{DRIVE},snapshot=on": partial(attached, serve="vfloppy serve fat:/dir"),
    SYSLINUX_BUILD: partial(built, image="disk.img", wants=(SYSLINUX_MBR, "syslinux-common")),
    "syslinux --install --offset 1048576 disk.img": booted,
    # docs/nbd.md
    "nbdinfo --map=x-vfloppy:kind nbd://127.0.0.1/": asked,
    "nbdinfo --map=x-vfloppy:file nbd://127.0.0.1/": asked,
    # docs/serving.md
    "vfloppy serve tools=/srv/tools seed=/srv/seed --default-export seed": served,
    "vfloppy serve --config /etc/vfloppy.toml": installer_served,
    TLS_SERVER: asked_by_tls,
    "nbdinfo 'nbds://host/?tls-certificates=/etc/pki/client'": asked_by_tls,
    "qemu-img info --object tls-creds-x509,id=tls0,endpoint=client,dir=/etc/pki/client "
    "--image-opts driver=nbd,host=host,port=10809,tls-creds=tls0": asked_by_tls,
    "vfloppy serve --idle-exit 60 /srv/tools": served,
}


def test_every_command_has_a_way_and_every_way_a_command():
    unknown = {each: name for each, name in COMMANDS.items() if each not in HOW}
    assert not unknown, f"say in HOW how these are to be run: {unknown}"
    assert not [each for each in HOW if each not in COMMANDS]


@pytest.mark.parametrize(
    "text",
    [
        "Text:\n\n    vfloppy serve a\n\nMore.\n",
        "```sh\nvfloppy serve a   # why\n```\n",
        "Text:\n\n    vfloppy \\\n        serve a\n",
        "Text:\n\n    # unit\n\n    ExecStart=vfloppy serve a\n",
    ],
)
def test_commands_are_found(text):
    assert commands(text) == ["vfloppy serve a"]


def test_a_drive_that_is_refused_is_noticed(sandbox):
    """QEMU's IDE disks can't be read-only."""
    with pytest.raises(AssertionError, match="Block node is read-only"):
        attached(sandbox, DRIVE, serve="vfloppy serve fat:/dir")


def test_what_is_no_command_is_not_found():
    assert commands("```python\nvfloppy serve a\n```\nText\n    vfloppy serve a\n") == []


@pytest.mark.parametrize(
    "command", COMMANDS, ids=[f"{name}: {each}" for each, name in COMMANDS.items()]
)
def test_command(sandbox, command):
    HOW[command](sandbox, command)
