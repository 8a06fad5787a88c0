"""The command line: options, wiring, progress and exit statuses; the only place that prints."""

from __future__ import annotations

import os
import sys

DROPINS = ("mkisofs", "genisoimage", "xorrisofs", "xorriso")
"""The programs that vfloppy stands in for: subcommands, and names that it may be called by."""


def main() -> None:
    """Run the command line and exit. Called by the name of another program, be that one."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    if name in DROPINS:
        sys.argv[1:1] = [name]
    try:
        from .app import main as run  # noqa: PLC0415  Ctrl-C may come meanwhile

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


__all__ = ["DROPINS", "main"]
