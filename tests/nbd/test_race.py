"""A neighbour swaps files for links to a secret as fast as it can: the secret is never served.

RACE_SECONDS says for how long in all; it decides how much is tried, and never what is right.
"""

from __future__ import annotations

import contextlib
import os
import time

import pytest
from disks import disk_of, files_of
from fakes import Client, request
from vfloppy.errors import VfloppyError
from vfloppy.export import FileSlice, HostReadError
from vfloppy.nbd import listen_unix
from vfloppy.nbd.protocol import wire
from vfloppy.process import children as processes
from vfloppy.synth.output.writer import write_file
from vfloppy.synth.scanning.scan import scan

SECRET = b"SECRET! " * 5000
SECONDS = float(os.environ.get("RACE_SECONDS", "30"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for number in range(8):
        (tmp_path / "root" / "sub" / f"f{number}").write_bytes(b"public. " * 5000)
        (tmp_path / "outside" / f"f{number}").write_bytes(SECRET)
    return tmp_path / "root"


def swap(root):
    """For ever: files, and the directory that they are in, become links to the outside.

    A file that was renamed is refused for its ctime, so half of them only move with the directory.
    """
    spare, kept = root.parent / "spare", root.parent / "kept"
    while True:
        for name in [*(f"sub/f{number}" for number in range(4)), "sub"]:
            spare.symlink_to(root.parent / "outside" / name.removeprefix("sub").lstrip("/"))
            (root / name).rename(kept)
            spare.rename(root / name)
            (root / name).unlink()
            kept.rename(root / name)


@contextlib.contextmanager
def swapping(root):
    process_id = processes.fork(lambda: swap(root))
    try:
        yield
        assert processes.ended(process_id) is None, "it did not swap to the end"
    finally:
        with contextlib.suppress(ChildProcessError):
            processes.end_all([process_id])


def laps():
    yield 0
    end = time.monotonic() + SECONDS / 4  # there are four races
    while time.monotonic() < end:
        yield 0


def image_of(root, form, **options):
    """The disk of a directory."""
    tree = scan(str(root))
    return disk_of(tree, form, files_of(tree, **options))


def read_all(client, image):
    """What comes of reading every file once, and how many reads failed."""
    data, failed, position = [], 0, 0
    for piece in image.open().pieces(0, image.size):
        length = len(piece) if isinstance(piece, bytes) else piece.length
        if isinstance(piece, FileSlice):
            client.send(request(wire.NBD_CMD_READ, position, length))
            chunks = [client.chunk()]
            while not chunks[-1].done:
                chunks.append(client.chunk())
            errors = {each.error for each in chunks if each.error}
            assert errors <= {wire.NBD_EIO}
            failed += bool(errors)
            data += [each.payload for each in chunks]
        position += length
    return b"".join(data), failed


@pytest.mark.parametrize("form", ["fat", "iso"])
def test_nothing_that_is_served_is_secret(serve, tmp_path, figures, root, form):
    image = image_of(root, form, leases=True)
    listener = listen_unix(tmp_path / "socket")
    serve([listener], {"": image})  # without the sandbox: it would hide a mistake
    reads = failures = 0
    with swapping(root):
        for _ in laps():
            with Client(listener.path) as client:  # a new one, which has nothing open
                client.go()
                data, failed = read_all(client, image)
            figures["secrets"] += data.count(b"SECRET")
            assert b"SECRET" not in data
            reads, failures = reads + 8, failures + failed
    figures["reads during swaps"] += reads
    assert reads > failures


@pytest.mark.parametrize("form", ["fat", "iso"])
def test_nothing_that_is_built_is_secret(tmp_path, figures, root, form):
    built = refused = 0
    with swapping(root):
        for _ in laps():
            out = tmp_path / "out"
            try:
                image = image_of(root, form)
            except VfloppyError:
                refused += 1
                continue
            try:
                write_file(image, str(out), sync=False)
            except HostReadError:
                refused += 1
                continue
            built += 1
            with out.open("rb") as image:
                data = image.read(16 << 20)
            figures["secrets"] += data.count(b"SECRET")
            assert b"SECRET" not in data
    figures["builds during swaps"] += built + refused
    assert built
    assert not list(tmp_path.glob(".vfloppy-*"))
