"""The readers of a round: one connection of each kind, and latecomers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

from vfloppy.nbd.server.sending import SENDFILE_MIN_BYTES

from .checker import Checker
from .connections import KINDS, Connection, LostError, Read, connect
from .served import Served

_HALF_SENT_BYTES = {"unix, structured": 3 << 19, "tcp, structured": 3 << 20}
"""More than the kernel holds of what was sent and not received."""
_MOST_ASKED = 300
_LATE = "late"
_MOST_READ_BYTES = 1 << 20


class Readers:
    """Connections that are kept, and opened again when they are lost."""

    def __init__(self, served: Served, checker: Checker, chance: random.Random) -> None:
        self._served = served
        self._checker = checker
        self._chance = chance
        self._open: dict[str, Connection] = {}
        self._latecomer = KINDS[0]
        self._victim: int | None = None
        for kind in KINDS:
            self.ask(kind, [])

    def begin(self, victim: int) -> None:
        """Begin with another deed, for which somebody will come late anew."""
        self._victim = victim
        self._latecomer = self._chance.choice(KINDS)
        if _LATE in self._open:
            self._open.pop(_LATE).close()

    def close(self) -> None:
        """End all connections."""
        for each in self._open.values():
            each.close()
        self._open.clear()

    def warm_up(self, victim: int, *, always: bool) -> None:
        """Have some connections read a file: once, or so often that it is mapped."""
        start, size = self._checker.spans[victim]
        for kind in KINDS:
            for _ in range(3 if always else self._chance.choice([0, 1, 3])):
                length = min(size, 20_000)
                self.read(kind, [(start, size), (start, length), (start, length)])

    def look(self, victim: int, bystander: int) -> None:
        """Have every connection read all of the victim, some of it, and a file that is left alone;
        also one that came after the deed's first step, and had nothing open.
        """
        start, size = self._checker.spans[victim]
        other, other_size = self._checker.spans[bystander]
        for kind in [*self._kinds(), _LATE]:
            reads = [self._some(victim, size) for _ in range(2)]
            reads += [self._some(victim, 4096), (other, min(other_size, 4096))]
            reads.append((start, min(size, _MOST_READ_BYTES)))
            self._chance.shuffle(reads)
            self.read(kind, reads)
        if self._chance.random() < 0.2:  # beyond the file's ends
            at = self._chance.randrange(len(self._checker.expected) - 70_000)
            self.read(KINDS[0], [(at, self._chance.randrange(1, 70_000))])

    def glance(self, victim: int, bystander: int) -> None:
        """Have one connection read some while the file is being changed."""
        kind = self._chance.choice(KINDS)
        if self._chance.random() < 0.02 and kind in self._open:  # another, which has nothing open
            self._open.pop(kind).close()
        if self._chance.random() < 0.4:  # replies that don't fit into the socket
            for each, reads in self.ask_too_much(victim).items():
                self.collect(each, reads)
        most = self._most_bytes(kind)
        other, other_size = self._checker.spans[bystander]
        reads = [self._some(victim, most) for _ in range(self._chance.randint(1, 6))]
        self.read(kind, [*reads, (other, min(other_size, 4096))])

    def read(self, kind: str, reads: list[Read]) -> None:
        """Read, and have the checker look at it."""
        self.ask(kind, reads)
        self.collect(kind, reads)

    def ask(self, kind: str, reads: list[Read]) -> None:
        """Send reads whose answers are to be collected later."""
        with self._noting_loss(kind):
            self._connection(kind).ask(reads)

    def collect(self, kind: str, reads: list[Read]) -> None:
        """Receive and check what was asked."""
        if kind in self._open:
            with self._noting_loss(kind):
                answers = self._open[kind].answers()
                self._checker.check(reads, answers, kind)

    def ask_too_much(self, victim: int) -> dict[str, list[Read]]:
        """Ask for more than sockets hold, and leave it there. Return the reads by connection."""
        asked: dict[str, list[Read]] = {}
        for kind, enough in _HALF_SENT_BYTES.items():
            reads = asked[kind] = []
            while sum(length for _, length in reads) < enough and len(reads) < _MOST_ASKED:
                reads.append(self._some(victim, self._most_bytes(kind), 0.5))
            self.ask(kind, reads)
        return asked

    def _kinds(self) -> list[str]:
        kinds = list(KINDS)
        self._chance.shuffle(kinds)
        return kinds

    def _some(self, victim: int, most: int, least: float = 0.0) -> Read:
        """Return a read of some of a file: at most `most` bytes, and at least that part of it."""
        start, size = self._checker.spans[victim]
        most = min(size, most)
        length = self._chance.randint(1 + int(least * (most - 1)), most)
        return start + self._chance.randint(0, size - length), length

    @staticmethod
    def _most_bytes(kind: str) -> int:
        """Return the most bytes of a read that is under way while files are changed."""
        # "Bytes handed to a Unix socket by sendfile are the file's own until the client has
        # received them: a write in that moment can't be seen."
        return SENDFILE_MIN_BYTES - 1 if kind == "unix, structured" else _MOST_READ_BYTES

    def _connection(self, kind: str) -> Connection:
        if kind not in self._open:
            self._open[kind] = connect(self._served, self._latecomer if kind == _LATE else kind)
        return self._open[kind]

    @contextlib.contextmanager
    def _noting_loss(self, kind: str) -> Iterator[None]:
        try:
            yield
        except LostError as error:
            if kind in self._open:
                self._open.pop(kind).close()
            self._checker.lost(kind, error, self._served.log, self._victim)
