"""Guests' changes made by hand, and the host's directories that they are applied to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from vfloppy.harvest.applying.apply import apply
from vfloppy.harvest.applying.outcome import Applied
from vfloppy.harvest.applying.scanned import ScannedPlaces
from vfloppy.harvest.changes import Change, Changes, Kind
from vfloppy.synth.scanning.merging import Graft
from vfloppy.synth.scanning.scan import ScanOptions, scan

T0 = 1_700_000_000_123_456_789
"""When files of the host were modified, in nanoseconds since 1970."""
T1 = 1_710_000_000_000_000_000
"""When the guest modified some."""


def plant(root: Path, files: dict[str, bytes | None]) -> None:
    """Make files with their contents, and directories where there is None."""
    for name, content in files.items():
        path = root / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(T0, T0))


def grown(root: Path) -> dict[str, bytes | None]:
    """All that is below a directory: contents of files, None for directories, but no trash."""
    found: dict[str, bytes | None] = {}
    for folder, directories, files in os.walk(root):
        if ".vfloppy" in directories:
            state = Path(folder, ".vfloppy")
            assert os.listdir(state) == ["trash"], os.listdir(state)
            directories.remove(".vfloppy")
        for name in directories:
            path = Path(folder, name)
            link = os.readlink(path).encode() if path.is_symlink() else None
            found[os.path.relpath(path, root)] = link and b"-> " + link
        for name in files:
            path = Path(folder, name)
            content = (
                b"-> " + os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            )
            found[os.path.relpath(path, root)] = content
    return found


def trashed(root: Path) -> dict[str, bytes]:
    """The files in the trash, by their paths without the run's name."""
    trash = root / ".vfloppy" / "trash"
    return {
        str(Path(*path.relative_to(trash).parts[1:])): path.read_bytes()
        for path in trash.rglob("*")
        if path.is_file()
    }


class Guest:
    """Says what was done on a disk; each method adds a change."""

    def __init__(
        self,
        *directories: Path,
        grafts: Iterable[Graft] = (),
        options: ScanOptions | None = None,
        names: dict[tuple[str, ...], str] | None = None,
    ) -> None:
        """`names` are paths on the disk of what is called otherwise in the tree, with its path
        there.
        """
        self.tree = scan([str(each) for each in directories], options, grafts)
        self.called = {path: disk[-1] for disk, path in (names or {}).items()}
        self.places = ScannedPlaces(self.tree, self.names)
        self.changed: list[Change] = []
        self.removed: list[Change] = []
        self.disk = b""
        self.problems: tuple[str, ...] = ()

    def names(self, ordinal: int) -> list[str]:
        paths = map(self.tree.path, self.tree.children(ordinal))
        names = [os.fsdecode(path) for path in paths]
        return [self.called.get(name, os.path.basename(name)) for name in names]

    def of(self, path: str) -> int:
        number = self.places.number(tuple(path.split("/")))
        assert number, path
        return number

    def create(self, path: str | tuple[str, ...], data: bytes = b"", **more) -> Guest:
        return self._add(Kind.CREATED, path, data, **more)

    def mkdir(self, path: str | tuple[str, ...]) -> Guest:
        return self._add(Kind.CREATED, path, None)

    def change(self, path: str, data: bytes, *, served: str = "", **more) -> Guest:
        return self._add(Kind.CHANGED, path, data, number=self.of(served or path), **more)

    def rename(
        self, old: str, new: str | tuple[str, ...], data: bytes | None = None, **more
    ) -> Guest:
        """With `data`, it is also rewritten."""
        number = self.of(old)
        new = tuple(new.split("/")) if isinstance(new, str) else new
        here, there = tuple(old.split("/"))[:-1], new[:-1]
        kind = Kind.RENAMED if here == there else Kind.MOVED
        kind = Kind(more.pop("kind", kind))
        is_directory = self.tree.is_directory(number)
        if data is None:
            more["is_directory"] = is_directory
            more["size"] = self.tree.sizes[number]
        return self._add(
            kind, new, data, number=number, old_path=tuple(old.split("/")),
            rewritten=data is not None, **more,
        )  # fmt: skip

    def remove(self, path: str) -> Guest:
        number = self.of(path)
        self.removed.append(
            Change(
                Kind.REMOVED,
                tuple(path.split("/")),
                is_directory=self.tree.is_directory(number),
                number=number,
            )
        )
        return self

    def _add(self, kind: Kind, path: str | tuple[str, ...], data: bytes | None, **more) -> Guest:
        path = tuple(path.split("/")) if isinstance(path, str) else path
        if data is None:
            more.setdefault("is_directory", True)
            self.changed.append(Change(kind, path, **more))
            return self
        half = len(data) // 2
        # In two runs, the second one first on the disk.
        at = len(self.disk)
        self.disk += data[half:] + data[:half]
        chain = ((at + len(data) - half, half), (at, len(data) - half))
        self.changed.append(Change(kind, path, size=len(data), chain=chain, **more))
        return self

    @property
    def changes(self) -> Changes:
        removed = sorted(self.removed, key=lambda change: -len(change.path))
        return Changes(
            (*self.changed, *removed),
            self.problems,
            read=lambda offset, length: self.disk[offset : offset + length],
        )


def is_whole(root: Path) -> bool:
    """Whether nothing is left of an unfinished run."""
    with suppress(FileNotFoundError):
        return os.listdir(root / ".vfloppy") == ["trash"]
    return True


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


_LASTING = {"conflict", "kept", "refused", "note"}


def settled(guest: Guest, *roots: Path, **options) -> Applied:
    """Apply changes, and see that applying them again does nothing."""
    applied = apply(guest.changes, guest.places, **options)
    before = [_statuses(root) for root in roots]
    again = apply(guest.changes, guest.places, **options)
    assert [_statuses(root) for root in roots] == before
    assert {deed.outcome.value for deed in again.deeds} <= _LASTING, again.deeds
    return applied


def _statuses(root: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    for folder, directories, files in os.walk(root):
        for name in ("", *directories, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            times = (status.st_mtime_ns, status.st_ctime_ns)
            found[path] = (status.st_ino, status.st_mode, status.st_size, *times)
    return found


def outcomes(applied: Applied) -> set[tuple[str, str]]:
    """What came of the paths on the disk."""
    return {(deed.outcome.value, deed.path) for deed in applied.deeds}
