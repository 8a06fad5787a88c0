"""Findings: what a check says of a tree before somebody reads the disk."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing to know."""

    path: str
    """In the tree; empty where it is the whole disk."""
    kind: str
    """renamed, skipped, refused, clamped, clashes (with the disk's label), or trips."""
    text: str
    readers: tuple[str, ...]
    """The readers that are concerned."""
