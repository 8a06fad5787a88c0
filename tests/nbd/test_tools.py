"""The clients that people use, against a fake export of every kind of piece."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from compare import assert_same
from fakes import FakeExport, FakeFiles, pattern
from tools import missing_dependency, need_tool, output, run
from vfloppy.export import Hole
from vfloppy.nbd import listen_tcp, listen_unix
from vfloppy.synth.host.batch import HostSlice

MIB = 1 << 20


@pytest.fixture
def export(tmp_path):
    files = FakeFiles(tmp_path, [pattern(5 * MIB, 1), pattern(777, 2)])
    return FakeExport(
        [
            pattern(MIB),
            HostSlice(files, 0, 0, 5 * MIB),
            HostSlice(files, 1, 0, 777),
            Hole(MIB - 777),
            Hole(40 * MIB),
            pattern(512, 3),
        ]
    )


@pytest.fixture(params=["unix", "tcp"])
def uri(request, serve, export, tmp_path):
    unix = request.param == "unix"
    listener = listen_unix(tmp_path / "a socket") if unix else listen_tcp("127.0.0.1", 0)
    return serve([listener], {"disk": export}, {"disk": "what it is"}).server.uri()


def test_nbdinfo(uri, export):
    need_tool("nbdinfo")
    for listing in ([], ["--list"]):
        told = json.loads(output("nbdinfo", "--json", *listing, uri))
        (disk,) = told["exports"]
        assert (disk["export-name"], disk["description"]) == ("disk", "what it is")
        assert disk["export-size"] == export.size
        assert disk["is_read_only"]
        assert disk["can_df"]
        assert disk["can_multi_conn"]
        assert disk["block_size_maximum"] == 32 * MIB
        assert disk["contexts"] == ["base:allocation", "x-vfloppy:kind", "x-vfloppy:file"]


def test_nbdinfo_map(uri, export):
    need_tool("nbdinfo")
    extents = json.loads(output("nbdinfo", "--map", "--json", uri))
    data = 6 * MIB + 777
    assert [(each["offset"], each["length"], each["type"]) for each in extents] == [
        (0, data, 0),
        (data, 41 * MIB - 777, 3),
        (47 * MIB, 512, 0),
    ]


@pytest.mark.parametrize("connections", ["1", "4"])
def test_nbdcopy(uri, export, tmp_path, connections):
    need_tool("nbdcopy")
    output("nbdcopy", f"--connections={connections}", uri, tmp_path / "copy")
    assert_same((tmp_path / "copy").read_bytes(), export.data)


def test_qemu_img(uri, export, tmp_path):
    need_tool("qemu-img")
    (tmp_path / "raw").write_bytes(export.data)
    said = output("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, tmp_path / "raw")
    assert "identical" in said
    extents = json.loads(output("qemu-img", "map", "--output=json", "-f", "raw", uri))
    assert next(each["start"] for each in extents if each["zero"]) >= 6 * MIB


SHELL = """
import nbd
assert h.get_structured_replies_negotiated()
size = h.get_size()
for offset, length in (0, 1000), (2**20 - 5, 10), (6 * 2**20 + 700, 100), (size - 512, 512):
    seen = []
    h.pread_structured(length, offset, lambda data, at, kind, err: seen.append((at, kind)))
    h.pread_structured(
        length, offset, lambda data, at, kind, err: seen.append((at, kind)), nbd.CMD_FLAG_DF
    )
    assert seen[-1] == (offset, nbd.READ_DATA), seen
    print(bytes(h.pread(length, offset)).hex())
h.set_strict_mode(0)
for command in (
    lambda: h.pwrite(b"x" * 1000, 0), lambda: h.trim(512, 0), lambda: h.zero(512, 0),
    lambda: h.pread(1, size), lambda: h.pread(10, size - 5),
):
    try:
        command()
        print("fine")
    except nbd.Error as error:
        print(error.errno)
h.flush()
h.cache(1000, 0)
print(bytes(h.pread(4, 0)).hex())
"""


def test_nbdsh(uri, export):
    need_tool("nbdsh")
    if run("/usr/bin/python3", "-c", "import nbd").returncode:
        missing_dependency("the Python module of libnbd is not installed")
    lines = output("/usr/bin/python3", "-m", "nbd", "-u", uri, "-c", SHELL).splitlines()
    data = export.data
    for line, (offset, length) in zip(
        lines,
        [(0, 1000), (MIB - 5, 10), (6 * MIB + 700, 100), (export.size - 512, 512)],
        strict=False,
    ):
        assert line == data[offset : offset + length].hex()
    assert lines[4:] == ["EPERM", "EPERM", "EPERM", "EINVAL", "EINVAL", data[:4].hex()]


def test_nbdinfo_maps_our_own_contexts(uri, export):
    need_tool("nbdinfo")
    for context in ("x-vfloppy:kind", "x-vfloppy:file"):
        extents = json.loads(output("nbdinfo", f"--map={context}", "--json", uri))
        assert sum(each["length"] for each in extents) == export.size


def test_qemu_io(uri, export):
    need_tool("qemu-io")
    reads = (("-P 0", 7 * MIB, 65_536), ("", 0, MIB), ("", 6 * MIB, 4096))
    commands = [word for _, at, length in reads for word in ("-c", f"read {at} {length}")]
    said = output("qemu-io", "-r", "-f", "raw", "-c", f"read -P 0 {8 * MIB} 1M", *commands, uri)
    assert said.count("ops;") == 4
    assert "Pattern verification failed" not in said
    failed = run("qemu-io", "-r", "-f", "raw", "-c", f"read -P 7 {8 * MIB} 1M", uri)
    assert b"Pattern verification failed" in failed.stdout


def test_fio_verifies_nothing_but_reads_all(uri, export):
    need_tool("fio")
    done = output(
        "fio", "--name=all", "--ioengine=nbd", f"--uri={uri}", "--rw=read", "--bs=64k",
        "--iodepth=16", "--output-format=json", cwd="/tmp",
    )  # fmt: skip
    report = json.loads(done[done.index("{") :])
    assert report["jobs"][0]["error"] == 0
    assert report["jobs"][0]["read"]["io_bytes"] >= export.size // 65_536 * 65_536


def test_nbdfuse(uri, export, tmp_path):
    need_tool("nbdfuse", "fusermount3")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this machine has no /dev/fuse")
    mount = tmp_path / "mount"
    mount.mkdir()
    with subprocess.Popen(["nbdfuse", "--readonly", str(mount), uri], cwd="/") as process:
        try:
            deadline = time.monotonic() + 20
            while not (mount / "nbd").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert_same((mount / "nbd").read_bytes(), export.data)
        finally:
            run("fusermount3", "-u", str(mount))
            process.wait(20)


def test_nbd_client(serve, export, tmp_path):
    """The kernel's own client, where there is one."""
    if run("modprobe", "nbd").returncode and not os.path.exists("/sys/module/nbd"):
        pytest.skip("this kernel has no nbd module")
    need_tool("nbd-client")
    path = str(tmp_path / "socket")
    serve([listen_unix(path)], {"disk": export})
    output("nbd-client", "-unix", path, "/dev/nbd0", "-N", "disk", "-R")
    try:
        with open("/dev/nbd0", "rb") as device:
            assert_same(device.read(), export.data)
    finally:
        output("nbd-client", "-d", "/dev/nbd0")
