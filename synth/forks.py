"""Work shared with forked processes, whose results come back through pipes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Generic, TypeVar, cast

Result = TypeVar("Result")
Work = TypeVar("Work", bound=Callable[[], object])


def may_fork() -> bool:
    """Return whether a fork is safe: no other thread holds a lock that the child waits for."""
    return threading.active_count() == 1


class Forked(Generic[Result]):
    """`work` under way in a child, which sees all that was there when it was made."""

    def __init__(self, work: Callable[[], Result]) -> None:
        """Raise OSError when the system allows no more processes."""
        self._receiver: int | None = None
        self._owner = os.getpid()
        receiver, sender = os.pipe()
        try:
            self._process_id = os.fork()
        except OSError:
            os.close(receiver)
            os.close(sender)
            raise
        if not self._process_id:
            _answer(sender, work)
        os.close(sender)
        self._receiver = receiver

    def __del__(self) -> None:
        """End the child: nobody waits for it any more, as something else has failed."""
        if self._owner == os.getpid():
            self.discard()

    def result(self) -> Result:
        """Wait for what `work` returned. Raise what it raised; ChildProcessError if it died."""
        import pickle  # noqa: PLC0415  slow to import, and small trees need no children

        assert self._receiver is not None
        value: Result | Exception | None = None
        # Until all has come, whoever is interrupted here can still discard the child.
        with (
            open(self._receiver, "rb", closefd=False) as answers,
            suppress(EOFError, pickle.UnpicklingError),  # it died, as its status will tell
        ):
            value = pickle.load(answers)  # noqa: S301  our own child's
        os.close(self._receiver)
        self._receiver = None
        _, status = os.waitpid(self._process_id, 0)
        if status:
            code = os.waitstatus_to_exitcode(status)
            raise ChildProcessError(f"a process that shared the work ended with status {code}")
        if isinstance(value, Exception):
            raise value
        return cast(Result, value)

    def discard(self) -> None:
        """End the child unless its result was taken."""
        if self._receiver is not None:
            os.close(self._receiver)
            self._receiver = None
            os.kill(self._process_id, signal.SIGKILL)
            os.waitpid(self._process_id, 0)


def split(work: range, count: int) -> list[range]:
    """Return some work in so many parts, one after the other."""
    bounds = [work.start + len(work) * number // count for number in range(count + 1)]
    return [range(*bound) for bound in pairwise(bounds)]


def share_out(
    works: Sequence[Work], answer: Callable[[Work], Result], take: Callable[[Result], object]
) -> None:
    """Do the first work here, and have each other one done by a child of its own, or here as well
    where the system allows no more processes.

    `take` gets what `answer` returns for each of those of the children, in order. Raise what a
    work raised.
    """
    children: list[Forked[Result]] = []
    try:
        with suppress(OSError):
            for work in works[1:]:
                children.append(Forked(partial(answer, work)))  # noqa: PERF401  as many as can be
        works[0]()
        for child in children:
            take(child.result())
        for work in works[1 + len(children) :]:
            work()
    finally:
        for child in children:
            child.discard()


def _answer(sender: int, work: Callable[[], object]) -> None:
    """Send what the work returns or raises, and end: a child's whole life."""
    import pickle  # noqa: PLC0415

    status = 1
    try:
        try:
            value = work()
        except Exception as error:
            value = error
        with open(sender, "wb") as answers:
            pickle.dump(value, answers, protocol=pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        os._exit(status)
