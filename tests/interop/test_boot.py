"""UEFI firmware boots a served directory: OVMF runs its startup.nsh and prints a file of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, need_tool, run

OVMF = Path("/usr/share/OVMF")
SCRIPT = "@echo -off\r\necho the script runs\r\ntype FS0:\\note.txt\r\nreset -s\r\n"


@pytest.mark.parametrize(
    "options",
    [(), ("--partition", "gpt", "--esp"), ("--partition", "none"), ("--for", "ovmf")],
    ids=["mbr", "gpt", "none", "preset"],
)
def test_ovmf_runs_a_script_of_a_tree_of_five_files(options, tmp_path):
    need_tool("qemu-system-x86_64")
    if not (OVMF / "OVMF_CODE_4M.fd").exists():
        missing_dependency("not installed: ovmf")
    root = tmp_path / "tree"
    (root / "docs").mkdir(parents=True)
    (root / "startup.nsh").write_text(SCRIPT)
    (root / "note.txt").write_text("the note says 42\r\n")
    (root / "empty").touch()
    (root / "docs" / "a longer name.txt").write_text("x" * 512)
    (root / "docs" / "5.bin").write_bytes(bytes(512))
    shutil.copy(OVMF / "OVMF_VARS_4M.fd", tmp_path / "vars.fd")
    qemu = (
        "qemu-system-x86_64 -accel tcg -machine q35 -m 256 -nodefaults -no-reboot -display none "
        "-serial stdio -monitor none "
        f"-drive if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd "
        f"-drive if=pflash,format=raw,file={tmp_path}/vars.fd "
        '-drive file="$uri",format=raw,if=virtio,readonly=on'
    )
    command = [
        *VFLOPPY,
        "serve",
        "-q",
        "-U",
        "-",
        *options,
        str(root),
        "--run",
        f"timeout 240 {qemu}",
    ]
    done = run(*command, env=ENVIRONMENT, timeout=300)
    assert b"the script runs" in done.stdout, done.stdout + done.stderr
    assert b"the note says 42" in done.stdout
    assert done.returncode == 0
