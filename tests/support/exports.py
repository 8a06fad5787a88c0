"""Exports that tests make up."""

from __future__ import annotations

from vfloppy.export import Alerts, Export, Reader


class SelfReading(Export, Reader):
    """An export that is its own reader, for all who open it. A subclass has `pieces` and `size`."""

    size = 0

    def open(self, alerts: Alerts | None = None) -> Reader:
        """Return the export itself."""
        return self
