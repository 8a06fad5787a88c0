"""TLS: contexts from a directory of certificates, as libnbd and QEMU lay it out, or from keys.

ca-cert.pem        who may sign the certificates of clients; needed to verify them
server-cert.pem    the server's certificate, and server-key.pem its key
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from ..export import Buffer
from .errors import TlsError
from .stdio import StdioConnection

CA, CERTIFICATE, KEY = "ca-cert.pem", "server-cert.pem", "server-key.pem"
_PART_BYTES = 256 << 10

_Result = TypeVar("_Result")


class SecureStdio(StdioConnection):
    """A connection by TLS on a pair of pipes, with those methods of an SSLSocket that servers use.

    Making it shakes hands. Methods raise OSError, of which SSLError is one.
    """

    def __init__(self, plain: StdioConnection, context: ssl.SSLContext) -> None:
        super().__init__(plain._source, plain._target, plain._timeout_s)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_starved = False  # all that has come is a part of a record
        self._complete(self._tls.do_handshake)

    def pending(self) -> int:
        """Return a number of bytes that need not be waited for; 0 if there may be none."""
        return self._tls.pending() or (0 if self._is_starved else self._incoming.pending)

    def version(self) -> str | None:
        """Return the version of TLS."""
        return self._tls.version()

    def recv(self, count: int) -> bytes:
        with suppress(ssl.SSLEOFError):  # the client has left without a goodbye
            return self._complete(partial(self._tls.read, count))
        return b""

    def recv_into(self, space: memoryview, _count: int = 0, _flags: int = 0) -> int:
        """Receive as many bytes as there is space for, and return their number.

        Raise SSLWantReadError if a record has not come in time.
        """
        data = self.recv(len(space))
        space[: len(data)] = data
        return len(data)

    def sendall(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self._tls.write(view[:_PART_BYTES]) :]
            self._flush()

    def send(self, data: Buffer) -> int:
        self.sendall(data)
        return len(data)

    def unwrap(self) -> None:
        """Say goodbye; the client's is not waited for."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._flush()

    def _complete(self, step: Callable[[], _Result]) -> _Result:
        """Return what a step of TLS returns once enough has come for it."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._is_starved = True
            finally:
                self._flush()
            try:
                data = super().recv(_PART_BYTES)
            except TimeoutError:
                if self._timeout_s:
                    raise
                raise ssl.SSLWantReadError from None
            self._is_starved = False
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        """Send what TLS has to say."""
        if self._outgoing.pending:
            super().sendall(self._outgoing.read())


def certificate_context(directory: str, *, verify_peer: bool = False) -> ssl.SSLContext:
    """Return the context of a server with X.509 certificates. Raise TlsError.

    With `verify_peer`, clients must show a certificate that the authority in `directory` signed.
    """
    context = _context()
    certificate, key, authority = (os.path.join(directory, n) for n in (CERTIFICATE, KEY, CA))
    for path in (certificate, key, *([authority] if verify_peer else [])):
        if not os.path.isfile(path):
            raise TlsError(f"{path}: no such file; TLS needs it")
    try:
        context.load_cert_chain(certificate, key)
        if verify_peer:
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"{directory}: the certificates can't be used: {error}") from error
    return context


def key_context(path: str) -> tuple[ssl.SSLContext, str]:
    """Return the context of a server with the pre-shared keys of a file, and the first one's name.

    The file has a line `name:hex` for each key. Raise TlsError.
    """
    context: Any = _context()
    if not hasattr(context, "set_psk_server_callback"):
        raise TlsError("pre-shared keys need Python 3.13 or later; use --tls-cert-dir")
    keys: dict[str, bytes] = {}
    try:
        with open(path, encoding="utf-8") as lines:
            for line in filter(None, map(str.strip, lines)):
                name, _, key = line.partition(":")
                keys[name] = bytes.fromhex(key)
        if not keys or not all(keys) or not all(keys.values()):
            raise ValueError("a name and a key are expected in every line")
    except (OSError, ValueError) as error:
        raise TlsError(f"{path}: no list of `name:hex` keys: {error}") from error
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # Python's keys stop there
    context.set_ciphers("PSK")
    context.set_psk_server_callback(lambda name: keys.get(name or "", b""))
    return context, next(iter(keys))


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
