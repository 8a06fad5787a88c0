"""The URIs of exports, as libnbd and QEMU read them."""

from __future__ import annotations

import os
from urllib.parse import quote

from ..process.listeners import Listener


def uri_of(listener: Listener, name: str = "", *, secure: bool = False) -> str:
    """Return the URI of the export `name` at `listener`; with `secure`, by TLS."""
    export, scheme = quote(name, safe=""), "nbds" if secure else "nbd"
    if listener.path is not None:
        return f"{scheme}+unix:///{export}?socket={quote(os.fsencode(listener.path), safe='/')}"
    if listener.is_vsock:
        return f"{scheme}+vsock://2:{listener.port}/{export}"  # 2: the host, for its guests
    return f"{scheme}://{_host(listener.host)}:{listener.port}/{export}"


def _host(host: str) -> str:
    """Return the name by which a client on this computer reaches `host`."""
    host = {"": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host
