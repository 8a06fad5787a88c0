"""The judge of what readers got: it knows every byte of the scan without asking the host."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from vfloppy.export import Export
from vfloppy.synth.host.batch import HostSlice
from vfloppy.synth.tree.columns import Tree

from .connections import Read
from .contents import TOLD_BYTES, content, first_difference, whose, wrong_bytes
from .figures import Figures
from .victim import Victim

_LOG_PATIENCE_S = 1.0
_LOSS = re.compile(r" lost: | failed: | dropped: ")
_CUT = "half of a reply had been sent"


class Checker:
    """The judge of one round. `context` is for its findings: how to have it again."""

    def __init__(
        self, image: Export, tree: Tree, victims: Iterable[Victim], figures: Figures, context: str
    ) -> None:
        self.figures = figures
        self.may_fail: set[int] = set()
        """Victims to which something was done for which a read may fail."""
        self.copied_up: set[int] = set()
        """Victims that become other files by whatever is done to them."""
        self.may_cut: set[int] = set()
        """Victims for which a connection may end in the middle of a reply."""
        self.spans: dict[int, tuple[int, int]] = {}
        """Each victim's place on the disk: offset and length in bytes."""
        self._context = context
        self._history: dict[int, list[str]] = {}
        self._losses_told = 0
        self._sizes = {each.number: each.size for each in victims}
        self._versions = dict.fromkeys(self._sizes, 0)
        self.expected = self._expect(image, tree)

    def _expect(self, image: Export, tree: Tree) -> bytes:
        by_path = {b"d%d/file" % number: number for number in self._sizes}
        parts, position = [], 0
        for piece in image.open().pieces(0, image.size):
            if isinstance(piece, bytes):
                part = piece
            elif isinstance(piece, HostSlice):
                number = by_path[tree.path(piece.index)]
                assert piece.offset == 0
                assert piece.length == self._sizes[number], "the scan saw another length"
                self.spans[number] = position, piece.length
                part = content(number, 0, piece.length)
            else:
                part = bytes(piece.length)
            parts.append(part)
            position += len(part)
        return b"".join(parts)

    def note(self, operation: str, victim: int) -> None:
        """Note that something is about to be done to a file."""
        self._history.setdefault(victim, []).append(operation)

    def note_version(self, victim: int, version: int) -> None:
        """Note the latest version of a file."""
        self._versions[victim] = version

    def check(self, reads: Sequence[Read], answers: Sequence[bytes | None], reader: str) -> None:
        """Count reads, and all that is wrong with them."""
        self.figures.reads += len(reads)
        for (offset, length), data in zip(reads, answers, strict=True):
            if data is None:
                self._check_failure(offset, length, reader)
            else:
                self.check_data(offset, data, self.expected[offset : offset + length], reader)

    def check_data(self, offset: int, data: bytes, expected: bytes, reader: str) -> bool:
        """Return True if these bytes are right; count those that are not."""
        at = first_difference(data, expected)
        if at is None:
            return True
        self.figures.wrong += wrong_bytes(data, expected)
        versions = max(self._versions.values(), default=0) + 3
        found = whose(data[at : at + TOLD_BYTES], self._sizes, versions)
        self.find(
            f"{reader}: wrong bytes from {at} on of a read at {offset} of {len(data)}: "
            f"{found}, where {self._name(offset + at)} was expected",
            self._victims(offset + at, 1),
        )
        return False

    def lost(self, reader: str, error: Exception, log: Path, victim: int | None) -> None:
        """Count a connection that ended while it read of `victim`; the server says why in `log`."""
        deadline = time.monotonic() + _LOG_PATIENCE_S
        told: list[str] = []
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            told = [each for each in lines if _LOSS.search(each)][self._losses_told :]
        self._losses_told += bool(told)
        if victim in self.may_cut and told and _CUT in told[0]:
            self.figures.cut += 1
            return
        self.figures.lost += 1
        self.find(
            f"{reader}: lost: {error} ({', '.join(told[:1])})",
            set() if victim is None else {victim},
        )

    def find(self, text: str, victims: Collection[int]) -> None:
        """Note something that should not be, and all that was done to the files it is about."""
        done = [name for victim in victims for name in self._history.get(victim, ())]
        operations = " + ".join(done[-3:]) or "nothing"
        self.figures.find(f"{self._context}: {text} [{operations}]", operations)

    def _check_failure(self, offset: int, length: int, reader: str) -> None:
        touched = self._victims(offset, length)
        if touched & self.may_fail:
            self.figures.failed += 1
            return
        self.figures.causeless += 1
        self.find(f"{reader}: a read at {offset} of {length} failed without a cause", touched)

    def _victims(self, offset: int, length: int) -> set[int]:
        """Return the files of which there are bytes in this part of the disk."""
        return {
            number
            for number, (start, size) in self.spans.items()
            if offset < start + size and start < offset + length
        }

    def _name(self, position: int) -> str:
        for number, (start, size) in self.spans.items():
            if start <= position < start + size:
                return f"file {number}, version 0, byte {position - start}"
        return f"no file's byte {position}"
