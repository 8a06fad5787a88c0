"""Clients of a later Debian than the system's: they ask for extended headers, and get them."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from compare import assert_same
from tools import newer, output, vfloppy
from trees import settle_times, sizes, sparse

MIB = 1 << 20
OWN_CONTEXTS = ["base:allocation", "x-vfloppy:kind", "x-vfloppy:file"]


class Disk(NamedTuple):
    """A tree, what makes a disk of it, and that disk as it was built."""

    directory: Path
    options: tuple[str, ...]
    image: Path

    def captive(self, *commands: str) -> str:
        """What commands print while the disk is served to them, at "$uri"."""
        return captive(self.directory, " && ".join(commands), *self.options)


def captive(directory: Path, command: str, *options: str) -> str:
    done = vfloppy("serve", "-q", "-U", "-", *options, directory, "--run", command)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def python(script: str, *arguments: object) -> str:
    """A command that runs a script with libnbd's binding; its first argument is the URI."""
    quoted = shlex.join([newer("python3"), "-c", script])
    return f'{quoted} "$uri" {shlex.join(map(str, arguments))}'


@pytest.fixture(scope="module", params=["fat", "iso"])
def disk(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("newer")
    tree, image = root / "tree", root / "image"
    tree.mkdir()
    sizes(tree)
    sparse(tree, 100 * MIB)
    settle_times(tree)
    options = {"fat": ("--fat", "16"), "iso": ("--format", "iso")}[request.param]
    done = vfloppy("build", "-q", *options, tree, image)
    assert (done.returncode, done.stderr) == (0, b"")
    return Disk(tree, options, image)


def test_nbdinfo(disk):
    nbdinfo = newer("nbdinfo")
    told = json.loads(disk.captive(f'{nbdinfo} --json "$uri"'))
    assert told["extended"]
    (export,) = told["exports"]
    assert export["export-size"] == disk.image.stat().st_size
    assert export["contexts"] == OWN_CONTEXTS
    can = {name for name, able in export.items() if able is True}
    assert can == {
        "is_read_only", "can_block_status_payload", "can_cache", "can_df", "can_flush",
        "can_multi_conn",
    }  # fmt: skip
    disk.captive(
        f'{nbdinfo} --can extended-headers "$uri"', f'{nbdinfo} --can block-status-payload "$uri"'
    )


def test_copies_are_what_was_built(disk, tmp_path):
    nbdcopy, qemu_img = newer("nbdcopy"), newer("qemu-img")
    disk.captive(
        f'{nbdcopy} "$uri" {tmp_path}/0',
        f'{nbdcopy} --connections=4 --request-size=65536 "$uri" {tmp_path}/1',
        f'{nbdcopy} --synchronous --no-extents "$uri" {tmp_path}/2',
        f'{qemu_img} convert -f raw -O raw "$uri" {tmp_path}/3',
        f'{qemu_img} convert -W -m 16 -f raw -O qcow2 "$uri" {tmp_path}/qcow2',
        f'{qemu_img} compare -f raw -F qcow2 "$uri" {tmp_path}/qcow2',
        f'{qemu_img} compare -f raw -F raw "$uri" {disk.image}',
    )
    for number in range(4):
        assert output("cmp", str(tmp_path / f"{number}"), str(disk.image)) == ""


def test_maps_agree(disk):
    nbdinfo, qemu_img = newer("nbdinfo"), newer("qemu-img")
    text = disk.captive(
        f'{nbdinfo} --map --json "$uri"', f'{qemu_img} map --output=json -f raw "$uri"'
    )
    decoder = json.JSONDecoder()
    by_nbdinfo, end = decoder.raw_decode(text)
    by_qemu, _ = decoder.raw_decode(text[end:].lstrip())
    found = [(row["offset"], row["length"], row["type"] == 0) for row in by_nbdinfo]
    assert_same(found, [(row["start"], row["length"], row["data"]) for row in by_qemu])
    assert sum(length for _, length, data in found if not data) > 90 * MIB
    for context in OWN_CONTEXTS[1:]:
        rows = json.loads(disk.captive(f'{nbdinfo} --map={context} --json "$uri"'))
        assert sum(row["length"] for row in rows) == disk.image.stat().st_size


def test_qemu_io(disk):
    reads = ((0, 512), (1, 4097), (0, 4 * MIB), (disk.image.stat().st_size - 512, 512))
    commands = " ".join(f"-c 'read {at} {length}'" for at, length in reads)
    said = disk.captive(f'{newer("qemu-io")} -r -f raw -c "read -P 0 20M 1M" {commands} "$uri"')
    assert said.count("ops;") == 5
    assert "Pattern verification failed" not in said


CONNECT = """
import sys, nbd
def connected(extended=True, structured=True):
    handle = nbd.NBD()
    handle.set_request_extended_headers(extended)
    handle.set_request_structured_replies(structured)
    for name in "base:allocation", "x-vfloppy:kind", "x-vfloppy:file":
        handle.add_meta_context(name)
    handle.connect_uri(sys.argv[1])
    return handle
def status(handle, length, offset=0, flags=0, contexts=None):
    found = {}
    def add(name, at, extents, error):
        assert name not in found and at == offset
        found[name] = extents
    if contexts is None:
        handle.block_status_64(length, offset, add, flags)
    else:
        handle.block_status_filter(length, offset, contexts, add, flags)
    return found
h = connected()
assert h.get_extended_headers_negotiated() and h.get_structured_replies_negotiated()
size = h.get_size()
"""

READS = """
import random
whole = open(sys.argv[2], "rb").read()
generator = random.Random(64)
df = nbd.CMD_FLAG_DF
def read(handle, length, at, flags=0):
    got, seen = bytearray(length), []
    def add(data, offset, kind, error):
        seen.append((offset, kind))
        got[offset - at : offset - at + len(data)] = data
    handle.pread_structured(length, at, add, flags)
    assert got == whole[at : at + length], (length, at, flags)
    return seen
for _ in range(100):
    length = generator.choice((1, 7, 512, 4096, 4097, 70_000, 1 << 20, 8 << 20, 32 << 20))
    at = generator.choice((0, generator.randrange(8 << 20), size - length))
    read(h, length, at)
    assert len(read(h, length, at, df)) == 1
assert nbd.READ_HOLE in [kind for _, kind in read(h, 32 << 20, 0)]
h.cache(8 << 20, 0)
h.flush()
# The same bytes for those who don't ask, or ask for less.
for extended, structured in (False, True), (False, False), (True, False):
    other = connected(extended, structured)
    assert not other.get_extended_headers_negotiated()
    assert other.get_structured_replies_negotiated() == structured
    assert other.pread(2 << 20, 0) == whole[: 2 << 20]
    other.shutdown()
# Many at once, in one batch.
buffers = [(nbd.Buffer(60_000), generator.randrange(8 << 20)) for _ in range(200)]
for buffer, at in buffers:
    h.aio_pread(buffer, at)
while h.aio_in_flight():
    h.poll(-1)
for buffer, at in buffers:
    assert buffer.to_bytearray() == whole[at : at + 60_000]
"""


def test_reads_of_every_kind(disk):
    disk.captive(python(CONNECT + READS, disk.image))


STATUSES = """
import json
names = "base:allocation", "x-vfloppy:kind", "x-vfloppy:file"
everything = status(h, size)
assert set(everything) == set(names)
for extents in everything.values():
    assert sum(length for length, _ in extents) == size
for chosen in ["base:allocation"], ["x-vfloppy:file", "x-vfloppy:kind"], list(names):
    found = status(h, size, contexts=chosen)
    assert found == {name: everything[name] for name in chosen}, chosen
first = status(h, size, flags=nbd.CMD_FLAG_REQ_ONE)
assert first == {name: extents[:1] for name, extents in everything.items()}
for name, extents in status(h, 1, size - 1).items():
    assert extents == [(1, everything[name][-1][1])]
print(json.dumps(everything))
"""


def test_block_status_of_every_kind(disk):
    """Contexts are chosen by a payload; what all say together is one answer."""
    everything = json.loads(disk.captive(python(CONNECT + STATUSES)))
    lengths: Counter[int] = Counter()
    for length, number in everything["x-vfloppy:file"]:
        lengths[number] += length
    sizes_by_name = {path.name: path.stat().st_size for path in disk.directory.iterdir()}
    del lengths[0]
    whole_sectors = (-(-size // 512) * 512 for size in sizes_by_name.values())
    assert sorted(lengths.values()) == sorted(whole_sectors)
    assert {number for _, number in everything["x-vfloppy:kind"]} >= {1, 2, 3, 4}
    data = sum(length for length, flags in everything["base:allocation"] if not flags)
    assert 0 < data - sum(sizes_by_name.values()) + sizes_by_name["sparse.img"] < 8 * MIB


REFUSALS = """
h.set_strict_mode(nbd.STRICT_AUTO_FLAG)
more = 32 * 2**20 + 1
for number, call in (
    ("EPERM", lambda: h.pwrite(b"x" * 1000, 0)),
    ("EPERM", lambda: h.pwrite(bytes(40 << 20), 0)),
    ("EPERM", lambda: h.trim(size, 0)),
    ("EPERM", lambda: h.zero(size, 0)),
    ("ENOSPC", lambda: h.zero(2**63 - 1, 0)),
    ("EINVAL", lambda: h.trim(2**63 - 1, 0)),
    ("EINVAL", lambda: h.pread(1, size)),
    ("EINVAL", lambda: h.pread(10, size - 5)),
    ("EINVAL", lambda: h.pread(10, 2**63 - 5)),
    ("EINVAL", lambda: h.pread(more, 0)),
    ("EOVERFLOW", lambda: h.pread_structured(more, 0, lambda *_: 0, nbd.CMD_FLAG_DF)),
    ("EOVERFLOW", lambda: h.cache(size, 0)),
    ("EINVAL", lambda: h.cache(1, size)),
    ("EINVAL", lambda: h.flush(nbd.CMD_FLAG_FUA)),
    ("EINVAL", lambda: status(h, 0)),
    ("EINVAL", lambda: status(h, size + 1)),
    ("EINVAL", lambda: status(h, 2**63 - 1)),
    ("EINVAL", lambda: status(h, 10, flags=nbd.CMD_FLAG_DF)),
    ("EINVAL", lambda: status(h, size, contexts=[])),
    ("EINVAL", lambda: status(h, size, contexts=["x-vfloppy:kind"] * 2)),
):
    try:
        call()
    except nbd.Error as error:
        assert error.errno == number, (error.errno, number, error.string)
    else:
        raise AssertionError(number)
    assert len(h.pread(1000, 0)) == 1000
"""


def test_refusals_leave_the_stream_in_step(disk):
    disk.captive(python(CONNECT + REFUSALS))


CHANGE = """
contents = open(sys.argv[2], "rb").read()
at = h.pread(8 << 20, 0).index(contents)
with open(sys.argv[2], "r+b") as file:
    file.write(b"changed")
for flags in 0, nbd.CMD_FLAG_DF:
    for length in 512, len(contents):
        seen = []
        try:
            h.pread_structured(length, at, lambda *told: seen.append(told), flags)
        except nbd.Error as error:
            assert error.errno == "EIO"
        else:
            raise AssertionError(length)
        assert nbd.READ_ERROR in [kind for _, _, kind, _ in seen]
assert len(h.pread(512, 0)) == 512
"""


def test_a_file_that_changes_is_an_error(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    sizes(tree)
    captive(tree, python(CONNECT + CHANGE, tree / "1000003.bin"))


ONE_ANSWER = """
assert size > 7 << 40
everything = status(h, size)
for extents in everything.values():
    assert sum(length for length, _ in extents) == size
assert max(everything["base:allocation"])[0] > 7 << 40
assert len(everything["x-vfloppy:file"]) >= 4000
"""


def test_the_map_of_eight_tebibytes_is_one_answer(tmp_path):
    """With 32-bit lengths it takes two thousand."""
    for number in range(2000):
        with open(tmp_path / f"{number}.bin", "wb") as file:
            file.truncate((4 << 30) - 5000)
    nbdinfo = newer("nbdinfo")
    text = captive(
        tmp_path,
        python(CONNECT + ONE_ANSWER) + f' && {nbdinfo} --map --totals "$uri"',
        "--sector-size", "4096",
    )  # fmt: skip
    holes = next(row.split() for row in text.splitlines() if "hole" in row)
    assert int(holes[0]) > 7 << 40
