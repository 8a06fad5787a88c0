"""Leases, numbers and births on real file systems, mounted for the test by root."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from tools import need_tool, output, run
from vfloppy.export import HostReadError
from vfloppy.process.wakeup import SignalAlerts
from vfloppy.synth.host import leases
from vfloppy.synth.host.births import birth_ns
from vfloppy.synth.host.files import ScannedFiles
from vfloppy.synth.scanning.scan import scan

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")

FILE_SYSTEMS = ("btrfs", "ext2", "ext3", "ext4", "tmpfs", "xfs")
CONTENT = b"as it was scanned".ljust(8192)

# Maps a file for writing, closes its descriptor and mmap's own, says so, and writes when told to.
MAPPER = """
import mmap, os, sys
mapping = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 8192)
os.closerange(3, 64)
print("mapped", flush=True)
sys.stdin.readline()
mapping[:6] = b"SECRET"
print("written", flush=True)
sys.stdin.readline()
"""


@contextmanager
def mounted(tmp_path, kind):
    """A new file system of a kind, on a file that takes no more room than is used."""
    place = tmp_path / kind
    place.mkdir()
    if kind == "tmpfs":
        output("mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place))
    else:
        need_tool(f"mkfs.{kind}")
        disk = tmp_path / f"{kind}.disk"
        with open(disk, "wb") as file:
            file.truncate(400 << 20)
        output(f"mkfs.{kind}", "-q", str(disk))
        done = run("mount", "-o", "loop", "-t", kind, str(disk), str(place))
        if done.returncode:
            pytest.skip(f"can't be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        output("umount", "-l", str(place))


@contextmanager
def layered(tmp_path):
    """The lower, the upper and the merged directory of an overlay, with a file in the lower one."""
    with mounted(tmp_path, "tmpfs") as place:
        lower, upper, work, merged = (place / name for name in ("lower", "upper", "work", "merged"))
        for each in (lower, upper, work, merged):
            each.mkdir()
        (lower / "file").write_bytes(CONTENT)
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        done = run("mount", "-t", "overlay", "-o", layers, "none", str(merged))
        if done.returncode:
            pytest.skip(f"can't be mounted here: {done.stderr.decode().strip()}")
        try:
            yield lower, upper, merged
        finally:
            output("umount", "-l", str(merged))


@contextmanager
def mapper(file):
    """A process that has a file mapped for writing, and no descriptor of it."""
    command = [sys.executable, "-c", MAPPER, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"mapped\n"
        yield process
        process.stdin.close()


def tell(process):
    """Has it write."""
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"written\n"


def read_twice(files, node):
    return files.read(node, 0, 6), files.read(node, 0, 6)


def test_every_file_system_that_is_trusted_with_leases_is_tested():
    assert frozenset(FILE_SYSTEMS) == leases._LEASED
    assert leases._LEASED < leases._NUMBERED


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_no_lease_while_a_file_is_mapped_for_writing(tmp_path, kind):
    with mounted(tmp_path, kind) as place:
        file = place / "file"
        file.write_bytes(CONTENT)
        tree = scan(str(place))
        node = tree.find("file")
        with mapper(file) as process:
            files = ScannedFiles(tree, alerts=SignalAlerts())
            assert read_twice(files, node) == (CONTENT[:6], CONTENT[:6])
            assert not files.leased
            tell(process)
        os.sync()
        files = ScannedFiles(scan(str(place)), alerts=SignalAlerts())
        assert read_twice(files, node) == (b"SECRET", b"SECRET")
        assert list(files.leased) == [node]
        program = "import os, sys; os.close(os.open(sys.argv[1], os.O_WRONLY))"
        subprocess.run([sys.executable, "-c", program, str(file)], check=True, timeout=40)
        assert (dict(files.leased), files.broken_leases) == ({}, 1)
        files.close()


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_births_are_noted_and_not_later_than_the_last_change(tmp_path, kind):
    with mounted(tmp_path, kind) as place:
        for number in range(20):
            (place / f"{number}").write_bytes(CONTENT)
            with open(place / f"{number}", "rb") as file:
                born = birth_ns(file.fileno())
                assert born is not None
                assert born <= os.fstat(file.fileno()).st_ctime_ns
                assert leases.has_lasting_numbers(file.fileno())


@pytest.mark.parametrize("form", ["-q", "-qI128"], ids=["births", "no births"])
def test_a_file_that_is_made_anew_on_ext4(tmp_path, form):
    """Where no births are noted, it is taken for the file of the scan, grown."""
    need_tool("mkfs.ext4")
    place, disk = tmp_path / "mount", tmp_path / "disk"
    place.mkdir()
    with open(disk, "wb") as file:
        file.truncate(16 << 20)
    output("mkfs.ext4", form, str(disk))
    if run("mount", "-o", "loop", str(disk), str(place)).returncode:
        pytest.skip("can't be mounted here")
    try:
        (place / "file").write_bytes(CONTENT)
        tree = scan(str(place))
        node = tree.find("file")
        # As if a second went by: without births, times are told in seconds.
        tree.mtimes_ns[node] -= 10**9
        tree.origins.ctimes_ns[node] -= 10**9
        (place / "file").unlink()
        (place / "file").write_bytes(b"SECRET".ljust(10_000))
        files = ScannedFiles(tree)
        if (place / "file").stat().st_ino != tree.inodes[node]:
            pytest.skip("the number was not given again")
        if form == "-q":
            with pytest.raises(HostReadError, match="was replaced after the scan"):
                files.read(node, 0, 6)
        else:
            assert read_twice(files, node) == (b"SECRET", b"SECRET")
        files.close()
    finally:
        output("umount", "-l", str(place))


def test_no_leases_on_an_overlay_whose_data_are_on_another_inode(tmp_path):
    with layered(tmp_path) as (_, upper, merged):
        (merged / "new").write_bytes(CONTENT)
        tree = scan(str(merged))
        files = ScannedFiles(tree, alerts=SignalAlerts())
        new, node = tree.find("new"), tree.find("file")
        with mapper(merged / "new") as process:
            assert read_twice(files, new) == (CONTENT[:6], CONTENT[:6])
            assert read_twice(files, node) == (CONTENT[:6], CONTENT[:6])
            assert not files.leased
            with open(upper / "new", "r+b") as file:
                file.write(b"SECRET")
            with pytest.raises(HostReadError, match="was written to after the scan"):
                files.read(new, 0, 6)
            tell(process)
        files.close()


@pytest.mark.parametrize("change", ["grow", "chmod"])
def test_a_file_of_a_lower_layer_is_another_one_once_it_is_changed(tmp_path, change):
    with layered(tmp_path) as (_, _, merged):
        tree = scan(str(merged))
        node = tree.find("file")
        if change == "grow":
            with open(merged / "file", "ab") as file:
                file.write(b"more")
        else:
            (merged / "file").chmod(0o600)
        files = ScannedFiles(tree, alerts=SignalAlerts())
        with pytest.raises(HostReadError, match="was replaced after the scan"):
            files.read(node, 0, 6)
        files.close()
