"""What becomes of a file after the scan, and what a read of it gives: a row for each case."""

from __future__ import annotations

import stat
from types import SimpleNamespace

import pytest
from vfloppy.synth.host.verdict import Scanned, Verdict, verdict

SECOND = 10**9
FILE = stat.S_IFREG | 0o644
BORN, CHANGED, LATER = 900 * SECOND + 5, 1000 * SECOND + 5, 2000 * SECOND + 5
THEN = Scanned(device=7, inode=11, mode=FILE, links=1, size=100, mtime_ns=CHANGED, ctime_ns=CHANGED)
NEW = {"st_mtime_ns": LATER, "st_ctime_ns": LATER}
TOUCHED = {"st_ctime_ns": LATER}
FAR = 1 << 70  # a time beyond what a column holds


def status(**changes):
    same = {
        "st_dev": THEN.device,
        "st_ino": THEN.inode,
        "st_mode": THEN.mode,
        "st_nlink": THEN.links,
        "st_size": THEN.size,
        "st_mtime_ns": THEN.mtime_ns,
        "st_ctime_ns": THEN.ctime_ns,
    }
    return SimpleNamespace(**same | changes)


def not_asked():
    pytest.fail("asked without need")


# What happened, what the status says now, when the file was born ("not asked" where that must not
# matter), whether the file system may give other numbers, and the verdict.
ROWS = [
    ("nothing", {}, ..., ..., Verdict.SAME),
    ("grows", NEW | {"st_size": 101}, BORN, ..., Verdict.GREW),
    ("grows, its birth unknown", NEW | {"st_size": 101}, None, ..., Verdict.GREW),
    ("grows in the same tick", {"st_size": 101}, ..., ..., Verdict.GREW),
    ("grows and gets another mode", NEW | {"st_size": 101, "st_mode": FILE ^ 4}, BORN, ...,
     Verdict.GREW),
    ("is rewritten and longer: looks like growth", NEW | {"st_size": 101}, BORN, ..., Verdict.GREW),
    ("gets another mode", TOUCHED | {"st_mode": FILE ^ 4}, BORN, ..., Verdict.CHMOD_OR_LINK),
    ("gets another link", TOUCHED | {"st_nlink": 2}, BORN, ..., Verdict.CHMOD_OR_LINK),
    ("gets another number, where none lasts", {"st_ino": 12}, ..., True, Verdict.RENUMBERED),
    ("gets another number and grows there", {"st_ino": 12, "st_size": 101}, ..., True,
     Verdict.GREW),
    ("shrinks", NEW | {"st_size": 99}, ..., ..., Verdict.SHRANK),
    ("shrinks in the same tick", {"st_size": 99}, ..., ..., Verdict.SHRANK),
    ("is emptied", NEW | {"st_size": 0}, ..., ..., Verdict.SHRANK),
    ("is rewritten in place", NEW, ..., ..., Verdict.REWRITTEN),
    ("is rewritten, its ctime put back", {"st_mtime_ns": LATER}, ..., ..., Verdict.REWRITTEN),
    ("is rewritten and gets another mode", NEW | {"st_mode": FILE ^ 4}, ..., ...,
     Verdict.REWRITTEN),
    ("gets another owner", TOUCHED, ..., ..., Verdict.TOUCHED),
    ("is rewritten, its mtime put back", TOUCHED, ..., ..., Verdict.TOUCHED),
    ("grows, its mtime put back", TOUCHED | {"st_size": 101}, ..., ..., Verdict.TOUCHED),
    ("is replaced by rename", NEW | {"st_ino": 12}, ..., ..., Verdict.REPLACED),
    ("is replaced in the same tick", {"st_ino": 12}, ..., False, Verdict.REPLACED),
    ("is replaced by a shorter one", NEW | {"st_ino": 12, "st_size": 1}, ..., ...,
     Verdict.REPLACED),
    ("is on another device", {"st_dev": 8}, ..., False, Verdict.REPLACED),
    ("is deleted and made anew, longer", NEW | {"st_size": 101}, LATER, ..., Verdict.REMADE),
    ("is made anew, its mtime put back", TOUCHED | {"st_mode": FILE ^ 4}, LATER, ...,
     Verdict.REMADE),
    ("is made and let be before the scan", NEW | {"st_size": 101}, CHANGED, ..., Verdict.GREW),
    ("is born a moment later", NEW | {"st_size": 101}, CHANGED + 1, ..., Verdict.REMADE),
    ("has a ctime that went back", {"st_mtime_ns": LATER, "st_ctime_ns": BORN, "st_size": 101},
     BORN, ..., Verdict.REMADE),
    ("has a ctime that went back, its birth unknown",
     {"st_mtime_ns": LATER, "st_ctime_ns": BORN, "st_size": 101}, None, ..., Verdict.GREW),
    ("becomes a fifo", NEW | {"st_mode": stat.S_IFIFO | 0o644}, ..., ..., Verdict.NO_FILE),
    ("becomes a device", {"st_mode": stat.S_IFBLK | 0o644}, ..., ..., Verdict.NO_FILE),
    ("becomes a directory", NEW | {"st_mode": stat.S_IFDIR | 0o755}, ..., ..., Verdict.NO_FILE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "born", "renumbers", "expected"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_a_file_that(changes, born, renumbers, expected):
    found = verdict(
        THEN,
        status(**changes),
        may_renumber=not_asked if renumbers is ... else lambda: renumbers,
        born_ns=not_asked if born is ... else lambda: born,
    )
    assert found is expected


@pytest.mark.parametrize(
    ("born", "expected"),
    [(1002 * SECOND - 1, Verdict.GREW), (1002 * SECOND, Verdict.REMADE)],
)
def test_a_ctime_of_two_seconds_allows_a_birth_within_them(born, expected):
    """FAT tells births in hundredths of a second, and of other times the even second."""
    scanned = THEN._replace(ctime_ns=1000 * SECOND)
    now = status(**NEW | {"st_size": 101})
    assert verdict(scanned, now, may_renumber=not_asked, born_ns=lambda: born) is expected


def test_a_file_that_was_cleared_is_not_asked_for_its_birth_again():
    now = status(**NEW | {"st_size": 101})
    found = verdict(THEN, now, may_renumber=not_asked, born_ns=not_asked, was_cleared=True)
    assert found is Verdict.GREW


def test_times_beyond_a_column_are_compared_as_columns_have_them():
    scanned = THEN._replace(mtime_ns=(1 << 63) - 1, ctime_ns=(1 << 63) - 1)
    now = status(st_mtime_ns=FAR, st_ctime_ns=FAR)
    found = verdict(scanned, now, may_renumber=not_asked, born_ns=not_asked)
    assert found is Verdict.SAME


# What a read gives: the scan's bytes, or an error with a sentence; and whether there is anything
# to read for those who want what is there now.
READS = {
    Verdict.SAME: (None, True),
    Verdict.RENUMBERED: (None, True),
    Verdict.GREW: (None, True),
    Verdict.CHMOD_OR_LINK: (None, True),
    Verdict.SHRANK: ("has 99 bytes, 100 at the scan", True),
    Verdict.REWRITTEN: ("was written to after the scan", True),
    Verdict.TOUCHED: ("was touched after the scan and may have other contents", True),
    Verdict.REPLACED: ("was replaced after the scan", True),
    Verdict.REMADE: ("was replaced after the scan", True),
    Verdict.NO_FILE: ("is no regular file any more", False),
}


@pytest.mark.parametrize("found", Verdict, ids=lambda each: each.name)
def test_a_read_after(found):
    sentence, is_readable = READS[found]
    assert found.keeps_bytes == (sentence is None)
    assert found.is_readable == is_readable
    if sentence is not None:
        assert found.sentence(THEN, status(st_size=99)) == sentence


def test_each_verdict_has_a_row():
    assert {row[-1] for row in ROWS} == set(Verdict)
