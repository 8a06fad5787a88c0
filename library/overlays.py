"""Overlays of disks: made, opened again over the same disk, and refused over another one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any

from ..errors import option_named
from ..export import Kind
from ..filters.header import OverlayError
from ..filters.overlay import Overlay
from ..filters.store import OverlayFile
from .description import Description, Path, describe, options_of

if TYPE_CHECKING:
    from .disk import Disk

_PART_BYTES = 1 << 20
_MOST_LISTED = 200_000  # files of a disk; above, a difference is told without their names
_MOST_NAMED = 3
# What a disk's bytes don't depend on.
_OF_THE_RUN = {"processes", "cache_size", "on_change"}


def overlaid(make: Callable[[], Disk], path: Path | None) -> Disk:
    """Return the disk that `make` makes, with an overlay: the one at `path`, or a temporary one.

    Raise OverlayError where the overlay is of another disk, or can't be had, and as `make` does.
    """
    if path is None:
        disk = make()
        disk.overlay = Overlay(disk.image, OverlayFile.temporary(disk.size))
        return disk
    name = os.fsdecode(path)
    is_new = _claim(name)
    try:
        disk = make()
        disk.overlay = Overlay(disk.image, _opened(disk, name))
    except BaseException:
        if is_new:
            with suppress(OSError):
                if not os.stat(name).st_size:
                    os.unlink(name)
        raise
    return disk


def _claim(path: str) -> bool:
    """Make an empty file where nothing is, so that a scan can leave it out; return whether it did.

    Otherwise an overlay in the directory that it is of would be a file of its disk from the second
    scan on.
    """
    if not path:
        raise OverlayError(f"{option_named('overlay')} is empty; a file is expected")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise OverlayError(f"{option_named('overlay', path)}: {error.strerror}") from None
    except ValueError as error:  # a NUL
        raise OverlayError(f"{option_named('overlay')}: {error}") from None
    return True


def _opened(disk: Disk, path: str) -> OverlayFile:
    """Open the overlay of a disk, or make it of an empty file. Raise OverlayError."""
    if _is_empty(path):
        return OverlayFile.create(path, disk.size, digest_of(disk), facts_of(disk))
    file = OverlayFile.open(path, writable=True)
    try:
        if file.size != disk.size or file.identity != digest_of(disk):
            if file.is_touched:
                raise OverlayError(_refusal(path, file, disk))
            renew(file, disk)
    except BaseException:
        file.close()
        raise
    return file


def _is_empty(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0
    except OSError:  # opening it says why
        return False


def renew(file: OverlayFile, disk: Disk) -> None:
    """Have an overlay that holds nothing be one of another disk. Raise OSError."""
    named = bool(file.name)
    identity, facts = (digest_of(disk), facts_of(disk)) if named else (b"", {})
    file.renew(disk.size, identity, facts)


def digest_of(disk: Disk) -> bytes:
    """Return a digest of a disk: of all its bytes but contents, of names, sizes and times."""
    image = disk.image
    digest = hashlib.blake2b(image.identity, digest_size=32)
    digest.update(image.size.to_bytes(8, "big"))
    with image.open() as reader:
        position = 0
        for extent in reader.extents(0, image.size):
            end = position + extent.length
            if extent.kind != Kind.FILE and not extent.hole:
                for start in range(position, end, _PART_BYTES):
                    digest.update(reader.read(start, min(_PART_BYTES, end - start)))
            position = end
    return digest.digest()


def facts_of(disk: Disk) -> dict[str, Any]:
    """Return what an overlay remembers of its disk: directories, options, files."""
    description = disk.description
    facts = {
        "folder": os.getcwd(),
        "paths": [*description.paths],
        "options": {name: _plain(value) for name, value in description.words.items()},
        "base": {name: _plain(value) for name, value in description.base.items()},
    }
    if len(disk.tree) <= _MOST_LISTED:
        listed = json.dumps(list(_files_of(disk))).encode()
        facts["files"] = base64.b85encode(zlib.compress(listed, 1)).decode()
    return facts


def described(facts: Mapping[str, Any]) -> Description:
    """Return the description of the disk that an overlay remembers.

    Relative paths lead from where it was made. Raise OptionError and OverlayError.
    """
    try:
        folder = facts["folder"]
        paths = [os.path.join(folder, each) for each in facts["paths"]]
        options = {name: _found_from(folder, name, each) for name, each in facts["options"].items()}
        base = {name: _converted(value) for name, value in facts["base"].items()}
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise OverlayError(f"an overlay's description makes no sense: {error!r}") from None
    return describe(paths, options, base)


def _found_from(folder: str, name: str, value: Any) -> Any:
    """Return an option's value with paths that lead from a folder."""
    if name == "graft":
        return [(target, os.path.join(folder, source)) for target, source in _grafts(value)]
    option = options_of("iso").get(name) or options_of("fat").get(name)
    if not option or not option.is_path:
        return value
    if isinstance(value, list):
        return [os.path.join(folder, each) for each in value]
    return os.path.join(folder, value)


def _grafts(value: Any) -> Iterator[tuple[str, str]]:
    for each in value if isinstance(value, list) else [value]:
        target, source = each.split("=", 1) if isinstance(each, str) else each
        yield target, source


def _plain(value: Any) -> Any:
    """Return a value of an option as JSON has it."""
    if isinstance(value, bytes | os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        return [[_plain(one), _plain(other)] for one, other in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


def _converted(value: Any) -> Any:
    return tuple(_converted(each) for each in value) if isinstance(value, list) else value


def _files_of(disk: Disk) -> Iterator[tuple[str, int, int]]:
    tree = disk.tree
    for node in range(1, len(tree)):
        yield os.fsdecode(tree.path(node)), tree.sizes[node], tree.mtimes_ns[node]


def _refusal(path: str, file: OverlayFile, disk: Disk) -> str:
    """Return why an overlay is refused: what is different."""
    reasons = list(_differences(file, disk)) or ["its tables or times are laid out otherwise"]
    return (
        f"overlay {path}: what it holds was written over another disk: {'; '.join(reasons)}; it is "
        "left as it is: serve that disk with it, or this one with another file"
    )


def _differences(file: OverlayFile, disk: Disk) -> Iterator[str]:
    """Yield what differs between the disk that an overlay was made of, and another one."""
    before, now = file.description, facts_of(disk)
    old, new = before.get("options", {}), now["options"]
    for name in sorted({*old, *new} - _OF_THE_RUN):
        if old.get(name) != new.get(name):
            yield " now, ".join(
                f"{option_named(name, each[name])}" if name in each else f"no {option_named(name)}"
                for each in (old, new)
            ).replace(" now, ", " before, now ")
    if file.size != disk.size:
        yield f"{file.size} bytes before, now {disk.size}"
    if "files" in before and "files" in now:
        yield from _changed(_listing(before["files"]), _listing(now["files"]))


def _listing(packed: str) -> dict[str, list[int]]:
    """Return size and time of each file by its path."""
    try:
        listed = json.loads(zlib.decompress(base64.b85decode(packed)))
        return {path: facts for path, *facts in listed}
    except (ValueError, TypeError, zlib.error):
        return {}


def _changed(old: Mapping[str, list[int]], new: Mapping[str, list[int]]) -> Iterator[str]:
    kinds = {
        "changed": [path for path in old.keys() & new.keys() if old[path] != new[path]],
        "new": [*(new.keys() - old.keys())],
        "gone": [*(old.keys() - new.keys())],
    }
    for kind, paths in kinds.items():
        if paths:
            named = ", ".join(map(repr, sorted(paths)[:_MOST_NAMED]))
            yield f"{len(paths)} {kind}: {named}{' ...' if len(paths) > _MOST_NAMED else ''}"
