"""Links that are followed: circles of any sources, and many ways to the same directory."""

from __future__ import annotations

import os

import pytest
from vfloppy.errors import ScanError
from vfloppy.synth.scanning import followed
from vfloppy.synth.scanning.merging import Graft
from vfloppy.synth.scanning.scan import ScanOptions, scan

FOLLOW = ScanOptions(symlinks="follow")
PROCESSES = pytest.mark.parametrize("processes", [1, 3])


def paths(tree) -> list[str]:
    return [os.fsdecode(tree.path(node)) for node in range(1, len(tree))]


@pytest.fixture
def few(monkeypatch):
    """Bounds that small trees reach."""
    monkeypatch.setattr(followed, "MOST_TIMES", 3)
    monkeypatch.setattr(followed, "MOST_REPEATED", 40)


@PROCESSES
def test_two_links_each_to_the_next_directory_are_refused(tmp_path, processes):
    """Followed all the way, these 46 inodes are 393,000 entries."""
    for number in range(16):
        (tmp_path / f"d{number:02}").mkdir()
        if number:
            for link in "xy":
                (tmp_path / f"d{number - 1:02}" / link).symlink_to(f"../d{number:02}")
    with pytest.raises(ScanError) as caught:
        scan(str(tmp_path), FOLLOW._replace(processes=processes))
    text = str(caught.value)
    assert text.startswith("symbolic link d0")
    assert "lead to the same directories over and over" in text
    assert "exclude leaves out some of the links, symlinks='skip' all" in text
    assert len(scan(str(tmp_path))) == 1 + 16


@PROCESSES
def test_directories_that_all_link_to_each_other_are_refused(tmp_path, processes):
    for number in range(8):
        (tmp_path / f"d{number}").mkdir()
        for other in range(8):
            if other != number:
                (tmp_path / f"d{number}" / f"to{other}").symlink_to(f"../d{other}")
    with pytest.raises(ScanError, match="symbolic link d"):
        scan(str(tmp_path), FOLLOW._replace(processes=processes))


@PROCESSES
@pytest.mark.parametrize("sources", [1, 2])
def test_the_bound_counts_entries_beyond_the_most_times(tmp_path, few, processes, sources):
    """Of 4 links to 39 files the last one counts: with its directory 40 entries, and not 41."""
    roots = [tmp_path / "root", tmp_path / "other"][:sources]
    for root in roots:
        root.mkdir()
    target = roots[0] / "target"
    target.mkdir()
    for number in range(39):
        (target / str(number)).touch()
    for number in range(4):
        (roots[-1] / f"link{number}").symlink_to(target)
    options = FOLLOW._replace(processes=processes)
    sources_ = [str(root) for root in roots]
    assert len(scan(sources_, options)) == 1 + 5 * 40
    (target / "one more").touch()
    with pytest.raises(ScanError, match="symbolic link link3: it and others"):
        scan(sources_, options)


@PROCESSES
def test_what_is_below_a_link_counts_as_well(tmp_path, few, processes):
    (tmp_path / "target" / "deep" / "deeper").mkdir(parents=True)
    for number in range(40):
        (tmp_path / "target" / "deep" / "deeper" / str(number)).touch()
    for number in range(4):
        (tmp_path / f"link{number}").symlink_to("target")
    with pytest.raises(ScanError, match=r"symbolic link link[0-3]: it and others"):
        scan(str(tmp_path), FOLLOW._replace(processes=processes))


def test_grafts_are_not_links(tmp_path, few):
    (tmp_path / "big").mkdir()
    for number in range(50):
        (tmp_path / "big" / str(number)).touch()
    (tmp_path / "root").mkdir()
    grafts = [Graft(f"copy{number}", str(tmp_path / "big")) for number in range(9)]
    assert len(scan(str(tmp_path / "root"), FOLLOW, grafts)) == 1 + 9 * 51


@PROCESSES
def test_a_second_source_is_a_circle_as_the_first_one_is(tmp_path, processes):
    for name in "ab":
        (tmp_path / name / "both" / name).mkdir(parents=True)
        (tmp_path / name / "self").symlink_to(".")
        (tmp_path / name / "both" / f"up {name}").symlink_to("..")
        (tmp_path / name / "both" / f"here {name}").symlink_to(".")
        (tmp_path / name / "both" / name / "up").symlink_to("..")
    (tmp_path / "a" / "b").symlink_to("../b")  # which the root is made of
    tree = scan([str(tmp_path / "a"), str(tmp_path / "b")], FOLLOW._replace(processes=processes))
    assert paths(tree) == ["both", "both/a", "both/b"]
    assert {each.reason for each in tree.skipped} == {"symbolic link in a circle"}
    assert len(tree.skipped) == 9
