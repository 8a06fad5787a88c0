"""The options of disks on the command line: bound here, declared elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from ...errors import OptionError, worded
from ...library.description import all_options
from ...options import Option

Command = Callable[..., Any]


class DiskOptions(NamedTuple):
    """The options of a disk that the user has chosen; all else is the library's to decide."""

    given: Mapping[str, Any]
    """Values by the names of the library's options."""
    manifest: str | None
    overlay: str | None = None
    """The file for what is written over the disk, while it is served."""
    write_back: bool = False
    """Bring home what was written, when serving ends."""
    harvest: bool = False
    """Look at what was written, when serving ends: so the overlay needs a name."""


def spelled(name: str, value: str | None = None) -> str:
    """Return an option as one types it: `--fat 32`, `--no-joliet`; see `errors.Spelling`."""
    option = all_options()[name][0] if name in all_options() else None
    word = "--" + ((option and option.spelled) or name.replace("_", "-"))
    if value == "False" and (not option or option.off):
        return f"--{option.off}" if option else f"--no-{name}"
    return word if value in {None, "True"} else f"{word} {value}"


def disk_options(command: Command) -> Command:
    """Add the options; the command gets them as one argument, `options`."""

    @functools.wraps(command)
    def with_options(**arguments: Any) -> Any:
        ctx = click.get_current_context()
        values = {name: arguments.pop(name) for name in _declared()}
        given = {name: value for name, value in values.items() if _was_given(ctx, name)}
        options = DiskOptions(given, arguments.pop("manifest"))
        if options.manifest == "-":
            raise click.UsageError("--manifest wants a file; /dev/stdout is one")
        return command(options=options, **arguments)

    decorated: Command = click.option(
        "--manifest",
        metavar="FILE",
        help="Write a JSON list of all files: names, places, renames, skips.",
    )(with_options)
    for option in reversed([*_declared().values()]):
        decorated = _bound(option)(decorated)
    return decorated


@functools.cache
def _declared() -> Mapping[str, Option]:
    """Return the options of disks that the command line has."""
    return {name: option for name, (option, _) in all_options().items() if not option.is_for_python}


def _was_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _bound(option: Option) -> Callable[[Command], Command]:
    word = option.spelled or option.name.replace("_", "-")
    declarations = [*([f"-{option.short}"] if option.short else []), f"--{word}", option.name]
    help_text = worded(option.help, spelled)
    default = option.shown_default
    if default is None and not option.is_switch and option.default not in {None, "", ()}:
        default = str(option.default)
    if option.is_switch:
        if option.off:
            declarations[-2] += f"/--{option.off}"
            default = default or (word if option.default else option.off)
        text = help_text + (f"  [default: {default}]" if default else "")
        return click.option(*declarations, is_flag=True, default=option.default, help=text)
    text = help_text + (f"  [default: {default}]" if default else "")
    return click.option(
        *declarations,
        type=_type(option),
        callback=functools.partial(_checked, option),
        multiple=option.is_repeatable,
        metavar=option.metavar,
        help=text,
    )


def _type(option: Option) -> Any:
    """Return click's type, which completes and describes the values."""
    if option.choices:
        return click.Choice(option.choices, case_sensitive=False)
    if option.is_path:
        is_directory = option.metavar == "DIR"
        return click.Path(exists=True, dir_okay=is_directory, file_okay=not is_directory)
    return str


def _checked(option: Option, _ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """Return the value as it was given. Raise BadParameter for one that the option can't have."""
    if value is not None:
        try:
            option.value_of(value)
        except OptionError as error:
            raise click.BadParameter(error.worded(spelled)) from None
    return value
