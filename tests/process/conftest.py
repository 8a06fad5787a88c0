"""The fixture `serve`, which tests of the protocol share."""

from __future__ import annotations

from running import serve

__all__ = ["serve"]
