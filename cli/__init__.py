"""The command line: options, wiring, progress and exit statuses; the only place that prints."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit."""
    try:
        from .app import main as run  # noqa: PLC0415  Ctrl-C may come meanwhile

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


__all__ = ["main"]
