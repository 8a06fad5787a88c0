"""Changes of a file that stays the same file: all ways that Linux has to write, cut, and label one.

Each is a function of the victim. One that yields does so between its steps, and readers read then.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import kernel
from .victim import UNIT, Victim


@contextmanager
def _opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write(victim: Victim, path: Path | None = None) -> None:
    offset, length = victim.stretch()
    with _opened(path or victim.path) as descriptor:
        os.pwrite(descriptor, victim.next_bytes()[offset : offset + length], offset)


def write_twice(victim: Victim) -> Iterator[None]:
    """Write again when the first time has been seen, by the same descriptor."""
    with _opened(victim.path) as descriptor:
        yield
        for _ in range(2):
            offset, length = victim.stretch()
            os.pwrite(descriptor, victim.next_bytes()[offset : offset + length], offset)
            yield


def write_direct(victim: Victim) -> None:
    offset, length = victim.stretch(UNIT)
    with mmap.mmap(-1, length) as aligned, _opened(victim.path, os.O_RDWR | os.O_DIRECT) as file:
        aligned[:] = victim.next_bytes()[offset : offset + length]
        os.pwritev(file, [aligned], offset)


def splice(victim: Victim) -> None:
    """Write from another file through a pipe, by the kernel alone."""
    source, target = os.pipe()
    try:
        with _opened(victim.path) as descriptor, _opened(victim.spare(), os.O_RDONLY) as other:
            length = os.splice(other, target, 16384)
            os.splice(source, descriptor, length, offset_dst=0)
    finally:
        os.close(source)
        os.close(target)


def sendfile(victim: Victim) -> None:
    with _opened(victim.path) as descriptor, _opened(victim.spare(), os.O_RDONLY) as other:
        os.sendfile(descriptor, other, 0, victim.size // 2)


def copy_range(victim: Victim) -> None:
    offset, length = victim.stretch(UNIT)
    with _opened(victim.path) as descriptor, _opened(victim.spare(), os.O_RDONLY) as other:
        os.copy_file_range(other, descriptor, length, offset, offset)


def clone(victim: Victim) -> None:
    with _opened(victim.path) as descriptor, _opened(victim.spare(), os.O_RDONLY) as other:
        kernel.clone(other, descriptor)


def clone_range(victim: Victim) -> None:
    offset, length = victim.stretch(UNIT)
    with _opened(victim.path) as descriptor, _opened(victim.spare(), os.O_RDONLY) as other:
        kernel.clone_range(other, offset, length, descriptor, offset)


def map_open(victim: Victim) -> Iterator[None]:
    yield from _write_mapped(victim, victim.open(os.O_RDWR))


def map_closed(victim: Victim) -> Iterator[None]:
    with _opened(victim.path) as descriptor:
        steps = _write_mapped(victim, descriptor)
        next(steps)
    yield
    yield from steps


def map_in_layer(victim: Victim) -> Iterator[None]:
    with _opened(victim.in_layer()) as descriptor:
        steps = _write_mapped(victim, descriptor)
        next(steps)
    yield
    yield from steps


def _write_mapped(victim: Victim, descriptor: int) -> Iterator[None]:
    """Map it, then write. A page's first write after it was clean gives the file its time, and the
    next ones none.
    """
    mapping = kernel.Mapping(descriptor, victim.size)
    victim.kept.callback(mapping.close)
    yield
    for _ in range(2):
        offset, length = victim.stretch()
        mapping.write(offset, victim.next_bytes()[offset : offset + length])
        yield


def empty_and_write(victim: Victim) -> Iterator[None]:
    with _opened(victim.path, os.O_WRONLY | os.O_TRUNC) as descriptor:
        yield
        os.write(descriptor, victim.next_bytes())


def empty_by_reading(victim: Victim) -> None:
    """Empty it by opening it for reading: who may write may do that."""
    with _opened(victim.path, os.O_RDONLY | os.O_TRUNC):
        pass


def shrink(victim: Victim) -> None:
    os.truncate(victim.path, victim.random.randrange(victim.size))


def shrink_and_grow(victim: Victim) -> Iterator[None]:
    """Cut it, and let the rest come back as zeros."""
    with _opened(victim.path) as descriptor:
        os.ftruncate(descriptor, victim.random.randrange(victim.size))
        yield
        os.ftruncate(descriptor, victim.size)


def grow(victim: Victim) -> None:
    os.truncate(victim.path, victim.size + victim.random.randint(1, 100_000))


def append(victim: Victim) -> None:
    with _opened(victim.path, os.O_WRONLY | os.O_APPEND) as descriptor:
        os.write(descriptor, victim.next_bytes()[: victim.random.randint(1, 10_000)])


def allocate_more(victim: Victim) -> None:
    with _opened(victim.path) as descriptor:
        kernel.fallocate(descriptor, 0, victim.size, 100_000)


def punch(victim: Victim) -> None:
    _fallocate(victim, kernel.PUNCH_HOLE | kernel.KEEP_SIZE)


def zero(victim: Victim) -> None:
    _fallocate(victim, kernel.ZERO_RANGE | kernel.KEEP_SIZE)


def collapse(victim: Victim) -> None:
    with _opened(victim.path) as descriptor:
        kernel.fallocate(descriptor, kernel.COLLAPSE_RANGE, 0, UNIT)


def insert(victim: Victim) -> None:
    """Insert, and cut to the length in the same step: see the table."""
    with _opened(victim.path) as descriptor:
        kernel.fallocate(descriptor, kernel.INSERT_RANGE, UNIT, UNIT)
        os.ftruncate(descriptor, victim.size)


def _fallocate(victim: Victim, mode: int) -> None:
    offset, length = victim.stretch(UNIT)
    with _opened(victim.path) as descriptor:
        kernel.fallocate(descriptor, mode, offset, length)


def write_and_put_back(victim: Victim) -> Iterator[None]:
    before = victim.path.stat()
    write(victim)
    yield
    os.utime(victim.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def touch(victim: Victim) -> None:
    os.utime(victim.path)


def change_mode(victim: Victim) -> None:
    """Give it a mode that it never had: going back and forth looks like a touch."""
    victim.version += 1
    os.chmod(victim.path, 0o700 | victim.version % 0o77)


def change_owner(victim: Victim) -> None:
    os.chown(victim.path, 12345, 12345)


def set_attribute(victim: Victim) -> None:
    os.setxattr(victim.path, b"user.adversary", b"%d" % victim.random.getrandbits(32))


def link(victim: Victim) -> None:
    os.link(victim.path, victim.place.spare_name())


def write_in_layer(victim: Victim) -> None:
    write(victim, victim.in_layer())


def shrink_in_layer(victim: Victim) -> None:
    os.truncate(victim.in_layer(), victim.random.randrange(victim.size))
