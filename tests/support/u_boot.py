"""U-Boot as a reader of FAT: what its own driver loads, in a machine of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tools import missing_dependency, need_tool, run

PORTS = 6
"""The machine has room for so many drives, `scsi 0` and on."""
_ROM = Path("/usr/lib/u-boot/qemu-x86/u-boot.rom")
_ADDRESS = "1000000"
_ENCODING = "latin-1"  # of the console, and of names that aren't ASCII


def answers(drives: Sequence[Path], commands: Sequence[str]) -> dict[str, str]:
    """What U-Boot prints after each command."""
    need_tool("qemu-system-i386")
    if not _ROM.exists():
        missing_dependency("not installed: u-boot-qemu")
    machine = "qemu-system-i386 -accel tcg -machine q35 -m 256 -nodefaults -no-reboot -display none"
    qemu = [*machine.split(), "-serial", "stdio", "-monitor", "none", "-bios", str(_ROM)]
    for number, drive in enumerate(drives):
        # Its disks can't be read-only; what would be written goes to a file that is thrown away.
        qemu += ["-drive", f"file={drive},format=raw,if=none,id=disk{number},snapshot=on"]
        qemu += ["-device", f"ide-hd,drive=disk{number},bus=ide.{number}"]
    # Lines at the start stop it from booting by itself.
    script = "\n".join(["", "", "", "scsi scan", *commands, "reset", ""])
    done = run("timeout", "100", *qemu, input=script.encode(_ENCODING))
    text = done.stdout.decode(_ENCODING).replace("\r", "")
    assert done.returncode == 0, text + done.stderr.decode()
    parts = (part.partition("\n") for part in re.split(r"^=> ", text, flags=re.MULTILINE))
    found = {command: answer for command, _, answer in parts}
    assert found.keys() >= set(commands), text
    return found


def loading(number: int, partition: int, path: str) -> str:
    """The command that loads a file of a drive and prints its checksum."""
    load = f"fatload scsi {number}:{partition} {_ADDRESS} '/{path}'"
    return f"{load} && crc32 {_ADDRESS} $filesize"


def checksum(answer: str) -> int | None:
    """The CRC of what was loaded; None when nothing was."""
    match = re.search(r"==> ([0-9a-f]{8})$", answer, re.MULTILINE)
    return int(match[1], 16) if match else None


def listed(answer: str) -> dict[str, int | None]:
    """What `fatls` prints: names with sizes, None for directories."""
    lines = re.findall(r"^ {0,9}(\d+)   (.+)$|^ {12}(.+)/$", answer, re.MULTILINE)
    return {file or directory: int(size) if file else None for size, file, directory in lines}
