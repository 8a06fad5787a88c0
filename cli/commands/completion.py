"""`vfloppy completion`: what a shell needs to complete vfloppy's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_EPILOG = """\b
Examples:
  eval "$(vfloppy completion bash)"        in ~/.bashrc
  eval "$(vfloppy completion zsh)"         in ~/.zshrc
  vfloppy completion fish > ~/.config/fish/completions/vfloppy.fish
"""


@click.command("completion", epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "vfloppy", "_VFLOPPY_COMPLETE").source())
