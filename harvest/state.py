"""The state of a whole disk: whether it is still the one that was served, and at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import VfloppyError
from ..synth.image.partition import GPT_ENTRIES, GPT_ENTRY_BYTES
from .snapshot import Snapshot
from .volume import Volume

_PARTITIONS = (446, 512)  # of an MBR; before them are code and a signature that Windows writes
_GPT_BYTES = GPT_ENTRIES * GPT_ENTRY_BYTES
_PARAMETERS = (11, 36)
_OWN_PARAMETERS = {12: (38, 39), 16: (38, 39), 32: (36, 52)}  # without the state, and what is free
_VOLUME_ID = {12: (39, 43), 16: (39, 43), 32: (67, 71)}
_STATE = {12: 0x25, 16: 0x25, 32: 0x41}
_DIRTY = 1
_CLEAN_MARK = {16: 0x8000, 32: 0x0800_0000}  # of the table's entry 1


class ReformattedError(VfloppyError):
    """A disk with another file system than the one that was served."""


def check_same(volume: Volume, snapshot: Snapshot) -> None:
    """Raise ReformattedError unless partition, geometry and volume id are those served."""
    bits = volume.layout.geometry.fat_bits
    if snapshot.size != volume.size:
        text = f"the disk has {snapshot.size} bytes; {volume.size} were served"
        raise ReformattedError(text)
    for what, start, end in _lasting(volume, bits):
        if snapshot.read(start, end - start) != volume.read(start, end - start):
            raise ReformattedError(
                f"{what} of the disk is not the one that was served: the guest has formatted it "
                "anew, and nothing on it can be brought home; the overlay holds it all"
            )


def _lasting(volume: Volume, bits: int) -> Iterator[tuple[str, int, int]]:
    """Yield what never changes while a disk is used: its name, and its range."""
    if volume.start:
        yield "the partition table", *_PARTITIONS
        if volume.layout.options.partition == "gpt":
            sector_bytes = volume.layout.geometry.sector_bytes
            yield "the partition table", sector_bytes, 2 * sector_bytes + _GPT_BYTES
    for what, (first, last) in (
        ("the volume id", _VOLUME_ID[bits]),
        ("the geometry", _PARAMETERS),
        ("the geometry", _OWN_PARAMETERS[bits]),
    ):
        yield what, volume.start + first, volume.start + last


def marks(volume: Volume, snapshot: Snapshot, entry: Callable[[int], int]) -> Iterator[str]:
    """Yield why a disk is marked as being in use; `entry` reads the table."""
    bits = volume.layout.geometry.fat_bits
    if snapshot.read(volume.start + _STATE[bits], 1)[0] & _DIRTY:
        yield "the disk is marked as mounted: a guest uses it, or has ended without unmounting it"
    if entry(0) & 0xFF != volume.layout.geometry.media:
        yield "the allocation table does not begin as one does: it was overwritten"
    mark = _CLEAN_MARK.get(bits, 0)
    if entry(1) & mark != mark:
        yield "the disk is marked as being written to, or as not having been shut down"
