"""The command line in a Python as macOS has it: what Linux alone has is hidden from its imports.

    python tests/support/macos.py serve -U PATH DIR

Names are gone from modules, functions from the C library, and /proc from the file system. What the
two systems share under other numbers stays as Linux has it.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import sys

# By module; what ends in _ is the beginning of several names.
_HIDDEN = {
    select: "epoll EPOLL_ EPOLLIN EPOLLOUT",
    signal: "SIGRTMIN SIGRTMAX SIGPOLL SIGPWR SIGSTKFLT SIGCLD sigtimedwait sigwaitinfo "
    "pidfd_send_signal",
    os: "O_PATH O_TMPFILE O_DIRECT O_NOATIME O_LARGEFILE O_RSYNC posix_fadvise POSIX_FADV_ "
    "posix_fallocate memfd_create MFD_ pidfd_open eventfd eventfd_ EFD_ sched_ SCHED_ getrandom "
    "GRND_ copy_file_range splice SPLICE_ getxattr listxattr setxattr removexattr XATTR_ pipe2 "
    "fdatasync waitid P_PIDFD setresuid setresgid getresuid getresgid RWF_ setns unshare CLONE_ "
    "timerfd_ TFD_ sendfile",  # macOS has another sendfile
    socket: "AF_VSOCK VMADDR_ AF_NETLINK NETLINK_ AF_ALG AF_PACKET SO_PEERCRED SO_PASSCRED "
    "SO_DOMAIN SO_PROTOCOL SO_BINDTODEVICE SOCK_CLOEXEC SOCK_NONBLOCK MSG_CMSG_CLOEXEC "
    "MSG_NOSIGNAL MSG_MORE MSG_ERRQUEUE TCP_CORK TCP_QUICKACK",
    fcntl: "F_SETLEASE F_GETLEASE F_SETSIG F_GETSIG F_NOTIFY DN_ F_OFD_ F_ADD_SEALS F_GET_SEALS "
    "F_SEAL_ F_SETPIPE_SZ F_GETPIPE_SZ",
    mmap: "MAP_POPULATE MAP_DENYWRITE MADV_HUGEPAGE MADV_DONTFORK MADV_POPULATE_",
    resource: "prlimit",
}
_NO_SYMBOLS = {"prctl", "syscall", "statx"}


class _Library(ctypes.CDLL):
    """A library without the functions that only Linux has."""

    def __getattr__(self, name):
        if name in _NO_SYMBOLS:
            raise AttributeError(f"symbol not found: {name}")
        return super().__getattr__(name)


def _without_proc(function):
    """The function, for which nothing is beneath /proc."""

    def call(path, *rest, **options):
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith("/proc"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return function(path, *rest, **options)

    return call


def hide() -> None:
    """Hide all of it, for the rest of this process."""
    for module, words in _HIDDEN.items():
        for word in words.split():
            for name in list(vars(module)):
                if name == word or (word.endswith("_") and name.startswith(word)):
                    delattr(module, name)
    for name in ("open", "stat", "lstat", "readlink", "listdir", "scandir", "chown", "link"):
        setattr(os, name, _without_proc(getattr(os, name)))
    builtins.open = _without_proc(builtins.open)
    ctypes.CDLL = _Library
    sys.platform = "darwin"
    _replace_selector()


def _replace_selector() -> None:
    """Have `selectors` offer poll, and something like kqueue."""
    del sys.modules["selectors"]  # it has seen epoll
    import selectors  # noqa: PLC0415  anew

    class KqueueSelector(selectors.PollSelector):
        """A child that is forked does not have its parent's."""

        def __init__(self):
            super().__init__()
            self._owner = os.getpid()

        def _check(self):
            if os.getpid() != self._owner:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))

        def select(self, timeout=None):
            self._check()
            return super().select(timeout)

        def close(self):
            self._check()
            super().close()

    selectors.KqueueSelector = selectors.DefaultSelector = KqueueSelector


if __name__ == "__main__":
    hide()
    from vfloppy.cli import main

    main()
