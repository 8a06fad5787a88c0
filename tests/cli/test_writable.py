"""`vfloppy serve --writable` and `--overlay`: where what is written goes, and what is refused."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes import Client, pattern, request, until
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, need_tool, output, run, vfloppy
from vfloppy.filters.store import OverlayFile
from vfloppy.nbd.client import Client as Reading
from vfloppy.nbd.protocol import wire

MIB = 1 << 20
PATIENCE_S = 30
FREE = 400 * MIB
"""A place where nothing is on a small disk with room."""


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    (root / "folder").mkdir(parents=True)
    (root / "hello.txt").write_text("hello")
    (root / "folder" / "data").write_bytes(pattern(50_000))
    return root


class Serving:
    """A server, and what it says."""

    def __init__(self, process, path: Path, log: Path) -> None:
        self.process = process
        self.path = str(path)
        self.uri = f"nbd+unix:///?socket={path}"
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def said(self, text: str) -> None:
        until(lambda: text in self.log)

    def look_again(self) -> None:
        """Have it scan when the next client comes, however fresh the last scan is."""
        before = self.log.count("will look again")
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.log.count("will look again") > before)

    def write(self, offset: int, data: bytes, name: str = "", *, flags: int = 0) -> int:
        with Client(self.path) as client:
            client.go(name)
            client.send(request(wire.NBD_CMD_WRITE, offset, len(data), flags=flags) + data)
            return client.chunk().error

    def read(self, offset: int, length: int, name: str = "") -> bytes:
        with Client(self.path) as client:
            client.go(name)
            return client.read(offset, length)


@contextmanager
def serving(tmp_path: Path, *arguments: object, **options: object):
    path, log = tmp_path / "socket", tmp_path / "log"
    with open(log, "wb") as err:
        process = subprocess.Popen(
            [*VFLOPPY, "serve", "-U", path, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=err, env=ENVIRONMENT, **{"cwd": "/", **options},
        )  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith(b"serving "), log.read_text()
        yield Serving(process, path, log)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stdout.close()


def need_nbd() -> None:
    if run("/usr/bin/python3", "-c", "import nbd").returncode:
        missing_dependency("the Python module of libnbd is not installed")


def size_of(uri: str) -> int:
    with Reading(uri) as client:
        return client.size


def refused(*arguments: object, cwd: object = "/") -> str:
    done = vfloppy("serve", *map(str, arguments), cwd=cwd)
    assert done.returncode in {1, 2}
    text = done.stderr.decode()
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize(
    ("options", "free"),
    [
        ((), 1 << 30),
        (("--fat", "16"), 1 << 30),
        (("--fat", "12"), 64 * MIB),
        (("--size", "+100M"), 100 * MIB),
        (("--for", "cidata"), 1 << 30),
        (("--for", "floppy"), 0),
        (("--floppy", "720k"), 0),
    ],
)
def test_a_disk_to_be_written_has_room(tree, tmp_path, options, free):
    told = json.loads(output(*VFLOPPY, "map", "--json", "--writable", *options, str(tree)))
    size = told["size"]
    assert size >= free
    if free and "--size" not in options:
        assert size < free * 1.2 + 300 * MIB
    done = vfloppy("build", "-q", "--writable", *options, tree, tmp_path / "image")
    assert done.returncode == 0
    with serving(tmp_path, "--writable", *options, tree) as server:
        assert server.read(0, 512) == (tmp_path / "image").read_bytes()[:512]
        with Reading(server.uri) as client:
            assert client.size == size


def test_what_is_written_is_kept_and_found_again(tree, tmp_path):
    overlay = tmp_path / "changes"
    data = pattern(70_000, 4)
    with serving(tmp_path, "--overlay", overlay, tree) as server:
        server.said(f"writable: the overlay {overlay} holds what is written, nothing yet")
        assert server.write(FREE + 5, data, flags=wire.NBD_CMD_FLAG_FUA) == 0
    assert f"68.5 KiB that guests have written: kept in {overlay}" in (tmp_path / "log").read_text()
    with serving(tmp_path, "--overlay", overlay, tree) as server:
        server.said(f"the overlay {overlay} holds what is written, 68.5 KiB")
        assert server.read(FREE, 70_010) == bytes(5) + data + bytes(5)


def test_an_overlay_is_for_its_owner_only(tree, tmp_path):
    with serving(tmp_path, "--overlay", tmp_path / "changes", tree):
        assert (tmp_path / "changes").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("change", "options", "reasons"),
    [
        (lambda tree: (tree / "hello.txt").write_text("other"), (), ["1 changed: 'hello.txt'"]),
        (lambda tree: (tree / "new").touch(), (), ["1 new: 'new'"]),
        (lambda tree: (tree / "hello.txt").unlink(), (), ["1 gone: 'hello.txt'"]),
        (lambda tree: None, ("--label", "X"), ["no --label before, now --label X"]),
        (lambda tree: None, ("--size", "+99M"), ["now --size +99M", "bytes before, now"]),
        (lambda tree: None, ("--hide-dotfiles",), None),
        (lambda tree: None, ("--cache-size", "1M"), None),
    ],
)
def test_a_disk_that_has_become_another_is_refused_with_what_differs(
    tree, tmp_path, change, options, reasons
):
    overlay = tmp_path / "changes"
    with serving(tmp_path, "--overlay", overlay, tree) as server:
        assert server.write(FREE, b"x" * 512) == 0
    before = overlay.read_bytes()
    change(tree)
    if reasons is None:  # what makes no difference to the bytes
        with serving(tmp_path, "--overlay", overlay, *options, tree) as server:
            assert server.read(FREE, 512) == b"x" * 512
        return
    text = refused("-U", "-", "--overlay", overlay, *options, tree)
    assert "was written over another disk" in text
    for each in reasons:
        assert each in text
    assert overlay.read_bytes() == before, "nothing is lost"


def test_an_overlay_with_nothing_in_it_goes_over_any_disk(tree, tmp_path):
    overlay = tmp_path / "changes"
    with serving(tmp_path, "--overlay", overlay, tree):
        pass
    (tree / "more").write_bytes(bytes(20 * MIB))
    with serving(tmp_path, "--overlay", overlay, tree) as server:
        assert server.write(FREE, b"x" * 512) == 0
    with OverlayFile.open(str(overlay)) as kept:
        assert kept.written_bytes == 512


@pytest.mark.parametrize("place", ["changes", "folder/changes"])
def test_an_overlay_within_the_directory_is_no_part_of_the_disk(tree, tmp_path, place):
    overlay = tree / place
    with serving(tmp_path, "--overlay", overlay, tree) as server:
        assert server.write(FREE, b"x" * 512) == 0
        disk = server.read(0, 4 * MIB)
        assert b"CHANGES" not in disk
    with serving(tmp_path, "--overlay", place, ".", cwd=tree) as server:
        assert server.read(FREE, 512) == b"x" * 512


def test_no_rescan_takes_the_place_of_a_disk_that_was_written(tree, tmp_path):
    with serving(tmp_path, "--overlay", tmp_path / "o", "--log-level", "info", tree) as server:
        before = server.read(0, 4 * MIB)
        (tree / "before.txt").touch()
        server.look_again()
        # Nothing is written, so it is scanned again, once the last client has left.
        until(lambda: b"BEFORE" in server.read(0, 4 * MIB))
        assert server.write(0, server.read(0, 512)) == 0
        (tree / "after.txt").touch()
        server.look_again()
        kept = "guests have written to it, and would lose that with another disk"
        until(lambda: b"AFTER" in server.read(0, 4 * MIB) or kept in server.log)
        assert b"AFTER" not in server.read(0, 4 * MIB)
        assert b"BEFORE" not in before
    with OverlayFile.open(str(tmp_path / "o")) as kept:
        assert kept.is_touched
    assert "1 new: 'after.txt'" in refused("-U", "-", "--overlay", tmp_path / "o", tree)


def test_a_rescan_gives_its_room_to_a_larger_disk(tree, tmp_path):
    with serving(tmp_path, "--writable", "--log-level", "info", tree) as server:
        before = size_of(server.uri)
        (tree / "large").write_bytes(bytes(50 * MIB))
        server.look_again()
        until(lambda: size_of(server.uri) > before)
        size = size_of(server.uri)
        assert server.write(size - 512, b"y" * 512) == 0
        assert server.read(size - 512, 512) == b"y" * 512


def test_two_servers_never_have_one_overlay(tree, tmp_path):
    with serving(tmp_path, "--overlay", tmp_path / "o", tree):
        text = refused("-U", "-", "--overlay", tmp_path / "o", tree)
    assert "another process has it open" in text


def test_a_file_that_is_no_overlay_is_left_alone(tree, tmp_path):
    (tmp_path / "photo").write_bytes(b"JPEG" * 999)
    assert "no overlay" in refused("-U", "-", "--overlay", tmp_path / "photo", tree)
    assert (tmp_path / "photo").read_bytes() == b"JPEG" * 999


def test_nothing_is_left_behind_by_a_server_that_did_not_start(tree, tmp_path):
    assert refused("-U", "-", "--overlay", tmp_path / "o", "--fat", "12", "--size", "3T", tree)
    assert refused("-U", "-", "--overlay", tmp_path / "o", tmp_path / "nowhere")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--overlay", "",), "--overlay is empty"),
        (("--overlay", "/nowhere/o"), "--overlay /nowhere/o: No such file or directory"),
        (("--overlay", "/"), "Is a directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_overlay(options, reason, tree):
    assert reason in refused("-U", "-", *options, tree)


def test_of_several_disks_each_has_its_own_by_a_configuration_file(tree, tmp_path):
    named = [f"a={tree}", f"b={tree}"]
    assert "--config" in refused("-U", "-", "--overlay", tmp_path / "o", *named)
    config = tmp_path / "exports.toml"
    config.write_text(
        f'[export.kept]\ndirectory = "{tree}"\noverlay = "{tmp_path}/o"\n'
        f'[export.gone]\ndirectory = "{tree}"\nwritable = true\n'
        f'[export.fixed]\ndirectory = "{tree}"\n'
    )
    assert "--overlay goes without" in refused("--config", config, "--overlay", tmp_path / "p")
    with serving(tmp_path, "--config", config) as server:
        server.said(f"kept: writable: the overlay {tmp_path}/o")
        server.said("gone: writable: what is written is gone")
        for name, error in (("kept", 0), ("gone", 0), ("fixed", wire.NBD_EPERM)):
            assert server.write(FREE // 4, name.encode().ljust(512), name) == error
        assert server.read(FREE // 4, 4, "gone") == b"gone"
    with OverlayFile.open(str(tmp_path / "o")) as kept:
        assert kept.written_bytes == 512


def test_several_disks_may_be_written_and_forgotten(tree, tmp_path):
    with serving(tmp_path, "--writable", f"a={tree}", f"b={tree}") as server:
        assert server.write(FREE, b"1" * 512, "a") == 0
        assert server.read(FREE, 512, "b") == bytes(512)


def test_single_and_run_write_as_well(tree, tmp_path):
    need_nbd()
    script = '/usr/bin/python3 -m nbd -u "$uri" -c "h.pwrite(b\\"w\\" * 512, 0)"'
    done = vfloppy("serve", "-U", "-", "--overlay", tmp_path / "o", tree, "--run", script)
    assert done.returncode == 0, done.stderr
    assert b"512 B that guests have written: kept in" in done.stderr
    single = [*VFLOPPY, "serve", "--single", "--overlay", str(tmp_path / "o"), str(tree)]
    command = [
        "/usr/bin/python3",
        "-m",
        "nbd",
        "-c",
        f"h.connect_command({single!r})",
        "-c",
        "print(h.pread(3, 0))",
    ]
    assert "bytearray(b'www')" in output(*command)


def test_another_user_writes_to_an_overlay_that_is_theirs(tree, tmp_path):
    if os.geteuid():
        pytest.skip("only root becomes somebody else")
    nobody = pwd.getpwnam("nobody")
    place = Path("/tmp") / f"vfloppy-user-{os.getpid()}"
    place.mkdir()
    try:
        shutil.copytree(tree, place / "tree")
        place.chmod(0o755)
        (place / "own").mkdir()
        os.chown(place / "own", nobody.pw_uid, nobody.pw_gid)
        options = ("--user", "nobody", "--overlay", place / "own" / "o")
        with serving(tmp_path, *options, place / "tree") as server:
            assert server.write(FREE, b"n" * 512) == 0
        assert (place / "own" / "o").stat().st_uid == nobody.pw_uid
        text = refused("-U", "-", "--user", "nobody", "--overlay", place / "o", place / "tree")
        assert "Permission denied" in text
    finally:
        shutil.rmtree(place)


def test_tls_carries_writes(tree, tmp_path):
    need_tool("openssl")
    need_nbd()
    folder = tmp_path / "pki"
    folder.mkdir()
    request_ = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = f"-keyout {folder}/server-key.pem -out {folder}/server-cert.pem"
    output("openssl", *request_.split(), *names.split(), *files.split())
    shutil.copy(folder / "server-cert.pem", folder / "ca-cert.pem")
    (tmp_path / "tls-log").touch()
    with serving(
        tmp_path, "--writable", "--tls", "require", "--tls-cert-dir", folder, tree
    ) as server:
        uri = f"nbds+unix://localhost/?socket={server.path}&tls-certificates={folder}"
        script = (
            f"h.set_uri_allow_local_file(True)\nh.connect_uri({uri!r})\n"
            "data = bytes(range(256)) * 9000\n"
            "h.pwrite(data, 400000001)\nh.flush()\n"
            "assert h.pread(len(data), 400000001) == data\nprint('written')"
        )
        assert "written" in output("/usr/bin/python3", "-m", "nbd", "-c", script)


def test_the_announced_lines_do_not_ask_for_a_read_only_disk(tree, tmp_path):
    for options, is_read_only in (((), True), (("--writable",), False)):
        command = [*VFLOPPY, "serve", "-U", str(tmp_path / "s"), "--idle-exit", "0", *options]
        said = run(*command, str(tree)).stdout.decode()
        assert ("readonly=on" in said) == is_read_only
        assert ("guestfish --ro" in said) == is_read_only
        assert ("guestfish --rw" in said) != is_read_only


def test_where_nothing_can_be_kept_for_a_while_is_told(tree, tmp_path):
    done = vfloppy("serve", "-U", "-", "--writable", tree, env=ENVIRONMENT | {"TMPDIR": "/nowhere"})
    assert done.returncode == 1
    assert b"no overlay can be made in /nowhere (TMPDIR is another): No such file" in done.stderr


def test_every_sector_takes_writes_whatever_it_is_for(tree, tmp_path):
    """vvfat fails before the FAT; firmware and Windows write to partition table and boot sector."""
    told = json.loads(output(*VFLOPPY, "map", "--json", "--writable", str(tree)))
    kinds = {each["kind"]: each["offset"] // 512 * 512 for each in told["regions"]}
    assert {"partition table", "reserved", "table", "directory", "file", "free"} <= kinds.keys()
    places = {0, told["size"] - 512, *kinds.values()}
    with serving(tmp_path, "--overlay", tmp_path / "o", tree) as server:
        for place in places:
            assert server.write(place, f"written at {place}".encode().ljust(512)) == 0
    with serving(tmp_path, "--overlay", tmp_path / "o", tree) as server:
        for place in places:
            assert server.read(place, 512) == f"written at {place}".encode().ljust(512)


def test_the_disk_is_served_clean_and_its_tables_agree(tree, tmp_path):
    """Linux marks a disk as dirty while it is mounted, unless it was so before."""
    done = vfloppy("build", "-q", "--writable", "--partition", "none", tree, tmp_path / "image")
    assert done.returncode == 0
    need_tool("fsck.fat")
    assert run("fsck.fat", "-n", tmp_path / "image").returncode == 0
    sector = (tmp_path / "image").read_bytes()[:512]
    assert not sector[0x41] & 1
