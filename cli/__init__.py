"""The command line: options, wiring, progress and exit statuses; the only place that prints."""

from .app import main

__all__ = ["main"]
