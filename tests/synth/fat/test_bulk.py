"""Entries made by numpy are those made name by name, and the declared ones."""

from __future__ import annotations

import random
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from itertools import pairwise
from operator import itemgetter

import numpy as np
import pytest
from compare import assert_same
from conformance import check_image
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vfloppy.synth.fat import bulk, bulk_names, directories, records, slots
from vfloppy.synth.fat.directories import FatDirectories
from vfloppy.synth.fat.disk import directories_of, disk
from vfloppy.synth.fat.names import checksums, short_names
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.fat.times import stamps
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.scanning.scan import scan
from vfloppy.synth.tree.columns import SEPARATOR, Tree

NS = 1_000_000_000
FIRST_NS, BEHIND_NS = 315_532_800 * NS, 4_354_819_200 * NS  # 1980 to 2107
characters = st.sampled_from("abcXYZ019_-+.;~ é\u00df😀$&{}")
names = st.text(characters, min_size=1, max_size=30) | st.sampled_from(
    ["a.b", "A.B", "README.TXT", "readme.txt", "a.tar.gz", "..x", ".profile", "x" * 255, "a_b",
     "a+b", "CON", "12345678.123", "123456789.123", "file-1.text", "file-2.text", "n" * 13, "ab"]
)  # fmt: skip
times_ns = st.integers(-(2**62), 2**62) | st.integers(FIRST_NS, FIRST_NS + 10**12)
files = st.tuples(names, st.integers(0, 1 << 33), times_ns, st.sampled_from([0o644, 0o444, 0o755]))
folders = st.lists(st.lists(files, max_size=12, unique_by=itemgetter(0)), max_size=8)


def made_tree(contents: list[list[tuple[str, int, int, int]]]) -> Tree:
    """Directories with files in them: names, sizes, times and permissions."""
    tree = Tree()
    root = [(f"dir {at}" if at % 3 else f"dir{at}", 0, at * 10**9, stat.S_IFDIR | 0o755)
            for at in range(len(contents))]  # fmt: skip
    own = [sorted(each, key=lambda file: file[0].encode()) for each in contents]
    levels = [
        [("", 0, 0, stat.S_IFDIR | 0o755)],
        sorted(root),
        *([(name, size, time, stat.S_IFREG | mode) for name, size, time, mode in each]
          for each in own),
    ]  # fmt: skip
    tree.first_children.append(1)
    first = 1 + len(root)
    for each in own:
        tree.first_children.append(first)
        first += len(each)
    for name, size, time_ns, mode in (row for level in levels for row in level):
        if stat.S_ISDIR(mode):
            tree.directories.append(len(tree))
        tree.names.extend(name.encode() + SEPARATOR)
        tree.name_ends.append(len(tree.names) - 1)
        tree.sizes.append(min(size, records.MOST_FILE_BYTES))
        tree.mtimes_ns.append(time_ns)
        tree.modes.append(mode)
    return tree


def both(tree: Tree, monkeypatch, **options) -> tuple[FatDirectories, FatDirectories]:
    """The directories of a tree, made by numpy and name by name."""
    layout = plan(tree, FatOptions(**options))
    monkeypatch.setattr(directories, "MANY_NODES", 0)
    monkeypatch.setattr(bulk, "_WORTH_ROWS", 1)
    with_bulk = directories_of(layout, tree)
    monkeypatch.setattr(directories, "MANY_NODES", 1 << 40)
    return with_bulk, directories_of(layout, tree)


def entries(of: FatDirectories, ordinal: int, nodes: range) -> bytes:
    return of._entries(ordinal, nodes)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@settings(max_examples=300, deadline=None)
@example(
    contents=[[("n" * length, 0, 0, 0o644) for length in range(1, 60)]], latest_ns=None, seed=0
)
@given(folders, st.none() | times_ns, st.integers(0, 1000))
def test_any_stretch_is_what_is_made_name_by_name(monkeypatch_module, contents, latest_ns, seed):
    tree = made_tree(contents)
    fast, slow = both(tree, monkeypatch_module, latest_ns=latest_ns)
    ordinals = list(range(len(tree.directories)))
    random.Random(seed).shuffle(ordinals)
    for ordinal in (*range(len(ordinals)), *ordinals):
        children = tree.children(ordinal)
        for nodes in (children, children[1:], children[:-1], children[seed % 5 : 9]):
            assert_same(entries(fast, ordinal, nodes), entries(slow, ordinal, nodes))


def test_it_is_numpy_that_makes_them(monkeypatch):
    tree = made_tree([[("a-long-name.text", 5, NS, 0o644), ("short", 0, NS, 0o444)]] * 3)
    fast, slow = both(tree, monkeypatch)
    assert not slow._renderers
    children = tree.children(1)
    assert_same(fast._renderers[0].entries(1, children), entries(slow, 1, children))
    assert fast._renderers[0]._latest[0] == range(children.start, len(tree)), (
        "those that follow come with it"
    )


@pytest.mark.parametrize("odd", ["two words", ".hidden", "tail~1", "é", "trailing.", "Twin"])
def test_odd_names_are_made_one_by_one_and_the_others_are_not(odd, monkeypatch):
    plain = [(f"twin{number}.text", 0, NS, 0o644) for number in range(5)]
    tree = made_tree([plain, plain, [*plain, (odd, 0, NS, 0o644), ("twin", 0, NS, 0o644)], plain])
    fast, slow = both(tree, monkeypatch)
    found = [fast._renderers[0].entries(ordinal, tree.children(ordinal)) for ordinal in range(5)]
    wanted = [entries(slow, ordinal, tree.children(ordinal)) for ordinal in range(5)]
    assert found[0] is None, "the root has names with spaces"
    assert found[3] is None
    assert [found[1], found[2], found[4]] == [wanted[1], wanted[2], wanted[4]]
    assert [entries(fast, 3, tree.children(3)), entries(fast, 0, tree.children(0))] == [
        wanted[3], wanted[0]]  # fmt: skip


def test_few_odd_neighbours_do_not_hold_up_a_large_directory(monkeypatch):
    large = [(f"file-{number:05}.txt", 0, NS, 0o644) for number in range(3000)]
    tree = made_tree([[("one", 0, NS, 0o644)], large])
    fast, _ = both(tree, monkeypatch)
    monkeypatch.setattr(bulk, "_WORTH_ROWS", 256)
    assert fast._renderers[0].entries(1, tree.children(1)) is None
    assert fast._renderers[0].entries(2, tree.children(2))


def test_stretches_grow_while_reads_follow_each_other(monkeypatch):
    tree = made_tree([[(f"f{number}", 0, NS, 0o644) for number in range(900)]] * 40)
    fast, _ = both(tree, monkeypatch)
    lengths = []
    for ordinal in range(1, 41):
        assert fast._renderers[0].entries(ordinal, tree.children(ordinal))
        lengths.append(len(fast._renderers[0]._latest[0]))
    assert lengths[:34] == sorted(lengths[:34])
    assert set(lengths) == {900, 1800, 3600, 8100, 16_200, 5400}
    assert fast._renderers[0].entries(1, tree.children(1))
    assert len(fast._renderers[0]._latest[0]) == 900, "it starts small again"


def test_more_directories_than_a_key_tells_apart_are_no_stretch(monkeypatch):
    monkeypatch.setattr(bulk, "_LEAST_ROWS", 1 << 14)
    tree = made_tree([[(f"collision-{number}", 0, NS, 0o644) for number in range(3)]] * 2500)
    fast, slow = both(tree, monkeypatch)
    for ordinal in range(1, 2501):
        children = tree.children(ordinal)
        assert_same(entries(fast, ordinal, children), entries(slow, ordinal, children))


def test_without_numpy_names_are_made_one_by_one(monkeypatch):
    tree = made_tree([[("a-long-name.text", 5, NS, 0o644)]])
    for name in ("vfloppy.synth.fat.bulk", "numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("vfloppy.synth.fat.bulk")
    monkeypatch.setattr(directories, "MANY_NODES", 0)
    made = directories_of(plan(tree), tree)
    assert not made._renderers
    assert b"A-LONG~1TEX" in entries(made, 1, tree.children(1))


def test_times_of_another_zone_are_made_one_by_one(monkeypatch):
    tree = made_tree([[("a-long-name.text", 5, NS, 0o644)]])
    fast, _ = both(tree, monkeypatch, zone=timezone(timedelta(hours=2)))
    assert not fast._renderers


def test_threads_get_their_own(monkeypatch):
    tree = made_tree([
        [(f"file-number-{number}.text", 0, FIRST_NS + day * 86_400 * NS, 0o644)
         for number in range(900)] for day in range(20)
    ])  # fmt: skip
    fast, slow = both(tree, monkeypatch)
    ordinals = [1 + number * 7 % 20 for number in range(1500)]
    wanted = {ordinal: entries(slow, ordinal, tree.children(ordinal)) for ordinal in ordinals}
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # or they hardly ever meet
    try:
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(lambda each: entries(fast, each, tree.children(each)), ordinals)
            for ordinal, made in zip(ordinals, found, strict=True):
                assert_same(made, wanted[ordinal])
    finally:
        sys.setswitchinterval(usual)


def test_its_disk_is_what_a_disk_has_to_be(tmp_path, monkeypatch):
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
        for number in range(400):
            (tmp_path / folder / f"file-number-{number}.{folder}").write_text(str(number))
    monkeypatch.setattr(directories, "MANY_NODES", 0)
    tree = scan(str(tmp_path))
    check_image(disk(plan(tree), tree, HostFiles(tree)), whole=False)


def test_the_fields_are_where_they_are_declared():
    at = 0
    for field in records.DIRECTORY_ENTRY.declaration.subcons:
        kind, offset = bulk.DIRECTORY_ENTRY.fields[field.name]
        assert (offset, kind.itemsize) == (at, field.sizeof())
        at += field.sizeof()
    assert list(bulk.DIRECTORY_ENTRY.names) == [each[0] for each in records.DIRECTORY_ENTRY.fields]
    assert bulk.DIRECTORY_ENTRY.itemsize == records.ENTRY_BYTES
    long_name = [field[0] for field in records.LONG_NAME_ENTRY.fields]
    before = records.LONG_NAME_ENTRY.declaration.subcons[: long_name.index("LDIR_Chksum")]
    assert sum(field.sizeof() for field in before) == slots.CHECKSUM_PLACE


@given(st.lists(times_ns, min_size=1))
@example([FIRST_NS - 1, FIRST_NS, BEHIND_NS - 1, BEHIND_NS, 0, -(2**63), 2**63 - 1])
def test_stamps_are_those_of_times(times):
    dates, halves, hundredths = bulk.stamps(np.array(times, np.int64))
    dates = np.broadcast_to(dates, len(times))
    found = list(zip(dates.tolist(), halves.tolist(), hundredths.tolist(), strict=True))
    assert found == stamps(times, bulk.UTC, None)


@given(st.lists(st.binary(min_size=11, max_size=11), min_size=1))
def test_checksums_are_those_of_names(shorts):
    columns = np.frombuffer(b"".join(shorts), np.uint8).reshape(-1, 11).T
    assert bulk_names.checksums(columns).tobytes() == checksums(shorts)


@pytest.mark.parametrize("stems", [["collision"], ["abc", "abd", "ab"], ["a", "b+", "c.d.e"]])
def test_tails_of_any_length_are_those_of_names(stems, monkeypatch):
    count = 21_000 // len(stems)
    plain = sorted(f"{stem}-{number}.text" for number in range(count) for stem in stems)
    tree = made_tree([[(name, 0, NS, 0o644) for name in plain]])
    fast, slow = both(tree, monkeypatch)
    children = tree.children(1)
    assert_same(fast._renderers[0].entries(1, children), entries(slow, 1, children))
    assert_same(slow.names_of(1), short_names(plain))


@given(st.lists(st.integers(0, 5)))
def test_equal_keys_are_counted_wherever_they_stand(keys):
    wanted = [keys[:at].count(key) for at, key in enumerate(keys)]
    if keys:
        found = bulk_names._equal_before(np.array(keys, np.uint64))
        assert_same(found.tolist(), wanted)
        bounds = bulk_names._starts(np.array(keys, np.uint64)).tolist()
        changes = [at for at, pair in enumerate(pairwise(keys), 1) if len(set(pair)) > 1]
        assert bounds == [0, *changes]
