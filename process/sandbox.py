"""The sandbox of a connection's process, entered before it hears its client; by Landlock.

Should a client take over the process that talks to it, this process can still read beneath the
given folders and nothing else, write nowhere, and neither listen nor connect by TCP. See
landlock(7); each right is asked for where the kernel's Landlock knows it (its ABI). Without
Landlock the process is not confined, and serves all the same: `Sandbox.summary` tells.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable

# The same on every architecture but Alpha, which has no Landlock worth the name.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# Besides these: write, remove directories and files, make directories and files, move, truncate.
_WRITE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13 | 1 << 14
# All rights of linux/landlock.h by the ABI that brought them.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_TCP_RIGHTS = {4: 0b11}  # bind, connect
_SCOPES = {6: 0b11}  # abstract Unix sockets, signals
# Leases ask these what kind of file system a file is on.
_OWN_PROC = ("/proc/self/fdinfo", "/proc/self/mountinfo")


class _RulesetAttr(ctypes.Structure):
    """struct landlock_ruleset_attr; older kernels take it as long as the rest is zero."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneathAttr(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class Sandbox:
    """The folders that a process may read beneath, held open so that renaming changes nothing.

    They are given as paths, or as descriptors, which stay the caller's. Raise OSError for a folder
    that can't be opened.
    """

    def __init__(self, folders: Iterable[str | bytes | int], *, writes: bool = False) -> None:
        """With `writes`, files and directories may be written beneath the folders as well."""
        self._writes = writes
        self._abi = _landlock_abi()
        self._folders: list[int] = []
        self.replace(folders)

    @property
    def summary(self) -> str:
        """The restrictions that will be in force, in one line."""
        if sys.platform != "linux":
            return "none, which only Linux has here"
        if not self._abi:
            return "no new privileges; this kernel has no Landlock, so reading is not confined"
        network = ", no TCP" if self._abi >= min(_TCP_RIGHTS) else ""
        return f"Landlock (ABI {self._abi}): read-only beneath the directories{network}"

    def replace(self, folders: Iterable[str | bytes | int]) -> None:
        """Replace the folders by others. Raise OSError, and then keep those there are."""
        if not self._abi:
            return
        opened: list[int] = []
        try:
            for each in folders:
                opened.append(_opened(each))  # noqa: PERF401  so that those before are closed
        except OSError:
            for done in opened:
                os.close(done)
            raise
        self.close()
        self._folders = opened

    def close(self) -> None:
        """Close the folders. A sandbox that was entered stays in force."""
        for each in self._folders:
            os.close(each)
        self._folders = []

    def enter(self) -> None:
        """Confine the calling process for good. Raise OSError where the kernel refuses."""
        if sys.platform != "linux":
            return
        libc = ctypes.CDLL(None, use_errno=True)
        _succeed(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        if not self._abi:
            return
        known = (self._known(each) for each in (_FILE_RIGHTS, _TCP_RIGHTS, _SCOPES))
        attributes = _RulesetAttr(*known)
        ruleset = _succeed(
            libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
        )
        try:
            rights = _READ_FILE | _READ_DIR | (_WRITE if self._writes else 0)
            for folder in self._folders:
                _allow(libc, ruleset, folder, rights & attributes.handled_access_fs)
            for path in _OWN_PROC:
                _allow_path(libc, ruleset, path)
            _succeed(libc.syscall(_RESTRICT_SELF, ruleset, 0))
        finally:
            os.close(ruleset)

    def _known(self, rights: dict[int, int]) -> int:
        return sum(bits for abi, bits in rights.items() if abi <= self._abi)


def _opened(folder: str | bytes | int) -> int:
    if isinstance(folder, int):
        return os.dup(folder)
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _allow_path(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # no /proc here: no leases either
        return
    try:
        _allow(libc, ruleset, descriptor, _READ_FILE)
    finally:
        os.close(descriptor)


def _allow(libc: ctypes.CDLL, ruleset: int, descriptor: int, rights: int) -> None:
    rule = _PathBeneathAttr(rights, descriptor)
    _succeed(libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0))


def _landlock_abi() -> int:
    """Return the kernel's version of Landlock.

    It is 0 where the kernel, its configuration or a container's filter leaves none.
    """
    if sys.platform != "linux":
        return 0
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return max(0, int(libc.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)))
    except (OSError, AttributeError):
        return 0


def _succeed(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"the sandbox can't be entered: {os.strerror(number)}")
    return result
