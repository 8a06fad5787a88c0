"""The journal says the same to who reads it as to who wrote it, as far as it got."""

from __future__ import annotations

import dataclasses
import os

import pytest
from vfloppy.errors import ApplyError
from vfloppy.harvest.applying import journal
from vfloppy.harvest.applying.calls import Calls
from vfloppy.harvest.applying.folders import Folder
from vfloppy.harvest.applying.outcome import Deed, Outcome
from vfloppy.harvest.applying.plan import Attribute, Item, Plan, Removal, Step

STRAY = b"\xff\xe4 name"


@pytest.fixture
def state(tmp_path):
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def plan():
    root = Folder([(-1, b"/some/\xffwhere")], 7)
    places = [(0, STRAY), (0, b"b")]
    item = Item(places, (0, b"b"), 0, 9, folder=1, deed=0, is_alias=True)
    gone = Item([(1, b"c")], None, 0, 11, 3, 4, removal=Removal.TRASH, trash=b"a/\xff", deed=1)
    return Plan(
        "run", [root, Folder(places, 9)], 0, [0], [item, gone],
        steps=[Step(0, 1)], removals=[1], attributes=[Attribute((1, STRAY), 5, True)],
        deeds=[Deed(Outcome.RENAMED, "a", "/\udcff"), Deed(Outcome.REMOVED, "c", trash="t")],
        problems=("p",), left_out=("l",), token="\u20ac",
    )  # fmt: skip


def same(one, other):
    return dataclasses.asdict(one) == dataclasses.asdict(other)


def test_what_is_read_is_what_was_written(state):
    journal.write(Calls(), state, journal.JOURNAL, plan())
    found = journal.read(state, journal.JOURNAL, b"/")
    assert same(found, plan())
    assert found.folders[1].places is found.items[0].places
    assert journal.read(state, journal.BEGUN, b"/") is None


def test_amendments_are_read_up_to_where_somebody_was_killed(state, tmp_path):
    written = plan()
    journal.write(Calls(), state, journal.JOURNAL, written)
    deed = Deed(Outcome.CONFLICT, "a", reason="r")
    for _ in range(2):
        amendments = journal.Amendments(Calls(), state, written)
        amendments.divert(0, 1, (0, b"b.conflict-1"))
        amendments.tell(0, deed)
        amendments.tell(-1, deed)
        amendments.close()
        with (tmp_path / "journal").open("ab") as file:
            file.write(b'{"item": 0, "at": 0, "pl')
    found = journal.read(state, journal.JOURNAL, b"/")
    assert found.folders[1].places == [(0, STRAY), (0, b"b.conflict-1")]
    assert found.deeds == [deed, plan().deeds[1]]  # none is told twice
    assert same(found, written)


@pytest.mark.parametrize("text", [b"", b"{}\n", b"[]\n", b'{"version": 2}\n', b"\xff\n"])
def test_what_is_no_journal_is_told_and_left(state, tmp_path, text):
    (tmp_path / "journal").write_bytes(text)
    (tmp_path / "journal").chmod(0o600)
    with pytest.raises(ApplyError, match="/x/journal: is no journal of this version"):
        journal.read(state, journal.JOURNAL, b"/x")
    assert (tmp_path / "journal").read_bytes() == text
