"""Standard streams that are closed, full, or left early; output that no encoding holds."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from compare import assert_same
from tools import ENVIRONMENT, VFLOPPY, run, vfloppy
from vfloppy.cli.serving.logs import _Patient


def shell(line: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Runs `vfloppy ARGUMENTS` with the rest of the line behind it."""
    command = " ".join(map(shlex.quote, [*VFLOPPY, *map(str, arguments)]))
    return run("bash", "-o", "pipefail", "-c", f"{command} {line}", **options)  # type: ignore[arg-type]


def test_a_build_without_standard_error_succeeds(tree, tmp_path):
    out = tmp_path / "out.img"
    done = shell("2>&-", "build", tree, out)
    assert (done.returncode, done.stdout) == (0, b"")
    assert out.stat().st_size > 250 << 20


def test_a_build_without_standard_output_succeeds(tree, tmp_path):
    done = shell(">&-", "build", tree, tmp_path / "out.img")
    assert done.returncode == 0
    assert (tmp_path / "out.img").exists()


def test_a_build_without_any_stream_writes_its_image_and_nothing_into_it(tree, tmp_path):
    """Files that are opened get the numbers of the streams that are closed."""
    for name, streams in (("with", ""), ("without", "<&- >&- 2>&-")):
        done = shell(streams, "build", "--floppy", "1.44M", tree, tmp_path / name)
        assert done.returncode == 0
    assert_same((tmp_path / "with").read_bytes(), (tmp_path / "without").read_bytes())


def test_a_build_to_a_closed_standard_output_is_one_line(tree):
    done = shell(">&-", "build", "-q", tree, "-")
    assert done.returncode in (1, 2)
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"vfloppy: ")


@pytest.mark.parametrize("streams", [">&-", "2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_a_server_without_a_stream_serves(tree, tmp_path, streams):
    done = shell(streams, "serve", "-U", tmp_path / "socket", "--idle-exit", "0.1", tree)
    assert done.returncode == 0, done.stderr
    assert b"serving " in done.stdout or ">&-" in streams
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["gone", "full"])
def test_a_server_whose_standard_output_nobody_reads_says_so_and_serves(tree, tmp_path, target):
    """Where it serves was said for people; clients know. So `serve | head -n 1`, or a terminal's
    wrapper that has gone, is no reason to leave clients alone, as it is none for other servers.
    """
    path = tmp_path / "socket"
    if target == "gone":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    process = subprocess.Popen(
        [*VFLOPPY, "serve", "-U", str(path), "--idle-exit", "0.5", str(tree)],
        stdout=writer, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd="/",
    )  # fmt: skip
    os.close(writer)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    told = [each for each in said.decode().splitlines() if "standard output: " in each]
    assert len(told) == 1, said
    assert "serves all the same" in told[0]


def test_the_first_line_of_a_server_is_all_that_head_wants(tree, tmp_path):
    done = shell("| head -n 1", "serve", "-U", tmp_path / "s", "--idle-exit", "0.5", tree)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"serving ")


class Listening:
    """A log on a pipe, which may or may not be read."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.stream = os.fdopen(writer, "w")
        self.handler = _Patient(self.stream)
        self.handler.setFormatter(logging.Formatter("%(message)s"))

    def say(self, text: str) -> None:
        self.handler.handle(logging.makeLogRecord({"msg": text, "levelno": logging.ERROR}))

    def read(self) -> str:
        found = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.reader, 1 << 20):
                found += part
        return found.decode()


@pytest.mark.parametrize("length", [10, 4096, 50_000, 300_000])
def test_a_log_that_nobody_reads_holds_nobody_up_and_tells_what_was_lost(length):
    log = Listening()
    number = 200_000 // length + 30
    for each in range(number):
        log.say(f"{each:06}".ljust(length, "x"))
    text = ""
    for _ in range(20):
        text += log.read()
        log.handler.flush()
    log.say("the last")
    text += log.read()
    lines = text.splitlines()
    whole = [each for each in lines if each.endswith("x") or len(each) == length == 10]
    assert all(len(each.rstrip()) in (length, 6) for each in whole), "a line was cut"
    lost = sum(int(each.split()[0]) for each in lines if "were lost before" in each)
    assert len(whole) + lost == number
    assert lost
    assert lines[-1] == "the last"
    log.stream.close()
    os.close(log.reader)


def test_what_a_terminal_would_obey_is_escaped(tmp_path):
    name = "\x1b[31m\u202e\udcff"
    done = vfloppy("map", tmp_path / name)
    assert done.stderr.endswith(b"/\\x1b[31m\\u202e\\udcff: no such directory\n")


def test_a_map_without_standard_error_is_the_same_map(tree):
    assert shell("2>&-", "map", tree).stdout == vfloppy("map", tree).stdout


@pytest.mark.parametrize("arguments", [["map"], ["map", "--json"], ["check"]], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_traceback(tmp_path, arguments):
    for number in range(4000):
        (tmp_path / f"{number} a rather long name for a file to fill the pipe ").write_text("x")
    done = shell("| head -n 1", *arguments, tmp_path)
    assert done.returncode == 1  # the pipe's
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["map"], ["map", "--json"], ["check"], ["--help"], ["--version"], ["presets"],
     ["completion", "bash"]],
    ids=" ".join,
)  # fmt: skip
def test_a_full_disk_behind_standard_output_is_one_line(tree, arguments):
    paths = [tree] if arguments[0] in ("map", "check") else []
    done = shell("> /dev/full", *arguments, *paths)
    assert done.returncode == 1
    assert done.stderr == b"vfloppy: standard output: No space left on device\n"


def test_quiet_is_silent(tree, tmp_path):
    (tree / "link").symlink_to("hello.txt")
    (tree / "a:b").touch()
    assert vfloppy("build", tree, tmp_path / "1").stderr.count(b"\n") == 3
    done = vfloppy("build", "--quiet", tree, tmp_path / "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert_same((tmp_path / "1").read_bytes(), (tmp_path / "2").read_bytes())


def test_standard_output_that_is_a_terminal_gets_no_image(tree):
    command = " ".join(map(shlex.quote, [*VFLOPPY, "build", str(tree), "-"]))
    done = run("script", "-qec", command, "/dev/null")
    assert done.returncode == 2
    assert b"standard output is a terminal" in done.stdout
    assert len(done.stdout) < 1000


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("command", ["map", "check"])
def test_names_that_the_terminal_s_encoding_lacks_are_no_traceback(tmp_path, command, encoding):
    for name in ("日本", "grüße", "a:ж", "😀 smile"):
        (tmp_path / name).write_text("x")
    environment = ENVIRONMENT | {"PYTHONIOENCODING": encoding}
    done = vfloppy(command, tmp_path, env=environment)
    assert done.returncode == (1 if command == "check" else 0)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["map", "check", "build"])
def test_names_that_are_no_text_are_no_traceback(tmp_path, command):
    root = tmp_path / "tree"
    for name in (b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"new\nline", b"\x1b[31mred"):
        folder = Path(str(root) + "/" + name.decode("utf-8", "surrogateescape"))
        folder.mkdir(parents=True)
        (folder / folder.name).write_text("x")
    done = vfloppy(command, root, *([tmp_path / "out"] if command == "build" else []))
    assert done.returncode == (1 if command == "check" else 0), done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", [b"mis\xffsing", b"new\nline", "日本".encode()])
@pytest.mark.parametrize("command", ["map", "check", "build"])
def test_a_missing_directory_of_any_name_is_one_line(tmp_path, command, name):
    path = bytes(tmp_path) + b"/" + name
    done = run(*VFLOPPY, command, path, *(["out"] if command == "build" else []), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.endswith(b"no such directory\n")
    assert list(tmp_path.iterdir()) == []
