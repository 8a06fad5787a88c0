"""The long-name slots of one name, which the volume makes for a whole directory at once."""

from __future__ import annotations

from vfloppy.synth.fat import slots
from vfloppy.synth.fat.names import checksums


def long_slots(name: str, short: bytes) -> bytes:
    """What stands before the 8.3 slot of `short`."""
    count = -(-len(name.encode("utf-16-le")) // 26) + 1
    return slots.long_slots([name], [count], checksums([short]))[0]
