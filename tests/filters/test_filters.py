"""Filters around exports: the bytes stay, every request passes by once, each does what it says."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from conformance import check_export
from disks import files_of
from fakes import FakeExport, pattern
from vfloppy.errors import OptionError
from vfloppy.export import Detached, Export, Hole, Reader
from vfloppy.filters.delay import Delay
from vfloppy.filters.error import Error
from vfloppy.filters.filter import Filter, FilterReader, Operation, RequestReader
from vfloppy.filters.log import Log
from vfloppy.filters.overlay import Overlay
from vfloppy.filters.rate import Rate
from vfloppy.filters.readonly import ReadOnly
from vfloppy.filters.register import KINDS, class_of, filtered, filters_of
from vfloppy.filters.store import OverlayFile
from vfloppy.synth.fat.disk import disk
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.scanning.scan import scan

KIB = 1 << 10


class Pass(Filter):
    """Changes nothing, and overrides nothing."""

    def reader(self, inner: Reader) -> Reader:
        return FilterReader(inner)


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def base(tmp_path) -> Export:
    """A disk with a large file, small ones, and one with a hole."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "large").write_bytes(pattern(3_000_001))
    for number in range(20):
        (root / f"small {number}").write_bytes(pattern(700 * number, number))
    with open(root / "holes", "wb") as file:
        file.truncate(300 * KIB)
        file.seek(200 * KIB)
        file.write(b"data")
    tree = scan(str(root))
    return disk(plan(tree, FatOptions(fat_bits=12)), tree, files_of(tree))


def made(name: str, tmp_path: Path) -> list[Filter]:
    """Filters by a name that stands for their words; none of them changes anything here."""
    words = {
        "log": [f"log:file={tmp_path}/log"],
        "delay": ["delay:read=1us"] if name == "never" else ["delay:write=1ms"],
        "error": [f"error:file={tmp_path}/switch"],
        "rate": ["rate:bytes=1000T,total=1000T,requests=1000T"],
        "readonly": ["readonly"],
    }
    words["all"] = [each for some in words.values() for each in some]
    return filters_of(words[name])


@pytest.mark.parametrize("name", [*KINDS, "all"])
def test_a_filter_keeps_all_that_an_export_promises(base, tmp_path, name):
    around = filtered(base, made(name, tmp_path))
    assert (around.size, around.identity) == (base.size, base.identity)
    assert around.features.directories == base.features.directories
    edges = sorted({0, base.size, *(region.offset for region in base.regions())})
    check_export(around, edges)
    with base.open() as reader, around.open() as outer:
        assert outer.read(0, base.size) == reader.read(0, base.size)
        assert [*outer.extents(0, base.size)] == [*reader.extents(0, base.size)]
        assert [*outer.files(0, base.size)] == [*reader.files(0, base.size)]
    assert {around.file_name(number) for number in range(1, 23)} >= {"large", "holes", "small 7"}


@pytest.mark.parametrize("name", [*KINDS, "all"])
def test_a_filter_lets_writers_write(tmp_path, name):
    below = FakeExport([pattern(100 * KIB), Hole(100 * KIB)])
    overlay = Overlay(below, OverlayFile.temporary(below.size))
    around = filtered(overlay, made(name, tmp_path))
    assert around.features.writable == (name not in {"readonly", "all"})
    if not around.features.writable:
        return
    with around.open() as writer, overlay.open() as reader:
        writer.write(1000, b"x" * 5000)
        assert reader.read(999, 5002) == writer.read(999, 5002)
        assert reader.read(1000, 5000) == b"x" * 5000
        writer.zero(2000, 600)
        writer.zero(3000, 600, may_trim=False)
        with pytest.raises(OSError, match="written as data") as caught:
            writer.zero(0, 10, may_trim=False, fast=True)
        assert caught.value.errno == errno.ENOTSUP
        writer.trim(4096, 1024)
        writer.flush()
        assert not reader.read(2000, 600).strip(b"\0")
        assert not reader.read(3000, 600).strip(b"\0")
        assert not reader.read(4096, 1024).strip(b"\0")
        for call in (writer.trim, writer.zero, lambda at, n: writer.write(at, bytes(n))):
            with pytest.raises(ValueError, match="not within"):
                call(around.size - 1, 2)


# --- requests pass by once ---


class Counting(Filter):
    """Counts what passes by."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.ended: list[tuple[int, int]] = []
        self.errors: list[OSError] = []

    def reader(self, inner: Reader) -> Reader:
        return _Counting(inner, self)


class _Counting(RequestReader):
    def __init__(self, inner: Reader, counts: Counting) -> None:
        super().__init__(inner)
        self.counts = counts

    def begin(self, operation: Operation, ranges: Sequence[tuple[int, int]]) -> None:
        self.counts.begun += ranges

    def end(self, operation, ranges, error=None):
        self.counts.ended += ranges
        self.counts.errors += [error] if error else []


def as_the_server_does(reader: Reader, ranges: list[tuple[int, int]], *, lends: bool) -> None:
    """Reads a batch, what is left to `pieces`, and again what was not sent of what was lent."""
    batch = reader.read_batch(ranges, lends=lends)
    is_good = batch.commit()
    left = [each for each, data in zip(ranges, batch.buffers, strict=True) if data is None]
    if batch.is_lent and is_good:
        reader.read(*ranges[-1])
    batch.release()
    for each in left if is_good else ranges:
        for piece in reader.pieces(*each):
            if not isinstance(piece, bytes | Hole):
                piece.read()


@pytest.mark.parametrize("lends", [False, True])
def test_each_request_passes_by_once_however_it_is_carried_out(base, lends):
    counting = Counting()
    with counting.around(base).open() as reader:
        edges = [region.offset for region in base.regions()]
        ranges = [(max(each - 100, 0), 512) for each in edges][:64]
        ranges.append((base.size - 4096, 4096))  # a hole
        as_the_server_does(reader, ranges, lends=lends)
        assert sorted(counting.begun) == sorted(counting.ended) == sorted(ranges)
        for each in ranges[-2:]:
            if reader.read_simple(*each) is None:
                [*reader.pieces(*each)]
        assert sorted(counting.begun) == sorted([*ranges, *ranges[-2:]])
        as_the_server_does(reader, ranges, lends=lends)
        assert sorted(counting.begun) == sorted(2 * ranges + ranges[-2:])


def test_a_slice_ends_when_it_was_read_with_what_became_of_it(base, tmp_path):
    counting = Counting()
    with counting.around(base).open() as reader:
        start = next(each.offset for each in base.regions() if each.name == "large")
        (piece,) = reader.pieces(start, 1 << 20)
        assert not counting.ended
        first, second = piece.part(0, 1 << 19), piece.part(1 << 19, 1 << 19)
        first.read()
        assert not counting.ended
        second.finish(second.length)
        assert counting.ended == [(start, 1 << 20)]
        assert not counting.errors
        (tmp_path / "tree" / "large").write_bytes(b"changed")
        with pytest.raises(OSError, match="large"):
            reader.read(start, 1 << 20)
        assert len(counting.errors) == 1


# --- log ---


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_log_says_what_was_asked_for_and_what_became_of_it(base, tmp_path):
    log = made("log", tmp_path)[0].around(base, 'a "name" of 100%')
    names = {each.name: each for each in base.regions()}
    large, small = names["large"].offset, names["small 7"].offset
    with log.open() as reader:
        as_the_server_does(reader, [(0, 512), (large, 4096), (small - 4096, 5000)], lends=True)
        reader.read_simple(large + 5, 10)
        (tmp_path / "tree" / "large").unlink()
        (tmp_path / "tree" / "large").write_bytes(b"")
    found = lines(tmp_path / "log")
    assert [each["id"] for each in found] == [1, 2, 3, 4]
    assert {each["connection"] for each in found} == {1}
    assert {each["export"] for each in found} == {'a "name" of 100%'}
    assert {(each["operation"], each["error"]) for each in found} == {("read", None)}
    assert all(each["time"] > 0 and 0 <= each["seconds"] < 60 for each in found)
    by_place = {(each["offset"], each["length"]): each["files"] for each in found}
    assert by_place[0, 512] == []
    assert by_place[large, 4096] == by_place[large + 5, 10] == ["large"]
    assert by_place[small - 4096, 5000] == ["small 6", "small 7"]


def test_a_log_says_what_failed(tmp_path):
    below = FakeExport([pattern(100 * KIB)])
    overlay = Overlay(below, OverlayFile.temporary(below.size))
    around = filtered(overlay, filters_of([f"log:file={tmp_path}/log", "error:errno=ENOSPC"]))
    with around.open() as writer:
        with pytest.raises(OSError, match="filter error"):
            writer.read(0, 512)
        with pytest.raises(OSError, match="filter error"):
            writer.write(512, b"x")
        with pytest.raises(OSError, match="filter error"):
            writer.flush()
    found = [(each["operation"], each["error"]) for each in lines(tmp_path / "log")]
    assert found == [("read", "ENOSPC"), ("write", "ENOSPC"), ("flush", "ENOSPC")]


def test_a_connection_keeps_its_number_when_it_is_parked(base, tmp_path):
    (log,) = made("log", tmp_path)
    with log.around(base).open() as first, log.around(base).open() as other:
        first.read(0, 512)
        other.read(0, 512)
        left = first.detach()
        assert left is not None
        with log.around(base).open() as second:
            second.adopt(Detached(left.state, tuple(map(os.dup, left.descriptors))))
            second.read(0, 1024)
        with log.around(base).open() as third:
            third.adopt(Detached())
            third.read(0, 2048)
    found = [(each["connection"], each["id"]) for each in lines(tmp_path / "log")]
    assert found == [(1, 1), (2, 1), (1, 2), (3, 1)]


def test_a_log_that_can_not_be_written_fails_nobody_and_counts_what_is_lost(base, tmp_path):
    (log,) = made("log", tmp_path)
    kept = os.dup(log.descriptor)
    with log.around(base).open() as reader:
        with open("/dev/full", "wb") as full:
            os.dup2(full.fileno(), log.descriptor)
        reader.read(0, 512)
        reader.read_batch([(0, 512), (0, 512)]).commit()
        os.dup2(kept, log.descriptor)
        reader.read(1024, 512)
    os.close(kept)
    first, second = lines(tmp_path / "log")
    assert first == {"connection": 1, "lost": 3}
    assert second["offset"] == 1024


# --- delay ---


def test_what_comes_at_once_waits_once():
    clock = Clock()
    below = FakeExport([pattern(100 * KIB), Hole(100 * KIB)])
    overlay = Overlay(below, OverlayFile.temporary(below.size))
    delay = Delay(read=0.04, write=0.02, flush=1, clock=clock, sleep=clock.sleep).around(overlay)
    assert delay.features.wants_arrivals
    with delay.open() as writer:
        writer.arrived()
        ranges = [(512 * number, 512) for number in range(400)]
        as_the_server_does(writer, ranges, lends=False)  # half of them are left to `pieces`
        assert clock.slept == [0.04]
        for each in ranges:
            writer.write(each[0], b"x" * 512)
        assert clock.slept == [0.04]  # they came with the reads, longer ago than a write waits
        writer.arrived()
        for each in ranges:
            writer.write(each[0], b"x" * 512)
        writer.zero(0, 512)
        writer.trim(0, 512)
        assert clock.slept == pytest.approx([0.04, 0.02])
        writer.flush()
        assert clock.slept == pytest.approx([0.04, 0.02, 0.98])


def test_a_reader_that_nobody_tells_of_arrivals_is_delayed_each_time():
    clock = Clock()
    delay = Delay(read=0.04, clock=clock, sleep=clock.sleep).around(FakeExport([pattern(9000)]))
    with delay.open() as reader:
        reader.read(0, 512)
        reader.read(0, 512)
    assert clock.slept == [0.04, 0.04]


# --- error ---


def test_errors_come_while_a_file_is_there(base, tmp_path):
    switch = tmp_path / "switch"
    error = Error(file=str(switch), errno="ENOMEM", operation=frozenset({Operation.READ}))
    with error.around(base).open() as reader, base.open() as below:
        expected = below.read(0, 512)
        assert reader.read(0, 512) == expected
        assert reader.read_batch([(0, 512), (0, 512)]).buffers == [expected] * 2
        switch.touch()
        with pytest.raises(OSError, match="filter error: Cannot allocate memory") as caught:
            reader.read(0, 512)
        assert caught.value.errno == errno.ENOMEM
        assert reader.read_simple(0, 512) is None
        assert reader.read_batch([(0, 512), (0, 512)]).buffers == [None, None]
        switch.unlink()
        assert reader.read(0, 512) == expected


def test_a_share_of_requests_fails(base):
    error = Error(rate=0.25, seed=1).around(base)
    failed = 0
    with error.open() as reader:
        for _ in range(50):
            batch = reader.read_batch([(0, 512)] * 20)
            assert batch.commit()
            assert batch.buffers == [None] * 20
            for _ in range(20):
                try:
                    reader.pieces(0, 512)
                except OSError:
                    failed += 1
    assert 200 < failed < 300  # the seed is given: always as many


def test_errors_are_of_the_kinds_that_were_asked_for():
    below = FakeExport([pattern(100 * KIB)])
    overlay = Overlay(below, OverlayFile.temporary(below.size))
    (error,) = filters_of(["error:operation=write+trim"])
    with error.around(overlay).open() as writer:
        writer.read(0, 512)
        writer.flush()
        writer.zero(0, 512)
        for call in (lambda: writer.write(0, b"x"), lambda: writer.trim(0, 512)):
            with pytest.raises(OSError, match="filter error"):
                call()


# --- rate ---


def test_a_connection_gets_its_bytes_a_second_and_all_of_them_theirs(base):
    clock = Clock()
    rate = Rate(
        bytes=1 << 20, total=3 << 19, clock=lambda: int(clock.now * 1e9), sleep=clock.sleep
    ).around(base)
    with rate.open() as first, rate.open() as second:
        for _ in range(16):
            first.read(0, 64 * KIB)
        assert clock.now == pytest.approx(1 - 0.1)  # a tenth of a second is free
        for _ in range(16):
            first.read(0, 64 * KIB)
            second.read(0, 64 * KIB)
        assert clock.now == pytest.approx(0.9 + 2 / 1.5, abs=0.1)


def test_requests_are_counted_too(base):
    clock = Clock()
    rate = Rate(requests=100, clock=lambda: int(clock.now * 1e9), sleep=clock.sleep).around(base)
    with rate.open() as reader:
        as_the_server_does(reader, [(base.size - 512, 512)] * 50, lends=False)
        for _ in range(50):
            reader.read(0, 512)
    assert clock.now == pytest.approx(0.9)


def test_processes_share_their_account(base):
    rate = Rate(total=1 << 20, clock=lambda: 0, sleep=lambda _: None)
    child = os.fork()
    if not child:
        with rate.around(base).open() as reader:
            reader.read(0, 64 * KIB)
        os._exit(0)
    os.waitpid(child, 0)
    with rate.free_at as row:
        assert row[0] == 10**9 // 16
    rate.close()


# --- the register ---


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "fog",
            "--filter fog: there is no such filter; expected log, delay, error, rate, readonly",
        ),
        ("log", "file=FILE is missing"),
        ("log:file=/nowhere/x", "/nowhere/x: No such file"),
        ("log:file=a\0b", "has a NUL"),
        ("log:file=x,file=y", "file is given twice"),
        ("delay:read=soon", "read: 'soon' is no time; expected one like 40ms"),
        ("delay:reads=1s", "'reads' is no option of it; expected read, write, zero, trim, flush"),
        ("delay:read", "read: True is no time"),
        ("error:rate=101%", "'101%' is no share"),
        ("error:errno=EGAIN", "'EGAIN' is not one of 'EIO'"),
        ("error:operation=read+look", "'read+look' is no kind of request"),
        ("error:seed=x", "seed: "),
        ("rate", "it bounds nothing"),
        ("rate:bytes=0", "'0' lets nobody go on"),
        ("readonly:x=1", "'x' is no option of it; expected none"),
        ("os:getcwd", "it is no class that derives from vfloppy.Filter"),
        ("nowhere:X", "ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_a_word_that_makes_no_filter_is_refused_in_one_line(word, said):
    with pytest.raises(OptionError) as caught:
        filters_of([word])
    text = caught.value.worded(lambda name, value: f"--{name} {value}")
    assert said in text
    assert "\n" not in text


def test_every_filter_says_what_it_takes():
    for name, kind in KINDS.items():
        assert kind.help.endswith(".")
        found = class_of(name)
        assert issubclass(found, Filter)
        assert all(option.help for option in found.options)


def test_a_comma_in_a_value_is_doubled(tmp_path):
    (log,) = filters_of([f"log:file={tmp_path}/a,,b"])
    assert (tmp_path / "a,b").exists()
    assert log.files == (f"{tmp_path}/a,b",)


def test_a_class_of_ones_own_is_found_in_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "filter_of_mine.py").write_text(
        "from vfloppy.filters.filter import Filter, FilterReader\n"
        "from vfloppy.options import Option\n"
        "class Upper(Filter):\n"
        "    options = (Option(name='word', help='A word.'),)\n"
        "    def __init__(self, *, word):\n"
        "        self.word = word\n"
        "    def reader(self, inner):\n"
        "        return UpperReader(inner)\n"
        "class UpperReader(FilterReader):\n"
        "    def pieces(self, offset, length):\n"
        "        return [self.inner.read(offset, length).upper()] if length else []\n"
    )
    monkeypatch.chdir(tmp_path)
    (upper,) = filters_of(["filter_of_mine:Upper:word=x"])
    assert upper.word == "x"
    with upper.around(FakeExport([b"abc"])).open() as reader:
        assert reader.read(0, 3) == b"ABC"
        assert reader.read_simple(0, 3) == b"ABC"
        assert reader.read_batch([(0, 3)]).buffers == [b"ABC"]


def test_a_filter_that_says_nothing_changes_nothing(base):
    with Pass().around(base).open() as reader, base.open() as below:
        assert reader.read(0, base.size) == below.read(0, base.size)
    assert ReadOnly().around(base).size == base.size
    assert Log.options
