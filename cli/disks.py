"""From the command line's words to a disk: what they leave open is settled here, not decided."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import click

from ..errors import OptionError, VfloppyError
from ..library.description import Description, describe
from ..library.disk import Disk, open_described
from ..synth.formats import NAMES
from ..synth.host.paths import NamedPaths
from .options.disk import DiskOptions, spelled

_DESCRIPTORS_WANTED = 24 << 10
_MOST_PROCESSES = 4


def describe_disk(
    options: DiskOptions, directories: tuple[str, ...], *, usual_format: str | None = None
) -> Description:
    """Return what the words describe. Raise UsageError.

    `usual_format` is taken where none is given.
    """
    from ..library.qemu import from_qemu_name, is_qemu_name  # noqa: PLC0415  few have such names

    base: dict[str, Any] = {
        "format": usual_format or NAMES[0],
        "processes": usual_processes(),
    }
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    given: Mapping[str, Any] = options.given
    try:
        if epoch is not None:
            given = {**given, "source_date_epoch": epoch}
        if directories and is_qemu_name(directories[0]):
            if len(directories) > 1:
                raise OptionError("QEMU's fat: takes one directory")
            directory, values = from_qemu_name(directories[0], options.given)
            directories, base = (directory,), {**base, **values}
        return describe(directories, given, base)
    except OptionError as error:
        if error.option == "source_date_epoch":
            text = f"SOURCE_DATE_EPOCH is {epoch!r}; expected seconds since 1970"
            raise click.UsageError(text) from None
        raise usage_error(error) from None


def usage_error(error: VfloppyError) -> click.UsageError:
    """Return an error of options in the command line's words."""
    text = error.worded(spelled)
    if isinstance(error, OptionError) and error.option:
        text = f"{spelled(error.option)}: {text}"
    return click.UsageError(text)


def open_disk(
    description: Description,
    options: DiskOptions,
    *,
    named: NamedPaths | None = None,
    leave_out: Collection[str] = (),
    warn: Callable[[str], None] = lambda _: None,
) -> Disk:
    """Open a disk, and write its manifest if there is to be one; see `open_described`.

    Raise UsageError, VfloppyError and OSError.
    """
    named = named or NamedPaths()
    spare_descriptors()
    gc.disable()  # a scan makes many objects and no cycles; looking for some costs a quarter of it
    try:
        manifests = [options.manifest] if options.manifest else []
        leave_out = [*leave_out, *manifests]
        disk = open_described(description, named=named, leave_out=leave_out, warn=warn)
    except OptionError as error:
        raise usage_error(error) from None
    finally:
        gc.enable()
    if options.manifest:
        from ..library.manifest import document  # noqa: PLC0415  most runs need none
        from .destinations import write_whole  # noqa: PLC0415

        write_whole("--manifest", options.manifest, document(disk), named)
    return disk


def usual_processes() -> int:
    """Return how many processes share work."""
    return min(_MOST_PROCESSES, os.cpu_count() or 1)


def spare_descriptors() -> None:
    """Raise their limit: host files are kept open between requests, and the usual 1024 is low for
    that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_WANTED
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
