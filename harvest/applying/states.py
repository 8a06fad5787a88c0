"""State directories: `.vfloppy` in a root, and in whatever is mounted below it.

They hold new files until they get their places, the trash, and one of them the journal. Nobody else
may read or write there, so that what a journal says is what this user's process has written.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from ...errors import ApplyError
from ...synth.tree.columns import printable
from .calls import Calls
from .folders import Folders
from .plan import Plan

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS = 0o077
_DEFAULT_ACL = "system.posix_acl_default"


def make_state(calls: Calls, folders: Folders, number: int) -> None:
    """Make a state directory, or take the one that is there. Raise OSError and ApplyError."""
    folder = folders.all[number]
    parent, name = folder.places[0]
    above = folders.descriptor(parent)
    with suppress(FileExistsError):
        calls.make_folder(above, name, 0o700)
    opened = os.open(name, OPEN, dir_fd=above)
    try:
        check_state(opened, folders.path_of(number))
        if os.fstat(opened).st_mode & stat.S_ISGID:
            os.fchmod(opened, 0o700)
        with suppress(OSError, AttributeError):  # else new files in it would inherit that
            os.removexattr(opened, _DEFAULT_ACL)
        folder.inode = os.fstat(opened).st_ino
    finally:
        os.close(opened)


def check_state(opened: int, path: bytes) -> None:
    """Raise ApplyError if others may write to a state directory, or read there."""
    status = os.fstat(opened)
    if status.st_uid != os.geteuid():
        raise ApplyError(
            f"{printable(path)}: belongs to the user {status.st_uid}, whose changes may wait "
            "there; apply as that user, or remove it if that is not wanted any more"
        )
    if status.st_mode & _OTHERS:
        raise ApplyError(
            f"{printable(path)}: others than its owner may read or write there (mode "
            f"{stat.S_IMODE(status.st_mode):o}, 700 is needed); look what it holds, then change "
            "that or remove it"
        )


@contextlib.contextmanager
def locked(opened: int, path: bytes) -> Iterator[None]:
    """Keep other processes out of an open state directory. Raise ApplyError."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ApplyError(
            f"{printable(os.path.dirname(path))}: another process applies changes there; try "
            "again when it is done"
        ) from None
    yield  # closing it unlocks it


def roll_back(calls: Calls, folders: Folders, plan: Plan) -> None:
    """Remove all new files of a run that was not to be: nothing of the host is among them yet.

    The directories that the state directories were made in have their times again. Raise OSError.
    """
    start = f"{plan.run}-".encode()
    for number in plan.stages:
        try:
            opened = folders.descriptor(number)
        except OSError:  # never made, or removed already
            continue
        for name in sorted(map(os.fsencode, os.listdir(opened))):
            if name.startswith(start):
                _remove(calls, opened, name)
        if number != plan.main:
            leave(calls, folders, number, restore=True)


def leave(calls: Calls, folders: Folders, number: int, *, restore: bool) -> None:
    """Remove a state directory if it is empty; then, to `restore`, set the time of the directory
    that it was in. Raise OSError.
    """
    folder = folders.all[number]
    parent, name = folder.places[0]
    above = folders.descriptor(parent)
    with suppress(FileNotFoundError):
        opened = os.open(name, OPEN, dir_fd=above)
        try:
            with suppress(OSError):
                os.rmdir(b"trash", dir_fd=opened)  # only if it is empty
            if os.listdir(opened):
                return
        finally:
            os.close(opened)
        calls.remove_folder(above, name)
    if restore and folder.mtime_ns:
        with suppress(PermissionError):
            os.utime(above, ns=(os.fstat(above).st_atime_ns, folder.mtime_ns))


def _remove(calls: Calls, folder: int, name: bytes) -> None:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        calls.remove_folder(folder, name)
    else:
        calls.unlink(folder, name)
