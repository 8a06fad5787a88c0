"""What becomes of an entry of a directory in the scan: a row for each case."""

from __future__ import annotations

import os
import stat

import pytest
from vfloppy.synth.scanning.decision import Action, decide, without_status
from vfloppy.synth.scanning.homes import Place
from vfloppy.synth.scanning.options import ScanOptions


def status(kind, permissions=0o644, *, inode=7, size=10):
    return os.stat_result((kind | permissions, inode, 3, 1, 0, 0, size, *[0] * 12))


FILE, CLOSED_FILE = status(stat.S_IFREG), status(stat.S_IFREG, 0o600)
FOLDER, CLOSED_FOLDER = status(stat.S_IFDIR, 0o755), status(stat.S_IFDIR, 0o700)
LINK = status(stat.S_IFLNK, 0o777)
PIPE, SOCKET = status(stat.S_IFIFO), status(stat.S_IFSOCK)
TO_FILE, TO_FOLDER = Place(FILE, 1, b"file"), Place(FOLDER, 1, b"folder")
TO_LARGE = Place(status(stat.S_IFREG, size=11), 1, b"large")


class Folder:
    """Answers from what a row says; what it doesn't say must not be asked for."""

    def __init__(self, **answers):
        self.answers = answers

    def path(self, name):
        return "in/" + name

    def kept(self, name, status):
        return Place(status, 0, name.encode()) if self.answers["kept"] else None

    def followed(self, name):
        return self.answers["followed"]

    def may_read(self, name, mode):
        return self.answers["readable"]

    def may_read_place(self, place):
        return self.answers["readable"]


def excludes(*paths):
    return {"excluded": lambda path: path in paths}


TAKE, KEEP, FOLLOW = (Action.TAKE, ""), (Action.KEEP, ""), (Action.FOLLOW, "")
REFUSE_LINK, REFUSE_UNREADABLE = (Action.REFUSE_LINK, ""), (Action.REFUSE_UNREADABLE, "")


def skip(reason):
    return Action.SKIP, reason


BEING_WRITTEN = {"leave_out": frozenset({(3, 7)})}
# The entry's status, the options, what the host answers, and what is done.
ROWS = [
    ("a file", FILE, {}, {}, TAKE),
    ("a directory", FOLDER, {}, {}, TAKE),
    ("a file that only some may read", CLOSED_FILE, {}, {"readable": True}, TAKE),
    ("a file that we may not", CLOSED_FILE, {}, {"readable": False}, REFUSE_UNREADABLE),
    ("a directory that we may not", CLOSED_FOLDER, {}, {"readable": False}, REFUSE_UNREADABLE),
    ("one that may be left out", CLOSED_FILE, {"skip_unreadable": True}, {"readable": False},
     skip("may not be read")),
    ("a file that is excluded", FILE, excludes("in/name"), {}, skip("excluded")),
    ("a directory that is", FOLDER, excludes("in/name/"), {}, skip("excluded")),
    ("a file where directories are", FILE, excludes("in/name/"), {}, TAKE),
    ("a directory where files are", FOLDER, excludes("in/name"), {}, TAKE),
    ("one that is excluded and closed", CLOSED_FILE, excludes("in/name"), {}, skip("excluded")),
    ("the file being written", FILE, BEING_WRITTEN, {}, skip("the file being written")),
    ("that file, excluded", FILE, BEING_WRITTEN | excludes("in/name"), {},
     skip("the file being written")),
    ("a directory of its number", FOLDER, BEING_WRITTEN, {}, TAKE),
    ("a file as large as may be", FILE, {"skip_larger_than": 10}, {}, TAKE),
    ("a larger one", FILE, {"skip_larger_than": 9}, {}, skip("larger than 9 bytes")),
    ("an empty limit", status(stat.S_IFREG, size=0), {"skip_larger_than": 0}, {}, TAKE),
    ("a directory of many bytes", FOLDER, {"skip_larger_than": 9}, {}, TAKE),
    ("a link", LINK, {}, {}, skip("symbolic link")),
    ("a link, refused", LINK, {"symlinks": "refuse"}, {}, REFUSE_LINK),
    ("a link, kept", LINK, {"symlinks": "keep"}, {"kept": True, "readable": True}, KEEP),
    ("a link that went", LINK, {"symlinks": "keep"}, {"kept": False}, skip("symbolic link")),
    ("a link, kept but excluded", LINK, {"symlinks": "keep"} | excludes("in/name"),
     {"kept": True}, skip("excluded")),
    ("a link, followed", LINK, {"symlinks": "follow"}, {"followed": TO_FILE, "readable": True},
     FOLLOW),
    ("a link to a directory", LINK, {"symlinks": "follow-all"},
     {"followed": TO_FOLDER, "readable": True}, FOLLOW),
    ("a link to nothing", LINK, {"symlinks": "follow"},
     {"followed": "symbolic link that leads nowhere"}, skip("symbolic link that leads nowhere")),
    ("a link to what is closed", LINK, {"symlinks": "follow"},
     {"followed": TO_FILE, "readable": False}, REFUSE_UNREADABLE),
    ("a link to what is large", LINK, {"symlinks": "follow", "skip_larger_than": 10},
     {"followed": TO_LARGE}, skip("larger than 10 bytes")),
    ("a link to an excluded directory", LINK, {"symlinks": "follow"} | excludes("in/name/"),
     {"followed": TO_FOLDER}, skip("excluded")),
    ("a pipe", PIPE, {}, {}, skip("named pipe")),
    ("a pipe where links are refused", PIPE, {"symlinks": "refuse"}, {}, skip("named pipe")),
    ("a socket where links are followed", SOCKET, {"symlinks": "follow"}, {}, skip("socket")),
    ("a socket, kept", SOCKET, {"keep_special_files": True}, {"kept": True, "readable": True},
     KEEP),
    ("something of no known type", status(0), {}, {}, skip("of an unknown type")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "options", "answers", "expected"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_what_is_done_with(entry, options, answers, expected):
    decision = decide("name", entry, ScanOptions(**options), Folder(**answers))
    assert (decision.action, decision.reason) == expected
    assert (decision.place is not None) == (expected in (KEEP, FOLLOW))
    if expected == FOLLOW:
        assert decision.place == answers["followed"]
    if expected == KEEP:
        assert decision.place == Place(entry, 0, b"name")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, REFUSE_UNREADABLE),
        ({"skip_unreadable": True}, skip("may not be read")),
        (excludes("in/name"), skip("excluded")),
        (excludes("in/name/"), skip("excluded")),
        (excludes("in/another"), REFUSE_UNREADABLE),
    ],
)
def test_what_is_done_with_something_that_gives_no_status(options, expected):
    decision = without_status("name", ScanOptions(**options), Folder())
    assert (decision.action, decision.reason) == expected


def test_each_action_has_a_row():
    assert {row[-1][0] for row in ROWS} == set(Action)
