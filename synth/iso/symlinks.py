"""Symbolic links in Rock Ridge: where one leads, as the components of SL entries."""

from __future__ import annotations

_MOST_ENTRY_BYTES = 255
_SL_HEADER = 5
_COMPONENT_HEADER = 2
_CONTINUE = 1  # of an entry, and of a component
_ROOT = 8
_SPECIAL_NAMES = {b".": 2, b"..": 4}


def link_entries(target: bytes) -> list[bytes]:
    """Return the SL entries of a symbolic link (RRIP, 4.1.3). An empty name stays one: `a//b`.

    Whether a slash belongs between two entries is told by all readers alike only where a component
    goes on in the next entry; so each entry but the last ends in the middle of one.
    """
    components: list[tuple[int, bytes]] = []
    names = target.split(b"/")
    if target.startswith(b"/"):
        components.append((_ROOT, b""))
        names = names[1:] if target != b"/" else []
    components += [(_SPECIAL_NAMES.get(name, 0), name) for name in names]
    bodies = [bytearray()]
    for number, (flags, name) in enumerate(components, 1):
        content = b"" if flags else name
        most = _MOST_ENTRY_BYTES - _SL_HEADER
        if number < len(components):
            most -= _COMPONENT_HEADER  # so that the next one can start here
        while len(bodies[-1]) + _COMPONENT_HEADER + len(content) > most:
            flags, content = 0, content or name  # noqa: PLW2901
            room = _MOST_ENTRY_BYTES - _SL_HEADER - len(bodies[-1]) - _COMPONENT_HEADER
            part = content[: min(room, max(len(content) - 1, 0))]
            bodies[-1] += bytes((_CONTINUE, len(part))) + part
            content = content[len(part) :]
            bodies.append(bytearray())
        bodies[-1] += bytes((flags, len(content))) + content
    last = len(bodies) - 1
    return [
        b"SL" + bytes((_SL_HEADER + len(body), 1, _CONTINUE if number < last else 0)) + body
        for number, body in enumerate(bodies)
    ]
