"""The URIs of exports, as libnbd and QEMU read them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote

from ..process.listeners import Listener

_NONE: Mapping[str, str] = MappingProxyType({})


def uri_of(
    listener: Listener,
    name: str = "",
    *,
    secure: bool = False,
    user: str = "",
    parameters: Mapping[str, str] = _NONE,
) -> str:
    """Return the URI of the export `name` at `listener`; with `secure`, by TLS.

    By TLS, clients show themselves as `user`, and `parameters` has paths of theirs, as libnbd names
    them.
    """
    scheme = "nbds" if secure else "nbd"
    query = dict(parameters)
    where = f"{_host(listener.host)}:{listener.port}"
    if listener.path is not None:
        scheme, where, query = f"{scheme}+unix", "", {"socket": listener.path} | query
    elif listener.is_vsock:
        scheme, where = f"{scheme}+vsock", f"2:{listener.port}"  # 2: the host, for its guests
    shown = f"{quote(user, safe='')}@" if user else ""
    words = "&".join(f"{key}={quote(os.fsencode(path), safe='/')}" for key, path in query.items())
    return f"{scheme}://{shown}{where}/{quote(name, safe='')}{'?' * bool(words)}{words}"


def _host(host: str) -> str:
    """Return the name by which a client on this computer reaches `host`."""
    host = {"": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host
