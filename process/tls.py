"""TLS: contexts from a directory of certificates, as libnbd and QEMU lay it out, or from keys.

ca-cert.pem        who may sign the certificates of clients; needed to verify them
server-cert.pem    the server's certificate, and server-key.pem its key
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from .errors import TlsError

CA, CERTIFICATE, KEY = "ca-cert.pem", "server-cert.pem", "server-key.pem"


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
