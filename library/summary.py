"""A disk in one line, for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # half of the time it takes to say `--help`
    from .disk import Disk


def human_size(size: int) -> str:
    """Return a size for people, in binary units."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if value < 1024 or unit == "PiB":
            break
    return f"{value:.4g} {unit}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 file`, `2 files`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def summary(disk: Disk) -> str:
    """Return files, directories, size, format, what was skipped and renamed."""
    tree = disk.tree
    text = (
        f"{count(tree.file_count, 'file')} and "
        f"{count(len(tree.directories) - 1, 'directory', 'directories')} "
        f"({human_size(sum(tree.sizes))}) as "
        f"{'an' if disk.title[0] in 'AEIOU' else 'a'} {disk.title} disk of {human_size(disk.size)}"
    )
    if measures := disk.format.measures(disk.layout):
        text += f" ({measures})"
    skipped = [each.reason for part in disk.parts for each in part.tree.skipped]
    if skipped:
        reasons = Counter(skipped)
        listed = ", ".join(f"{number} x {reason}" for reason, number in reasons.items())
        text += f"; skipped {len(skipped)} ({listed})"
    if renamed := sum(part.renamed_count for part in disk.parts):
        text += f"; renamed {renamed}"
        places = Counter(each.where for each in disk.renamed if each.where)
        if places:
            text += f" ({', '.join(f'{number} in {where}' for where, number in places.items())})"
    return text
