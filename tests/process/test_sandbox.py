"""What a connection's process can't do any more: tried from the inside, by an export."""

from __future__ import annotations

import json
import os
import socket
import sys

import pytest
from exports import SelfReading
from fakes import Client
from tools import output
from vfloppy.nbd import Sandbox, listen_unix
from vfloppy.process import sandbox

landlock = pytest.mark.skipif(
    not sandbox._landlock_abi() and "CI" not in os.environ, reason="this kernel has no Landlock"
)


class Attempts(SelfReading):
    """An export whose contents are what became of the attempts, so that a client can read it."""

    size = 4096

    def __init__(self, attempts):
        self.attempts = attempts

    def pieces(self, offset, length):
        results = {}
        for name, attempt in self.attempts.items():
            try:
                attempt()
                results[name] = "done"
            except OSError as error:
                results[name] = type(error).__name__
        yield json.dumps(results).encode().ljust(self.size)[offset : offset + length]

    def extents(self, offset, length):
        raise NotImplementedError


@pytest.fixture
def attempts(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (root / "link").symlink_to(tmp_path / "secret")
    port = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("")
    abstract.listen()

    def tcp(call, address):  # numbers, and no resolver, which would fail for its own files
        with socket.socket() as own:
            call(own, address)

    def connect_abstract():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(abstract.getsockname())

    yield (
        root,
        {
            "read inside": (root / "file").read_text,
            "list inside": lambda: os.listdir(root),
            "read outside": (tmp_path / "secret").read_text,
            "read by a link": (root / "link").read_text,
            "read by the root of the process": lambda: open("/proc/self/root/etc/passwd").close(),
            "read the environment": lambda: open("/proc/self/environ").close(),
            "list outside": lambda: os.listdir(tmp_path),
            "write inside": lambda: (root / "file").write_text("changed"),
            "truncate": lambda: os.truncate(root / "file", 0),
            "create": (root / "new").touch,
            "remove": (root / "file").unlink,
            "rename": lambda: os.rename(root / "file", root / "other"),
            "run": lambda: os.execv("/bin/true", ["true"]),
            "connect": lambda: tcp(socket.socket.connect, port.getsockname()),
            "listen": lambda: tcp(socket.socket.bind, ("127.0.0.1", 0)),
            "connect to an abstract socket": connect_abstract,
            "signal the server": lambda: os.kill(os.getppid(), 0),
        },
    )
    port.close()
    abstract.close()


def read(serve, tmp_path, attempts, **options):
    listener = listen_unix(tmp_path / "socket")
    serve([listener], {"": Attempts(attempts)}, **options)
    with Client(listener.path) as client:
        client.go()
        return json.loads(client.read(0, Attempts.size))


@landlock
def test_from_inside_a_connection_there_is_nothing_but_reading_beneath_the_root(
    serve, tmp_path, attempts
):
    root, tries = attempts
    results = read(serve, tmp_path, tries, sandbox=Sandbox([root]))
    abi = sandbox._landlock_abi()
    allowed = {"read inside", "list inside"}
    unknown = {"connect", "listen"} if abi < 4 else set()
    unknown |= {"connect to an abstract socket", "signal the server"} if abi < 6 else set()
    unknown |= {"truncate"} if abi < 3 else set()
    assert {name for name, result in results.items() if result == "done"} - unknown == allowed
    failed = {result for name, result in results.items() if result != "done"}
    assert failed == {"PermissionError"}
    assert (root / "file").read_text() == "inside"


def test_without_a_sandbox_the_attempts_succeed(serve, tmp_path, attempts):
    """So the test above fails if nothing confines."""
    tries = {name: attempt for name, attempt in attempts[1].items() if name != "run"}
    for name in ("write inside", "truncate", "remove", "rename"):
        del tries[name]  # in each other's way once they succeed
    assert set(read(serve, tmp_path, tries).values()) == {"done"}


@pytest.mark.parametrize("abi", [0, 1, 2, 3, 4, 5, 6])
def test_an_older_kernel_s_rights_are_no_more_than_it_knows(
    serve, tmp_path, attempts, monkeypatch, abi
):
    if abi > sandbox._landlock_abi():
        pytest.skip(f"this kernel's Landlock has no ABI {abi}")
    monkeypatch.setattr(sandbox, "_landlock_abi", lambda: abi)
    root, tries = attempts
    few = {name: tries[name] for name in ("read inside", "read outside", "connect")}
    confined = Sandbox([root])
    results = read(serve, tmp_path, few, sandbox=confined)
    assert results["read inside"] == "done"
    assert results["read outside"] == ("PermissionError" if abi else "done")
    assert results["connect"] == ("PermissionError" if abi >= 4 else "done")
    assert ("no Landlock" in confined.summary) == (not abi)
    assert ("no TCP" in confined.summary) == (abi >= 4)


def test_a_sandbox_that_cannot_be_entered_serves_nobody(serve, tmp_path, attempts):
    """A full table of descriptors, a filter above us: better no answer than an open door."""
    confined = Sandbox([attempts[0]])

    def refuse():
        raise OSError(1, "the sandbox can't be entered: Operation not permitted")

    confined.enter = refuse
    listener = listen_unix(tmp_path / "socket")
    running = serve([listener], {"": Attempts({})}, sandbox=confined)
    with Client(listener.path) as client:
        assert client.socket.recv(1) == b""
    running.stop()
    assert "--no-sandbox" in running.log.read_text()


IS_LOCAL = """
import os, sys
from vfloppy.nbd import Sandbox
from vfloppy.synth.host.leases import has_leases
descriptor = os.open(sys.argv[1], os.O_RDONLY)
before = has_leases(descriptor) if sys.argv[2] == "True" else None
Sandbox([os.path.dirname(sys.argv[1])]).enter()
print(before, has_leases(descriptor))
"""


def test_leases_find_out_inside_where_a_file_is(tmp_path):
    """In a process that has loaded nothing for it before: no file of Python's can be read there."""
    (tmp_path / "file").touch()
    outside, _ = found(tmp_path, True)
    _, inside = found(tmp_path, False)
    assert inside == outside


def found(tmp_path, before):
    return output(sys.executable, "-c", IS_LOCAL, str(tmp_path / "file"), str(before)).split()
