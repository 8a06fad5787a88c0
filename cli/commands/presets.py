"""`vfloppy presets`: what --for sets, and why."""

from __future__ import annotations

import click

from ...library.presets import PRESETS
from ..options.disk import spelled


@click.command("presets")
def command() -> None:
    """List the presets of --for: what each sets, and why."""
    for name, preset in sorted(PRESETS.items()):
        click.echo(f"{name}: {' '.join(_spell(*item) for item in preset.values.items())}")
        click.echo(f"    {preset.why}")


def _spell(name: str, value: object) -> str:
    """Return an option as one would type it."""
    if isinstance(value, tuple):  # a size
        value = value[1]
    text = str(value)
    return spelled(name, f"'{text}'" if " " in text else text)
