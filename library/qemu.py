"""QEMU's own way of naming a directory as a disk: `fat:floppy:12:DIR`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import OptionError, option_named
from ..synth.fat.options import NOT_OF_FLOPPIES
from .presets import PRESETS

# fat:[12|16|32:][floppy:][rw:]DIR, in any order.
_NAME = re.compile(r"fat:((?:(?:12|16|32|floppy|rw):)*)(.+)", re.DOTALL)
_CYLINDER_BYTES = 16 * 63 * 512


def is_qemu_name(path: str) -> bool:
    """Return whether a path is such a name."""
    return _NAME.fullmatch(path) is not None


def from_qemu_name(name: str, given: Collection[str]) -> tuple[str, Mapping[str, Any]]:
    """Return the directory that QEMU's name leads to, and what QEMU makes of it: options' values.

    Raise OptionError for what can't be had, and if one of those options was given.
    """
    match = _NAME.fullmatch(name)
    assert match is not None
    words = set(match[1].split(":"))
    if "rw" in words:
        raise OptionError(
            "fat:rw: has a directory take what a guest writes, and it takes nothing here; "
            f"{option_named('writable', True)} lets a guest write to a disk that leaves it alone"
        )
    types = words & {"12", "16", "32"}
    if len(types) > 1:
        raise OptionError(f"fat: with {' and '.join(sorted(types))} at once")
    is_floppy, fat = "floppy" in words, types.pop() if types else None
    settled = {"preset", "floppy", *(NOT_OF_FLOPPIES if is_floppy else ["fat"] if fat else [])}
    if twice := sorted(settled.intersection(given)):
        prefix = name[: match.start(2)]
        raise OptionError(f"QEMU's {prefix} goes without {option_named(twice[0])}")
    values: dict[str, Any] = dict(PRESETS["vvfat"].values)
    if not is_floppy:
        if fat:
            values["fat"] = fat
        if fat == "12":
            values["size"] = (False, 64 * _CYLINDER_BYTES)
        return match[2], values
    if fat == "32":
        raise OptionError("QEMU has no FAT32 floppy, and neither has anybody else")
    del values["size"]
    if fat == "16":  # twice as many clusters as a FAT12 of that size has
        values |= {"partition": "none", "size": (False, 5760 * 512), "cluster_size": "512"}
    else:
        values |= {"floppy": "1.44M" if fat else "2.88M", "fat": "auto"}
    return match[2], values
