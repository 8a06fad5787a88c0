"""`vfloppy.serve` and `vfloppy.serve_forever`: what they serve, what they refuse, how they end."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import vfloppy
from tools import ENVIRONMENT
from vfloppy.export import Features
from vfloppy.nbd.client import Client

SERVER = """
import sys, vfloppy

def ready(uri):
    print(uri, flush=True)

disks = {word: vfloppy.open_disk(word) for word in sys.argv[1:]}
vfloppy.serve_forever(disks, unix="socket", on_ready=ready)
print("ended", flush=True)
"""


@pytest.fixture
def server(tmp_path, tree):
    (tmp_path / "other").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, "tree", "other"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_it_serves_until_a_signal_and_returns(server, tmp_path, tree):
    uri = server.stdout.readline().strip()
    assert uri == f"nbd+unix:///tree?socket={tmp_path}/socket"
    disk = vfloppy.open_disk(tree)
    at = f"?socket={tmp_path}/socket"
    with Client(f"nbd+unix:///tree{at}") as one, Client(f"nbd+unix:///other{at}") as two:
        assert one.size == disk.size
        assert one.read(0, 1 << 20) == disk.read(0, 1 << 20)
        assert two.read(510, 2) == b"\x55\xaa"
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=60)
    assert (out, err, server.returncode) == ("ended\n", "", 0)
    assert not (tmp_path / "socket").exists()


def test_disks_are_scanned_again_when_somebody_comes(server, tmp_path, tree):
    server.stdout.readline()
    uri = f"nbd+unix:///tree?socket={tmp_path}/socket"
    with Client(uri) as client:
        before = client.read(0, 1 << 20)
    (tree / "new").write_text("new")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with Client(uri) as client:
            if client.read(0, 1 << 20) != before:
                break
        time.sleep(0.1)
    else:
        pytest.fail("the disk is still the old one")
    assert vfloppy.open_disk(tree).verify(uri) == []


def test_a_process_with_threads_is_told_so(tree):
    disk = vfloppy.open_disk(tree)
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with pytest.raises(vfloppy.VfloppyError, match=r"vfloppy\.serve works beside threads"):
            vfloppy.serve_forever(disk)
    finally:
        release.set()
        thread.join()


class OfNetwork(vfloppy.Export):
    @property
    def size(self):
        return 512

    @property
    def features(self):
        return Features(network=True)

    def open(self, alerts=None):
        raise NotImplementedError


@pytest.mark.parametrize(
    "serving", [vfloppy.serve, vfloppy.serve_forever], ids=["serve", "for ever"]
)
def test_what_cannot_be_served_is_refused_before_anybody_listens(tree, tmp_path, serving):
    disk = vfloppy.open_disk(tree)
    path = tmp_path / "socket"
    for what, text in [
        ({}, "nothing to serve"),
        ({"a\0b": disk}, "NUL"),
        ({"\udc80": disk}, "no UTF-8"),
        ({"x" * 5000: disk}, "5000 bytes"),
    ]:
        with pytest.raises(vfloppy.OptionError, match=text):
            serving(what, unix=path)
    if serving is vfloppy.serve_forever:
        with pytest.raises(vfloppy.OptionError, match="sandbox=False"):
            serving(OfNetwork(), unix=path)
        with pytest.raises(vfloppy.VfloppyError, match="default='x'"):
            serving(disk, unix=path, default="x")
    assert not path.exists()


def test_a_configuration_file_gives_disks(tree, tmp_path):
    config = tmp_path / "exports.toml"
    config.write_text(
        f'[export.one]\ndirectory = "{tree}"\nlabel = "ONE"\n'
        f'[export.two]\ndirectories = ["{tree}"]\nformat = "iso"\nno-joliet = true\n'
    )
    disks = vfloppy.open_config(config)
    assert {name: disk.title for name, disk in disks.items()} == {"one": "FAT32", "two": "ISO 9660"}
    assert disks["one"].read(0, 4096) == vfloppy.open_disk(tree, label="ONE").read(0, 4096)
    config.write_text('[export.one]\ndirectory = "x"\nno-such = 1\n')
    with pytest.raises(vfloppy.OptionError, match=r"^config='.*': export.one: there is no option"):
        vfloppy.open_config(config)


class Failing(vfloppy.Export):
    """Reads fail as nobody foresaw, from byte 4096 on."""

    size = 8192

    def open(self, alerts=None):
        return FailingReader()


class FailingReader(vfloppy.Reader):
    size = 8192

    def pieces(self, offset, length):
        if offset >= 4096:
            raise ZeroDivisionError("nobody foresaw it")
        return [b"x" * length]


of_threads = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"  # see the next test
)


@of_threads
def test_a_crash_in_one_connection_ends_no_other():
    with vfloppy.serve(Failing()) as server:
        with Client(server.uri) as good, Client(server.uri) as bad:
            assert good.read(0, 4) == b"xxxx"
            with pytest.raises(vfloppy.VfloppyError):
                bad.read(4096, 512)
            assert good.read(0, 4) == b"xxxx"
        with Client(server.uri) as late:
            assert late.read(512, 4) == b"xxxx"


@of_threads
def test_a_crash_in_one_connection_is_logged_and_not_printed(caplog, monkeypatch):
    printed = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    with (
        vfloppy.serve(Failing()) as server,
        Client(server.uri) as bad,
        pytest.raises(vfloppy.VfloppyError),
    ):
        bad.read(4096, 512)
    assert not printed
    assert "ZeroDivisionError" in caplog.text


def test_close_ends_blocked_clients_and_may_be_called_from_any_thread(tree):
    server = vfloppy.serve(vfloppy.open_disk(tree))
    path = server.uri.partition("socket=")[2]
    silent = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for each in silent:
        each.connect(path)
    with Client(server.uri) as client:
        client.read(0, 512)
        deaf = Client(server.uri)
        deaf.ask([(n, 0, 1 << 20) for n in range(64)])  # and reads no answer
        closers = [threading.Thread(target=server.close) for _ in range(3)]
        for each in closers:
            each.start()
        for each in closers:
            each.join(60)
            assert not each.is_alive()
        with pytest.raises(vfloppy.VfloppyError):
            client.read(0, 512)
        deaf.close()
    for each in silent:
        waiting = select.poll()
        waiting.register(each, select.POLLIN)
        assert waiting.poll(60_000)
        each.close()
    assert not os.path.exists(path)
