"""Cylinders, heads and sectors, as a BIOS counts a disk in them."""

from __future__ import annotations

from ...errors import PlanError

SECTORS_PER_TRACK = 63
_MOST_CYLINDERS = 1024


def bios_heads(sectors: int) -> int:
    """Return the heads that a BIOS gives a disk, to count its cylinders in 10 bits."""
    least = -(-sectors // (_MOST_CYLINDERS * SECTORS_PER_TRACK))
    return next((heads for heads in (16, 32, 64, 128) if least <= heads), 255)


def whole_cylinders(size: int) -> int:
    """Return the largest size, in bytes, that is one of whole cylinders. Raise PlanError."""
    sectors = size // 512
    while sectors:
        cylinder = bios_heads(sectors) * SECTORS_PER_TRACK
        if sectors % cylinder == 0:
            return sectors * 512
        sectors -= sectors % cylinder
    raise PlanError(f"a disk of {size} bytes is smaller than a cylinder, of {16 * 63 * 512}")
