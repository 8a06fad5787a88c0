"""A sheet to plan on: what is known of the host and of changes, shared by those who decide."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum, auto

from ...synth.host.verdict import Verdict, verdict
from ..changes import Change, Changes
from .folders import Folders, Place, is_file
from .outcome import Deed, Outcome
from .places import Places
from .plan import Item, Plan, Removal
from .resolving import Resolver
from .sameness import has_content

TAKEN = "is something else on the host; the guest's is beside it"
NAMED = "is where the user or a link put it"
_UNCHANGED = {Verdict.SAME, Verdict.RENUMBERED, Verdict.CHMOD_OR_LINK}


class Fate(Enum):
    """A file of the host since the scan."""

    SAME = auto()
    EDITED = auto()
    """It has, or may have, other contents."""
    OTHER = auto()
    """Something else is there."""
    MISSING = auto()


@dataclass
class Old:
    """A file of the host that a change is about."""

    fate: Fate
    place: Place | None = None
    """None where its directory is not there any more."""
    status: os.stat_result | None = None


class Sheet:
    """A plan in the making. `kept` are nodes that stay in their places, with the reasons."""

    def __init__(
        self,
        changes: Changes,
        places: Places,
        folders: Folders,
        plan: Plan,
        resolver: Resolver,
        kept: dict[int, str],
    ) -> None:
        self.changes = changes
        self.places = places
        self.folders = folders
        self.plan = plan
        self.resolver = resolver
        self.kept = kept
        self.movers: dict[int, list[int]] = {}
        """The items that nodes are which leave their places."""
        self.moved: set[int] = set()
        """Directories that changes which were applied before have moved."""
        self.numbers: dict[int, int] = {}
        """The nodes that items are, of those that are renamed or moved."""
        self._olds: dict[int, Old] = {}
        self._where: list[Place | None] = []

    def old(self, number: int) -> Old:
        """Return the file that a node was."""
        if number not in self._olds:
            self._olds[number] = self._find(number)
        return self._olds[number]

    def _find(self, number: int) -> Old:
        found = self.places.place(number)
        try:
            place = (self.resolver.home(found.home), found.name)
            status = self.folders.status(place)
        except OSError:
            return Old(Fate.MISSING)
        if status is None:
            return Old(Fate.MISSING, place)
        if not is_file(status) or found.scanned is None:
            return Old(Fate.OTHER, place, status)
        fate = verdict(found.scanned, status, may_renumber=lambda: False, born_ns=lambda: None)
        if fate in _UNCHANGED:
            return Old(Fate.SAME, place, status)
        other = status.st_ino != found.scanned.inode or status.st_dev != found.scanned.device
        return Old(Fate.OTHER if other else Fate.EDITED, place, status)

    def item(self, place: Place, status: os.stat_result) -> int:
        """Add an item that leaves its place."""
        item = Item([place], None, self.resolver.stage(place[0]), status.st_ino)
        self.plan.items.append(item)
        self.resolver.leave(len(self.plan.items) - 1)
        return len(self.plan.items) - 1

    def give_up(self, place: Place, status: os.stat_result) -> None:
        """Have the old version of a file go when the new one is there."""
        item = self.plan.items[self.item(place, status)]
        item.size, item.mtime_ns = status.st_size, status.st_mtime_ns
        item.removal = Removal.UNLINK

    def has(self, change: Change, place: Place, status: os.stat_result) -> bool:
        return has_content(self.folders, place, status, self.changes, change)

    def below_mount(self, place: Place) -> bytes:
        """Return the path of what is to be removed from where its trash is."""
        folder, name = place
        every, names = self.folders.all, [name]
        while (above := every[folder].places[0])[0] >= 0 and (
            every[above[0]].mount == every[folder].mount
        ):
            names.append(above[1])
            folder = above[0]
        return b"/".join(reversed(names))

    def tell(
        self, outcome: Outcome, change: Change, place: Place | None = None, reason: str = ""
    ) -> int:
        """Add a deed, and return its number."""
        self.plan.deeds.append(Deed(outcome, "/".join(change.path), reason=reason))
        self._where.append(place)
        return len(self.plan.deeds) - 1

    def tell_places(self) -> None:
        """Add to the deeds where on the host they were done, once it is known where all gets."""
        deeds = self.plan.deeds
        for number, place in enumerate(self._where):
            if place is not None:
                host = os.fsdecode(self.folders.path(place))
                deeds[number] = deeds[number]._replace(host=host)
        for item in self.plan.items:
            if item.removal is Removal.TRASH:
                trash = os.path.join(
                    self.folders.path_of(item.stage), b"trash", self.plan.run.encode(), item.trash
                )
                deeds[item.deed] = deeds[item.deed]._replace(trash=os.fsdecode(trash))

    def arrived(self, change: Change, place: Place, taken: int, reason: str = TAKEN) -> int:
        """Tell of what gets to a place, which is beside its own if that was taken."""
        if not taken:
            return self.tell(Outcome(change.kind.value), change, place)
        return self.tell(Outcome.CONFLICT, change, place, reason)
