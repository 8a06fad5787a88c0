"""A disk that nobody writes to, whatever it could."""

from __future__ import annotations

from ..export import Features, Reader
from .filter import Filter


class ReadOnly(Filter):
    """Refuses writing."""

    @property
    def features(self) -> Features:
        """See `Export.features`."""
        return self.inner.features._replace(writable=False)

    def reader(self, inner: Reader) -> Reader:
        """See `Filter.reader`. Whoever serves an export asks whether it is writable."""
        return inner
