"""Answers to NBD_CMD_BLOCK_STATUS: the extents of an export as metadata contexts see them.

Doc: "Metadata querying", "The `base:allocation` metadata context". Two contexts are our own:

    x-vfloppy:kind    the purpose of a range, one of `KIND_NUMBERS`
    x-vfloppy:file    the number of the file that a range holds, 0 where there is none; `vfloppy
                      build --manifest` lists the numbers
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from ...export import Kind, Reader
from .wire import BASE_ALLOCATION, NBD_STATE_HOLE, NBD_STATE_ZERO

KIND_CONTEXT = "x-vfloppy:kind"
FILE_CONTEXT = "x-vfloppy:file"
# The ids in replies; any numbers would do.
CONTEXT_IDS: Mapping[str, int] = {BASE_ALLOCATION: 1, KIND_CONTEXT: 2, FILE_CONTEXT: 3}

KIND_NUMBERS: Mapping[str, int] = {
    Kind.FREE: 0,
    Kind.FILE: 1,
    Kind.DIRECTORY: 2,
    Kind.TABLE: 3,
    Kind.RESERVED: 4,
    Kind.PARTITION_TABLE: 5,
}
# Of one answer, all contexts together; the client asks again from its end. That bounds a reply to
# 512 KiB, or 1 MiB with extended headers: the memory of a connection, and the time that a reply
# keeps those behind it waiting.
MAXIMUM_EXTENTS = 1 << 16
HOLE_AND_ZERO = NBD_STATE_HOLE | NBD_STATE_ZERO

Status = tuple[int, int]
"""A length in bytes, and status flags."""


class Statuses:
    """A row of statuses, in columns: a tuple for each would take ten times as much memory."""

    def __init__(self, found: Iterable[Status] = ()) -> None:
        self._lengths = array("Q")
        self._flags = array("Q")
        for length, flags in found:
            self._lengths.append(length)
            self._flags.append(flags)

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[Status]:
        return zip(self._lengths, self._flags, strict=True)


def matching_contexts(query: str) -> Iterator[str]:
    """Yield the contexts that a query asks for: one by its name, or a namespace's by `base:`."""
    for name in CONTEXT_IDS:
        if query == name or (query.endswith(":") and name.startswith(query)):
            yield name


def statuses(
    context: str, reader: Reader, offset: int, length: int, *, most: int = MAXIMUM_EXTENTS
) -> Statuses:
    """Return the statuses of a range in a context, equal neighbours merged; `most` at most.

    Raise OSError.
    """
    return Statuses(islice(_merged(_SOURCES[context](reader, offset, length)), most))


def _allocation(reader: Reader, offset: int, length: int) -> Iterator[Status]:
    for extent in reader.extents(offset, length):
        yield extent.length, HOLE_AND_ZERO if extent.hole else 0


def _kinds(reader: Reader, offset: int, length: int) -> Iterator[Status]:
    for extent in reader.extents(offset, length):
        yield extent.length, KIND_NUMBERS[extent.kind]


def _files(reader: Reader, offset: int, length: int) -> Iterator[Status]:
    yield from reader.files(offset, length)


_SOURCES: Mapping[str, Callable[[Reader, int, int], Iterator[Status]]] = {
    BASE_ALLOCATION: _allocation,
    KIND_CONTEXT: _kinds,
    FILE_CONTEXT: _files,
}


def _merged(found: Iterable[Status]) -> Iterator[Status]:
    """Yield statuses with equal neighbours as one."""
    run_length, run_status = 0, 0
    for length, status in found:
        if run_length and status != run_status:
            yield run_length, run_status
            run_length = 0
        run_length += length
        run_status = status
    yield run_length, run_status
