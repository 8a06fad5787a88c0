"""The served disk, by other people's clients: as built, sparse, the same in parallel."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from compare import assert_same
from readers import guestfish, tar_tree
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, need_tool, output, run, vfloppy

MIB = 1 << 20


def captive(directory: Path, command: str, *options: str) -> str:
    """What a command prints while a directory is served to it."""
    done = vfloppy("serve", "-q", "-U", "-", *options, directory, "--run", command)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("name", ["documentation", "many_files", "sizes", "troublesome_names"])
def test_served_and_built_are_the_same_bytes(made, name, tmp_path):
    need_tool("nbdcopy", "qemu-img")
    disk = made(name)
    captive(
        disk.directory,
        f'nbdcopy "$uri" {tmp_path}/nbdcopy && '
        f'qemu-img convert -f raw -O raw "$uri" {tmp_path}/qemu && '
        f'qemu-img compare -f raw -F raw "$uri" {disk.image}',
    )
    for copy in ("nbdcopy", "qemu"):
        assert output("cmp", str(tmp_path / copy), str(disk.image)) == ""


def test_a_flipped_byte_is_noticed(made, tmp_path):
    """The comparisons above can fail."""
    need_tool("qemu-img")
    disk = made("sizes")
    damaged = tmp_path / "damaged.img"
    shutil.copy(disk.image, damaged)
    at = disk.image.read_bytes().index((disk.directory / "70000.bin").read_bytes()[:512])
    with damaged.open("r+b") as file:
        file.seek(at)
        file.write(bytes([(disk.directory / "70000.bin").read_bytes()[0] ^ 1]))
    assert run("cmp", "-s", str(damaged), str(disk.image)).returncode == 1
    command = f'qemu-img compare -f raw -F raw "$uri" {damaged}'
    done = vfloppy("serve", "-q", "-U", "-", disk.directory, "--run", command)
    assert done.returncode == 1
    assert b"Content mismatch" in done.stdout


def test_a_port_serves_what_a_socket_does(made, tmp_path):
    need_tool("nbdcopy", "qemu-img")
    disk = made("documentation")
    command = f"""
        test "$uri" = "nbd://127.0.0.1:$port/" && test -z "$unixsocket" || exit 9
        nbdcopy "$uri" {tmp_path}/nbdcopy && qemu-img convert -f raw -O raw "$uri" {tmp_path}/qemu
    """
    done = vfloppy("serve", "-q", "-p", "0", disk.directory, "--run", command)
    assert done.returncode == 0, done.stderr.decode()
    for copy in ("nbdcopy", "qemu"):
        assert output("cmp", str(tmp_path / copy), str(disk.image)) == ""


def test_different_clients_at_once_read_the_same(made, tmp_path):
    need_tool("nbdcopy", "qemu-img")
    disk = made("documentation")
    command = f"""
        nbdcopy "$uri" {tmp_path}/0 & one=$!
        nbdcopy --synchronous --request-size=4096 "$uri" {tmp_path}/1 & two=$!
        qemu-img convert -f raw -O raw -W -m 16 "$uri" {tmp_path}/2 & three=$!
        qemu-img dd -f raw -O raw bs=1M if="$uri" of={tmp_path}/3 && wait $one && wait $two \\
            && wait $three
    """
    captive(disk.directory, command)
    for number in range(4):
        assert output("cmp", str(tmp_path / f"{number}"), str(disk.image)) == ""


def test_four_connections_read_what_one_reads(made, tmp_path):
    need_tool("nbdcopy")
    disk = made("documentation")
    captive(
        disk.directory,
        f'nbdcopy --connections=1 "$uri" {tmp_path}/one && '
        f'nbdcopy --connections=4 --threads=4 --request-size=65536 "$uri" {tmp_path}/four',
    )
    assert output("cmp", str(tmp_path / "one"), str(tmp_path / "four")) == ""


def test_sparse_files_and_free_space_are_holes(made):
    need_tool("nbdinfo", "qemu-img")
    disk = made("sparse")
    text = captive(disk.directory, 'nbdinfo --map --totals "$uri"')
    sizes = {int(row.split()[2]): int(row.split()[0]) for row in text.splitlines()}
    assert sizes[3] > 3 << 30
    assert sizes[0] < 8 * MIB
    rows = json.loads(captive(disk.directory, 'qemu-img map --output=json -f raw "$uri"'))
    assert sum(row["length"] for row in rows if row["data"]) == sizes[0]
    assert sum(row["length"] for row in rows) == disk.image.stat().st_size


def test_only_what_is_data_is_told_to_be_data(made):
    """Both clients name the same stretches, and the file that was built has data in no other."""
    need_tool("nbdinfo", "qemu-img")
    disk = made("sizes")
    text = captive(
        disk.directory, 'nbdinfo --map --json "$uri"; qemu-img map --output=json -f raw "$uri"'
    )
    decoder = json.JSONDecoder()
    by_nbdinfo, end = decoder.raw_decode(text)
    by_qemu, _ = decoder.raw_decode(text[end:].lstrip())
    data = [(row["offset"], row["length"]) for row in by_nbdinfo if row["type"] == 0]
    assert data == [(row["start"], row["length"]) for row in by_qemu if row["data"]]
    everything = disk.image.read_bytes()
    for start, length in data:
        everything = everything[:start] + bytes(length) + everything[start + length :]
    assert not everything.strip(b"\0")
    assert sum(length for _, length in data) < 4 * MIB


_CHUNKS = """
import os
import nbd
h = nbd.NBD()
h.add_meta_context("base:allocation")
h.add_meta_context("x-vfloppy:file")
h.connect_uri(os.environ["uri"])
size, step, odd = h.get_size(), 1 << 21, set()
def note(what, at):
    if at % 512:
        odd.add((what, at))
def chunk(data, at, kind, error):
    note("chunk", at), note("chunk", at + len(data))
def extents(context, at, found, error):
    for length in found[::2]:
        at += length
        note(context, at)
for offset in range(0, min(size, 1 << 27), step):
    length = min(step, size - offset)
    h.pread_structured(length, offset, chunk)
    h.block_status(length, offset, extents)
print(sorted(odd))
"""


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--fat", "12"),
        ("--cluster-size", "32768"),
        ("--format", "iso", "--boot-uefi-dir", "{directory}"),
    ],
)
def test_chunks_and_extents_are_whole_sectors(tmp_path, options):
    """Some clients read sectors only, whatever the server allows."""
    if run("/usr/bin/python3", "-c", "import nbd").returncode:
        missing_dependency("libnbd has no Python binding here (`make tools` says how)")
    for number in (1, 511, 513, 4097, 33_000, 100_001):
        (tmp_path / f"{number}.bin").write_bytes(b"x" * number)
    (tmp_path / "many").mkdir()
    for number in range(2000):  # more than goes in one chunk
        (tmp_path / "many" / str(number)).write_bytes(b"x" * 1001)
    with open(tmp_path / "sparse", "wb") as file:
        file.write(b"start")
        file.truncate(1_000_001)
    words = [each.format(directory=tmp_path) for each in options]
    command = f"/usr/bin/python3 -c {shlex.quote(_CHUNKS)}"
    assert captive(tmp_path, command, *words) == "[]\n"


def test_nbdinfo_says_what_is_served(made):
    need_tool("nbdinfo")
    disk = made("sizes")
    report = json.loads(captive(disk.directory, 'nbdinfo --json "$uri"'))
    export = report["exports"][0]
    assert report["structured"]
    assert export["export-size"] == disk.image.stat().st_size
    assert export["is_read_only"]
    assert export["can_multi_conn"]
    assert "FAT32" in export["description"]
    listed = captive(disk.directory, 'nbdinfo --list --json "$uri"', "--export-name", "disk")
    assert json.loads(listed)["exports"][0]["export-name"] == "disk"


def test_guestfish_reads_the_served_disk(made, tmp_path):
    need_tool("guestfish")
    disk = made("colliding_names")
    path = tmp_path / "socket"
    with serving(disk.directory, "-U", str(path)):
        guestfish(
            [f"nbd://?socket={path}"],
            "mount-options ro,iocharset=utf8 /dev/sda1 /",
            f"tar-out / {tmp_path}/out.tar",
        )
    assert_same(tar_tree(tmp_path / "out.tar"), disk.expected)


class serving:
    """A server in the background, until the block ends."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.command = [*VFLOPPY, "serve", *options, str(directory)]

    def __enter__(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=ENVIRONMENT
        )
        assert self.process.stdout
        self.line = self.process.stdout.readline().decode()  # printed when it listens
        assert self.line.startswith("serving "), self.process.communicate()[1]
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(made, number, tmp_path):
    need_tool("nbdinfo")
    path = tmp_path / "socket"
    with serving(made("empty_things").directory, "-U", str(path)) as process:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect(str(path))
        client.recv(18)  # a process of its own serves this client now
        children = children_of(process.pid)
        process.send_signal(number)
        assert process.wait(30) == 0
        client.close()
    assert not path.exists()
    assert children
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_a_signal_ends_a_private_server_and_its_command(made):
    directory = made("empty_things").directory
    command = [*VFLOPPY, "serve", "-q", "-U", "-", str(directory), "--run"]
    process = subprocess.Popen(
        [*command, 'echo "$unixsocket" $$; exec sleep 600'],
        stdout=subprocess.PIPE, cwd="/", env=ENVIRONMENT,
    )  # fmt: skip
    with process:
        assert process.stdout
        path, command_id = process.stdout.readline().decode().split()
        others = [*children_of(process.pid), int(command_id)]
        assert len(others) > 1
        assert os.path.exists(path)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert not os.path.exists(os.path.dirname(path))
    assert not [each for each in others if Path(f"/proc/{each}").exists()]


def children_of(process_id: int) -> list[int]:
    for _ in range(100):
        text = Path(f"/proc/{process_id}/task/{process_id}/children").read_text()
        if text:
            return [int(word) for word in text.split()]
        time.sleep(0.05)
    return []


def test_it_says_what_it_serves_and_what_to_paste(made):
    with serving(made("special_files").directory, "-p", "0") as process:
        assert process.stdout
        qemu, guestfish_line = process.stdout.readline(), process.stdout.readline()
        assert b"qemu-system-x86_64" in qemu
        assert b"guestfish --ro --format=raw -a nbd://127.0.0.1:" in guestfish_line
    line = serving_line(made("special_files").directory)
    assert re.match(
        r"serving 1 file and 0 directories \(4 B\) as a FAT32 disk of 257\.5 MiB; "
        r"skipped 5 \(.*3 x symbolic link.*\) at nbd://127\.0\.0\.1:\d+/\n",
        line,
    ), line


def serving_line(directory: Path) -> str:
    server = serving(directory, "-p", "0")
    with server:
        return server.line


@pytest.mark.parametrize("where", [("-p", "0"), ("-U", "-"), ("-U", "-", "--run", "true")])
def test_the_directory_is_missing(where, tmp_path):
    done = vfloppy("serve", *where, tmp_path / "missing")
    assert "no such directory" in one_line(done, 1)


def test_the_port_is_in_use(made):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = vfloppy("serve", "-p", port, made("empty_things").directory)
    assert one_line(done, 1).count("another program listens there")


def test_the_socket_path_is_too_long(made, tmp_path):
    path = tmp_path / ("x" * 100) / "socket"
    done = vfloppy("serve", "-U", path, made("empty_things").directory)
    assert "107" in one_line(done, 1)


def test_the_socket_is_in_use(made, tmp_path):
    path = tmp_path / "socket"
    directory = made("empty_things").directory
    with serving(directory, "-U", str(path)):
        assert "running server" in one_line(vfloppy("serve", "-U", path, directory), 1)
        assert path.exists()
    path.write_text("mine")
    assert "not a socket" in one_line(vfloppy("serve", "-U", path, directory), 1)
    assert path.read_text() == "mine"


def one_line(done: subprocess.CompletedProcess[bytes], status: int) -> str:
    """The one line that a failure leaves on standard error."""
    text = done.stderr.decode()
    assert done.returncode == status, text
    assert text.startswith("vfloppy: ")
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize(("command", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("true", 0)])
def test_captive_mode_ends_with_the_status_of_its_command(made, command, status):
    done = vfloppy("serve", "-q", "-U", "-", made("empty_things").directory, "--run", command)
    assert done.returncode == status


def test_captive_mode_tells_its_command_where_the_disk_is(made):
    text = captive(
        made("empty_things").directory,
        'echo "$nbd"; echo "$uri"; echo "$unixsocket"; echo "$exportname"; env',
        "--export-name",
        "a disk",
    )
    nbd, uri, path, name, *environment = text.splitlines()
    assert nbd == uri == f"nbd+unix:///a%20disk?socket={path}"
    assert name == "a disk"
    assert {f"nbd={uri}", f"uri={uri}", f"unixsocket={path}"} <= set(environment)
    assert not os.path.exists(path)


def sparse_terabyte(root: Path) -> Path:
    """300 files of 3.5 GiB, of which the host has nothing."""
    root.mkdir()
    for number in range(300):
        with open(root / f"file-{number}.bin", "wb") as file:
            file.truncate(7 << 29)
    return root


def test_a_terabyte_takes_little_memory(tmp_path):
    root = sparse_terabyte(tmp_path / "tree")
    with serving(root, "-U", str(tmp_path / "socket")) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
    peak_kib = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    assert peak_kib < 60 * 1024


def test_no_file_is_opened_before_a_client_asks(tmp_path):
    need_tool("strace", "nbdinfo")
    root = sparse_terabyte(tmp_path / "tree")
    (root / "below").mkdir()
    (root / "below" / "small").write_text("small")
    log = tmp_path / "log"
    trace = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=open,openat,openat2"]
    command = [*trace, *VFLOPPY, "serve", "-q", "-U", "-", str(root), "--run", ""]
    for command[-1] in ("true", 'nbdinfo --size "$uri"'):  # a client that reads nothing
        assert run(*command).returncode == 0
        opened = [line for line in log.read_text().splitlines() if str(root) in line]
        assert opened, "the trace saw nothing"
        assert all("O_DIRECTORY" in line for line in opened), opened
    # And the trace would have shown it:
    command[-1] = f'nbdcopy "$uri" {tmp_path}/copy'
    (root / "below" / "small").write_text("small again")
    for number in range(300):
        (root / f"file-{number}.bin").unlink()
    assert run(*command).returncode == 0
    opened = [line for line in log.read_text().splitlines() if "small" in line]
    assert any("O_DIRECTORY" not in line for line in opened), opened
