"""The journal: a plan as it is written down before the first thing happens, and what came of it.

    begun      new files are being written: whoever finds it removes them, and all is as it was
    journal    new files are there: whoever finds it goes on, and all will be as the guest left it

Both are JSON, a line each; to the journal, lines are added where something turned out differently.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from ...errors import ApplyError
from ...synth.tree.columns import printable
from .calls import Calls
from .folders import Folder, Place
from .outcome import Deed, Outcome
from .plan import Attribute, Item, Plan, Removal, Step

BEGUN, JOURNAL = b"begun", b"journal"
_VERSION = 1
_NEW = b".new"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS = 0o077


def write(calls: Calls, state: int, name: bytes, plan: Plan) -> None:
    """Write a plan into an open state directory, all of it or nothing. Raise OSError."""
    data = (json.dumps(_encoded(plan)) + "\n").encode()
    with suppress(FileNotFoundError):
        calls.unlink(state, name + _NEW)
    descriptor = calls.create(state, name + _NEW, 0o600)
    try:
        calls.write(descriptor, data)
        calls.sync(descriptor)
    finally:
        os.close(descriptor)
    calls.replace(state, name + _NEW, state, name)
    calls.sync_folder(state)


def read(state: int, name: bytes, path: bytes) -> Plan | None:
    """Return the plan in an open state directory, None if there is none.

    Raise OSError, and ApplyError for one that this version does not know.
    """
    try:
        descriptor = os.open(name, _READ, dir_fd=state)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        lines = file.read().split(b"\n")
    try:
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise ValueError("others may have written to it")
        plan = _decoded(json.loads(lines[0]))
        for line in lines[1:-1]:  # the last one ends in the middle if the process was killed
            _amend(plan, json.loads(line))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        shown = printable(os.path.join(path, name))
        raise ApplyError(
            f"{shown}: is no journal of this version of vfloppy ({error}); finish with the one "
            "that wrote it"
        ) from error
    return plan


def remove(calls: Calls, state: int, name: bytes) -> None:
    """Remove what was written. Raise OSError."""
    for each in (name + _NEW, name):
        with suppress(FileNotFoundError):
            os.stat(each, dir_fd=state, follow_symlinks=False)
            calls.unlink(state, each)
    calls.sync_folder(state)


class Amendments:
    """The end of a journal, where is noted what turns out differently. Raises OSError."""

    def __init__(self, calls: Calls, state: int, plan: Plan) -> None:
        self._calls = calls
        self._plan = plan
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(JOURNAL, flags, dir_fd=state)
        size = os.fstat(self._descriptor).st_size
        data = os.pread(self._descriptor, size, 0)
        os.ftruncate(self._descriptor, data.rfind(b"\n") + 1)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def close(self) -> None:
        """Close the journal."""
        os.close(self._descriptor)

    def divert(self, item: int, at: int, place: Place) -> None:
        """Note another place that an item gets to instead."""
        self._add({"item": item, "at": at, "place": _place(place)})

    def tell(self, number: int, deed: Deed) -> None:
        """Note what came of a change instead; a new deed if it has no number (-1)."""
        if not 0 <= number < len(self._plan.deeds) or self._plan.deeds[number] != deed:
            self._add({"deed": number, "is": list(deed)})

    def _add(self, record: dict[str, Any]) -> None:
        self._calls.write(self._descriptor, (json.dumps(record) + "\n").encode())
        self._calls.sync(self._descriptor)
        _amend(self._plan, record)


def _amend(plan: Plan, record: dict[str, Any]) -> None:
    if "item" in record:
        plan.items[record["item"]].places[record["at"]] = _place_of(record["place"])
        return
    outcome, *rest = record["is"]
    deed = Deed(Outcome(outcome), *rest)
    if record["deed"] < 0:
        if deed not in plan.deeds:
            plan.deeds.append(deed)
    else:
        plan.deeds[record["deed"]] = deed


def _encoded(plan: Plan) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "run": plan.run,
        "main": plan.main,
        "stages": plan.stages,
        "folders": [
            [[_place(place) for place in each.places], each.inode, each.mtime_ns]
            for each in plan.folders
        ],
        "items": [
            [
                [_place(place) for place in each.places], each.end and _place(each.end),
                each.stage, each.inode, each.size, each.mtime_ns, each.is_new, each.folder,
                each.removal, os.fsdecode(each.trash), each.deed,
                each.is_alias,
            ]
            for each in plan.items
        ],
        "steps": [list(each) for each in plan.steps],
        "removals": plan.removals,
        "attributes": [[_place(each.place), *each[1:]] for each in plan.attributes],
        "deeds": [list(each) for each in plan.deeds],
        "problems": plan.problems,
        "left_out": plan.left_out,
        "token": plan.token,
    }  # fmt: skip


def _decoded(data: dict[str, Any]) -> Plan:
    if data["version"] != _VERSION:
        raise ValueError(f"version {data['version']}, {_VERSION} expected")
    folders = [
        Folder([_place_of(place) for place in places], inode, mtime_ns=mtime_ns)
        for places, inode, mtime_ns in data["folders"]
    ]
    items = []
    for places, end, stage, inode, size, mtime_ns, is_new, folder, removal, trash, *rest in data[
        "items"
    ]:
        item = Item(
            [_place_of(place) for place in places], end and _place_of(end), stage, inode, size,
            mtime_ns, is_new, folder, Removal(removal), os.fsencode(trash), *rest,
        )  # fmt: skip
        if item.is_directory:
            folders[folder].places = item.places
        items.append(item)
    return Plan(
        run=data["run"],
        main=data["main"],
        stages=data["stages"],
        folders=folders,
        items=items,
        steps=[Step(*each) for each in data["steps"]],
        removals=data["removals"],
        attributes=[Attribute(_place_of(place), *rest) for place, *rest in data["attributes"]],
        deeds=[Deed(Outcome(each[0]), *each[1:]) for each in data["deeds"]],
        problems=tuple(data["problems"]),
        left_out=tuple(data["left_out"]),
        token=data["token"],
    )


def _place(place: Place) -> list[Any]:
    return [place[0], os.fsdecode(place[1])]


def _place_of(data: list[Any]) -> Place:
    folder, name = data
    return int(folder), os.fsencode(name)
