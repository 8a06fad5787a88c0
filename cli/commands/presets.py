"""`vfloppy presets`: what --for sets, and why."""

from __future__ import annotations

import click

from ...library.description import all_options
from ...library.presets import PRESETS
from ..options.disk import spelled


@click.command("presets")
def command() -> None:
    """List the presets of --for: what each sets, and why."""
    for name, preset in sorted(PRESETS.items()):
        words = [_spell(*each) for item in preset.values.items() for each in _each(*item)]
        click.echo(f"{name}: {' '.join(words)}")
        click.echo(f"    {preset.why}")


def _each(name: str, value: object) -> list[tuple[str, object]]:
    """Return the option once for each of its values."""
    if isinstance(value, tuple) and all_options()[name][0].is_repeatable:
        return [(name, each) for each in value]
    return [(name, value)]


def _spell(name: str, value: object) -> str:
    """Return an option as one would type it."""
    if isinstance(value, tuple):  # a size
        value = value[1]
    text = str(value)
    return spelled(name, f"'{text}'" if " " in text else text)
