"""Changes that a guest made to a disk, as data: found by reading it, applied to directories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

_PART_BYTES = 1 << 20


class Kind(StrEnum):
    """The sorts of change, as they are printed."""

    CREATED = "created"
    CHANGED = "changed"
    REMOVED = "removed"
    RENAMED = "renamed"
    """In the same directory, under a new name."""
    MOVED = "moved"
    """To another directory, under the old name or a new one."""


@dataclass(frozen=True, slots=True)
class Change:
    """One file or directory that is not as it was served."""

    kind: Kind
    path: tuple[str, ...]
    """The guest's long names from the root to where it is now; REMOVED: to where it was."""
    old_path: tuple[str, ...] = ()
    """RENAMED, MOVED: where it was."""
    is_directory: bool = False
    size: int = 0
    """Bytes of the content now."""
    rewritten: bool = False
    """RENAMED, MOVED: its bytes have changed as well."""
    modified_ns: int | None = None
    """The guest's time of modification in UTC, in nanoseconds since 1970; None: as served."""
    read_only: bool | None = None
    """The read-only attribute, if the guest changed it."""
    number: int = 0
    """Of the file on the disk that was served: its node in the tree; 0: it is new."""
    chain: tuple[tuple[int, int], ...] = ()
    """Offset and length of the runs of the disk that hold the content."""


def _read_nothing(offset: int, length: int) -> bytes:
    raise ValueError(f"no disk to read {length} bytes at {offset} of")


@dataclass(frozen=True)
class Changes:
    """All changes that a guest made to a disk."""

    changes: tuple[Change, ...]
    """Parents before children; removals last, children before parents."""
    problems: tuple[str, ...] = ()
    """Sentences with paths: why the disk is not consistent; empty if it is."""
    left_out: tuple[str, ...] = ()
    """Sentences with paths: what was left out by rule, and why."""
    read: Callable[[int, int], bytes] = field(default=_read_nothing, compare=False, repr=False)
    """Returns a range of the disk as the guest left it, given offset and length."""

    def content(self, change: Change) -> Iterator[bytes]:
        """Yield the content of a file, at most 1 MiB at a time. Raise what `read` raises."""
        left = change.size
        for offset, length in change.chain:
            end = offset + min(length, left)
            left -= end - offset
            for start in range(offset, end, _PART_BYTES):
                yield self.read(start, min(_PART_BYTES, end - start))
