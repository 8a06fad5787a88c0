"""Refusals: paths that a scan may not take, collected so that all are told at once."""

from __future__ import annotations

import errno
from typing import NamedTuple

from ...errors import ScanError, option_named
from ..tree.columns import some_paths

# What opening a directory says when somebody took it away, or put something else in its place.
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
# What it says of what isn't ours, or of a file system that doesn't answer any more.
CLOSED = {errno.EACCES, errno.EPERM, errno.ENOTCONN, errno.ESTALE}


class Refusals(NamedTuple):
    """Paths, relative to the root, by what is wrong with them."""

    unreadable: list[bytes]
    links: list[bytes]
    twice: list[bytes]

    def clear(self) -> None:
        """Forget all."""
        for paths in (self.unreadable, self.links, self.twice):
            paths.clear()

    def extend(self, others: Refusals) -> None:
        """Add those of another process."""
        self.unreadable.extend(others.unreadable)
        self.links.extend(others.links)
        self.twice.extend(others.twice)

    def complain(self) -> None:
        """Raise ScanError if there is anything."""
        if self.unreadable:
            raise ScanError(
                f"may not be read: {some_paths(self.unreadable)}; make it readable, or leave it "
                f"out with {option_named('skip_unreadable', True)}"
            )
        if self.links:
            raise ScanError(
                f"symbolic links: {some_paths(self.links)}; {option_named('symlinks', 'skip')} "
                "leaves "
                f"them out, {option_named('symlinks', 'follow')} takes what they lead to"
            )
        if self.twice:
            raise ScanError(
                f"in more than one source: {some_paths(self.twice)}; without "
                f"{option_named('strict')} the last "
                "one would be taken"
            )
