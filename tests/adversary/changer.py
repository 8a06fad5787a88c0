"""The process that changes files: a step when it is told, or a whole deed at its own pace.

It is a process of its own, since a writer may have to wait for a reader who holds a lease, and then
the reader must be free to go on.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from typing import NamedTuple

from vfloppy.process import children as processes

from .operations import BY_NAME
from .victim import Victim

PATIENCE_S = 100.0
"""The kernel makes a writer wait for 45 s, and perhaps for two files."""
_LONGEST_PAUSE_S = 0.003


class TroubleError(Exception):
    """The adversary could not do what its table says that it can."""


class Deed(NamedTuple):
    """An operation on a victim, and the seed of what is left to chance in it."""

    operation: str
    victim: int
    seed: int


class Done(NamedTuple):
    """News of a step: if it was the deed's last, and how long its system calls took in all."""

    deed: Deed
    is_last: bool
    waited_s: float
    version: int
    """The victim's latest."""
    trouble: str = ""


class Changer:
    """The process, and what is said to it."""

    def __init__(self, victims: Sequence[Victim]) -> None:
        self._ours, theirs = Pipe()

        def work() -> int:
            self._ours.close()
            _Work(victims, theirs.recv, theirs.send).run()
            return 0

        self.process_id = processes.fork(work)
        theirs.close()

    def start(self, deed: Deed) -> None:
        """Have the first step of a deed made; `done` tells of it."""
        self._ours.send((False, deed))

    def go_on(self) -> None:
        """Have the next step made."""
        self._ours.send(None)

    def start_through(self, deed: Deed) -> None:
        """Have all steps of a deed made without a word between; `done` tells of each."""
        self._ours.send((True, deed))

    def is_done(self, within_s: float = 0.0) -> bool:
        """Return True when `done` has something to tell, within so many seconds."""
        return self._ours.poll(within_s)

    def done(self) -> Done:
        """Return what came of the next step. Raise TroubleError if it failed or takes for ever."""
        if not self._ours.poll(PATIENCE_S):
            raise TroubleError(f"a change took more than {PATIENCE_S:.0f} s")
        try:
            done: Done = self._ours.recv()
        except EOFError:
            raise TroubleError("the process that makes changes is gone") from None
        if done.trouble:
            raise TroubleError(f"{done.deed.operation}: {done.trouble}")
        return done

    def close(self) -> None:
        """End it when it has cleaned up."""
        with contextlib.suppress(OSError):
            self._ours.close()
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            if processes.ended(self.process_id) is not None:
                return
            time.sleep(0.005)
        processes.end_all([self.process_id])


class _Work:
    """The work of the process: deeds in, news of their steps out."""

    def __init__(
        self,
        victims: Sequence[Victim],
        receive: Callable[[], tuple[bool, Deed]],
        send: Callable[[Done], None],
    ) -> None:
        self._victims = {each.number: each for each in victims}
        self._receive = receive
        self._send = send

    def run(self) -> None:
        with contextlib.ExitStack() as kept:
            for victim in self._victims.values():
                kept.enter_context(victim.kept)
            with contextlib.suppress(EOFError):
                while True:
                    at_once, deed = self._receive()
                    self._make(deed, at_once=at_once)

    def _make(self, deed: Deed, *, at_once: bool) -> None:
        chance = random.Random(deed.seed)
        steps = _steps(deed, self._victims[deed.victim])
        is_last = False
        while not is_last:
            if at_once:
                time.sleep(chance.uniform(0, _LONGEST_PAUSE_S))
            done = self._step(deed, steps)
            self._send(done)
            is_last = done.is_last
            if not is_last and not at_once:
                self._receive()

    def _step(self, deed: Deed, steps: Iterator[None]) -> Done:
        started, is_last, trouble = time.monotonic(), False, ""
        try:
            is_last = next(steps, "end") == "end"
        except (OSError, AssertionError, ValueError) as error:
            is_last, trouble = True, f"{type(error).__name__}: {error}"
        waited_s = time.monotonic() - started
        return Done(deed, is_last, waited_s, self._victims[deed.victim].version, trouble)


def _steps(deed: Deed, victim: Victim) -> Iterator[None]:
    victim.random.seed(deed.seed)
    yield from BY_NAME[deed.operation].act(victim) or ()
