"""The options that say what a disk is like, for every command that makes one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import click
from click.core import ParameterSource

from ..errors import PlanError
from ..synth.fat.plan import DEFAULT_LABEL, Partitioning, check_label
from ..synth.kept import KEPT_BYTES
from ..synth.scan import Symlinks
from .fat_options import FAT_OPTIONS, FILE, byte_count, check_fat
from .iso_options import ISO_OPTIONS, check_iso
from .presets import PRESETS

Command = Callable[..., Any]


class DiskOptions(NamedTuple):
    """What the user wants of a disk."""

    format: Literal["fat", "iso"]
    graft: tuple[tuple[str, str], ...]
    exclude: tuple[str, ...]
    exclude_from: tuple[str, ...]
    symlinks: Symlinks
    skip_unreadable: bool
    skip_large: bool
    strict: bool
    preset: str | None
    fat: Literal["auto", "12", "16", "32"]
    size: tuple[bool, int] | None
    """Whether it is room to leave free, and how much; otherwise the size of the disk."""
    cluster_size: int | None
    sector_size: int
    floppy: str | None
    partition: Partitioning
    esp: bool
    label: str
    volume_id: int | None
    utc: bool
    hide_dotfiles: bool
    normalize: str | None
    boot_sector: str | None
    mbr_code: str | None
    manifest: str | None
    iso_level: Literal["1", "2", "3"]
    rock_ridge: bool
    joliet: bool
    joliet_long: bool
    preserve: bool
    system_id: str
    volume_set: str
    publisher: str
    preparer: str
    application: str
    volume_date: int | None
    """In nanoseconds since 1970."""
    padding: bool
    boot_bios: str | None
    boot_floppy: bool
    boot_load_size: int
    boot_info_table: bool
    boot_uefi: str | None
    boot_uefi_dir: str | None
    hybrid: bool
    on_change: Literal["error", "current"]
    cache_size: int
    """Bytes."""
    given: frozenset[str]
    """Those that the user gave, and no preset."""


def _grafts(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    grafts = []
    for value in values:
        target, equals, source = value.partition("=")
        if not equals or not source:
            raise click.BadParameter(f"{value!r} is no graft; expected TARGET=SOURCE")
        grafts.append((target, source))
    return tuple(grafts)


_COMMON_OPTIONS = (
    click.option(
        "--format",
        type=click.Choice(["fat", "iso"]),
        help="The file system.  [default: fat; `build` takes iso from a name that ends with .iso]",
    ),
    click.option(
        "--graft",
        callback=_grafts,
        multiple=True,
        metavar="TARGET=SOURCE",
        help="Put the file or directory SOURCE at TARGET on the disk. Repeatable.",
    ),
    click.option(
        "--exclude",
        multiple=True,
        metavar="GLOB",
        help="Leave out what matches, as in .gitignore. Repeatable.",
    ),
    click.option(
        "--exclude-from", type=FILE, multiple=True, help="Leave out what a file's lines match."
    ),
    click.option(
        "--symlinks",
        type=click.Choice(["skip", "keep", "follow", "follow-all", "refuse"]),
        help="`follow` takes what links lead to within the directories, `follow-all` anywhere; "
        "`keep` makes links of them, if the disk can.  [default: keep if it can, else skip]",
    ),
    click.option(
        "--skip-unreadable",
        is_flag=True,
        help="Leave out what may not be read, instead of refusing the directory.",
    ),
    click.option("--skip-large", is_flag=True, help="Leave out files of 4 GiB and more, likewise."),
    click.option(
        "--strict",
        is_flag=True,
        help="Refuse to rename anything, and files that stand in two directories.",
    ),
    click.option(
        "--for",
        "preset",
        type=click.Choice(sorted(PRESETS)),
        help="Set what a certain reader wants; `vfloppy presets` lists them.",
    ),
    click.option(
        "-V",
        "--label",
        default=DEFAULT_LABEL,
        show_default=True,
        metavar="NAME",
        help="The volume label: at most 11 characters, stored in upper case; 32 as they are in "
        "an ISO 9660 image.",
    ),
    click.option(
        "--utc/--local-time",
        default=True,
        help="Which times are on the disk.  [default: utc, the same on any machine]",
    ),
    click.option("--mbr-code", type=FILE, help="Take the code before the partition table, too."),
    click.option(
        "--manifest",
        metavar="FILE",
        help="Write a JSON list of all files: names, places, renames, skips.",
    ),
    click.option(
        "--on-change",
        type=click.Choice(["error", "current"]),
        default="error",
        show_default=True,
        help="When a file changes after the scan: fail, or read what is there now, and zeros where "
        "it ends too early.",
    ),
    click.option(
        "--cache-size",
        callback=byte_count,
        default=f"{KEPT_BYTES >> 20}M",
        show_default=True,
        metavar="SIZE",
        help="The memory for names that were worked out, of each connection; those of the latest "
        "directory are kept however many there are.",
    ),
)


def _names(options: Iterable[Callable[[click.Command], click.Command]]) -> set[str]:
    """What the options are called in `DiskOptions`."""
    bearer = click.Command("options")
    for option in options:
        option(bearer)
    return {each.name for each in bearer.params if each.name}


_OPTIONS = (*_COMMON_OPTIONS, *FAT_OPTIONS, *ISO_OPTIONS)
_FAT_ONLY, _ISO_ONLY = _names(FAT_OPTIONS), _names(ISO_OPTIONS)


def disk_options(command: Command) -> Command:
    """Adds the options; the command gets them as one argument, `options`."""

    @functools.wraps(command)
    def with_options(**given: Any) -> Any:
        ctx = click.get_current_context()
        names = [name for name in DiskOptions._fields if name != "given"]
        values = {name: given.pop(name) for name in names}
        values["format"] = _format(values["format"], given.get("out"), given.get("image"))
        values |= _preset_values(ctx, values)
        values["sector_size"] = int(values["sector_size"])
        values["cluster_size"] = values["cluster_size"] and int(values["cluster_size"])
        if values["symlinks"] is None:
            keeps = values["format"] == "iso" and values["rock_ridge"]
            values["symlinks"] = "keep" if keeps else "skip"
        own = frozenset(name for name in names if _was_given(ctx, name))
        _check_together(ctx, values, own)
        return command(options=DiskOptions(**values, given=own), **given)

    decorated: Command = with_options
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def options_from(given: Mapping[str, Any]) -> DiskOptions:
    """Options by their names on the command line, without dashes in front. Raises UsageError."""
    words: list[str] = []
    by_name = {
        spelled.lstrip("-"): (parameter, spelled)
        for parameter in _command.params
        for spelled in (*parameter.opts, *parameter.secondary_opts)
    }
    for name, value in given.items():
        if name.replace("_", "-") not in by_name:
            raise click.UsageError(f"there is no option {name}")
        parameter, spelled = by_name[name.replace("_", "-")]
        if isinstance(parameter, click.Option) and parameter.is_flag:
            if not isinstance(value, bool):
                raise click.UsageError(f"{name} is true or false")
            others = parameter.secondary_opts if spelled in parameter.opts else parameter.opts
            if value or others:
                words.append(spelled if value else others[0])
        else:
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, str | int) or isinstance(each, bool):
                    raise click.UsageError(f"{name} is a text or a number, or a list of them")
                words += [spelled, str(each)]
    options: DiskOptions = _command.main(words, standalone_mode=False)
    return options


def _format(given: str | None, out: str | None, image: str | None) -> str:
    """The format as it is given, or as the name of the file to be says, or a file that is."""
    if given is None and image is not None:
        from .readers import format_of  # noqa: PLC0415  one command needs it

        return format_of(image)
    if given is None and out is not None and out.lower().endswith(".iso"):
        return "iso"
    return given or "fat"


def _was_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _check_together(ctx: click.Context, values: dict[str, Any], given: frozenset[str]) -> None:
    """Raises UsageError for options that contradict each other."""
    is_iso = values["format"] == "iso"
    for name in sorted(given & (_FAT_ONLY if is_iso else _ISO_ONLY)):
        right = "fat" if is_iso else "iso"
        raise click.UsageError(f"{_spelled(ctx, name)} is for --format {right}")
    try:
        if is_iso:
            check_iso(values, given)
        else:
            check_label(values["label"])
            check_fat(values, given)
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    if values["symlinks"] == "keep" and not (is_iso and values["rock_ridge"]):
        raise click.UsageError("--symlinks keep needs --format iso with Rock Ridge")
    if values["manifest"] == "-":
        raise click.UsageError("--manifest wants a file; /dev/stdout is one")


def _spelled(ctx: click.Context, name: str) -> str:
    """An option as one types it."""
    parameter = next(each for each in ctx.command.params if each.name == name)
    return (parameter.secondary_opts or parameter.opts)[-1]


def _preset_values(ctx: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    """What the preset sets and the command line doesn't."""
    if values["preset"] is None:
        return {}
    preset = PRESETS[values["preset"]].values
    others = _FAT_ONLY if values["format"] == "iso" else ()
    return {
        name: value
        for name, value in preset.items()
        if name not in others and not _was_given(ctx, name)
    }


@click.command()
@disk_options
def _command(options: DiskOptions) -> DiskOptions:
    """No command of ours: the options alone, for configuration files."""
    return options
