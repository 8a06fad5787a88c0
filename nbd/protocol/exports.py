"""The exports that a server offers, and the names by which a client reaches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...export import Export
from .wire import unpack_string


class Offer(NamedTuple):
    """An export, with the name and description that clients see."""

    name: str
    export: Export
    description: str = ""


class ExportTable:
    """All offers of a server by name, one of them the default, which answers to "".

    That is the export named `default_name` (by default: ""), or else the only one there is. Raise
    ValueError for a name that the protocol can't carry.
    """

    def __init__(
        self,
        exports: Mapping[str, Export],
        descriptions: Mapping[str, str] | None = None,
        default_name: str | None = None,
    ) -> None:
        descriptions = descriptions or {}
        for name in exports:
            unpack_string(name.encode("utf-8", "surrogateescape"))
        self._offers = {
            name: Offer(name, export, descriptions.get(name, ""))
            for name, export in exports.items()
        }
        self._default = self._offers.get(default_name or "")
        if self._default is None and len(self._offers) == 1:
            self._default = next(iter(self._offers.values()))

    def __iter__(self) -> Iterator[Offer]:
        return iter(self._offers.values())

    def __len__(self) -> int:
        return len(self._offers)

    @property
    def default_name(self) -> str:
        """The name of the default export; "" when there is none."""
        return self._default.name if self._default else ""

    def find(self, name: str) -> Offer | None:
        """Return the offer that a client means by `name`; None if there is none."""
        return self._offers.get(name) if name else self._default
