"""Captive mode: what the command sees, and what becomes of its end and of the server's."""

from __future__ import annotations

import os
import signal

import pytest
from fakes import Client, FakeExport, pattern
from vfloppy.nbd import (
    CaptiveError,
    Server,
    listen_private,
    listen_tcp,
    listen_unix,
)
from vfloppy.nbd.uris import uri_of
from vfloppy.process import captive
from vfloppy.process import children as processes

EXPORT = FakeExport([pattern(100_000)])


@pytest.fixture
def run(tmp_path):
    """Runs a command; what it wrote to the file `out` in its directory, and its status."""

    def run(command, listener=None, name="disk"):
        out = tmp_path / "out"
        server = Server([listener or listen_private()], {name: EXPORT})
        status = server.run_captive(f"exec >{out}\n{command}")
        return status, out.read_text()

    return run


def test_the_variables_of_a_unix_socket(run, tmp_path):
    listener = listen_unix(tmp_path / "it's a $(socket)")
    status, text = run(
        'printf "%s\\n" "$nbd" "$uri" "$unixsocket" "$port" "$exportname" "$tls"\n'
        'test -S "$unixsocket"',
        listener,
        "my 'disk'",
    )
    uri = uri_of(listener, "my 'disk'")
    assert text.split("\n") == [uri, uri, listener.path, "", "my 'disk'", "", ""]
    assert status == 0
    assert not os.path.lexists(listener.path)


def test_the_variables_of_a_port(run):
    listener = listen_tcp("127.0.0.1", 0)
    _, text = run('echo "$uri" "$unixsocket" "$port"', listener)
    assert text == f"nbd://127.0.0.1:{listener.port}/disk  {listener.port}\n"


def test_a_program_that_the_command_starts_has_the_variables(run, tmp_path, monkeypatch):
    monkeypatch.setenv("port", "1")  # the caller's must not be taken for ours
    program = tmp_path / "program"
    words = '"$nbd" "$uri" "$unixsocket" "$port." "$exportname" "$tls."'
    program.write_text(f"#!/bin/sh\necho {words}\n")
    program.chmod(0o755)
    listener = listen_unix(tmp_path / "socket")
    _, text = run(str(program), listener)
    uri = uri_of(listener, "disk")
    assert text == f"{uri} {uri} {listener.path} . disk .\n"


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", 0), ("false", 1), ("exit 42", 42), ("kill -9 $$", 137), ("kill -15 $$", 143)],
)
def test_the_exit_status_is_the_command_s(run, command, status):
    assert run(command)[0] == status


def test_nothing_is_left_behind(tmp_path):
    listener = listen_private()
    Server([listener], {"": EXPORT}).run_captive("true")
    assert not os.path.exists(os.path.dirname(listener.path))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def command_that_kills(monkeypatch, tmp_path):
    """Runs captive with a command that ends the server by a signal and sees it gone."""

    def run_captive(number, status):
        listener = listen_unix(tmp_path / "socket")
        forked = []
        fork = processes.fork

        def remembering_fork(work, **options):
            forked.append(fork(work, **options))
            return forked[-1]

        def command(_command, _variables):
            with Client(listener.path) as client:
                client.go()  # from here on it handles signals
            os.kill(forked[0], number)
            os.waitid(os.P_PID, forked[0], os.WEXITED | os.WNOWAIT)
            return status

        monkeypatch.setattr(captive.processes, "fork", remembering_fork)
        monkeypatch.setattr(captive, "_run_shell", command)
        Server([listener], {"": EXPORT}).run_captive("")

    return run_captive


@pytest.mark.parametrize("status", [0, 3])
def test_a_server_that_died_is_an_error(command_that_kills, tmp_path, status):
    with pytest.raises(CaptiveError, match="was ended by SIGKILL before the command did"):
        command_that_kills(signal.SIGKILL, status)
    assert not os.path.lexists(tmp_path / "socket")


def test_a_server_that_was_stopped_early_is_an_error(command_that_kills):
    with pytest.raises(CaptiveError, match="ended with status 0 before the command did"):
        command_that_kills(signal.SIGTERM, 0)


def test_a_command_may_end_before_the_server_has_begun(monkeypatch):
    monkeypatch.setattr(captive, "_run_shell", lambda *_: 5)
    for _ in range(20):
        assert Server([listen_private()], {"": EXPORT}).run_captive("") == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_to_the_command(tmp_path, number):
    ready_read, ready_write = os.pipe()
    listener = listen_unix(tmp_path / "socket")
    os.set_inheritable(ready_write, True)

    def serve() -> int:
        server = Server([listener], {"": EXPORT})
        return server.run_captive(f"echo >/proc/$PPID/fd/{ready_write}; exec sleep 60")

    process_id = processes.fork(serve)
    os.close(ready_write)
    listener.forget()
    assert os.read(ready_read, 1) == b"\n"
    os.kill(process_id, number)
    assert os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1]) == 128 + number
    assert not os.path.lexists(listener.path)


def test_the_server_ends_with_its_starter(tmp_path):
    ready_read, ready_write = os.pipe()
    listener = listen_unix(tmp_path / "socket")

    def serve() -> int:
        server = Server([listener], {"": EXPORT})
        return server.run_captive(f"echo >/proc/$PPID/fd/{ready_write}; exec sleep 5")

    process_id = processes.fork(serve)
    os.close(ready_write)
    listener.forget()
    assert os.read(ready_read, 1) == b"\n"
    with Client(listener.path) as client:
        client.go()
        os.kill(process_id, signal.SIGKILL)
        os.waitpid(process_id, 0)
        assert client.at_end()  # the connection's process was ended, too
