"""Owner, mode, extended attributes and times of files that are written, and what is never kept."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from functools import partial

from .calls import UNKNOWN, Calls

# Rights that were given to other bytes, and signatures of them.
_OF_BYTES = frozenset({"security.capability", "security.ima", "security.evm"})
_DEFAULT_ACL, _ACL = "system.posix_acl_default", "system.posix_acl_access"
_KEPT_MODE = 0o1777  # never set-user-ID or set-group-ID
_REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.ENODATA, *UNKNOWN})
_WRITE = 0o222


def copy(calls: Calls, source: int, target: int) -> list[str]:
    """Give an open file the owner, mode and extended attributes of another.

    Return what could not be kept. Raise OSError where there is no room.
    """
    lost: list[str] = []
    status = os.fstat(source)
    own = os.fstat(target)
    if (status.st_uid, status.st_gid) != (own.st_uid, own.st_gid):
        try:
            calls.change(partial(os.fchown, target, status.st_uid, status.st_gid))
        except PermissionError:
            lost.append("the owner")
            _try(calls, partial(os.fchown, target, -1, status.st_gid))
    calls.change(partial(os.fchmod, target, status.st_mode & _KEPT_MODE))
    wanted, there = _attributes(source), _attributes(target)
    for name in there - wanted:  # inherited from the directory
        _try(calls, partial(os.removexattr, target, name))
    for name in sorted(wanted):
        value = os.getxattr(source, name)
        if name in there and os.getxattr(target, name) == value:
            continue
        if not _try(calls, partial(os.setxattr, target, name, value)):
            lost.append(f"the extended attribute {name!a}")
    return lost


def inherit(calls: Calls, parent: int, target: int) -> None:
    """Give what was made elsewhere the group and rights that it would have got in a directory."""
    above, own = os.fstat(parent), os.fstat(target)
    if above.st_mode & stat.S_ISGID and own.st_gid != above.st_gid:
        _try(calls, partial(os.fchown, target, -1, above.st_gid))
    if not stat.S_ISDIR(own.st_mode):
        return
    if above.st_mode & stat.S_ISGID:
        mode = stat.S_IMODE(own.st_mode) | stat.S_ISGID
        _try(calls, partial(os.fchmod, target, mode))
    if _DEFAULT_ACL in _attributes(parent):
        for name in (_DEFAULT_ACL, _ACL):
            value = os.getxattr(parent, _DEFAULT_ACL)
            _try(calls, partial(os.setxattr, target, name, value))


def set_read_only(calls: Calls, descriptor: int, read_only: bool) -> None:
    """Take from everybody the right to write to an open file, or give it to the owner."""
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode) & _KEPT_MODE
    new = mode & ~_WRITE if read_only else mode | stat.S_IWUSR
    if new != mode:
        calls.change(partial(os.fchmod, descriptor, new))


def set_time(calls: Calls, descriptor: int, modified_ns: int) -> None:
    """Set the time of modification."""
    calls.change(partial(os.utime, descriptor, ns=(time.time_ns(), modified_ns)))


def _attributes(descriptor: int) -> set[str]:
    listing = getattr(os, "listxattr", None)  # Linux only
    if listing is None:
        return set()
    try:
        return set(listing(descriptor)) - _OF_BYTES
    except OSError as error:
        if error.errno in UNKNOWN:
            return set()
        raise


def _try(calls: Calls, doing: Callable[[], None]) -> bool:
    """Do what may be forbidden, or unknown to the file system. Return whether it is done."""
    try:
        calls.change(doing)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    return True
