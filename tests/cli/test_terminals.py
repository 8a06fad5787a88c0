"""Names and arguments that steer a terminal: no command passes them on as they are."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from tools import vfloppy

STEERING = "\x1b]0;pwned\x07\x9b31m\u202e\x7f\x85"
NAME = f"x{STEERING}"


@pytest.fixture
def tree(tmp_path) -> Path:
    root: Path = tmp_path / f"tree{STEERING}"
    root.mkdir()
    for name in (NAME, NAME.upper(), "line\nbreak\r", f"{NAME * 8}.long", "a:b\x1b[2J"):
        (root / name).write_text("text")
    (root / f"dir{STEERING}").mkdir()
    (root / f"dir{STEERING}" / NAME).write_text("text")
    (root / f"link{STEERING}").symlink_to(f"nowhere{STEERING}")
    os.mkfifo(root / f"fifo{STEERING}")
    os.utime(root / NAME, (-(1 << 40), -(1 << 40)))
    return root


def steering(output: bytes) -> list[str]:
    """What a terminal would obey; a byte that is no UTF-8 is one, too."""
    text = output.decode("utf-8", "surrogateescape")
    return [c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl"}]


FORMATS = (
    [], ["--format", "iso"], ["--format", "iso", "--iso-level", "1", "--no-rock-ridge"],
    ["--format", "iso", "--no-joliet"], ["--symlinks", "refuse"], ["--symlinks", "follow-all"],
    ["--strict"], ["--format", "iso", "--strict", "--no-rock-ridge"], ["--label", STEERING],
    ["--graft", f"a/{NAME}=/nowhere{STEERING}"], ["--graft", f"../{NAME}=/etc"],
    ["--exclude", f"[[:{STEERING}:]]"], ["--exclude-from", f"/nowhere{STEERING}"],
    ["--mbr-code", "TREE"], ["--manifest", f"/nowhere{STEERING}/x"], ["--manifest", "TREE"],
    ["--boot-uefi-dir", "TREE", "--format", "iso"], ["--for", STEERING], [f"--{STEERING}"],
    ["--size", STEERING], ["--volume-date", STEERING], ["--boot-bios", NAME, "--format", "iso"],
    ["--publisher", STEERING, "--format", "iso"],
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(FORMATS)))
def test_no_command_steers_a_terminal(tree, tmp_path, number):
    options = [str(tree) if each == "TREE" else each for each in FORMATS[number]]
    is_iso = "iso" in options
    out = tmp_path / f"out{STEERING}{'.iso' if is_iso else ''}"
    commands = [
        ["check", *options, tree], ["map", *options, tree], ["map", *options, f"{tree}/nothing"],
        ["build", *options, tree, out], ["verify", *options, out, f"{tree}/dir{STEERING}"],
        ["verify", *options, out, tree],
        ["serve", "-U", "-", *options, tree, "--run", "true"],
        ["serve", "-U", "-", "-e", NAME, "--log-level", "debug", *options, tree, "--run", "true"],
    ]  # fmt: skip
    for command in commands if number < 3 else commands[:5:2]:
        done = vfloppy(*command)
        assert done.returncode in {0, 1, 2}, command
        assert b"Traceback" not in done.stderr, (command, done.stderr.decode("utf-8", "replace"))
        assert not steering(done.stdout), (command, ascii(done.stdout.decode("utf-8", "replace")))
        assert not steering(done.stderr), (command, ascii(done.stderr.decode("utf-8", "replace")))


@pytest.mark.parametrize(
    "command",
    [
        [STEERING], ["serve", f"{STEERING}=/etc", "/etc"], ["serve", "--default-export", NAME, "."],
        ["serve", "-U", f"/nowhere/{NAME}", "."], ["serve", "--pidfile", f"/{NAME}/x", "-U", "-"],
        ["serve", "--user", STEERING, "."], ["serve", "--socket-mode", NAME, "-U", "x", "."],
        ["serve", "-i", STEERING, "."], ["serve", "--config", f"/{NAME}"],
        ["verify", f"nbd+unix:///{NAME}?socket=/{NAME}", "."], ["verify", f"/{NAME}", "."],
        ["bench", f"/{NAME}"], ["completion", NAME], ["presets", NAME],
        ["serve", "--log-level", "debug", "-p", "0", f"{NAME}=.", "--idle-exit", "0"],
        ["serve", "--log-level", "debug", "-p", "0", f"{NAME}=.", "--run", "exit 3"],
    ],
    ids=ascii,
)  # fmt: skip
def test_no_argument_steers_a_terminal(tmp_path, command):
    done = vfloppy(*command, cwd=tmp_path, env=os.environ | {"SOURCE_DATE_EPOCH": STEERING})
    again = vfloppy(*command, cwd=tmp_path)
    for each in (done, again):
        assert b"Traceback" not in each.stderr, each.stderr.decode("utf-8", "replace")
        assert not steering(each.stdout), ascii(each.stdout.decode("utf-8", "replace"))
        assert not steering(each.stderr), ascii(each.stderr.decode("utf-8", "replace"))


def test_a_configuration_steers_no_terminal(tmp_path):
    for text in (f'["{STEERING[:-2]}"]', '[export.a]\n"\\u001b[2J" = 1', '[export."\\u001b[2J"]',
                 '[export."\\u001b[2J"]\ndirectory = "/\\u001b[2J"', "\x1b"):  # fmt: skip
        (tmp_path / "config").write_text(text)
        done = vfloppy("serve", "--config", tmp_path / "config", "-U", "-", "--run", "true")
        assert done.returncode in {1, 2}
        assert done.stderr.count(b"\n") == 1
        assert not steering(done.stderr), ascii(done.stderr)
