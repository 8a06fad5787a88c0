"""The order of renamings: chains from their end, circles and swaps by exchange.

By arithmetic alone; nothing in between is a thing that the host doesn't allow. The place of
something that is to be removed is taken by exchanging the two, so that its name is there all the
time, and it is removed at the end.
"""

from __future__ import annotations

from collections import deque

from .folders import Folder, Place
from .plan import Item, Step


def order(items: list[Item], folders: list[Folder], run: str) -> tuple[list[Step], list[int]]:
    """Return the steps that bring all items to their ends, and the items that can't get there.

    Add to the items the places that they get to. Nothing can be done if some can't get there.
    """
    return _Ordering(items, folders, run).solve()


def order_removals(items: list[Item], folders: list[Folder]) -> list[int]:
    """Return the items that are to be removed, once all others are in their places: files first,
    then directories, what is in others before these.
    """

    def depth(item: Item) -> int:
        folder, count = item.places[-1][0], 0
        while folder >= 0:
            folder, count = folders[folder].places[-1][0], count + 1
        return count

    going = [number for number, item in enumerate(items) if item.removal]
    files = [number for number in going if not items[number].is_directory]
    others = [number for number in going if items[number].is_directory]
    return files + sorted(others, key=lambda number: -depth(items[number]))


class _Ordering:
    def __init__(self, items: list[Item], folders: list[Folder], run: str) -> None:
        self._items = items
        self._folders = folders
        self._run = run
        self._at = {item.places[-1]: number for number, item in enumerate(items)}
        self._of_folder = {item.folder: n for n, item in enumerate(items) if item.is_directory}
        self._ready = deque(range(len(items)))
        # Items by the place that they wait for: one that something to be removed has, or another.
        self._on_doomed: dict[Place, int] = {}
        self._waiting: dict[Place, int] = {}
        self._blocked: list[int] = []  # directories that are to get into themselves, so far
        self._steps: list[Step] = []

    def solve(self) -> tuple[list[Step], list[int]]:
        for number, item in enumerate(self._items):
            if item.is_alias:
                self._park(number)
        while True:
            while self._ready:
                self._try(self._ready.popleft())
            if self._on_doomed or self._waiting:
                self._make_room()
            elif not self._blocked or not self._unblock():
                return self._steps, self._blocked

    def _try(self, number: int) -> None:
        item = self._items[number]
        if item.end is None or item.places[-1] == item.end:
            return
        occupant = self._at.get(item.end)
        if occupant is not None:
            waiting = self._on_doomed if self._items[occupant].end is None else self._waiting
            waiting[item.end] = number
        elif self._is_within(item.end, item):
            self._blocked.append(number)
        else:
            self._move(number, item.end)

    def _make_room(self) -> None:
        """Let one of those that wait have its place."""
        waiting = self._on_doomed or self._waiting
        place = next(iter(waiting))
        number = waiting.pop(place)
        other = self._at[place]
        item, occupant = self._items[number], self._items[other]
        if self._is_within(place, item) or self._is_within(item.places[-1], occupant):
            self._ready.append(number)
            self._park(other)
        else:
            self._exchange(number, other)

    def _unblock(self) -> bool:
        """Put aside a directory that keeps another from its place. Return whether there is one."""
        for number in self._blocked:
            item = self._items[number]
            assert item.end is not None
            folder = item.end[0]
            while folder != item.folder:
                other = self._of_folder.get(folder)
                if other is not None and self._is_to_move(self._items[other]):
                    self._park(other)
                    return True
                folder = self._folders[folder].places[-1][0]
        return False

    def _is_to_move(self, item: Item) -> bool:
        is_parked = item.places[-1][0] == item.stage
        return item.end is not None and item.places[-1] != item.end and not is_parked

    def _is_within(self, place: Place, item: Item) -> bool:
        """Return whether a place is in a directory, or below."""
        if not item.is_directory:
            return False
        folder = place[0]
        while folder >= 0:
            if folder == item.folder:
                return True
            folder = self._folders[folder].places[-1][0]
        return False

    def _park(self, number: int) -> None:
        name = f"{self._run}-parked-{number}".encode()
        self._move(number, (self._items[number].stage, name))
        self._ready.append(number)

    def _move(self, number: int, target: Place) -> None:
        item = self._items[number]
        source = item.places[-1]
        del self._at[source]
        self._put(number, target)
        self._steps.append(Step(number, len(item.places) - 1))
        self._wake(source)
        self._wake_blocked(item)

    def _exchange(self, number: int, other: int) -> None:
        item, occupant = self._items[number], self._items[other]
        source, target = item.places[-1], occupant.places[-1]
        self._put(number, target)
        # Where there is no exchanging, it gets out of the way first.
        occupant.places.append((item.stage, f"{self._run}-swapped-{len(self._steps)}".encode()))
        self._put(other, source)
        self._steps.append(Step(number, len(item.places) - 1, other, len(occupant.places) - 1))
        self._wake(source)
        self._ready.append(other)
        self._wake_blocked(item)
        self._wake_blocked(occupant)

    def _put(self, number: int, place: Place) -> None:
        self._at[place] = number
        self._items[number].places.append(place)

    def _wake(self, place: Place) -> None:
        """Have those try again that wait for a place."""
        for waiting in (self._on_doomed, self._waiting):
            if place in waiting:
                self._ready.append(waiting.pop(place))

    def _wake_blocked(self, item: Item) -> None:
        if item.is_directory:
            self._ready.extend(self._blocked)
            self._blocked.clear()
