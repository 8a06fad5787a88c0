"""The exports of a server: one disk or several, their names, and newer ones in time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..errors import OptionError, option_named
from ..export import Export
from ..nbd.protocol.wire import MAXIMUM_STRING_BYTES
from ..process.reports import log
from ..process.sandbox import Sandbox
from .disk import Disk
from .summary import summary

if TYPE_CHECKING:
    from ..filters.filter import Filter
    from ..filters.overlay import Overlay

# A scan is taken for fresh for so many times as long as it took: clients come in twos and threes.
_FRESH_FOR = 10

Offered: TypeAlias = Disk | Export
Offer: TypeAlias = "tuple[Mapping[str, Export], Mapping[str, str]]"
"""Exports, and what they are in words, by name."""


def check_export_name(name: str) -> None:
    """Raise OptionError for a name that the protocol can't carry."""
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise OptionError("the name of an export is no UTF-8; NBD holds nothing else") from None
    if b"\0" in raw:
        raise OptionError("the name of an export has a NUL; NBD holds none")
    if len(raw) > MAXIMUM_STRING_BYTES:
        raise OptionError(
            f"the name of an export has {len(raw)} bytes; NBD holds at most {MAXIMUM_STRING_BYTES}"
        )


def by_name(what: Offered | Mapping[str, Offered]) -> dict[str, Offered]:
    """Return what is to be served by name; a lone one has none. Raise OptionError."""
    named = dict(what) if isinstance(what, Mapping) else {"": what}
    if not named:
        raise OptionError("there is nothing to serve: no disk, and no export")
    for name in named:
        check_export_name(name)
    return named


class Source:
    """An export by its name, and the next one, if it is a disk whose directories are scanned again.

    `scan` makes the next disk of the present one; None: never. `wording` says what an error is.
    With `writes_back`, what was written over the disk is to be brought home when serving ends.
    """

    def __init__(
        self,
        name: str,
        what: Offered,
        scan: Callable[[Disk], Disk] | None = None,
        wording: Callable[[Exception], str] = str,
        *,
        writes_back: bool = False,
        filters: Sequence[Filter] = (),
    ) -> None:
        self.name = name
        self.writes_back = writes_back
        self.what = what
        self._scan = scan
        self._wording = wording
        self._filters = filters
        self.export = self._filtered()
        """The bytes, behind the filters."""
        self._has_told = False
        self._scanned_at = time.monotonic()
        self._took_s = what.took_s if isinstance(what, Disk) else 0.0

    def _filtered(self) -> Export:
        what: Export = self.what.export if isinstance(self.what, Disk) else self.what
        for each in reversed(self._filters):  # the first is the nearest to the client
            what = each.around(what, self.name)
        return what

    @property
    def description(self) -> str:
        """The disk or source in words; empty for an export that is none of ours."""
        if isinstance(self.what, Disk):
            return summary(self.what)
        from .sources import source_of  # noqa: PLC0415  most serve disks

        source = source_of(self.what)
        return source.description if source else ""

    @property
    def note(self) -> str:
        """A sentence about what people may not expect; empty: there is none."""
        if isinstance(self.what, Disk):
            return ""
        from .sources import source_of  # noqa: PLC0415  as above

        source = source_of(self.what)
        return source.note if source else ""

    def refresh(self, *, asked: bool) -> bool:
        """Scan again, unless the last scan is fresh; return whether anything has changed.

        A scan that fails leaves the disk as it was: reading what is gone says so.
        """
        disk = self.what
        if self._scan is None or not isinstance(disk, Disk) or self._is_kept(disk, asked=asked):
            return False
        if not asked and time.monotonic() - self._scanned_at < _FRESH_FOR * self._took_s:
            return False
        title = self.name or ", ".join(disk.description.paths)
        try:
            newer = self._scan(disk)
            is_same = newer.is_same_as(disk)
            if disk.overlay and not is_same:
                _take_over(disk.overlay, newer)
        except Exception as error:  # whatever it is, what was served is still there
            self._scanned_at = time.monotonic()
            log.error("rescan of %s failed, serving what was: %s", title, self._wording(error))
            return False
        self._scanned_at, self._took_s = time.monotonic(), newer.took_s
        if is_same:
            return False
        self.what = newer
        self.export = self._filtered()
        log.info("rescan of %s: %s", title, self.description)
        return True

    def _is_kept(self, disk: Disk, *, asked: bool) -> bool:
        """Return whether no other disk may take its place: something was written over it.

        Say so once, and whenever a scan was asked for.
        """
        if disk.overlay is None or not disk.overlay.file.is_touched:
            return False
        if asked or not self._has_told:
            self._has_told = True
            log.log(
                logging.WARNING if asked else logging.INFO,
                "no rescan of %s: guests have written to it, and would lose that with another disk",
                self.name or ", ".join(disk.description.paths),
            )
        return True


def _take_over(overlay: Overlay, newer: Disk) -> None:
    """Give a newer disk the overlay of one that nobody has written to. Raise OSError."""
    from ..filters.overlay import Overlay  # noqa: PLC0415  most disks are not written
    from .overlays import renew  # noqa: PLC0415  likewise

    renew(overlay.file, newer)
    newer.overlay = Overlay(newer.image, overlay.file)


class Sources:
    """All exports of a server, and what its connections are confined to, unless they are not.

    Raise OptionError for an export that a sandbox would keep from working.
    """

    def __init__(self, each: Sequence[Source], *, confined: bool) -> None:
        self.each = each
        needs = [source.export.features for source in each]
        for is_needed, what in (
            (any(features.network for features in needs), "opens network connections"),
            (any(features.programs for features in needs), "starts programs"),
        ):
            if confined and is_needed:
                off = option_named("sandbox", "False")
                text = f"an export to be served {what}, which a connection's sandbox keeps it from"
                raise OptionError(f"{text}; pass {off}")
        self.sandbox = Sandbox(self._roots()) if confined else None

    def _roots(self) -> list[int]:
        """Return the directories that are read beneath, as the scans hold them."""
        return [root for source in self.each for root in source.export.features.directories]

    def exports(self) -> Mapping[str, Export]:
        """Return the exports by name."""
        return {source.name: source.export for source in self.each}

    def descriptions(self) -> Mapping[str, str]:
        """Return what they are, in words."""
        return {source.name: source.description for source in self.each}

    def refresh(self, asked: bool) -> Offer | None:
        """Return exports and descriptions, if any has changed; `asked`: by SIGHUP."""
        changed = [source.refresh(asked=asked) for source in self.each]
        if not any(changed):
            return None
        if self.sandbox:
            try:
                self.sandbox.replace(self._roots())
            except OSError as error:
                log.error("the directories are gone again: %s", error)
        return self.exports(), self.descriptions()

    def close(self) -> None:
        """Give up what the sandbox holds."""
        if self.sandbox:
            self.sandbox.close()
