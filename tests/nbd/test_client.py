"""The plain client against servers of ours, of nbdkit, and against nonsense."""

from __future__ import annotations

import os
import socket
import sys
import threading

import pytest
from compare import assert_same
from fakes import FakeExport, pattern
from tools import need_tool, output
from vfloppy.nbd import listen_tcp, listen_unix
from vfloppy.nbd.client import Client, ExportFile, is_uri
from vfloppy.nbd.errors import ClientError
from vfloppy.nbd.uris import uri_of

DATA = pattern(3_000_000, 4)


@pytest.fixture(params=["unix", "tcp"])
def uri(request, serve, tmp_path):
    if request.param == "unix":
        listener = listen_unix(tmp_path / "a socket")
    else:
        listener = listen_tcp("localhost", 0)
    serve([listener], {"näme": FakeExport([DATA])})
    return uri_of(listener, "näme")


def test_what_is_read_is_what_is_there(uri):
    with Client(uri) as client:
        assert client.size == len(DATA)
        assert_same(client.read(17, 100_000), DATA[17:100_017])
        lengths = {}
        for number in range(16):
            lengths[number] = 1000 * number + 1
            client.ask([(number, number * 50_000, lengths[number])])
        for _ in range(16):
            number, data = client.answer(lengths)
            assert data == DATA[number * 50_000 :][: lengths[number]]


def test_an_export_is_a_file(uri):
    with ExportFile(Client(uri)) as file:
        assert file.readable()
        assert file.seekable()
        assert_same(file.read(), DATA)
        assert file.seek(-10, os.SEEK_END) == len(DATA) - 10
        assert file.read(100) == DATA[-10:]
        assert file.seek(5) == 5
        assert file.seek(5, os.SEEK_CUR) == 10
        assert file.read(5) == DATA[10:15]


def test_a_read_beyond_the_end_is_an_error(uri):
    with Client(uri) as client, pytest.raises(ClientError, match="a read failed: Invalid"):
        client.read(len(DATA), 1)


def test_an_export_that_is_not_there_is_named(uri):
    with pytest.raises(ClientError, match="refused the export 'other'"):
        Client(uri.replace("n%C3%A4me", "other"))


def test_nbdkit_is_understood(tmp_path):
    need_tool("nbdkit")
    (tmp_path / "disk").write_bytes(DATA)
    code = (
        "import sys; from vfloppy.nbd.client import *;"
        "print(ExportFile(Client(sys.argv[1])).read() == open(sys.argv[2], 'rb').read())"
    )
    command = f'{sys.executable} -c "{code}" "$uri" \'{tmp_path}/disk\''
    assert output("nbdkit", "-U", "-", "file", str(tmp_path / "disk"), "--run", command) == "True\n"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"NBDMAGIC" * 3])
def test_what_is_no_server_is_said(tmp_path, answer):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve():
            client, _ = listening.accept()
            with client:
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ClientError):
            Client(f"nbd+unix:///?socket={path}")
        thread.join()


def test_uris_are_told_from_paths():
    assert is_uri("nbd://localhost")
    assert is_uri("nbd+unix:///?socket=x")
    assert not is_uri("nbd.img")
    assert not is_uri("/dir/nbd:")
