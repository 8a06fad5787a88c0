"""Writing: the bytes of the pieces, sparse, whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import random
import stat

import pytest
from compare import assert_same
from conformance import read
from exports import SelfReading
from tools import VFLOPPY, missing_dependency, need_tool, run
from vfloppy.errors import WriteError
from vfloppy.export import Extent, FileSlice, Hole, HostReadError, Kind
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.host.batch import HostSlice
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.image import Image
from vfloppy.synth.image.section import Fixed, Zeros
from vfloppy.synth.output import writer as write
from vfloppy.synth.output.writer import write_file, write_over, write_stream
from vfloppy.synth.scanning.scan import scan

AS_ROOT = os.geteuid() == 0
KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def image(tmp_path) -> Image:
    """A disk with files that are copied and files that are read, and one with a hole."""
    root = tmp_path / "tree"
    root.mkdir()
    generator = random.Random(3)
    for size in (0, 1, 4096, 65_535, 65_536, 65_537, 3 * MIB + 17):
        (root / f"{size}").write_bytes(generator.randbytes(size))
    with open(root / "sparse", "wb") as file:
        file.truncate(4 * MIB)
        file.seek(MIB + 5)
        file.write(b"island")
    return image_of(root)


def image_of(root, **options) -> Image:
    tree = scan(str(root))
    options = {"fat_bits": 16} | options
    return disk(plan(tree, FatOptions(**options)), tree, HostFiles(tree))


@pytest.fixture(params=["nameless", "named"])
def folder(request, tmp_path, monkeypatch):
    """Where images are written to; with temporary files of either kind."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def assert_only(folder, name: str, data: bytes) -> None:
    assert [path.name for path in folder.iterdir()] == [name]
    assert_same((folder / name).read_bytes(), data)


def test_the_file_is_the_bytes_of_the_pieces(image, folder):
    write_file(image, str(folder / "a.img"))
    assert_only(folder, "a.img", read(image, 0, image.size))


def test_the_stream_is_the_bytes_of_the_pieces(image, folder):
    with open(folder / "a.img", "wb", buffering=0) as out:
        write_stream(image, out)
    assert_only(folder, "a.img", read(image, 0, image.size))


def test_holes_of_disk_and_files_stay_holes(tmp_path, folder):
    root = tmp_path / "tree"
    root.mkdir()
    with open(root / "sparse", "wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"island")
    image = image_of(root, fat_bits=32, free=1 << 30)
    write_file(image, str(folder / "a.img"))
    status = (folder / "a.img").stat()
    assert status.st_size == image.size > 2 << 30
    assert status.st_blocks * 512 < 4 * MIB


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EOPNOTSUPP])
def test_where_nothing_can_be_shared_it_is_read_and_written(image, folder, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(write.fcntl, "ioctl", refuse)
    write_file(image, str(folder / "a.img"))
    assert_only(folder, "a.img", read(image, 0, image.size))


def cloned(source: FileSlice, target: int, offset: int) -> bool:
    """What a file system that shares blocks does, as a reader sees it."""
    assert source.offset % 4096 == source.length % 4096 == offset % 4096 == 0
    assert source.length > 0
    os.pwrite(target, os.pread(source.descriptor(), source.length, source.offset), offset)
    return True


def test_whole_blocks_are_shared_and_the_rest_is_copied(image, folder, monkeypatch):
    shared = []

    def clone(source, *target):
        shared.append(source.length)
        return cloned(source, *target)

    monkeypatch.setattr(write, "_clone", clone)
    write_file(image, str(folder / "a.img"))
    assert_only(folder, "a.img", read(image, 0, image.size))
    assert sorted(shared)[:3] == [65_536, 65_536, 3 * MIB]


@pytest.mark.parametrize("file_system", ["btrfs", "xfs"])
@pytest.mark.parametrize("kind", ["fat", "iso"])
def test_real_file_systems_share_the_blocks(tmp_path, file_system, kind):
    """Needs root, a loop device and a kernel that knows the file system."""
    if not AS_ROOT:
        pytest.skip("only root may mount")
    need_tool(f"mkfs.{file_system}", "mount", "umount")
    disk_file, mount = tmp_path / "disk", tmp_path / "mount"
    mount.mkdir()
    with open(disk_file, "wb") as file:
        file.truncate(400 * MIB)
    assert run(f"mkfs.{file_system}", "-q", str(disk_file)).returncode == 0
    done = run("mount", "-o", "loop", str(disk_file), str(mount))
    if done.returncode:
        pytest.skip(f"can't be mounted here: {done.stderr.decode().strip()}")
    try:
        root = mount / "tree"
        root.mkdir()
        for number in range(10):
            (root / f"{number}").write_bytes(random.Random(number).randbytes(4 * MIB + number))
        os.sync()
        before = os.statvfs(mount).f_bfree
        build = [*VFLOPPY, "build", "-q", "--format", kind, str(root)]
        assert run(*build, str(mount / "out")).returncode == 0
        os.sync()
        taken = (before - os.statvfs(mount).f_bfree) * os.statvfs(mount).f_bsize
        assert run(*build, str(tmp_path / "copied")).returncode == 0
        assert run("cmp", str(mount / "out"), str(tmp_path / "copied")).returncode == 0
        assert taken < 3 * MIB
    finally:
        assert run("umount", str(mount)).returncode == 0


def test_several_processes_write_the_same_bytes(image, folder, monkeypatch):
    monkeypatch.setattr(write, "_SHARED_BYTES", 1)
    monkeypatch.setattr(write, "_STEP_BYTES", 64 * KIB)
    expected = read(image, 0, image.size)
    for processes in (2, 3):
        steps: list[int] = []
        write_file(image, str(folder / "a.img"), steps.append, processes=processes)
        assert_only(folder, "a.img", expected)
        assert sum(steps) == image.size


def test_a_failure_in_another_process_changes_nothing(image, tmp_path, folder, monkeypatch):
    monkeypatch.setattr(write, "_SHARED_BYTES", 1)
    monkeypatch.setattr(write, "_STEP_BYTES", 64 * KIB)
    (folder / "a.img").write_bytes(b"the old image")
    for name in ("65537", "3145745"):
        os.truncate(tmp_path / "tree" / name, 0)
    with pytest.raises(HostReadError, match="has 0 bytes"):
        write_file(image, str(folder / "a.img"), processes=4)
    assert_only(folder, "a.img", b"the old image")


def test_writes_that_stop_short_go_on(image, folder, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:9999], at))
    write_file(image, str(folder / "a.img"))
    assert_only(folder, "a.img", read(image, 0, image.size))


def test_a_stream_that_takes_little_at_a_time_gets_all(image):
    class Slow(io.BytesIO):
        name = 1

        def write(self, data):
            return super().write(bytes(data[:40_000]))

    out = Slow()
    write_stream(image, out)
    assert_same(out.getvalue(), read(image, 0, image.size))


@pytest.mark.parametrize("how", ["file", "stream"])
def test_progress_adds_up_to_the_size(image, folder, how):
    steps: list[int] = []
    if how == "file":
        write_file(image, str(folder / "a.img"), steps.append)
    else:
        with open(os.devnull, "wb", buffering=0) as out:
            write_stream(image, out, steps.append)
    assert sum(steps) == image.size
    assert all(step > 0 for step in steps)


class Interrupted(BaseException):
    """What a signal handler raises."""


@pytest.mark.parametrize("failure", [Interrupted(), OSError(errno.EIO, "bad"), ValueError("bug")])
@pytest.mark.parametrize("old", [None, b"the old image"])
def test_a_failure_in_the_middle_changes_nothing(image, folder, failure, old):
    if old:
        (folder / "a.img").write_bytes(old)
    done = 0

    def fail_later(count: int) -> None:
        nonlocal done
        done += count
        if done > 2 * MIB:
            raise failure

    expected = WriteError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected):
        write_file(image, str(folder / "a.img"), fail_later)
    if old:
        assert_only(folder, "a.img", old)
    else:
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["65537", "1"])  # one that is copied and one that is read
def test_a_file_that_changed_since_the_scan_changes_nothing(image, tmp_path, folder, name):
    (folder / "a.img").write_bytes(b"the old image")
    os.truncate(tmp_path / "tree" / name, 0)
    with pytest.raises(HostReadError, match=f"{name} has 0 bytes"):
        write_file(image, str(folder / "a.img"))
    assert_only(folder, "a.img", b"the old image")


def test_a_file_that_shrinks_while_it_is_copied_changes_nothing(
    image, tmp_path, folder, monkeypatch
):
    pread = os.pread

    def and_shrink(descriptor, length, offset):
        os.truncate(tmp_path / "tree" / str(3 * MIB + 17), 100)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", and_shrink)
    with pytest.raises(HostReadError, match="3145745 has 100 bytes"):
        write_file(image, str(folder / "a.img"))
    assert list(folder.iterdir()) == []


def test_a_file_rewritten_while_its_blocks_are_shared_changes_nothing(
    image, tmp_path, folder, monkeypatch
):
    def and_rewrite(source, *arguments):
        path = tmp_path / "tree" / "65536"
        if os.fstat(source.descriptor()).st_size == 65_536:
            with open(path, "r+b") as file:
                file.write(b"X")
            os.utime(path, (1, 1))
        return cloned(source, *arguments)

    monkeypatch.setattr(write, "_clone", and_rewrite)
    with pytest.raises(HostReadError, match="65536 was written to"):
        write_file(image, str(folder / "a.img"))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_the_mode_of_the_old_file_is_kept(image, folder, mode):
    (folder / "a.img").touch()
    (folder / "a.img").chmod(mode)
    write_file(image, str(folder / "a.img"))
    assert stat.S_IMODE((folder / "a.img").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_of_the_old_file_is_kept_where_it_may_be(image, folder, monkeypatch):
    (folder / "a.img").touch()
    os.chown(folder / "a.img", 1234, 5678)
    write_file(image, str(folder / "a.img"))
    status = (folder / "a.img").stat()
    assert (status.st_uid, status.st_gid) == (1234, 5678)

    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refuse)
    write_file(image, str(folder / "a.img"))
    assert (folder / "a.img").stat().st_uid == 0


def test_a_new_file_has_the_mode_that_the_umask_leaves(image, folder):
    before = os.umask(0o027)
    try:
        write_file(image, str(folder / "a.img"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "a.img").stat().st_mode) == 0o640


def test_a_link_to_the_file_stays_a_link(image, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder / "a.img")  # which isn't there yet
    write_file(image, str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert_only(folder, "a.img", read(image, 0, image.size))


def test_a_reader_of_the_old_file_keeps_it(image, folder):
    (folder / "a.img").write_bytes(b"the old image")
    with open(folder / "a.img", "rb") as old:
        write_file(image, str(folder / "a.img"))
        assert old.read() == b"the old image"


@pytest.mark.parametrize(
    "name", ["x" * 255, "ü" * 127, "日" * 85, "😀" * 63], ids=["1", "2", "3", "4"]
)
def test_the_longest_names_can_be_written(folder, name):
    write_file(Image([Fixed(b"data", Kind.FILE, "x")]), str(folder / name))
    assert_only(folder, name, b"data")


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing/a.img", "No such file"), ("file/a.img", "Not a directory"), ("", "Is a directory")],
)
def test_where_nothing_can_be_written_it_says_so(image, folder, path, words):
    (folder / "file").touch()
    with pytest.raises(WriteError, match=words):
        write_file(image, str(folder / path))
    assert_only(folder, "file", b"")


def test_a_reader_that_left_is_told_apart_from_a_failure(image):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as out, pytest.raises(BrokenPipeError):
        write_stream(image, out)


def test_a_stream_that_fails_is_named(image):
    words = "/dev/full: can't be written: No space left"
    with open("/dev/full", "wb", buffering=0) as out, pytest.raises(WriteError, match=words):
        write_stream(image, out)
    with pytest.raises(WriteError, match=words):
        write_over(image, "/dev/full")


class Liar(SelfReading):
    """An export whose extents and pieces are given."""

    def __init__(self, pieces, extents):
        self._pieces, self._extents = pieces, extents
        self.size = sum(extent.length for extent in extents)

    def pieces(self, offset, length):
        return self._pieces

    def extents(self, offset, length):
        return iter(self._extents)


def test_what_is_called_a_hole_is_not_asked_for(folder):
    asked = []

    class Strict(Liar):
        def pieces(self, offset, length):
            asked.append((offset, length))
            return [b"x" * length]

    extents = [
        Extent(5000, True, Kind.FREE),
        Extent(7, False, Kind.FILE),
        Extent(9, True, Kind.FILE),
    ]
    write_file(Strict([], extents), str(folder / "a.img"))
    assert asked == [(5000, 7)]
    assert_only(folder, "a.img", bytes(5000) + b"x" * 7 + bytes(9))


def test_a_large_hole_among_the_data_stays_one(folder):
    pieces = [b"x", Hole(7 * MIB), b"y"]
    extents = [Extent(7 * MIB + 2, False, Kind.FILE)]
    write_file(Liar(pieces, extents), str(folder / "a.img"))
    assert_only(folder, "a.img", b"x" + bytes(7 * MIB) + b"y")
    assert (folder / "a.img").stat().st_blocks * 512 < MIB


def test_many_small_pieces_are_written_in_few_calls(folder, monkeypatch):
    calls = []
    pwrite = os.pwrite

    def count(fd, data, at):
        calls.append(len(data))
        return pwrite(fd, data, at)

    monkeypatch.setattr(os, "pwrite", count)
    pieces = [b"ab", Hole(3)] * 100_000
    write_file(Liar(pieces, [Extent(500_000, False, Kind.FILE)]), str(folder / "a.img"))
    assert_only(folder, "a.img", b"ab\0\0\0" * 100_000)
    assert len(calls) < 5


def test_nothing_is_held_whole(folder):
    """A file of 3 GiB is read in slices: the largest piece that anybody asks for is bounded."""
    lengths = []

    class Files:
        def read(self, index, offset, length):
            lengths.append(length)
            return bytes(length)

        def descriptor(self, index):
            return descriptor

        def verify(self, index):
            pass

    class Wide(SelfReading):
        size = 3 << 30

        def pieces(self, offset, length):
            return [HostSlice(Files(), 0, offset, length)]

        def extents(self, offset, length):
            yield Extent(length, False, Kind.FILE)

    class Sink(io.RawIOBase):
        name = 1

        def writable(self):
            return True

        def write(self, data):
            return len(data)

    descriptor = -1
    write_stream(Wide(), Sink())
    assert sum(lengths) == 3 << 30
    assert max(lengths) <= write._STEP_BYTES


def losetup(size: int, path) -> str:
    with open(path, "wb") as file:
        file.truncate(size)
    done = run("losetup", "--find", "--show", str(path))
    if done.returncode:
        missing_dependency("this kernel or container has no loop devices")
    return done.stdout.decode().strip()


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a loop device")
@pytest.mark.parametrize("room", [512 * KIB, 2 * MIB])
def test_a_block_device_is_written_over_or_is_too_small(tmp_path, room):
    image = Image([Fixed(b"start", Kind.FILE, "x"), Zeros(MIB - 10, Kind.FREE, "y"),
                   Fixed(b"finis", Kind.FILE, "z")])  # fmt: skip
    backing = tmp_path / "backing"
    device = losetup(room, backing)
    try:
        with open(device, "r+b") as file:
            file.write(b"\xff" * 4096)
        if room < image.size:
            with pytest.raises(
                WriteError, match=f"{device}: has {room} bytes, and the image {MIB}"
            ):
                write_over(image, device)
            with open(device, "rb") as file:
                assert file.read(4096) == b"\xff" * 4096
        else:
            write_over(image, device)
            with open(device, "rb") as file:
                assert_same(file.read(MIB), read(image, 0, MIB))
    finally:
        run("losetup", "--detach", device)


class Moody(SelfReading):
    """An export whose data comes in other extents each time that it is asked."""

    size = 64 * MIB

    def __init__(self) -> None:
        self.data = random.randbytes(1 << 16) * (self.size >> 16)
        self.asked = 0

    def extents(self, offset, length):
        self.asked += 1
        cut = 4096 * self.asked
        yield Extent(offset + cut, False, Kind.FILE)
        yield Extent(length - cut, False, Kind.FILE)

    def pieces(self, offset, length):
        return [self.data[offset : offset + length]]


def test_what_the_host_says_of_holes_may_change_between_two_processes(folder):
    export = Moody()
    path = folder / "a.img"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(descriptor, export.size)
        for number in range(3):
            write._write_share(export, descriptor, lambda _: None, (number, 3), sync=False)
    finally:
        os.close(descriptor)
    assert export.asked == 3
    assert_same(path.read_bytes(), export.data)


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a loop device")
def test_a_device_has_what_was_written_when_it_is_said_to(tmp_path, monkeypatch):
    image = Image([Fixed(b"x" * 4096, Kind.FILE, "x")])
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda each: (synced.append(each), real(each)))
    device = losetup(MIB, tmp_path / "backing")
    try:
        write_over(image, device, sync=False)
        assert not synced
        write_over(image, device)
        assert len(synced) == 1
    finally:
        run("losetup", "--detach", device)


def test_who_may_not_read_the_old_file_may_not_read_the_part(image, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    out = tmp_path / "out.img"
    out.touch(0o600)
    modes = set()

    def progress(_done):
        modes.update(stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob(".vfloppy-*"))

    write_file(image, str(out), progress)
    assert modes == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
