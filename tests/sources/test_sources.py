"""Sources that are no directories: what they promise as exports, and what they refuse."""

from __future__ import annotations

import errno
import lzma
import os
import random
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conformance import check_export
from fakes import pattern
from tools import need_tool, run
from vfloppy.errors import OptionError, VfloppyError
from vfloppy.export import Detached, Hole, HostReadError
from vfloppy.library.sources import open_source, source_of
from vfloppy.sources.memory import Memory
from vfloppy.sources.register import FILES, KINDS, is_source, opened
from vfloppy.sources.xz import XzFile

KIB, MIB = 1 << 10, 1 << 20
SCRIPT = """\
case "$1" in
    open) echo "opened $$" ;;
    get_size) stat -c %s "$tmpdir/../{name}" ;;
    pread) tail -c +$(($4 + 1)) "$tmpdir/../{name}" | head -c $3 ;;
    can_write|can_trim|can_flush) exit 0 ;;
    pwrite) dd of="$tmpdir/../{name}" bs=1 seek=$4 conv=notrunc status=none ;;
    trim) [ $3 -lt 4096 ] || {{ echo 'ENOSPC no room for trimming' >&2; exit 1; }} ;;
    flush) echo 'it rains' >&2; exit 1 ;;
    *) exit 2 ;;
esac
"""


def image(size: int = 3 * MIB + 1000) -> bytes:
    """Data, a long hole, data; its length is no whole sector."""
    generator = random.Random(3)
    first, last = generator.randbytes(700_001), generator.randbytes(900_000)
    return first + bytes(size - len(first) - len(last)) + last


def sparse(path: Path, data: bytes) -> Path:
    """Writes a file with holes."""
    with path.open("wb") as file:
        file.truncate(len(data))
        for start in range(0, len(data), 4096):
            if part := data[start : start + 4096].rstrip(b"\0"):
                file.seek(start)
                file.write(part)
    return path


def streams(data: bytes, check: int, *, block: int) -> bytes:
    """Several streams of one block each, with padding between some."""
    found = b""
    for number, start in enumerate(range(0, len(data), block)):
        found += lzma.compress(data[start : start + block], check=check) + bytes(number % 3 * 4)
    return found


def script(folder: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> str:
    """A script whose disk is a file; the word for it."""
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (folder / "bytes").write_bytes(data)
    (folder / "script").write_text(SCRIPT.format(name="bytes"))
    (folder / "script").chmod(0o755)
    return f"script:{folder}/script"


@pytest.mark.parametrize("kind", ["memory", "image", "xz", "streams", "script"])
def test_a_source_keeps_all_that_an_export_promises(kind, tmp_path, monkeypatch):
    data = image()
    slices = 60
    if kind == "memory":
        word = f"memory:{len(data)}"
    elif kind == "image":
        word = str(sparse(tmp_path / "x.img", data))
    elif kind == "xz":
        need_tool("xz")
        sparse(tmp_path / "x.img", data)
        run("xz", "--block-size=256KiB", str(tmp_path / "x.img"))
        word = str(tmp_path / "x.img.xz")
    elif kind == "streams":
        (tmp_path / "x.xz").write_bytes(streams(data, lzma.CHECK_SHA256, block=300_000))
        word = str(tmp_path / "x.xz")
    else:
        data, slices = image(64 * KIB + 1_600_001), 8
        word = script(tmp_path, monkeypatch, data)
    source = opened(word)
    if kind == "memory":
        with source.open() as writer:
            writer.write(0, data[:800_000])
            writer.write(len(data) - 900_000, data[-900_000:])
    assert source.size == len(data)
    assert len(source.description.splitlines()) == 1
    check_export(source, [0, 700_001, len(data) - 900_000, len(data)], slices=slices)
    with source.open() as reader:
        assert reader.read(0, len(data)) == data
        has_hole = any(isinstance(each, Hole) for each in reader.pieces(0, len(data)))
        assert has_hole == (kind != "script")
    source.close()
    source.close()


# --- memory ---


def test_memory_is_written_by_all_and_gives_back_what_is_trimmed():
    memory = Memory("1G")
    with memory.open() as one, memory.open() as other:
        one.write(12345, b"data")
        assert other.read(12344, 6) == b"\0data\0"
        other.write(500 * MIB, pattern(MIB))
        other.flush()
        used = os.fstat(memory.descriptor).st_blocks
        one.trim(500 * MIB, MIB)
        assert os.fstat(memory.descriptor).st_blocks <= used - MIB // 512
        one.zero(0, 1 << 29)
        assert not other.read(12345, 4).strip(b"\0")
        one.zero(0, 3 * MIB, may_trim=False)
        assert os.fstat(memory.descriptor).st_blocks >= 3 * MIB // 512
        with pytest.raises(OSError, match="written as data") as caught:
            one.zero(0, 10, may_trim=False, fast=True)
        assert caught.value.errno == errno.ENOTSUP
        with pytest.raises(ValueError, match="not within"):
            one.write(memory.size - 1, b"xx")
    memory.close()


def test_memory_may_be_as_large_as_the_protocol_lets_it():
    size = (1 << 63) - 1
    memory = Memory(str(size))
    assert memory.size == size
    with memory.open() as writer:
        for place in (size - 10, size - 5000, size - 100_000, 5 << 60, 0):
            writer.write(place, b"0123456789")
            assert writer.read(place, 10) == b"0123456789"  # Linux says that the last is a hole
        data = [each for each in writer.extents(0, size) if not each.hole]
        assert sum(each.length for each in data) <= 200_000
        assert sum(each.length for each in writer.extents(0, size)) == size
    memory.close()


# --- images ---


@pytest.mark.parametrize("name", ["x.img", "x.img.xz"])
def test_a_file_that_changes_is_an_error_and_never_a_wrong_byte(tmp_path, name):
    path = tmp_path / name
    data = image()
    path.write_bytes(lzma.compress(data) if name.endswith("xz") else data)
    source = opened(str(path))
    with source.open() as reader:
        if name == "x.img":
            assert reader.read(0, 512) == data[:512]
            (held, *_rest) = reader.pieces(0, 100_000)
        path.write_bytes(b"x" * path.stat().st_size)
        os.utime(path, ns=(1, 1))
        with pytest.raises(HostReadError, match=f"{name} has changed since it was opened"):
            reader.read(0, 512)
        if name == "x.img":
            assert reader.read_simple(0, 512) is None
            with pytest.raises(HostReadError, match="has changed"):
                held.finish(held.length)
    source.close()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"QFI\xfb\0\0\0\3", "is a qcow2 image, and a raw image is expected: qemu-img convert"),
        (b"\x1f\x8b\x08", "is compressed by gzip"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_raw_image_is_refused(tmp_path, head, said):
    (tmp_path / "x").write_bytes(head and head.ljust(4096, b"\0"))
    with pytest.raises(VfloppyError, match=said):
        opened(str(tmp_path / "x"))


# --- xz ---


@pytest.mark.parametrize("check", [lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64])
def test_blocks_are_decoded_once_and_only_those_that_are_read(tmp_path, check, monkeypatch):
    data = image()
    (tmp_path / "x.xz").write_bytes(streams(data, check, block=256 * KIB))
    source = opened(str(tmp_path / "x.xz"))
    assert isinstance(source, XzFile)
    decoded: list[int] = []
    decode = source.index.decode
    monkeypatch.setattr(
        source.index,
        "decode",
        lambda number, write: (decoded.append(number), decode(number, write)),
    )

    def read(place: int) -> bytes:
        with source.open() as reader:
            return reader.read(place, 5000)

    place = 3 * 256 * KIB - 2000  # in two blocks
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, [place] * 16)) == {data[place : place + 5000]}
    assert sorted(decoded) == [2, 3]
    with source.open() as reader:
        holes = [each.hole for each in reader.extents(0, len(data))]
        assert not any(holes[:2])
    source.close()


def test_one_large_block_is_told_of(tmp_path):
    data = bytes(65 << 20)
    (tmp_path / "x.xz").write_bytes(lzma.compress(data, preset=0))
    source = opened(str(tmp_path / "x.xz"))
    assert "has blocks of 65 MiB" in source.note
    assert "xz --block-size=16MiB" in source.note
    assert source.description == "x.xz, an image of 65 MiB in one block"
    source.close()


def test_damage_in_a_block_is_an_error_of_what_is_in_it(tmp_path):
    data = image()
    packed = bytearray(streams(data, lzma.CHECK_CRC32, block=256 * KIB))
    packed[2000] ^= 1
    (tmp_path / "x.xz").write_bytes(packed)
    source = opened(str(tmp_path / "x.xz"))
    with source.open() as reader:
        assert reader.read(MIB, 512) == data[MIB : MIB + 512]
        for _ in range(2):
            with pytest.raises(HostReadError, match=r"x\.xz: block 0 can't be decoded: "):
                reader.read(0, 512)
        assert reader.read_simple(0, 512) is None
    source.close()


def test_no_damage_of_an_index_is_more_than_an_error(tmp_path):
    """Every byte of head and tail, changed in turn, and every length: an error, or the same."""
    data = pattern(5000)
    good = lzma.compress(data, check=lzma.CHECK_CRC32) + lzma.compress(b"more")
    path = tmp_path / "x.xz"

    def outcome(packed: bytes) -> bytes | None:
        path.write_bytes(packed)
        try:
            source = opened(str(path))
        except VfloppyError:
            return None
        try:
            with source.open() as reader:
                return reader.read(0, source.size)
        except HostReadError:
            return None
        finally:
            source.close()

    whole = data + b"more"
    assert outcome(good) == whole
    places = [*range(40), *range(len(good) - 120, len(good))]
    for place in places:
        for change in (1, 0x80):
            changed = bytearray(good)
            changed[place] ^= change
            assert outcome(bytes(changed)) in {None, whole, b"more"}
    for length in (0, 1, 11, 12, 31, 32, len(good) - 4, len(good) - 12):
        assert outcome(good[:length]) in {None, data}


def test_an_index_that_lies_of_a_block_is_found_out(tmp_path):
    """As long as the sums are right: a block is longer, or shorter, than its index says."""
    packed = lzma.compress(b"x" * 1000, check=lzma.CHECK_CRC32)
    index_at = len(packed) - 12 - 4 * (int.from_bytes(packed[-8:-4], "little") + 1)
    index = packed[index_at:-12]
    for size in (999, 1001):
        changed = index[:-4].replace(b"\xe8\x07", size.to_bytes(2, "little").translate(None), 1)
        coded = bytes([size & 0x7F | 0x80, size >> 7])
        changed = index[:-4].replace(bytes([1000 & 0x7F | 0x80, 1000 >> 7]), coded, 1)
        assert changed != index[:-4]
        changed += zlib.crc32(changed).to_bytes(4, "little")
        (tmp_path / "x.xz").write_bytes(packed[:index_at] + changed + packed[-12:])
        source = opened(str(tmp_path / "x.xz"))
        assert source.size == size
        with source.open() as reader, pytest.raises(HostReadError, match="can't be decoded"):
            reader.read(0, 10)
        source.close()


# --- scripts ---


def test_a_script_is_written_and_its_errors_are_told(tmp_path, monkeypatch):
    source = opened(script(tmp_path, monkeypatch, image(2 * MIB)))
    assert source.features.writable
    assert source.features.programs
    with source.open() as writer:
        writer.write(1000, b"hello")
        writer.zero(1002, 2)
        assert writer.read(999, 8)[1:6] == b"he\0\0o"
        writer.trim(0, 512)
        with pytest.raises(HostReadError, match="trim: no room for trimming") as caught:
            writer.trim(0, 4096)
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(HostReadError, match="flush: it rains") as caught:
            writer.flush()
        assert caught.value.errno == errno.EIO
        with pytest.raises(OSError, match="written as data"):
            writer.zero(0, 512, fast=True)
        left = writer.detach()
        assert left is not None
        assert left.state.startswith(b"=opened ")
        with source.open() as other:
            other.adopt(Detached(left.state))
            assert other.read(1000, 2) == b"he"
            again = other.detach()
            assert again == left
    folder = Path(source.folder)
    assert folder.is_dir()
    source.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("get_size) echo much;;", "get_size says 'much'; a size is expected"),
        ("get_size) exit 2;;", "get_size says ''"),
        ("load) echo no luck >&2; exit 1;;", "load: no luck"),
        ("load) exit 3;;", "load: it says no"),
        ("load) exit 7;;", "load: exit status 7"),
        ("open) yes;;", "open says more than 65536 bytes"),
    ],
)
def test_a_script_that_opens_no_disk_is_told_of_in_one_line(tmp_path, answer, said):
    path = tmp_path / "script"
    path.write_text(f'#!/bin/sh\ncase "$1" in {answer} get_size) echo 1M;; *) exit 2;; esac\n')
    path.chmod(0o755)
    with pytest.raises(VfloppyError) as caught:
        opened(f"script:{path}")
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("pread) printf x;;", "pread of 512 bytes at 0: 1 bytes"),
        ("pread) yes;;", "pread says more than 512 bytes"),
        ("pread) exit 2;;", "pread of 512 bytes at 0: there is none"),
        ("pread) echo ENOMEM: too large >&2; exit 1;;", "pread: too large"),
        ("pread) yes error | head -c 300000 >&2; exit 1;;", "pread: error"),
    ],
)
def test_a_script_that_answers_a_read_with_anything_else_fails_it(tmp_path, answer, said):
    path = tmp_path / "script"
    path.write_text(f'case "$1" in {answer} get_size) echo 1M;; *) exit 2;; esac\n')
    path.chmod(0o755)
    source = opened(f"script:{path}")  # without `#!`, it is the shell's
    with source.open() as reader, pytest.raises(HostReadError) as caught:
        reader.read(0, 512)
    assert said in str(caught.value)
    source.close()


# --- words ---


def test_words_stand_for_sources_where_no_directory_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_source("memory:1M")
    (tmp_path / "memory:1M").mkdir()
    assert not is_source("memory:1M")
    assert not is_source("nothing")
    assert not is_source("nothing.xz")
    assert not is_source("memory")
    assert not is_source("a\0b")
    (tmp_path / "script:x").write_bytes(b"x" * 512)
    assert is_source("script:x")
    assert opened("script:x").size == 512
    assert all(each.help.endswith(".") for each in (*KINDS.values(), *FILES.values()))


@pytest.mark.parametrize("word", ["memory:", "memory:x", "memory:+1M", "memory:8388608T"])
def test_a_size_that_memory_can_not_have_is_refused(word):
    with pytest.raises(OptionError, match="memory:"):
        opened(word)


def test_what_can_not_be_written_is_written_over_and_kept(tmp_path):
    path = tmp_path / "x.img"
    data = image()
    path.write_bytes(data)
    assert not open_source(path).features.writable
    assert open_source("memory:1M", writable=True).features.writable
    assert source_of(open_source("memory:1M", writable=True)) is not None
    for overlay in (None, tmp_path / "overlay", tmp_path / "overlay"):
        export = open_source(path, writable=True, overlay=overlay)
        with export.open() as writer:
            assert (writer.read(0, 5) == b"hello") == (overlay is not None and is_second(overlay))
            writer.write(0, b"hello")
        export.file.close()
    assert path.read_bytes() == data
    path.write_bytes(b"y" * len(data))
    with pytest.raises(VfloppyError, match=r"written over another disk .* left as it is"):
        open_source(path, overlay=tmp_path / "overlay")
    with pytest.raises(VfloppyError, match="over another disk"):
        open_source("memory:1M", overlay=tmp_path / "overlay")


seen: set[str] = set()


def is_second(path: Path) -> bool:
    """Whether it was asked before."""
    was = str(path) in seen
    seen.add(str(path))
    return was


def test_a_script_may_come_on_standard_input(monkeypatch, tmp_path):
    script = tmp_path / "x"
    script.write_text('case "$1" in get_size) echo 512;; pread) printf %512s x;; *) exit 2;; esac')
    with script.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        source = opened("script:-")
    with source.open() as reader:
        assert reader.read(0, 512) == b" " * 511 + b"x"
    source.close()
