"""Effects of operations on files, and those that docs/promises.md says can't be told of.

Every exclusion here and in the table of operations names the sentence of "What can't be promised"
that it stands on; where that sentence goes, the exclusion has to go too.
"""

from __future__ import annotations

import enum
import time


class Effect(enum.Flag):
    """Effects on the file that the scan saw, and on what stands under its name."""

    NONE = 0
    REWRITES = enum.auto()
    """Its bytes are other ones, or fewer."""
    SHRINKS = enum.auto()
    """Fewer."""
    LENGTHENS = enum.auto()
    PUTS_BACK = enum.auto()
    """Its time of modification is the scan's again, and its time of change is not."""
    RELABELS = enum.auto()
    """Its mode or number of links is another one."""
    DROPS = enum.auto()
    """It has a link less, and the name leads to another file."""
    ENDS = enum.auto()
    """Nothing can be done to it any more under its name."""


def may_follow(before: Effect, after: Effect) -> bool:
    """Return True if something is promised when one follows on the other."""
    both = before | after
    if Effect.ENDS in before:
        return False
    # "A file that was rewritten and is longer now looks like one that grew, and is served: nothing
    # in its status tells the two apart."
    if Effect.REWRITES in both and Effect.LENGTHENS in both:
        return False
    # "Likewise one whose time of modification was put back and whose mode or number of links
    # changed as well."
    if Effect.PUTS_BACK in before and after & (Effect.RELABELS | Effect.DROPS):
        return False
    return not (Effect.PUTS_BACK in after and Effect.RELABELS in before)


def let_the_clock_tick() -> None:
    """Wait until what changes now can't have the times of what changed before."""
    # "A change within one tick of the file system's clock after the scan (4 ms on kernels before
    # 6.13) leaves the same times."
    clock = getattr(time, "CLOCK_REALTIME_COARSE", 5)  # what file systems take their times from
    for _ in range(2):
        before = time.clock_gettime_ns(clock)
        while time.clock_gettime_ns(clock) == before:
            time.sleep(0.0005)
