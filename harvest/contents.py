"""Contents of files: where they are on the disk, and whether they are those that were served."""

from __future__ import annotations

from collections.abc import Iterator

from .entries import Entry
from .snapshot import Snapshot, Touched
from .volume import Volume

_PART_BYTES = 1 << 20


def runs_of(volume: Volume, entry: Entry) -> tuple[tuple[int, int], ...]:
    """Return offset and length of the runs of the disk that hold a file's content."""
    runs: list[tuple[int, int]] = []
    left = entry.size
    for first, count in entry.chain:
        length = min(count * volume.cluster_bytes, left)
        if not length:
            break
        runs.append((volume.offset(first), length))
        left -= length
    return tuple(runs)


def differs(volume: Volume, snapshot: Snapshot, touched: Touched, entry: Entry, node: int) -> bool:
    """Return whether a file has other bytes than a node had when it was served.

    It counts as having others if those that were served are not to be had any more.
    """
    if entry.size != volume.tree.sizes[node]:
        return True
    served = volume.offset(volume.run(node)[0])
    for offset, length in runs_of(volume, entry):
        for start, end in _suspect(touched, offset, length, served):
            place = served + start - offset
            if _differ(volume, snapshot, start, place, end - start):
                return True
        served += length
    return False


def _suspect(touched: Touched, offset: int, length: int, served: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of those parts of a run that may not be as they were."""
    if offset == served:
        yield from touched.within(offset, offset + length)
    else:
        yield offset, offset + length


def _differ(volume: Volume, snapshot: Snapshot, here: int, served: int, length: int) -> bool:
    for at in range(0, length, _PART_BYTES):
        part = min(_PART_BYTES, length - at)
        try:
            was = volume.read(served + at, part)
        except OSError:  # the host's file has changed since
            return True
        if snapshot.read(here + at, part) != was:
            return True
    return False
