"""Listening sockets: TCP, a Unix socket, or a private Unix socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from .errors import ListenError
from .system import uninterrupted

BACKLOG = 4096
"""As many as the kernel allows (somaxconn): all clients wait there during a scan."""
PORT_ATTEMPTS = 8
# Opens a file without a right to read it, so as to hold and identify it; macOS can't.
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC if hasattr(os, "O_PATH") else None
_FIRST_INHERITED, _MOST_INHERITED = 3, 16
SOCKET_PATH_MAX_BYTES = 107  # sun_path less its NUL; 103 on macOS, where bind says so itself


_Address: TypeAlias = tuple[int, int, int, str, Any]  # one item of getaddrinfo's answer


class Listener:
    """Sockets that listen under one name, with a file to be removed by `close` if they have one."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        host: str = "",
        port: int | None = None,
        path: str | None = None,
        cleanup: Callable[[], None] = lambda: None,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self.sockets = tuple(sockets)
        self.host = host
        self.port = port
        self.path = path
        self._cleanup = cleanup
        self._let_go = let_go

    @property
    def is_vsock(self) -> bool:
        """True if guests of this machine reach it by AF_VSOCK."""
        family = getattr(socket, "AF_VSOCK", None)
        return family is not None and any(each.family == family for each in self.sockets)

    @property
    def is_open_to_others(self) -> bool:
        """True if other computers can reach it, unless a firewall is in between."""
        addresses = [
            str(each.getsockname()[0])
            for each in self.sockets
            if each.family in {socket.AF_INET, socket.AF_INET6}
        ]
        if not addresses:
            return False
        from ipaddress import ip_address  # noqa: PLC0415  slow to import, and not for Unix sockets

        return not all(ip_address(each.partition("%")[0]).is_loopback for each in addresses)

    def close(self) -> None:
        """Stop listening, and remove the socket file. May be called twice."""
        for each in self.sockets:
            each.close()
        with uninterrupted():
            cleanup, self._cleanup = self._cleanup, lambda: None
            cleanup()

    def forget(self) -> None:
        """Close this process's copies of the sockets only, and leave the file: for a fork."""
        for each in self.sockets:
            each.close()
        self._let_go()


def listen_tcp(host: str, port: int) -> Listener:
    """Listen at every address of `host`; port 0: at a free one. Raise ListenError."""
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ListenError(f"Cannot find the address of {host!r}: {reason}.") from None
    for attempt in range(PORT_ATTEMPTS, 0, -1):
        try:
            sockets = _bind_every(dict.fromkeys(found), port)
            break
        except OSError as error:
            # A port that was free at one address can be taken at another.
            if port or attempt == 1 or error.errno != errno.EADDRINUSE:
                raise ListenError(_tcp_sentence(host, port, error)) from error
    return Listener(sockets, host=host, port=sockets[0].getsockname()[1])


def listen_vsock(port: int) -> Listener:
    """Listen at a port for the guests of this machine. Raise ListenError."""
    family = getattr(socket, "AF_VSOCK", None)
    if family is None:
        raise ListenError("Cannot listen on vsock: this system has none.")
    listening = None
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.bind((socket.VMADDR_CID_ANY, port))
        listening.listen(BACKLOG)
    except OSError as error:
        if listening:
            listening.close()
        raise ListenError(f"Cannot listen on vsock port {port}: {_reason(error)}.") from error
    return Listener([listening], port=port)


def listen_inherited(environment: Mapping[str, str]) -> Listener | None:
    """Return the sockets that systemd or the like opened for us, None without any.

    See sd_listen_fds(3). Raise ListenError for descriptors that are no listening sockets.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return None
    text = environment.get("LISTEN_FDS", "")
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_INHERITED:
        raise ListenError(
            f"LISTEN_FDS is {text!r}; a number from 1 to {_MOST_INHERITED} is expected."
        )
    sockets = []
    for descriptor in range(_FIRST_INHERITED, _FIRST_INHERITED + int(text)):
        try:
            os.set_inheritable(descriptor, False)
            sockets.append(socket.socket(fileno=descriptor))
            listens = sockets[-1].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise ListenError(f"Descriptor {descriptor} is no socket: {_reason(error)}.") from error
        if not listens:  # what is no stream never does
            raise ListenError(f"Descriptor {descriptor} is a socket that does not listen.")
    first = sockets[0]
    name = first.getsockname()
    if first.family == socket.AF_UNIX:
        return Listener(sockets, path=os.fsdecode(name))
    return Listener(sockets, host=str(name[0]), port=int(name[1]))


def listen_unix(
    path: str | os.PathLike[str], *, mode: int | None = None, owner: tuple[int, int] | None = None
) -> Listener:
    """Listen on a socket file at `path`, with permissions, and user and group, if given.

    A socket file that no server listens on any more is replaced; nothing else is ever removed, nor
    given away. Raise ListenError.
    """
    name = os.fspath(path)
    _check_length(name)
    _remove_stale(name)
    listening = socket.socket(socket.AF_UNIX)
    file = None
    try:
        _bind_unix(listening, name, mode)
        file = _SocketFile(name)
        if owner is not None:
            file.give(*owner)
        listening.listen(BACKLOG)  # nobody gets in before
    except OSError as error:
        listening.close()
        if file:
            file.remove()
        raise ListenError(f"Cannot listen on {name}: {_reason(error)}.") from error
    return Listener([listening], path=os.path.abspath(name), cleanup=file.remove, let_go=file.close)


def _bind_unix(listening: socket.socket, name: str | bytes, mode: int | None) -> None:
    """Make the socket file, with its permissions from the start. Raise OSError."""
    if mode is None:
        listening.bind(name)
        return
    before = os.umask(0o777 & ~mode)
    try:
        listening.bind(name)
    finally:
        os.umask(before)


class _SocketFile:
    """A socket file that was bound a moment ago. Raise OSError if it is not there any more.

    It is held open, so that no other file gets its inode, and nothing that somebody has put in its
    place is given away or removed.
    """

    def __init__(self, name: str | bytes) -> None:
        self._name = os.path.abspath(name)
        self._status = os.lstat(name)
        self._held = os.open(name, _LOOK) if _LOOK is not None else None
        if self._held is not None:
            self._status = os.fstat(self._held)
        # One of ours that a neighbour had linked there would have two names.
        is_ours = self._status.st_uid == os.geteuid() and self._status.st_nlink == 1
        if not is_ours or not stat.S_ISSOCK(self._status.st_mode):
            self.close()
            raise OSError(errno.ESTALE, "it was replaced in this moment")

    def give(self, user: int, group: int) -> None:
        """Change its user and group; -1 leaves one as it is. Raise OSError."""
        if self._held is None:
            os.chown(self._name, user, group, follow_symlinks=False)
        else:
            os.chown(f"/proc/self/fd/{self._held}", user, group)

    def remove(self) -> None:
        """Remove it if it is still there, and close it."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.lstat(self._name), self._status):
                os.unlink(self._name)
        self.close()

    def close(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


def listen_private() -> Listener:
    """Listen on a socket file in a new directory that only this user can enter.

    Raise ListenError.
    """
    import tempfile  # noqa: PLC0415  slow to import, and seldom needed

    try:
        directory = tempfile.mkdtemp(prefix="vfloppy-")
        if len(os.fsencode(directory)) + len("/socket") > SOCKET_PATH_MAX_BYTES:
            os.rmdir(directory)
            directory = tempfile.mkdtemp(prefix="vfloppy-", dir="/tmp")
    except OSError as error:
        raise ListenError(f"Cannot make a private directory: {_reason(error)}.") from error
    try:
        listener = listen_unix(os.path.join(directory, "socket"))
    except ListenError:
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        raise
    remove_socket = listener._cleanup

    def cleanup() -> None:
        remove_socket()
        with contextlib.suppress(OSError):
            os.rmdir(directory)

    listener._cleanup = cleanup
    return listener


def _bind_every(found: Iterable[_Address], port: int) -> list[socket.socket]:
    """Return sockets that listen at one port of each address; those not of this host are left out.

    Raise OSError when none is left, or when the port is taken at one of them.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for family, kind, protocol, _, address in found:
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((address[0], port, *address[2:]))
            opened.listen(BACKLOG)
        except OSError as error:
            opened.close()
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for each in sockets:
                    each.close()
                raise
            missing = error
        else:
            sockets.append(opened)
            port = opened.getsockname()[1]
    if not sockets:
        raise missing or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return sockets


def _tcp_sentence(host: str, port: int, error: OSError) -> str:
    where = f"{host or 'any address'}, port {port}"
    if error.errno == errno.EADDRINUSE:
        return f"Cannot listen on {where}: another program listens there."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"Cannot listen on {where}: this computer does not have that address."
    return f"Cannot listen on {where}: {_reason(error)}."


def _check_length(path: str) -> None:
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_MAX_BYTES:
        raise ListenError(
            f"Cannot listen on {path}: the path has {length} bytes, "
            f"and a socket's path can have {SOCKET_PATH_MAX_BYTES}."
        )


def _remove_stale(path: str) -> None:
    """Remove a socket file that a server which is gone left at `path`. Raise ListenError."""
    try:
        found = os.lstat(path)
    except OSError:
        return  # nothing is there, or bind will say what is wrong
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(f"Cannot listen on {path}: it exists and is not a socket.")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.lstat(path), found):
                    os.unlink(path)
            return
        except BlockingIOError:
            pass  # its backlog is full: somebody listens
        except OSError as error:
            raise ListenError(f"Cannot listen on {path}: {_reason(error)}.") from error
    raise ListenError(f"Cannot listen on {path}: a running server listens there.")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
