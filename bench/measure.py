"""Servers by name, and what is measured of them: rates, and the time to the first byte."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

FIO_SECONDS: float = 3
FIO_RAMP_SECONDS: float = 1
START_SECONDS = 600
METADATA_BYTES = 90_000_000 >> 18 << 18


class Server(NamedTuple):
    """A program that serves a directory on a Unix socket."""

    program: str
    command: tuple[str, ...]  # {socket} and {directory} stand for what they say


SERVERS = {
    "vfloppy": Server(
        sys.executable,
        (sys.executable, "-m", "vfloppy", "serve", "-q", "-U", "{socket}", "{directory}"),
    ),
    "vfloppy iso": Server(
        sys.executable,
        (
            *(sys.executable, "-m", "vfloppy", "serve", "-q", "--format", "iso"),
            *("-U", "{socket}", "{directory}"),
        ),
    ),
    "nbdkit floppy": Server("nbdkit", ("nbdkit", "-f", "-U", "{socket}", "floppy", "{directory}")),
    "nbdkit iso": Server(
        "nbdkit", ("nbdkit", "-f", "-U", "{socket}", "iso", "{directory}", "params=-quiet -R -J")
    ),
    # The same disk, built before: what it costs that ours is computed.
    "nbdkit file": Server("nbdkit", ("nbdkit", "-f", "-r", "-U", "{socket}", "file", "{image}")),
    "qemu-nbd": Server(
        "qemu-nbd",
        ("qemu-nbd", "-r", "-t", "-e", "8", "-f", "raw", "-k", "{socket}", "{image}"),
    ),
    # What a server costs that does nothing but read and send: in the style of reply that the client
    # asks for, and in one that costs it less.
    "C floor": Server("cc", ("{floor}", "{socket}", "{image}")),
    "C floor, simple": Server("cc", ("{floor}", "{socket}", "{image}", "simple")),
}

# Programs that make an image. All have what they wrote on the disk when the time is taken.
BUILDERS = {
    "vfloppy": Server(
        sys.executable, (sys.executable, "-m", "vfloppy", "build", "-q", "{directory}", "{out}.img")
    ),
    "vfloppy iso": Server(
        sys.executable, (sys.executable, "-m", "vfloppy", "build", "-q", "{directory}", "{out}.iso")
    ),
    "xorriso": Server(
        "xorriso",
        ("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o", "{out}", "{directory}"),
    ),
    "genisoimage": Server(
        "genisoimage", ("genisoimage", "-quiet", "-R", "-J", "-o", "{out}", "{directory}")
    ),
    "cp --reflink=never": Server("cp", ("cp", "-r", "--reflink=never", "{directory}", "{out}")),
    "cp -r": Server("cp", ("cp", "-r", "{directory}", "{out}")),
    "mkfs.fat, mcopy": Server(
        "mcopy",
        (
            *("sh", "-c"),
            "truncate -s 2G {out} && mkfs.fat -F 32 {out} && mcopy -s -i {out} {directory}/* ::",
        ),
    ),
}


class Running(NamedTuple):
    """A server that answers."""

    process: int
    path: str
    uri: str
    size: int
    seconds_to_first_byte: float


@contextmanager
def serving(name: str, directory: Path, *options: str) -> Iterator[Running]:
    """Starts a server, waits for its first byte, and ends it afterwards."""
    with tempfile.TemporaryDirectory(prefix="vfloppy-bench-") as folder:
        path = os.path.join(folder, "socket")
        words = {"socket": path, "directory": str(directory), "image": f"{directory}.img"}
        wanted = " ".join(SERVERS[name].command)
        if "{image}" in wanted and not os.path.exists(words["image"]):
            run_builder("vfloppy", directory, str(directory))
        if "{floor}" in wanted:
            words["floor"] = f"{directory}.floor"
            source = str(Path(__file__).with_name("floor.c"))
            subprocess.run(["cc", "-O2", "-o", words["floor"], source], check=True, cwd="/")
        command = [*(word.format(**words) for word in SERVERS[name].command), *options]
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder)
        try:
            size = _read_first_sector(process, path, started)
            took = time.perf_counter() - started
            yield Running(process.pid, path, f"nbd+unix:///?socket={path}", size, took)
        finally:
            process.terminate()
            process.wait(60)


def first_byte(server: str, directory: Path) -> float:
    """Seconds from starting a server to having read the first sector."""
    with serving(server, directory) as running:
        return running.seconds_to_first_byte


def memory_at_first_byte(server: str, directory: Path) -> float:
    """The most memory that a server has had by then, in MB."""
    with serving(server, directory) as running:
        return peak_mb(running.process)


def peak_mb(process: int) -> float:
    """The most memory that a process has had, in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def metadata(server: str, directory: Path) -> float:
    """MB a second of the first 90 MB of a disk, by one connection with one read in flight."""
    with serving(server, directory) as running:
        return read_front(running, METADATA_BYTES)


def read_front(running: Running, size: int, length: int = 256 << 10) -> float:
    """MB a second of the start of a disk, by a new connection with one read in flight."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(running.path)
        converse(client)
        started = time.perf_counter()
        for offset in range(0, size, length):
            client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, offset, length))
            _receive(client, 16 + length)
        return size / (time.perf_counter() - started) / 1e6


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def build(builder: str, directory: Path) -> float:
    """Seconds that a program takes to make an image, until it is on the disk."""
    with tempfile.TemporaryDirectory(prefix="out-", dir=directory.parent) as folder:
        started = time.perf_counter()
        run_builder(builder, directory, f"{folder}/out")
        subprocess.run(["sync", "-f", folder], check=True)
        return time.perf_counter() - started


def run_builder(builder: str, directory: Path, out: str) -> None:
    """Makes an image beside what it is named after."""
    command = [word.format(directory=directory, out=out) for word in BUILDERS[builder].command]
    subprocess.run(command, check=True, cwd="/", capture_output=True)


def random_reads(running: Running, block: str, depth: int, jobs: int) -> float:
    """Random reads of one size a second, by fio."""
    done = subprocess.run(
        [
            "fio",
            "--name=bench",
            "--ioengine=nbd",
            f"--uri={running.uri}",
            "--rw=randread",
            f"--bs={block}",
            f"--iodepth={depth}",
            f"--numjobs={jobs}",
            "--group_reporting",
            "--time_based",
            f"--runtime={int(FIO_SECONDS * 1000)}ms",
            f"--ramp_time={int(FIO_RAMP_SECONDS * 1000)}ms",
            "--output-format=json",
        ],
        capture_output=True,
        check=True,
        cwd="/",
    )
    report = json.loads(done.stdout[done.stdout.index(b"{") :])
    return float(report["jobs"][0]["read"]["iops"])


def copy_to_null(running: Running) -> float:
    """Bytes of the disk a microsecond, by nbdcopy with its usual connections."""
    started = time.perf_counter()
    subprocess.run(["nbdcopy", running.uri, "null:"], check=True, cwd="/")
    return running.size / (time.perf_counter() - started) / 1e6


def _read_first_sector(process: subprocess.Popen[bytes], path: str, started: float) -> int:
    """Connects as soon as it can be done and reads 512 bytes; returns the export's size."""
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                size = converse(client)
                client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 2, 0, 0))
                return size
        except (FileNotFoundError, ConnectionRefusedError):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise SystemExit(f"{process.args!r} does not serve") from None
            time.sleep(0.001)


def converse(client: socket.socket) -> int:
    """The oldest of handshakes that still holds, and one read."""
    _receive(client, 18)
    client.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0))
    size, _flags = struct.unpack(">QH", _receive(client, 10))
    client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 512))
    _receive(client, 16 + 512)
    return int(size)


def _receive(client: socket.socket, length: int) -> bytes:
    data = client.recv(length, socket.MSG_WAITALL)
    if len(data) != length:
        raise SystemExit(f"the server sent {len(data)} bytes of {length}")
    return data
