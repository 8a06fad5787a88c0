"""`vfloppy serve` from outside: several exports, TLS, sockets of all kinds, rescans, logs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools import (
    ENVIRONMENT,
    VFLOPPY,
    missing_dependency,
    need_tool,
    newer,
    output,
    run,
    vfloppy,
)
from vfloppy.nbd.client import Client
from vfloppy.nbd.errors import ClientError
from vfloppy.process.system import notify

PATIENCE_S = 30
SAMPLE = str(Path(__file__).parent.parent.parent / "fixtures" / "sample")


def _client_hello() -> bytes:
    """What a TLS client says first."""
    said = ssl.MemoryBIO()
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost").do_handshake()
    return said.read()


CLIENT_HELLO = _client_hello()


class Serving:
    """A server in a process of its own, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def said(self, text: str) -> str:
        """Waits until its log has a text, and returns all of it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in (found := self.log.read_text()):
            assert time.monotonic() < deadline, found
            assert self.process.poll() is None, found
            time.sleep(0.01)
        return found


@contextmanager
def serving(tmp_path: Path, *arguments: object, **options: object) -> Iterator[Serving]:
    """Starts a server whose first line has come when this enters."""
    log = tmp_path / "log"
    environment = ENVIRONMENT | options.pop("env", {})  # type: ignore[operator]
    with open(log, "wb") as err:
        process = subprocess.Popen(
            [*VFLOPPY, "serve", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=err, env=environment, cwd="/", **options,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith(b"serving "), log.read_text()
        yield Serving(process, log)
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) is not None
        process.stdout.close()


def info(uri: str, *options: str) -> dict:
    need_tool("nbdinfo")
    return json.loads(output("nbdinfo", "--json", *options, uri))


def files_of(uri: str, tmp_path: Path, name: str = "HELLO.TXT") -> bytes:
    """What mtools reads of a file of a served disk."""
    need_tool("nbdcopy", "mtype")
    output("nbdcopy", uri, str(tmp_path / "copy.img"))
    return run("mtype", "-i", f"{tmp_path}/copy.img@@1M", f"::{name}").stdout


# --- several exports ---


def test_each_name_is_a_disk(tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    path = tmp_path / "socket"
    with serving(tmp_path, "-U", path, f"one={tree}", f"two={other}", "--default-export", "two"):
        found = info(f"nbd+unix://?socket={path}", "--list")["exports"]
        assert [each["export-name"] for each in found] == ["one", "two"]
        assert found[0]["description"].startswith("1 file and 0 directories")
        assert info(f"nbd+unix://?socket={path}")["exports"][0]["description"].startswith("0 files")
        assert files_of(f"nbd+unix:///one?socket={path}", tmp_path) == b"hello"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((f"a={SAMPLE}", SAMPLE), "with names"),
        ((f"a={SAMPLE}", "a=/var"), "two exports are named 'a'"),
        (("a=/nowhere",), "/nowhere: no such directory"),
        ((f"a={SAMPLE}", "--default-export", "b"), "no export of that name"),
        ((f"{'a' * 4097}={SAMPLE}",), "has 4097 bytes; NBD holds"),
        ((f"a={SAMPLE}", "--export-name", "b"), "--export-name goes without NAME=DIR"),
        ((SAMPLE, "-U", "-", "--pidfile", "/nowhere/pid"), "--pidfile /nowhere/pid: No such"),
        ((SAMPLE, "--tls", "require"), "needs --tls-cert-dir"),
        ((SAMPLE, "--tls-verify-peer"), "--tls on or"),
        ((SAMPLE, "--single", "-p", "0"), "--single goes without"),
        ((SAMPLE, "--socket-mode", "600"), "--socket-mode"),
        ((SAMPLE, "-U", "/tmp/x", "--socket-mode", "rw"), "one like 660"),
        ((SAMPLE, "-U", "/tmp/x", "--socket-owner", "no such user"), "no such user"),
        ((SAMPLE, "-i", "0.0.0.0", "-p", "0"), "--insecure"),
        ((SAMPLE, "-i", "::", "-p", "0"), "--insecure"),
        ((SAMPLE, "--config", __file__), "none may stand beside"),
        (("--exclude", "*", "--config", __file__), "--exclude belongs there"),
        ((SAMPLE, "--tls", "on", "--tls-psk", __file__, "--tls-cert-dir", "/"), "one or the other"),
        ((SAMPLE, "-e", "a\udcff"), "no UTF-8"),
        ((SAMPLE, "--run", "true", "--idle-exit", "1"), "--run goes without --idle-exit"),
    ],
)
def test_what_contradicts_itself(arguments, what):
    done = vfloppy("serve", *arguments)
    text = done.stderr.decode()
    assert done.returncode in {1, 2}
    assert what in text
    assert text.count("\n") == 1


def test_a_configuration_file_gives_each_export_its_options(tree, tmp_path):
    (tmp_path / "vfloppy.toml").write_text(
        f'[export.fat]\ndirectory = "{tree}"\nlabel = "ONE"\nfat = 16\nexclude = ["*.o"]\n'
        f'[export.iso]\ndirectories = ["{tree}"]\nformat = "iso"\njoliet = false\nhybrid = false\n'
    )
    path = tmp_path / "socket"
    with serving(tmp_path, "-U", path, "--config", tmp_path / "vfloppy.toml"):
        found = info(f"nbd+unix://?socket={path}", "--list")["exports"]
    assert [each["description"].partition(" as a")[2].split(" disk")[0] for each in found] == [
        " FAT16",
        "n ISO 9660",
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[export.a]\nfoo = 1", "export.a: there is no option foo"),
        ("[export.a]\ndirectory = '/nowhere'", "/nowhere: no such directory"),
        ("[export.a]\ndirectories = 1", "no list of texts"),
        (f"[export.a]\ndirectory = '{SAMPLE}'\nhybrid = 'x'", "hybrid is true or false"),
        (f"[export.a]\ndirectory = '{SAMPLE}'\nfat = 17", "export.a: "),
        ("export = 1", "tables [export.NAME] are expected"),
        ("other = 1", "tables [export.NAME] are expected; other is no part of it"),
        ("[", "--config"),
        ("[export.a]", "export.a: directories is missing"),
        ("[export.a]\ndirectories = []", "export.a: directories is missing"),
        (f"[export.a]\ndirectory = '{SAMPLE}'\nlabel = true", "label is a text or a number"),
        ('[export.a]\ndirectory = "a\\u0000b"', "directory's name has a NUL"),
        (f'[export."a\\u0000b"]\ndirectory = "{SAMPLE}"', "has a NUL; NBD holds none"),
        (f"[export.{'a' * 4097}]\ndirectory = '{SAMPLE}'", "has 4097 bytes; NBD holds"),
    ],
)
def test_a_configuration_file_that_is_none(tmp_path, text, what):
    (tmp_path / "vfloppy.toml").write_text(text)
    done = vfloppy("serve", "--config", tmp_path / "vfloppy.toml", "-U", "-")
    said = done.stderr.decode()
    assert done.returncode in {1, 2}
    assert what in said
    assert said.count("\n") == 1


# --- sockets ---


def test_several_addresses_share_a_port(tree, tmp_path):
    with serving(tmp_path, "-p", "0", "-i", "127.0.0.1", "-i", "::1", tree) as server:
        listed = output("ss", "-ltnp") if os.path.exists("/usr/bin/ss") else ""
        ports = re.findall(rf"127\.0\.0\.1:(\d+) .*pid={server.process.pid},", listed)
        if ports:
            assert f"[::1]:{ports[0]}" in listed
            for host in ("127.0.0.1", "[::1]"):
                assert info(f"nbd://{host}:{ports[0]}")["exports"][0]["is_read_only"]


def test_insecure_lets_others_in(tree, tmp_path):
    with serving(tmp_path, "-i", "0.0.0.0", "-p", "0", "--insecure", tree):
        pass


def test_a_socket_has_mode_and_owner(tree, tmp_path):
    path = tmp_path / "socket"
    owner = f"{os.geteuid()}:{os.getegid()}"
    with serving(tmp_path, "-U", path, "--socket-mode", "0640", "--socket-owner", owner, tree):
        assert path.stat().st_mode & 0o777 == 0o640
        assert info(f"nbd+unix://?socket={path}")
    assert not path.exists()


def test_sockets_of_systemd(tree, tmp_path):
    need_tool("nbdinfo")
    path = tmp_path / "socket"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ |= {'LISTEN_FDS': '1', "
        "'LISTEN_PID': str(os.getpid())}; os.execv(sys.argv[2], sys.argv[2:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(listening.fileno()), *VFLOPPY, "serve", "-q", str(tree)],
        pass_fds=[listening.fileno()], env=ENVIRONMENT, cwd="/",
    )  # fmt: skip
    listening.close()
    try:
        assert info(f"nbd+unix://?socket={path}")["exports"][0]["is_read_only"]
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("count", ["0", "17", "x"])
def test_sockets_of_systemd_that_are_none(tree, count):
    script = (
        f"import os, sys; os.environ |= {{'LISTEN_FDS': '{count}', 'LISTEN_PID': "
        "str(os.getpid())}; os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = run(sys.executable, "-c", script, *VFLOPPY, "serve", str(tree), env=ENVIRONMENT)
    assert done.returncode == 1
    assert b"LISTEN_FDS is" in done.stderr


def test_clients_that_start_the_server_themselves(tree):
    """libnbd gives it a listening socket in the way of systemd."""
    need_tool("nbdinfo")
    told = json.loads(
        output("nbdinfo", "--json", "--", "[", *VFLOPPY, "serve", "-q", str(tree), "]")
    )
    assert told["exports"][0]["is_read_only"]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_sockets_of_systemd_that_do_not_listen(tree, kind):
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ |= {'LISTEN_FDS': '1', "
        "'LISTEN_PID': str(os.getpid())}; os.execv(sys.argv[2], sys.argv[2:])"
    )
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        done = run(
            sys.executable, "-c", script, str(other.fileno()), *VFLOPPY, "serve", str(tree),
            pass_fds=[other.fileno()],
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == b"vfloppy: Descriptor 3 is a socket that does not listen.\n"


def test_one_client_on_standard_input_and_output(tree):
    """Pipes, as ssh gives them: greeting, the oldest of handshakes, one read, good-bye."""
    name = b"\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0"
    read = bytes.fromhex("25609513 0000 0000 0000000000000007 0000000000000000 00000200")
    leave = bytes.fromhex("25609513 0000 0002 0000000000000008 0000000000000000 00000000")
    done = vfloppy("serve", "--single", tree, input=name + read + leave)
    assert (done.returncode, done.stderr) == (0, b"")
    answer = done.stdout[18 + 10 :]
    assert answer[:16] == bytes.fromhex("67446698 00000000 0000000000000007")
    assert len(answer) == 16 + 512
    assert answer.endswith(b"\x55\xaa")


@pytest.mark.parametrize("kind", ["two sockets", "pipes that do not block"])
def test_one_client_on_what_node_or_an_event_loop_gives(tree, kind):
    """Two sockets, of which each goes one way; pipes of which the other end doesn't block."""
    if kind == "two sockets":
        (source, stdin), (target, stdout) = socket.socketpair(), socket.socketpair()
    else:
        stdin, source = os.pipe()
        target, stdout = os.pipe()
        os.set_blocking(stdin, False)
        os.set_blocking(stdout, False)
    process = subprocess.Popen(
        [*VFLOPPY, "serve", "--single", str(tree)],
        stdin=stdin, stdout=stdout, env=ENVIRONMENT, cwd="/",
    )  # fmt: skip
    try:
        read_from = target.fileno() if kind == "two sockets" else target
        write_to = source.fileno() if kind == "two sockets" else source
        assert os.read(read_from, 18).startswith(b"NBDMAGICIHAVEOPT")
        time.sleep(0.2)
        os.write(write_to, b"\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0")
        assert len(os.read(read_from, 10)) == 10
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        for each in (source, stdin, target, stdout):
            each.close() if kind == "two sockets" else os.close(each)


def test_one_client_on_a_socket_that_inetd_gives(tree):
    ours, theirs = socket.socketpair()
    with ours:
        process = subprocess.Popen(
            [*VFLOPPY, "serve", "--single", str(tree)],
            stdin=theirs, stdout=theirs, env=ENVIRONMENT, cwd="/",
        )  # fmt: skip
        theirs.close()
        assert ours.recv(18, socket.MSG_WAITALL).startswith(b"NBDMAGICIHAVEOPT")
    assert process.wait(PATIENCE_S) == 0


def test_vsock(tree, tmp_path):
    if not hasattr(socket, "AF_VSOCK"):
        pytest.skip("this system has no vsock")
    done = vfloppy("serve", "--vsock", "10809", "--run", 'echo "$uri"', tree)
    if b"Cannot listen on vsock" in done.stderr:
        pytest.skip(done.stderr.decode().strip())
    assert done.stdout == b"nbd+vsock://2:10809/\n"


# --- TLS ---


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """An authority, and certificates for a server and a client, as libnbd and QEMU want them."""
    need_tool("openssl")
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments: str) -> None:
        output("openssl", *arguments, cwd=folder)

    request = ("req", "-newkey", "rsa:2048", "-nodes", "-subj")
    openssl(*request, "/CN=authority", "-x509", "-keyout", "ca-key.pem", "-out", "ca-cert.pem")
    for name in ("server", "client"):
        openssl(*request, f"/CN={name}", "-keyout", f"{name}-key.pem", "-out", f"{name}.csr")
        (folder / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem",
            "-CAcreateserial", "-out", f"{name}-cert.pem", "-extfile", "extensions",
        )  # fmt: skip
    return folder


def tls_port(server: Serving) -> str:
    """The port in the URI that the server prints; its first line has been read already."""
    assert server.process.stdout is not None
    line = server.process.stdout.readline().decode()
    return re.search(r"nbds?://[^:]+:(\d+)", line)[1]  # type: ignore[index]


@pytest.mark.parametrize("verify", [False, True])
def test_tls_is_required(tree, tmp_path, certificates, verify):
    need_tool("nbdinfo", "nbdcopy", "qemu-img")
    options = ["--tls-verify-peer"] if verify else []
    with serving(
        tmp_path, "-p", "0", "--tls", "require", "--tls-cert-dir", certificates, *options, tree
    ) as server:
        port = tls_port(server)
        plain = run("nbdinfo", f"nbd://127.0.0.1:{port}/")
        assert plain.returncode != 0
        assert b"server replied with error" in plain.stderr
        uri = f"nbds://127.0.0.1:{port}/?tls-certificates={certificates}"
        found = info(uri)
        assert found["protocol"].startswith("newstyle-fixed")
        assert found["TLS"]
        output("nbdcopy", uri, str(tmp_path / "copy"))
        output(*VFLOPPY, "build", "-q", str(tree), str(tmp_path / "built"))
        output("cmp", str(tmp_path / "copy"), str(tmp_path / "built"))
        said = output(
            "qemu-img", "info", "--object",
            f"tls-creds-x509,id=tls0,endpoint=client,dir={certificates}", "--image-opts",
            f"driver=nbd,host=127.0.0.1,port={port},tls-creds=tls0",
        )  # fmt: skip
        assert "virtual size" in said
        if verify:
            (tmp_path / "ca only").mkdir()
            (tmp_path / "ca only" / "ca-cert.pem").write_bytes(
                (certificates / "ca-cert.pem").read_bytes()
            )
            stranger = f"nbds://127.0.0.1:{port}/?tls-certificates={tmp_path}/ca only"
            assert run("nbdinfo", stranger).returncode != 0


def test_a_machine_uses_a_disk_by_tls(tree, certificates):
    need_tool("qemu-system-x86_64")
    qemu = (
        "(echo info block; echo quit) | qemu-system-x86_64 -accel tcg -S -display none -nodefaults "
        f"-monitor stdio -object tls-creds-x509,id=tls0,endpoint=client,dir={certificates} "
        "-blockdev driver=nbd,node-name=disk,server.type=inet,server.host=127.0.0.1,"
        'server.port="$port",tls-creds=tls0,read-only=on -device virtio-blk-pci,drive=disk'
    )
    done = vfloppy(
        "serve", "-q", "-p", "0", "--tls", "require", "--tls-cert-dir", certificates, tree,
        "--run", qemu,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"disk: nbd" in done.stdout
    assert b"read-only" in done.stdout


def test_tls_is_possible(tree, tmp_path, certificates):
    need_tool("nbdinfo")
    with serving(
        tmp_path, "-p", "0", "--tls", "on", "--tls-cert-dir", certificates, tree
    ) as server:
        port = tls_port(server)
        assert not info(f"nbd://127.0.0.1:{port}/")["TLS"]
        assert info(f"nbds://127.0.0.1:{port}/?tls-certificates={certificates}")["TLS"]


def test_newer_clients_have_extended_headers_by_tls(tree, tmp_path, certificates):
    nbdinfo, nbdcopy, qemu_img = newer("nbdinfo"), newer("nbdcopy"), newer("qemu-img")
    output(*VFLOPPY, "build", "-q", str(tree), str(tmp_path / "built"))
    creds = f"tls-creds-x509,id=tls0,endpoint=client,dir={certificates}"
    command = f"""
        {nbdinfo} --json "$uri" && {nbdcopy} "$uri" {tmp_path}/0 &&
        {qemu_img} convert --object {creds} -O raw \
            --image-opts driver=nbd,host=127.0.0.1,port="$port",tls-creds=tls0 {tmp_path}/1
    """
    done = vfloppy(
        "serve", "-q", "-p", "0", "--tls", "require", "--tls-cert-dir", certificates, tree,
        "--run", command,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["TLS"]
    assert told["extended"]
    for copy in ("0", "1"):
        output("cmp", str(tmp_path / copy), str(tmp_path / "built"))


def test_nothing_that_came_in_the_clear_counts_behind_tls(tree, tmp_path, certificates):
    """A request that somebody slips in before the TLS handshake must not be carried out."""
    with serving(
        tmp_path, "-p", "0", "--tls", "require", "--tls-cert-dir", certificates, tree
    ) as server:
        with socket.create_connection(("127.0.0.1", int(tls_port(server)))) as client:
            client.recv(18, socket.MSG_WAITALL)
            start = b"IHAVEOPT" + (5).to_bytes(4, "big") + bytes(4)
            slipped = b"IHAVEOPT" + (3).to_bytes(4, "big") + bytes(4)
            client.sendall(b"\0\0\0\3" + start + slipped)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(4096):
                    answer += part
        assert answer[:20] == bytes.fromhex("0003e889045565a9 00000005 00000001 00000000")
        assert b"tree" not in answer
        assert answer.count(b"\x03\xe8\x89\x04") == 1


@pytest.mark.parametrize("where", [(), ("-U", "-")])
def test_a_command_s_server_is_on_a_private_socket(tree, where):
    done = vfloppy(
        "serve", "-q", *where, tree,
        "--run", 'stat -c %A "${unixsocket%/socket}"; echo "$unixsocket $port."',
    )  # fmt: skip
    mode, _, rest = done.stdout.decode().partition("\n")
    path = rest.removesuffix(" .\n")
    assert (mode, path.endswith("/socket")) == ("drwx------", True), done.stderr.decode()
    assert not os.path.lexists(os.path.dirname(path))


def test_a_command_s_server_that_a_signal_ends_is_told_by_the_status(tree):
    """As a shell tells it, and whatever the command's own status is."""
    kill = 'kill -KILL $(cat /proc/$PPID/task/$PPID/children | tr " " "\\n" | grep -vx $$)'
    done = vfloppy("serve", "-q", tree, "--run", kill)
    assert done.returncode == 128 + signal.SIGKILL
    assert b"The server was ended by SIGKILL" in done.stderr


@pytest.mark.parametrize("where", [("-p", "0"), ("-i", "127.0.0.1", "-p", "0")])
def test_a_command_s_server_is_where_it_is_asked_for(tree, where):
    done = vfloppy("serve", "-q", *where, tree, "--run", 'echo "$unixsocket. $port"')
    assert re.fullmatch(rb"\. \d+\n", done.stdout), done.stderr.decode()


@pytest.mark.parametrize("where", [(), ("-p", "0")])
def test_captive_commands_know_of_tls(tree, certificates, where):
    """Also where the directory is named from where the server was started."""
    need_tool("nbdinfo")
    told = 'echo "$tls $tls_certificates $tls_psk."'
    done = run(
        *VFLOPPY, "serve", "-q", *where, "--tls", "require", "--tls-cert-dir", certificates.name,
        tree, "--run", f'{told}; cd /; nbdinfo --size "$uri"', cwd=certificates.parent,
    )  # fmt: skip
    said = done.stdout.decode().splitlines()
    assert said[:1] == [f"require {certificates} ."], done.stderr.decode()
    assert (int(said[1]) > 1 << 20, done.returncode) == (True, 0)


@pytest.mark.parametrize("mode", ["off", "on"])
def test_uris_without_tls_are_every_client_s(tree, certificates, mode):
    need_tool("qemu-img")
    security = [] if mode == "off" else ["--tls", mode, "--tls-cert-dir", certificates]
    done = vfloppy("serve", "-q", *security, tree, "--run", 'echo "$uri"; qemu-img info "$uri"')
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"nbd+unix:///?socket=/")


@pytest.mark.parametrize("missing", ["server-cert.pem", "server-key.pem", "ca-cert.pem"])
def test_certificates_that_are_missing(tree, tmp_path, certificates, missing):
    for path in certificates.glob("*.pem"):
        if path.name != missing:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    done = vfloppy(
        "serve", "--tls", "on", "--tls-cert-dir", tmp_path, "--tls-verify-peer", "-U", "-", tree
    )
    text = done.stderr.decode()
    assert done.returncode == 1
    assert f"{missing}: no such file" in text
    assert text.count("\n") == 1


def test_keys_need_a_python_that_knows_them(tree, tmp_path):
    (tmp_path / "keys").write_text("alice:00112233445566778899aabbccddeeff\n")
    done = vfloppy(
        "serve", "-q", "--tls", "require", "--tls-psk", tmp_path / "keys", tree,
        "--run", 'echo "$tls_psk"; nbdinfo --size "$uri"',
    )  # fmt: skip
    if sys.version_info < (3, 13):
        assert done.returncode == 1
        assert "need Python 3.13" in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1
    else:
        need_tool("nbdinfo")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{tmp_path}/keys\n".encode())


_LIBNBD = """
import hashlib, sys
import nbd
handle = nbd.NBD()
handle.set_tls(nbd.TLS_REQUIRE)
handle.set_tls_certificates(sys.argv[1])
handle.connect_command(sys.argv[2:])
assert handle.get_tls_negotiated()
size, step = handle.get_size(), 1 << 24
read = hashlib.sha256()
for offset in range(0, size, step):
    read.update(handle.pread(min(step, size - offset), offset))
print(read.hexdigest())
handle.shutdown()
"""


@pytest.mark.parametrize("verify", [[], ["--tls-verify-peer"]], ids=["", "verified"])
@pytest.mark.parametrize("kind", ["a socket", "pipes"])
def test_one_client_by_tls(tree, tmp_path, certificates, kind, verify):
    """libnbd gives a command one socket for both ends; behind `cat`, there are two pipes."""
    if run("/usr/bin/python3", "-c", "import nbd").returncode:
        missing_dependency("libnbd has no Python binding here (`make tools` says how)")
    (tree / "large").write_bytes(random.randbytes(3_000_000))
    serve = [
        *VFLOPPY, "serve", "--single", "--tls", "require", "--tls-cert-dir", str(certificates),
        *verify, str(tree),
    ]  # fmt: skip
    if kind == "pipes":
        serve = ["/bin/sh", "-c", 'cat | "$@" | cat', "sh", *serve]
    said = output("/usr/bin/python3", "-c", _LIBNBD, str(certificates), *serve)
    output(*VFLOPPY, "build", "-q", str(tree), str(tmp_path / "built"))
    with open(tmp_path / "built", "rb") as built:
        assert said == hashlib.file_digest(built, "sha256").hexdigest() + "\n"


@pytest.mark.parametrize("end", ["client", "server"])
def test_tls_on_pipes_ends_with_a_goodbye(tree, certificates, end):
    """The client's side of TLS is Python's here, whose records come a byte at a time."""
    process = subprocess.Popen(
        [*VFLOPPY, "serve", "--single", "--tls", "on", "--tls-cert-dir", certificates, tree],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, cwd="/", bufsize=0,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=certificates / "ca-cert.pem")
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")

    def complete(step, *arguments):
        while True:
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                pass
            finally:
                for each in outgoing.read():
                    process.stdin.write(bytes([each]))
            assert select.select([process.stdout], [], [], PATIENCE_S)[0], "no answer"
            if not (part := process.stdout.read(4096)):
                raise EOFError("no goodbye")
            incoming.write(part)

    try:
        assert process.stdout.read(18).startswith(b"NBDMAGICIHAVEOPT")
        process.stdin.write(b"\0\0\0\3IHAVEOPT\0\0\0\x05\0\0\0\0")
        assert process.stdout.read(20)[16:] == bytes(4)
        complete(client.do_handshake)
        complete(client.write, b"IHAVEOPT\0\0\0\1\0\0\0\0")
        assert len(complete(client.read, 10)) == 10
        # Two records at once, so that the second one is there when nothing more comes.
        request = "25609513 0000 0000 0000000000000007 0000000000000000 00000001"
        for _ in range(2):
            client.write(bytes.fromhex(request))
        process.stdin.write(outgoing.read())
        answer = b""
        while len(answer) < 2 * (16 + 1):
            answer += complete(client.read, 4096)
        if end == "client":
            leave = "25609513 0000 0002 0000000000000008 0000000000000000 00000000"
            complete(client.write, bytes.fromhex(leave))
        else:
            process.terminate()
        assert complete(client.read, 1) == b""
        assert process.wait(PATIENCE_S) in {0, 128 + signal.SIGTERM}
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("security", [(), ("--tls", "on")])
@pytest.mark.parametrize("ended_by", ["client", "SIGTERM"])
def test_a_single_server_s_pidfile_is_there_while_it_serves(
    tree, tmp_path, certificates, security, ended_by
):
    pidfile = tmp_path / "pid"
    more = [*security, "--tls-cert-dir", certificates] if security else []
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(PATIENCE_S)
        process = subprocess.Popen(
            [*VFLOPPY, "serve", "--single", "--pidfile", pidfile, *more, tree],
            stdin=theirs, stdout=theirs, env=ENVIRONMENT, cwd="/",
        )  # fmt: skip
        theirs.close()
        assert ours.recv(18, socket.MSG_WAITALL).startswith(b"NBDMAGICIHAVEOPT")
        os.kill(int(pidfile.read_text()), 0)
        if ended_by == "SIGTERM":
            ours.sendall(b"\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0")
            assert len(ours.recv(10, socket.MSG_WAITALL)) == 10
            process.terminate()
            assert ours.recv(1) == b""
    assert process.wait(PATIENCE_S) == (0 if ended_by == "client" else 128 + signal.SIGTERM)
    assert not pidfile.exists()


@pytest.fixture
def secret_client(tree, tmp_path, certificates):
    """A client behind TLS that has chosen an export, and its server."""
    with (
        serving(tmp_path, "-p", "0", "--tls", "on", "--tls-cert-dir", certificates, tree) as server,
        socket.create_connection(("127.0.0.1", int(tls_port(server)))) as plain,
    ):
        plain.settimeout(PATIENCE_S)
        plain.recv(18, socket.MSG_WAITALL)
        plain.sendall(b"\0\0\0\3IHAVEOPT\0\0\0\x05\0\0\0\0")
        plain.recv(20, socket.MSG_WAITALL)
        context = ssl.create_default_context(cafile=certificates / "ca-cert.pem")
        with context.wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        ) as client:
            client.sendall(b"IHAVEOPT\0\0\0\1\0\0\0\0")
            assert len(client.recv(10)) == 10
            request = "25609513 0000 0000 0000000000000007 0000000000000000 00000001"
            client.sendall(bytes.fromhex(request))
            answer = b""
            while len(answer) < 16 + 1:
                answer += client.recv(4096)
            yield client, server


@pytest.mark.parametrize("end", ["client", "server"])
def test_tls_ends_with_a_goodbye(secret_client, end):
    """Else a client can't tell it from somebody who cuts the connection off."""
    client, server = secret_client
    if end == "client":
        client.sendall(
            bytes.fromhex("25609513 0000 0002 0000000000000008 0000000000000000 00000000")
        )
    else:
        server.process.terminate()
    assert client.recv(1) == b""


# --- the life of a server ---


def test_a_pidfile_is_there_while_it_serves(tree, tmp_path):
    with serving(tmp_path, "-U", tmp_path / "s", "--pidfile", tmp_path / "pid", tree) as server:
        deadline = time.monotonic() + PATIENCE_S
        while not (tmp_path / "pid").exists():
            assert time.monotonic() < deadline
        assert (tmp_path / "pid").read_text() == f"{server.process.pid}\n"
    assert not (tmp_path / "pid").exists()


def test_a_pidfile_that_cannot_be_leaves_nothing_and_says_so(tree, tmp_path):
    (tmp_path / "pid").mkdir()
    for more in ((), ("--run", "sleep 1")):
        done = vfloppy("serve", "-q", "-U", "-", "--pidfile", tmp_path / "pid", tree, *more)
        assert done.returncode == 1
        assert f"--pidfile {tmp_path}/pid: Is a directory".encode() in done.stderr
        assert b"Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path != tree] == ["pid"]


def test_a_hangup_while_it_scans_ends_nobody(tmp_path):
    """It asks for a scan, and one is made."""
    for number in range(200):
        (tmp_path / "tree" / f"{number}").mkdir(parents=True)
    path = tmp_path / "s"
    for wait in range(12):
        process = subprocess.Popen(
            [*VFLOPPY, "serve", "-U", str(path), str(tmp_path / "tree")],
            stdout=subprocess.PIPE, cwd="/",
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not path.exists():
            assert time.monotonic() < deadline
        time.sleep(wait / 200)
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline().startswith(b"serving ")
        process.terminate()
        assert process.wait(PATIENCE_S) is not None
        process.stdout.close()
        assert not path.exists()


def test_systemd_is_told(tree, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(PATIENCE_S)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with serving(tmp_path, "-U", tmp_path / "s", tree, env=env):
            assert told.recv(100) == b"READY=1"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind("\0vfloppy-test-" + str(os.getpid()))
        notify("READY=1", {"NOTIFY_SOCKET": f"@vfloppy-test-{os.getpid()}"})
        assert told.recv(100) == b"READY=1"
    notify("READY=1", {"NOTIFY_SOCKET": "/nowhere"})
    notify("READY=1", {})


def test_a_hangup_of_all_its_processes_ends_no_connection(tree, tmp_path):
    """As a terminal sends it that closes, also to who runs under nohup."""
    path = tmp_path / "s"
    with (
        serving(tmp_path, "-U", path, tree, start_new_session=True) as server,
        Client(f"nbd+unix:///?socket={path}") as client,
    ):
        before = client.read(0, 512)
        os.killpg(server.process.pid, signal.SIGHUP)
        time.sleep(0.1)
        assert client.read(0, 512) == before


def test_a_server_whose_log_nobody_reads_serves_and_ends(tree, tmp_path):
    for number in range(1500):
        (tree / f"file {number}").write_bytes(b"x")
    process = subprocess.Popen(
        [*VFLOPPY, "serve", "-q", "-U", str(tmp_path / "s"), str(tree)],
        stderr=subprocess.PIPE, env=ENVIRONMENT, cwd="/",
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "s").exists():
        assert time.monotonic() < deadline
    regions = json.loads(vfloppy("map", "--json", tree).stdout)["regions"]
    uri = f"nbd+unix:///?socket={tmp_path}/s"
    with Client(uri) as client:
        client.read(0, 512)
        for path in tree.iterdir():
            path.unlink()
        for each in regions:
            if each["kind"] == "file":
                with contextlib.suppress(ClientError):
                    client.read(each["offset"], 512)
    with Client(uri) as client:
        assert client.read(0, 512)
    process.terminate()
    assert process.wait(PATIENCE_S) is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    assert "No such file" in said
    assert said.count("\n") < 1500
    assert not (tmp_path / "s").exists()


class Descriptors:
    """What a process has open, by what each is (Linux)."""

    def __init__(self, process_id: int) -> None:
        self.links = {}
        for path in Path(f"/proc/{process_id}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                self.links[int(path.name)] = os.readlink(path)
        self.watched = set()
        for number, link in self.links.items():
            if link == "anon_inode:[eventpoll]":
                told = Path(f"/proc/{process_id}/fdinfo/{number}").read_text()
                self.watched |= {
                    self.links[int(each)]
                    for each in re.findall(r"^tfd:\s*(\d+)", told, re.MULTILINE)
                }


def test_a_connection_s_process_has_nothing_of_its_parent_s(tree, tmp_path):
    """Whoever takes it over could end the server or speak for other connections."""
    path = tmp_path / "s"
    uri = f"nbd+unix:///?socket={path}"
    with serving(tmp_path, "-U", path, tree) as server, Client(uri) as one, Client(uri) as two:
        regions = json.loads(vfloppy("map", "--json", tree).stdout)["regions"]
        for client in (one, two):
            for each in regions:
                client.read(each["offset"], 512)
        process_id = server.process.pid
        children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
        assert len(children) == 2
        parent = Descriptors(process_id)
        table = [each.split() for each in Path("/proc/net/unix").read_text().splitlines()]
        accepted = {f"socket:[{each[6]}]" for each in table if each[7:] == [str(path)]
                    and each[5] == "03"}  # fmt: skip
        datagrams = {f"socket:[{each[6]}]" for each in table if each[4] == "0002"}
        clients = []
        for child in map(int, children):
            found = Descriptors(child)
            assert not set(found.links.values()) & parent.watched
            kinds = []
            for link in found.links.values():
                if link in accepted:
                    kinds.append("its client")
                    clients.append(link)
                elif link in datagrams:
                    kinds.append("its reports")
                    assert link not in parent.links.values()
                elif link.startswith("socket:"):
                    kinds.append("where it hands its client over")
                    assert link not in parent.links.values()
                elif link.startswith("pipe:"):
                    kinds.append("what wakes it up")
                    assert link not in parent.links.values()
                elif link.startswith(str(tree)):
                    kinds.append("what it serves")
                else:
                    kinds.append(link)
            assert {each: kinds.count(each) for each in kinds if each != "what it serves"} == {
                "/dev/null": 3, "its client": 1, "its reports": 1,
                "where it hands its client over": 1, "what wakes it up": 2,
            }  # fmt: skip
        assert len(set(clients)) == 2


def test_a_client_is_told_whether_it_may_connect_beside_itself(tree, tmp_path):
    for most, may in ((1, False), (2, True)):
        path = tmp_path / f"socket {most}"
        with serving(tmp_path, "-U", path, "--max-connections", most, tree):
            found = info(f"nbd+unix:///?socket={path}".replace(" ", "%20"))
            assert found["exports"][0]["can_multi_conn"] is may


def test_all_of_many_exports_are_listed(tmp_path):
    words = []
    for number in range(60):
        (tmp_path / "tree" / f"{number}").mkdir(parents=True)
        words.append(f"x{number}={tmp_path}/tree/{number}")
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, *words):
        found = info(f"nbd+unix:///?socket={path}", "--list")["exports"]
    assert len(found) == 60


def test_it_ends_when_nobody_comes(tree, tmp_path):
    started = time.monotonic()
    done = vfloppy("serve", "-q", "-U", tmp_path / "s", "--idle-exit", "0.3", tree)
    assert done.returncode == 0
    assert time.monotonic() - started >= 0.3
    assert not (tmp_path / "s").exists()


def test_it_ends_with_its_parent(tree, tmp_path):
    if sys.platform != "linux":
        pytest.skip("Linux only")
    script = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE); "
        "p.stdout.readline(); print(p.pid)"
    )
    path = tmp_path / "s"
    serve = [*VFLOPPY, "serve", "--exit-with-parent", "-U", str(path), str(tree)]
    output(sys.executable, "-c", script, *serve)
    deadline = time.monotonic() + PATIENCE_S
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_more_clients_than_allowed_wait(tree, tmp_path):
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, "--max-connections", "1", tree) as server:
        first = socket.socket(socket.AF_UNIX)
        first.connect(str(path))
        assert len(first.recv(18, socket.MSG_WAITALL)) == 18
        second = socket.socket(socket.AF_UNIX)
        second.connect(str(path))
        second.settimeout(0.3)
        with pytest.raises(TimeoutError):
            second.recv(18)
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        (child,) = map(int, children.read_text().split())
        os.kill(child, signal.SIGSTOP)  # a signal of a child that has not ended
        os.kill(child, signal.SIGCONT)
        with pytest.raises(TimeoutError):
            second.recv(18)
        first.close()
        second.settimeout(PATIENCE_S)
        assert len(second.recv(18, socket.MSG_WAITALL)) == 18
        second.close()


# --- generations ---


def test_whoever_comes_later_sees_what_is_new(tree, tmp_path):
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, "--log-level", "info", tree) as server:
        uri = f"nbd+unix://?socket={path}"
        assert files_of(uri, tmp_path) == b"hello"
        (tree / "hello.txt").write_text("changed")
        (tree / "new.txt").write_text("new")
        time.sleep(1)  # a scan is fresh for a moment
        assert files_of(uri, tmp_path) == b"changed"
        assert files_of(uri, tmp_path, "NEW.TXT") == b"new"
        assert "2 files" in info(uri)["exports"][0]["description"]
        assert "rescan of" in server.said("rescan of")


def test_connections_that_overlap_share_a_generation(tree, tmp_path):
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, tree):
        uri = f"nbd+unix://?socket={path}"
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            first.recv(18, socket.MSG_WAITALL)
            (tree / "new.txt").write_text("new")
            time.sleep(1)
            assert "1 file " in info(uri)["exports"][0]["description"]
        time.sleep(1)
        assert "2 files" in info(uri)["exports"][0]["description"]


def test_no_rescan_keeps_the_first(tree, tmp_path):
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, "--no-rescan", tree):
        (tree / "new.txt").write_text("new")
        time.sleep(1)
        assert "1 file " in info(f"nbd+unix://?socket={path}")["exports"][0]["description"]


def test_sighup_asks_for_a_rescan(tree, tmp_path, monkeypatch):
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, tree) as server:
        (tree / "new.txt").write_text("new")
        server.process.send_signal(signal.SIGHUP)
        assert "2 files" in info(f"nbd+unix://?socket={path}")["exports"][0]["description"]


def test_a_rescan_that_fails_keeps_what_was(tree, tmp_path):
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, tree) as server:
        tree.rename(tmp_path / "elsewhere")
        time.sleep(1)
        assert "1 file " in info(f"nbd+unix://?socket={path}")["exports"][0]["description"]
        assert "no such directory" in server.said("rescan of")


# --- logs ---


def test_connections_are_logged_as_text_and_as_json(tree, tmp_path):
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, "--log-level", "info", tree) as server:
        info(f"nbd+unix://?socket={path}")
        text = server.said("closed")
        assert re.search(
            r"^\d{4}-\d\d-\d\dT[\d:.]+Z connection 1 opened: export='' size=\d+ structured=1 "
            r"extended=0 contexts=\S+ tls=none$",
            text,
            re.MULTILINE,
        )
    with serving(
        tmp_path, "-U", path, "--log-level", "info", "--log-format", "json", tree
    ) as server:
        info(f"nbd+unix://?socket={path}")
        server.said("closed")
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        assert {"info"} == {each["level"] for each in lines}
        assert any(each["message"].startswith("connection 1 opened") for each in lines)


def test_every_line_for_programs_is_json(tree, tmp_path):
    """Also what was renamed and skipped, what is in force, and why it ends."""
    (tree / "link").symlink_to("hello.txt")
    (tree / "a:b").touch()
    options = ("--log-format", "json", "--log-level", "info")
    path = tmp_path / "s"
    with serving(tmp_path, "-U", path, *options, tree) as server:
        info(f"nbd+unix://?socket={path}")
        server.process.send_signal(signal.SIGHUP)
        server.said("look again")
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    told = {each["message"].split()[0]: each["level"] for each in lines}
    assert told["skipped:"] == told["renamed:"] == "warning"
    assert "sandbox:" in told
    done = vfloppy("serve", *options, "-U", "-", tree, "--run", "exit 3")
    assert done.returncode == 3
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert any(each["message"].startswith("serving ") for each in lines)
    done = vfloppy("serve", *options, "-U", "-", "--pidfile", "/nowhere/pid", tree)
    assert done.returncode == 1
    last = [json.loads(line) for line in done.stderr.splitlines()][-1]
    assert last["level"] == "error"
    assert "No such file" in last["message"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_thousand_connections_at_every_stage_leave_nothing_behind(
    tree, tmp_path, certificates, tls
):
    path = tmp_path / "s"
    stages = [
        b"", b"\0", b"\0\0\0\3", b"\0\0\0\3IHAVE",
        b"\0\0\0\3IHAVEOPT\0\0\0\x03\0\0\0\0", b"\0\0\0\3IHAVEOPT\0\0\0\x07\0\0\0\x06\0\0",
        b"\0\0\0\3IHAVEOPT\0\0\0\x01\0\0\0\0", b"\0\0\0\3IHAVEOPT\0\0\0\x01\0\0\0\0\x25\x60",
        b"\0\0\0\3IHAVEOPT\0\0\0\x05\0\0\0\0", b"\xff" * 100,
    ]  # fmt: skip
    security = ["--tls", "require", "--tls-cert-dir", certificates] if tls else []
    if tls:
        upgrade = stages[-2]
        stages = [upgrade + part for part in (b"", b"\x16", CLIENT_HELLO[:40], CLIENT_HELLO)]
        stages += [upgrade + b"\x16\x03\x01\xff\xff", upgrade + b"\xff" * 100, stages[0]]
    with serving(tmp_path, "-U", path, *security, tree) as server:
        proc = Path(f"/proc/{server.process.pid}")

        def descriptors() -> int:
            return len(list((proc / "fd").iterdir()))

        def memory() -> int:
            return int(re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())[1])  # type: ignore[index]

        def settle() -> None:
            children = proc / "task" / str(server.process.pid) / "children"
            deadline = time.monotonic() + PATIENCE_S
            while children.read_text().split():
                assert time.monotonic() < deadline, "processes are left behind"
                time.sleep(0.01)

        before = None
        for number in range(1000):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    client.sendall(stages[number % len(stages)])  # what it gets may end it
            if number == 50:
                settle()
                before = descriptors(), memory()
        assert before is not None
        with socket.socket(socket.AF_UNIX) as client:  # its turn comes when all others were seen
            client.connect(str(path))
            assert client.recv(1)
        deadline = time.monotonic() + PATIENCE_S
        while descriptors() > before[0]:  # some clients may not have been seen yet
            assert time.monotonic() < deadline, "descriptors are left behind"
            settle()
        assert memory() < before[1] + 2048  # KiB
        need_tool("nbdinfo")
        uri = f"nbd+unix:///?socket={path}"
        if tls:
            uri = f"nbds+unix://localhost/?socket={path}&tls-certificates={certificates}"
        assert info(uri)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("where", ["named", "private"])
def test_root_is_given_up_before_anything_is_scanned(tmp_path, where):
    base = Path(tempfile.mkdtemp())  # pytest's folders are root's alone
    try:
        base.chmod(0o755)
        (base / "tree").mkdir()
        (base / "tree" / "file").write_bytes(b"hello")
        (base / "tree" / "secret").write_bytes(b"root's")
        (base / "tree" / "secret").chmod(0o600)
        path = "-" if where == "private" else str(base / "socket")
        arguments = ["serve", "-U", path, "--user", "nobody"]
        arguments += ["--socket-mode", "666"] if where == "named" else []
        command = "grep -E '^(Uid|Gid|CapEff)' /proc/$PPID/status; nbdinfo --size \"$uri\""
        done = vfloppy(*arguments, str(base / "tree"), "--run", command)
        assert done.returncode == 1
        assert b"may not be read: secret" in done.stderr
        done = vfloppy(*arguments, "--skip-unreadable", str(base / "tree"), "--run", command)
        assert done.returncode == 0, done.stderr
        uid, gid, capabilities, size = done.stdout.decode().splitlines()
        assert set(uid.split()[1:]) == {"65534"}
        assert set(gid.split()[1:]) == {"65534"}
        assert not int(capabilities.split()[1], 16)
        assert int(size) > 0
    finally:
        shutil.rmtree(base)


@pytest.mark.parametrize(
    ("user", "what"),
    [("nobody-of-that-name", "name not found"), (":nogroup", "USER or USER:GROUP is expected")],
)
def test_a_user_who_is_not_there_is_refused(tmp_path, user, what):
    done = vfloppy("serve", "--user", user, "-U", str(tmp_path / "s"), str(SAMPLE))
    assert done.returncode == 2
    assert what in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


# --- what to paste ---


def announced(tmp_path: Path, *arguments: object) -> str:
    """What a server says on standard output until it is ready."""
    done = vfloppy("serve", "--idle-exit", "0.1", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_the_lines_to_paste_are_those_that_each_program_takes(tree, tmp_path, certificates):
    path = tmp_path / "a socket"
    lines = announced(tmp_path, "-U", path, tree)
    quoted = str(path).replace(" ", "%20")
    assert f"file=nbd+unix:///?socket={quoted},format=raw" in lines
    assert f"guestfish --ro --format=raw -a 'nbd:///?socket={quoted}' -m /dev/sda1" in lines
    tls = ("-p", "0", "--tls", "require", "--tls-cert-dir", certificates)
    assert "nbdinfo nbds://" in (lines := announced(tmp_path, *tls, tree))
    assert "qemu" not in lines
    path = tmp_path / "\udcff"
    assert "socket=" in announced(tmp_path, "-U", path, tree)
