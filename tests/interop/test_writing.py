"""Programs that write to a served disk, none of them ours: what each wrote is what others read."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from compare import assert_same
from firmware import SCRIPT, ovmf
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, need_tool, output, run

MIB = 1 << 20
PARTITION = MIB


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    (root / "docs").mkdir(parents=True)
    (root / "note.txt").write_text("the note says 42\r\n")
    (root / "docs" / "a longer name.txt").write_bytes(random.Random(1).randbytes(300_000))
    (root / "startup.nsh").write_text(SCRIPT)
    return root


@contextmanager
def serving(folder: Path, *arguments: object):
    """The URI of a disk that is served; its log is in `folder`."""
    path = folder / "socket"
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            [*VFLOPPY, "serve", "-U", path, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=log, env=ENVIRONMENT, cwd="/",
        )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"serving "), (folder / "log").read_text()
        yield f"nbd+unix:///?socket={path}"
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stdout.close()


def copied(uri: str, folder: Path) -> Path:
    """A copy of the partition of a disk, which fsck.fat finds nothing wrong with."""
    need_tool("nbdcopy", "fsck.fat")
    whole, partition = folder / "copy.img", folder / "partition.img"
    for each in (whole, partition):
        each.unlink(missing_ok=True)
    output("nbdcopy", uri, whole)
    output("dd", f"if={whole}", f"of={partition}", "bs=1M", "skip=1", "conv=sparse", "status=none")
    checked = run("fsck.fat", "-n", partition)
    assert checked.returncode == 0, checked.stdout.decode()
    assert not re.search(b"Dirty bit|differ|orphan|Reclaimed", checked.stdout), checked.stdout
    return partition


def guestfish(uri: str, script: str) -> str:
    need_tool("guestfish")
    server = uri.replace("nbd+unix:///?socket=", "unix:", 1)
    begin = f'add "" protocol:nbd server:{server} format:raw discard:enable\nrun\n'
    script = f"{begin}mount-options sync /dev/sda1 /\n{script}"
    done = run("guestfish", input=script.encode(), env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_linux_writes_files_that_are_there_when_the_overlay_is_served_again(tree, tmp_path):
    overlay = tmp_path / "overlay"
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    with serving(tmp_path, "--overlay", overlay, tree) as uri:
        guestfish(
            uri,
            'write "/a new file with a long name.txt" "linux was here"\n'
            "mkdir-p /new/folder\n"
            "cp-a /docs /new/folder/docs\n"
            "rm /note.txt\n"
            "mv /startup.nsh /new/moved.nsh\n"
            "write-append '/docs/a longer name.txt' 'and more'\n"
            "fill 7 3000000 /large\n"
            "rm-rf /new/folder/docs\n",
        )
    with serving(tmp_path, "--overlay", overlay, tree) as uri:
        partition = copied(uri, tmp_path)
    need_tool("mtype", "mdir")
    read = ["mtype", "-i", str(partition)]
    assert output(*read, "::a new file with a long name.txt") == "linux was here"
    longer = run(*read, "::docs/a longer name.txt").stdout
    assert_same(longer, before[tree / "docs" / "a longer name.txt"] + b"and more")
    assert_same(run(*read, "::large").stdout, b"\7" * 3_000_000)
    assert_same(run(*read, "::new/moved.nsh").stdout, before[tree / "startup.nsh"])
    assert run("mdir", "-i", partition, "::note.txt").returncode
    after = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert after == before, "nothing of it reaches the directory"
    said = (tmp_path / "log").read_text()
    assert "that guests have written: kept in" in said


def test_what_is_written_is_gone_at_the_end_and_the_server_says_so(tree, tmp_path):
    with serving(tmp_path, "--writable", tree) as uri:
        output("qemu-io", "-f", "raw", "-c", "write -P 7 512k 64k", uri)
        output("qemu-io", "-f", "raw", "-c", "read -P 7 512k 64k", uri)
    with serving(tmp_path, "--writable", tree) as uri:
        output("qemu-io", "-f", "raw", "-c", "read -P 0 512k 64k", uri)
    said = (tmp_path / "log").read_text()
    assert said.count("writable: what is written is gone at the end") == 2
    assert said.count("64 KiB that guests have written: gone (--overlay FILE keeps it)") == 1


def test_linux_discards_what_it_removes(tree, tmp_path):
    overlay = tmp_path / "overlay"
    with serving(tmp_path, "--overlay", overlay, tree) as uri:
        guestfish(uri, "fill 7 20000000 /large\nsync\nrm /large\nsync\nfstrim /\n")
        copied(uri, tmp_path)
    assert overlay.stat().st_blocks * 512 < 12 * MIB


def test_qemu_io_writes_zeroes_and_discards(tree, tmp_path):
    need_tool("qemu-io", "qemu-img")
    with serving(tmp_path, "--writable", tree) as uri:
        end = 500 * MIB
        script = (
            f"write -P 1 {end} 4M", f"write -P 2 {end + 1000} 3000",
            f"write -f -P 3 {end + MIB} 512",
            f"write -z {end + 2 * MIB} 64k", f"write -zu {end + 2 * MIB + 70000} 100k",
            f"discard {end + 3 * MIB} 1M", "flush",
            f"read -P 1 {end} 1000", f"read -P 2 {end + 1000} 3000", f"read -P 1 {end + 4000} 1000",
            f"read -P 3 {end + MIB} 512", f"read -P 0 {end + 2 * MIB} 64k",
            f"read -P 0 {end + 2 * MIB + 70000} 100k", f"read -P 0 {end + 3 * MIB} 1M",
            f"read -P 1 {end + 2 * MIB + 172400} 512",
        )  # fmt: skip
        said = output("qemu-io", "-f", "raw", *(w for each in script for w in ("-c", each)), uri)
        assert "Pattern verification failed" not in said
        told = output("qemu-img", "map", "--output=json", "-f", "raw", uri)
        assert f'"start": {end + 3 * MIB}' in told, "the discarded range is a hole"


def test_nbdcopy_replaces_a_disk_over_several_connections(tree, tmp_path):
    need_tool("nbdcopy")
    image = tmp_path / "image"
    with serving(tmp_path, "--overlay", tmp_path / "overlay", tree) as uri:
        whole = copied(uri, tmp_path).parent / "copy.img"
        size = whole.stat().st_size
        data = random.Random(3)
        with open(image, "wb") as file:
            for _ in range(40):
                file.seek(data.randrange(size - 3 * MIB))
                file.write(data.randbytes(data.randrange(2 * MIB)))
            file.truncate(size)
        output("nbdcopy", "--connections=4", "--flush", image, uri)
        output("nbdcopy", uri, tmp_path / "back")
    output("cmp", image, tmp_path / "back")


NBDSH = """
import nbd, random
data = random.Random(1).randbytes(5_000_000)
size = h.get_size()
assert h.can_fua() and h.can_flush() and h.can_trim() and h.can_zero() and h.can_fast_zero()
assert h.can_multi_conn() and not h.is_read_only()
h.pwrite(data, 600_000_001, nbd.CMD_FLAG_FUA)
assert h.pread(len(data), 600_000_001) == data
h.zero(1_000_000, 601_000_000)
h.zero(1_000_000, 603_000_000, nbd.CMD_FLAG_FAST_ZERO)
h.trim(512 * 100, 512 * 1_000_000)
h.flush()
assert h.pread(1_000_000, 601_000_000) == h.pread(1_000_000, 603_000_000) == bytes(1_000_000)
h.set_strict_mode(0)
for command, error in (
    (lambda: h.pwrite(b"xx", size - 1), "ENOSPC"),
    (lambda: h.zero(2, size - 1), "ENOSPC"),
    (lambda: h.trim(2, size - 1), "EINVAL"),
    (lambda: h.pread(2, size - 1), "EINVAL"),
    (lambda: h.zero(512, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE), "ENOTSUP"),
):
    try:
        command()
        raise SystemExit("fine")
    except nbd.Error as caught:
        assert caught.errno == error, caught
other = nbd.NBD()
other.connect_uri(h.get_uri())
other.pwrite(b"from the other", 610_000_000)
assert h.pread(14, 610_000_000) == b"from the other"
other.flush()
print("all is well")
"""


def test_nbdsh_does_all_that_the_protocol_has(tree, tmp_path):
    need_tool("nbdsh")
    if run("/usr/bin/python3", "-c", "import nbd").returncode:
        missing_dependency("the Python module of libnbd is not installed")
    with serving(tmp_path, "--writable", tree) as uri:
        said = output("/usr/bin/python3", "-m", "nbd", "-u", uri, "-c", NBDSH)
    assert "all is well" in said


@pytest.mark.parametrize(
    "device",
    [
        "-machine pc -drive file={uri},format=raw,if=ide",
        "-machine q35 -device ahci,id=ahci -drive file={uri},format=raw,if=none,id=disk "
        "-device ide-hd,drive=disk,bus=ahci.0",
    ],
    ids=["ide", "ahci"],
)
def test_ovmf_writes_through_ide_and_ahci_which_take_no_read_only_disk(device, tree, tmp_path):
    need_tool("qemu-system-x86_64", "mtype")
    (tree / "startup.nsh").write_text(
        "@echo -off\r\nFS0:\r\necho the firmware was here > written.txt\r\n"
        "mkdir made\r\ncp note.txt made\\copied.txt\r\nrm -q docs\r\n"
        "type written.txt\r\nreset -s\r\n"
    )
    with serving(tmp_path, "--writable", tree) as uri:
        machine = (
            "qemu-system-x86_64 -accel tcg -m 256 -nodefaults -no-reboot -display none "
            f"-serial stdio -monitor none {ovmf(tmp_path)} {device.format(uri=uri)}"
        )
        done = run(*machine.split(), env=ENVIRONMENT, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        assert b"the firmware was here" in done.stdout, done.stdout
        partition = copied(uri, tmp_path)
    read = ["mtype", "-i", str(partition)]
    text = run(*read, "::written.txt").stdout
    assert "the firmware was here" in text.decode("utf-16" if text[:2] == b"\xff\xfe" else "ascii")
    assert run(*read, "::made/copied.txt").stdout == b"the note says 42\r\n"
    assert run("mdir", "-i", partition, "::docs").returncode


def test_qemu_refuses_a_read_only_ide_disk(tree, tmp_path):
    """The reason why many want a disk to be writable."""
    need_tool("qemu-system-x86_64")
    with serving(tmp_path, tree) as uri:
        machine = (
            "qemu-system-x86_64 -accel tcg -nodefaults -display none "
            f"-drive file={uri},format=raw,if=ide"
        )
        done = run(*machine.split(), env=ENVIRONMENT, timeout=60)
    assert done.returncode == 1
    assert b"read-only" in done.stderr


def test_an_iso_image_is_written_over_as_well(tree, tmp_path):
    need_tool("qemu-io")
    with serving(tmp_path, "--overlay", tmp_path / "overlay", "--format", "iso", tree) as uri:
        output("qemu-io", "-f", "raw", "-c", "write -P 5 32k 4k", uri)
    with serving(tmp_path, "--overlay", tmp_path / "overlay", "--format", "iso", tree) as uri:
        said = output("qemu-io", "-f", "raw", "-c", "read -P 5 32k 4k", uri)
        assert "failed" not in said


def test_pyfatfs_writes_to_a_disk_that_a_program_has_opened(tree, tmp_path):
    """By the file that the library gives, in a process of its own."""
    script = f"""
import vfloppy
from pyfatfs.PyFatFS import PyFatBytesIOFS
disk = vfloppy.open_disk({str(tree)!r}, overlay={str(tmp_path / "overlay")!r}, partition="none")
with PyFatBytesIOFS(disk.open(), lazy_load=True) as fs:
    fs.writetext("/from python.txt", "by pyfatfs")
disk.close()
disk = vfloppy.open_disk({str(tree)!r}, overlay={str(tmp_path / "overlay")!r}, partition="none")
disk.write_to({str(tmp_path / "image")!r})
"""
    output(sys.executable, "-W", "ignore", "-c", script, cwd=tmp_path)
    need_tool("mtype", "fsck.fat")
    assert output("mtype", "-i", tmp_path / "image", "::from python.txt") == "by pyfatfs"
    said = output("sh", "-c", f"fsck.fat -n {tmp_path}/image || true")
    found = [line for line in said.splitlines() if "wrong" in line or "differ" in line]
    assert [line[:26] for line in found] == ["Free cluster summary wrong"], "pyfatfs leaves it"
