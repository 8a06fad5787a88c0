"""A file that an adversary changes, and what it needs for that."""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from .contents import content
from .filesystems import Place

UNIT = 4096
"""Offsets and lengths that all file systems clone, punch and collapse at."""


@dataclass
class Victim:
    """The only file of a directory of its own, `size` bytes of version 0 at the scan."""

    number: int
    size: int
    place: Place
    in_lower: bool = False
    """True if overlayfs has it in the lower layer; else it is in the upper one."""
    version: int = 0
    """The latest that was written."""
    random: random.Random = field(default_factory=random.Random)
    kept: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """All that stays open, mapped or mounted until the round is over."""

    @property
    def directory(self) -> Path:
        return self.place.root / f"d{self.number}"

    @property
    def path(self) -> Path:
        return self.directory / "file"

    def make(self) -> None:
        """Write version 0, before the scan."""
        path = self.place.start(self.path, in_lower=self.in_lower)
        path.parent.mkdir(parents=True)
        path.write_bytes(content(self.number, 0, self.size))

    def in_layer(self) -> Path:
        """Return its path in a layer of overlayfs, or in the directory behind FUSE."""
        layers = self.place.layers
        layer = layers.get("behind") or layers["lower" if self.in_lower else "upper"]
        return layer / self.path.relative_to(self.place.top)

    def next_bytes(self, length: int | None = None) -> bytes:
        """Return a new version, of the same length unless told."""
        self.version += 1
        return content(self.number, self.version, self.size if length is None else length)

    def stretch(self, unit: int = 1) -> tuple[int, int]:
        """Return an offset and a length within the file, multiples of `unit`."""
        units = self.size // unit
        first = self.random.randrange(units)
        return first * unit, self.random.randint(1, min(units - first, 65536 // unit)) * unit

    def spare(self, data: bytes | None = None) -> Path:
        """Make a file beside what was scanned, of a new version unless told; return its path."""
        path = self.place.spare_name()
        path.write_bytes(self.next_bytes() if data is None else data)
        return path

    def open(self, flags: int, path: Path | None = None) -> int:
        """Return a descriptor that is closed with the round."""
        descriptor = os.open(path or self.path, flags)
        self.kept.callback(os.close, descriptor)
        return descriptor
