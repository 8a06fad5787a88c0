"""`vfloppy serve --filter` and sources, with programs of others."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools import ENVIRONMENT, VFLOPPY, need_tool, output, run, vfloppy
from vfloppy.nbd.client import Client

KIB, MIB = 1 << 10, 1 << 20
PATIENCE_S = 60


@contextmanager
def serving(tmp_path: Path, *words: object, **options: object) -> Iterator[int]:
    """A server on the Unix socket `s`, once it has said so; the number of its process."""
    command = [*VFLOPPY, "serve", "-U", str(tmp_path / "s"), *map(str, words)]
    with open(tmp_path / "errors", "wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=ENVIRONMENT, cwd="/", **options
        )  # type: ignore[call-overload]
    try:
        first = process.stdout.readline()
        assert first.startswith(b"serving "), (tmp_path / "errors").read_text()
        yield process.pid
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stdout.close()


def info(uri: str) -> dict:
    need_tool("nbdinfo")
    return json.loads(output("nbdinfo", "--json", uri))["exports"][0]


def lines(path: Path) -> list[dict]:
    return [json.loads(each) for each in path.read_text().splitlines()]


def where(path: Path) -> str:
    return f"nbd+unix:///?socket={path}"


def io(uri: str, *commands: str) -> tuple[int, str]:
    """Exit status of qemu-io, 1 if one of the commands fails, and what it says."""
    need_tool("qemu-io")
    done = run("qemu-io", "-f", "raw", *(word for each in commands for word in ("-c", each)), uri)
    return done.returncode, (done.stdout + done.stderr).decode()


def memory_as_in_the_blog(tmp_path: Path, delay: str = "40ms") -> list[object]:
    """The options of the demonstration: a log, a delay, errors while a file is there."""
    return [
        "memory:64M",
        *("--filter", f"log:file={tmp_path}/requests.log"),
        *("--filter", f"delay:read={delay},write={delay}"),
        *("--filter", f"error:rate=100%,errno=EIO,file={tmp_path}/switch"),
    ]


def test_memory_with_a_log_a_delay_and_errors(tmp_path):
    uri = where(tmp_path / "s")
    with serving(tmp_path, *memory_as_in_the_blog(tmp_path)):
        status, said = io(uri, "write -P 7 1M 64k", "read -P 7 1M 64k", "discard 1M 4k", "flush")
        assert not status, said
        found = [(each["operation"], each["offset"], each["length"], each["error"])
                 for each in lines(tmp_path / "requests.log")]  # fmt: skip
        for wanted in (("read", MIB, 65536), ("trim", MIB, 4096)):
            assert (*wanted, None) in found
        writes = [each for each in found if each[0] == "write"]
        assert writes[0][1] == MIB
        assert sum(length for _, _, length, _ in writes) == 65536  # in parts, as it has come
        (tmp_path / "switch").touch()
        assert "Input/output error" in io(uri, "read 1M 64k")[1]
        (tmp_path / "switch").unlink()
        assert not io(uri, "read -P 7 1044k 32k")[0]
    assert {each["error"] for each in lines(tmp_path / "requests.log")} == {None, "EIO"}


def test_a_guest_partitions_memory_and_makes_a_file_system(tmp_path):
    need_tool("guestfish")
    uri = f"nbd://?socket={tmp_path}/s"
    with serving(tmp_path, *memory_as_in_the_blog(tmp_path, "1ms")):
        script = (
            "run\npart-disk /dev/sda gpt\nmkfs ext4 /dev/sda1\nmount /dev/sda1 /\n"
            "write /hello.txt hello\nmkdir /folder\numount /\nmount /dev/sda1 /\n"
            "cat /hello.txt\nfstrim /\n"
        )
        done = run("guestfish", "--rw", "--format=raw", "-a", uri, input=script.encode())
        assert not done.returncode, done.stderr.decode()
        assert done.stdout.strip() == b"hello"
        with Client(where(tmp_path / "s")) as client:
            assert client.read(512, 8) == b"EFI PART"
    operations = {each["operation"] for each in lines(tmp_path / "requests.log")}
    assert operations >= {"read", "write", "flush"}


def test_a_compressed_image_is_served_and_built(tmp_path):
    need_tool("nbdcopy", "xz")
    data = random.Random(5).randbytes(3 * MIB) + bytes(20 * MIB) + b"end" * 1000
    (tmp_path / "disk.img").write_bytes(data)
    run("xz", "--block-size=1MiB", "--keep", str(tmp_path / "disk.img"))
    with serving(tmp_path, tmp_path / "disk.img.xz"):
        output("nbdcopy", where(tmp_path / "s"), str(tmp_path / "copy"))
        found = info(where(tmp_path / "s"))
        assert found["description"].startswith("disk.img.xz, an image of ")
        assert found["is_read_only"]
    assert (tmp_path / "copy").read_bytes() == data
    run("xz", "--test", str(tmp_path / "disk.img.xz"))
    vfloppy("build", "-q", str(tmp_path / "disk.img.xz"), str(tmp_path / "built"))
    assert (tmp_path / "built").read_bytes() == data


def test_an_image_is_written_over_and_stays_as_it_is(tmp_path):
    data = random.Random(5).randbytes(MIB)
    (tmp_path / "disk.img").write_bytes(data)
    overlay = tmp_path / "overlay"
    for number in range(2):
        with serving(tmp_path, "--overlay", overlay, tmp_path / "disk.img"):
            wanted = "read -P 9 64k 4k" if number else "write -P 9 64k 4k"
            assert not io(where(tmp_path / "s"), wanted)[0]
    assert (tmp_path / "disk.img").read_bytes() == data


def test_a_script_from_standard_input_is_run_without_a_sandbox_only(tmp_path):
    script = tmp_path / "script"
    script.write_text(
        'case "$1" in get_size) echo 1M ;; pread) head -c $3 /dev/zero ;; *) exit 2 ;; esac\n'
    )
    with script.open() as given:
        done = vfloppy("serve", "-U", "-", "script:-", "--run", "true", stdin=given)
    assert done.returncode == 2
    assert b"--no-sandbox" in done.stderr
    need_tool("nbdcopy")
    with (
        script.open() as given,
        serving(tmp_path, "--no-sandbox", "script:-", stdin=given),
    ):
        output("nbdcopy", where(tmp_path / "s"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == bytes(MIB)


def test_several_sources_and_directories_are_exports_with_names_in_one_log(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large file").write_bytes(b"x" * 500_000)
    log = tmp_path / "tree" / "requests.log"  # which is no file of the disk, though it lies there
    words = (f"files={tmp_path}/tree", "blank=memory:1M", "--filter", f"log:file={log}")
    with serving(tmp_path, *words):
        for name in ("files", "blank"):
            uri = f"nbd+unix:///{name}?socket={tmp_path}/s"
            with Client(uri) as client:
                for start in range(0, min(client.size, 4 * MIB), 64 * KIB):
                    client.read(start, 64 * KIB)
        found = lines(log)
    assert {each["export"] for each in found} == {"files", "blank"}
    assert {name for each in found for name in each["files"]} == {"large file"}
    assert {each["connection"] for each in found if each["export"] == "files"} == {1}
    assert {each["connection"] for each in found if each["export"] == "blank"} == {2}


def test_what_is_readonly_lets_nobody_write(tmp_path):
    with (
        serving(tmp_path, "memory:1M", "--filter", "readonly"),
        Client(where(tmp_path / "s")) as client,
    ):
        assert client.read(0, 512) == bytes(512)
        assert info(where(tmp_path / "s"))["is_read_only"]


def test_a_filter_stays_around_a_disk_that_is_scanned_again(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "first").write_bytes(b"1" * 5000)
    log = tmp_path / "requests.log"
    with serving(tmp_path, tmp_path / "tree", "--filter", f"log:file={log}") as process:
        with Client(where(tmp_path / "s")) as client:
            client.read(0, 512)
        (tmp_path / "tree" / "second").write_bytes(b"2" * 5000)
        os.kill(process, signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_S
        while "second" not in {name for each in lines(log) for name in each["files"]}:
            assert time.monotonic() < deadline
            with Client(where(tmp_path / "s")) as client:
                for start in range(0, 4 * MIB, 64 * KIB):
                    client.read(start, 64 * KIB)
    found = lines(log)
    assert [each["id"] for each in found if each["connection"] == 1] == [1]
    assert len({each["connection"] for each in found}) >= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["memory:64M", "--filter", "log"], "--filter log: file=FILE is missing"),
        (["memory:64M", "--filter", "fog"], "--filter fog: there is no such filter"),
        (["memory:lots"], "memory:lots: 'lots' is no number of bytes; expected one like 64M"),
        (["memory:1M", "--label", "X"], "--label is of disks made of directories, and memory:1M"),
        (["memory:1M", "memory:2M"], "memory:1M"),
        (["script:/nowhere"], "script:/nowhere: /nowhere is not there"),
        (["{zip}"], "is compressed by gzip, and a raw image is expected"),
        (["{script}"], "starts programs, which a connection's sandbox keeps it from"),
        (["{script}"], "pass --no-sandbox"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(tmp_path, words, said):
    (tmp_path / "x.gz").write_bytes(b"\x1f\x8b" + bytes(1000))
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\ncase "$1" in get_size) echo 1M ;; *) exit 2 ;; esac\n')
    script.chmod(0o755)
    words = [each.format(zip=tmp_path / "x.gz", script=f"script:{script}") for each in words]
    done = vfloppy("serve", "-U", "-", *words, "--run", "true")
    assert done.returncode in {1, 2}
    assert said in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_a_connection_that_was_parked_goes_on_in_the_same_log(tmp_path):
    """A client that is silent has no process; its number, and the numbering, go on."""
    log = tmp_path / "requests.log"
    with (
        serving(tmp_path, "memory:1M", "--filter", f"log:file={log}") as process,
        Client(where(tmp_path / "s")) as client,
    ):
        client.read(0, 512)
        children = Path(f"/proc/{process}/task/{process}/children")
        deadline = time.monotonic() + PATIENCE_S
        while children.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        client.read(512, 512)
    assert [(each["connection"], each["id"]) for each in lines(log)] == [(1, 1), (1, 2)]


def test_reads_in_flight_are_delayed_together(tmp_path):
    """32 reads that come at once are answered in a few groups, and not each behind the other."""
    log = tmp_path / "requests.log"
    words = ("memory:1M", "--filter", f"log:file={log}", "--filter", "delay:read=20ms")
    with serving(tmp_path, *words), Client(where(tmp_path / "s")) as client:
        client.ask((number, number * 4096, 4096) for number in range(32))
        for _ in range(32):
            assert client.answer(dict.fromkeys(range(32), 4096))[1] == bytes(4096)
    found = lines(log)
    assert len(found) == 32
    assert len({each["time"] for each in found}) <= 4


def certificates(folder: Path) -> None:
    """An authority, and what it has signed for a server."""
    need_tool("openssl")
    folder.mkdir()
    (folder / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    request = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    output("openssl", *request, "-subj", "/CN=ca", "-x509", "-keyout", "ca-key.pem",
           "-out", "ca-cert.pem", cwd=folder)  # fmt: skip
    output("openssl", *request, "-subj", "/CN=localhost", "-keyout", "server-key.pem",
           "-out", "request", cwd=folder)  # fmt: skip
    output("openssl", "x509", "-req", "-in", "request", "-CA", "ca-cert.pem", "-CAkey",
           "ca-key.pem", "-CAcreateserial", "-out", "server-cert.pem", "-extfile", "extensions",
           cwd=folder)  # fmt: skip


def test_filters_stand_around_connections_by_tls(tmp_path):
    need_tool("nbdcopy")
    certificates(tmp_path / "pki")
    data = random.Random(5).randbytes(MIB)
    (tmp_path / "disk.img").write_bytes(data)
    tls = ("--tls", "require", "--tls-cert-dir", tmp_path / "pki")
    log = tmp_path / "requests.log"
    with serving(tmp_path, *tls, tmp_path / "disk.img", "--filter", f"log:file={log}"):
        uri = f"nbds+unix:///?socket={tmp_path}/s&tls-certificates={tmp_path}/pki"
        uri += "&tls-hostname=localhost"
        output("nbdcopy", uri, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == data
    assert sum(each["length"] for each in lines(log) if each["operation"] == "read") == MIB
