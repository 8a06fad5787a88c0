"""The verdict on a host file: is the scan's content still there? docs/promises.md as a function.

    verdict        the scan's bytes are ...                      a read gives
    SAME           there                                         them
    RENUMBERED     there; numbers don't last on the file system  them
    GREW           there, and others behind them                 them
    CHMOD_OR_LINK  there; mode or number of links changed        them
    SHRANK         not all there                                 an error, or what is there now
    REWRITTEN      others, or may be                             an error, or what is there now
    TOUCHED        others, or may be                             an error, or what is there now
    REPLACED       in another file                               an error, or what is there now
    REMADE         in a file that was deleted                    an error, or what is there now
    NO_FILE        nowhere                                       an error

What is there now is read for those only who ask for it (`--on-change current`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from ..tree.builder import in_column

_SECOND_NS = 1_000_000_000


class Scanned(NamedTuple):
    """The scan's facts of a regular file; times as columns have them (see `in_column`)."""

    device: int
    inode: int
    mode: int
    links: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Verdict(Enum):
    """A file's fate since the scan."""

    SAME = auto()
    RENUMBERED = auto()
    GREW = auto()
    CHMOD_OR_LINK = auto()
    SHRANK = auto()
    REWRITTEN = auto()
    TOUCHED = auto()
    REPLACED = auto()
    REMADE = auto()
    NO_FILE = auto()

    @property
    def keeps_bytes(self) -> bool:
        """Return whether the scan's bytes are still there; if not, `sentence` says why."""
        return self not in _SENTENCES

    @property
    def is_readable(self) -> bool:
        """Return whether there is anything to read, for those who want what is there now."""
        return self is not Verdict.NO_FILE

    def sentence(self, scanned: Scanned, status: os.stat_result) -> str:
        """Return what is wrong, to be put behind the file's path."""
        return _SENTENCES[self].format(now=status.st_size, then=scanned.size)


_SENTENCES = {
    Verdict.SHRANK: "has {now} bytes, {then} at the scan",
    Verdict.REWRITTEN: "was written to after the scan",
    Verdict.TOUCHED: "was touched after the scan and may have other contents",
    Verdict.REPLACED: "was replaced after the scan",
    Verdict.REMADE: "was replaced after the scan",
    Verdict.NO_FILE: "is no regular file any more",
}


def verdict(  # noqa: PLR0911  one for each line of the table above
    scanned: Scanned,
    status: os.stat_result,
    *,
    may_renumber: Callable[[], bool],
    born_ns: Callable[[], int | None],
    was_cleared: bool = False,
) -> Verdict:
    """Return what has become of a file, by its status now.

    Asked only where it matters: `may_renumber`, whether its file system may give a file another
    number each time that it meets it (FUSE, vfat, some of the network's), and `born_ns`, when the
    file was born, in nanoseconds since 1970, None where births are not noted. A file that
    `was_cleared` since it was opened has its number still, so its birth is not asked for again.

    Growth is no harm. A change of the inode alone (chmod, a hard link made or removed) is none
    either; one that left no other trace than its time may have been a write whose modification time
    was put back.
    """
    if not stat.S_ISREG(status.st_mode):
        return Verdict.NO_FILE
    is_other = status.st_ino != scanned.inode or status.st_dev != scanned.device
    has_same_ctime = in_column(status.st_ctime_ns) == scanned.ctime_ns
    has_same_mtime = in_column(status.st_mtime_ns) == scanned.mtime_ns
    if is_other and not (has_same_ctime and may_renumber()):
        return Verdict.REPLACED
    if status.st_size < scanned.size:
        return Verdict.SHRANK
    if not has_same_mtime and status.st_size == scanned.size:
        return Verdict.REWRITTEN
    if not has_same_ctime:
        if has_same_mtime and (status.st_mode, status.st_nlink) == (scanned.mode, scanned.links):
            return Verdict.TOUCHED
        if not was_cleared and _was_remade(scanned, status, born_ns()):
            return Verdict.REMADE
    if status.st_size > scanned.size:
        return Verdict.GREW
    if not has_same_ctime:
        return Verdict.CHMOD_OR_LINK
    return Verdict.RENUMBERED if is_other else Verdict.SAME


def _was_remade(scanned: Scanned, status: os.stat_result, born_ns: int | None) -> bool:
    """Return whether a file has its number from one that was deleted: some file systems give it to
    the next file at once.

    The scan's file was born before it was last changed, so before its ctime of then. That is
    nearer than the time of the scan, and by the same clock as the births. Equal times are those
    of a file that was made and let be. Where ctime has gone back, so has the clock, and a birth
    after the scan need not look like one: that is not believed either. Without births, the number
    counts: what was made anew is then taken for what grew, as is what was rewritten and is longer.

    On FAT a birth is told in hundredths of a second and a ctime in even seconds: a file of
    12:00:01.99 has the ctime 12:00:00. So a ctime of a whole second allows births until 1.99...
    seconds later.
    """
    if born_ns is None:
        return False
    then_ns = scanned.ctime_ns
    latest_ns = then_ns if then_ns % _SECOND_NS else then_ns + 2 * _SECOND_NS - 1
    return in_column(born_ns) > latest_ns or in_column(status.st_ctime_ns) < then_ns
