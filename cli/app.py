"""The command `vfloppy`: its subcommands, each loaded when it is called, and its exit statuses.

0 success; 1 failure; 2 wrong usage. Whatever goes wrong is said in one line.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from types import FrameType
from typing import cast

import click

from .. import __version__
from ..errors import VfloppyError
from . import DROPINS
from .console import complain, sentence

_COMMANDS = {
    "bench": "Measure how fast a directory is served, beside other programs.",
    "build": "Write the disk of a directory to a file.",
    "check": "Say what of a directory a disk can't hold, and which readers trip over what.",
    "install-links": "Have other programs' names lead to vfloppy: mkisofs, xorriso.",
    "completion": "Print what makes a shell complete vfloppy's words.",
    "harvest": "Tell what guests have changed on a disk that was served to be written.",
    "map": "Show what lies where on the disk of a directory.",
    "presets": "List what --for sets, and why.",
    "serve": "Serve a directory as a disk over NBD.",
    "verify": "Read a disk back and compare it with its directory.",
}


class _Commands(click.Group):
    """The subcommands by name: `cli/commands/NAME.py` holds `command`."""

    # Those that stand in for other programs are one module, and have that program's own help.

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in DROPINS:
            module = importlib.import_module(".commands.dropins", __package__)
            return cast(click.Command, module.commands[cmd_name])
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = importlib.import_module(f".commands.{name}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))
        with formatter.section("Stand-ins, with those programs' own options"):
            formatter.write_text(", ".join(DROPINS))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`vfloppy COMMAND --help` tells more, with examples.",
)
@click.version_option(__version__, message="vfloppy %(version)s")
def _group() -> None:
    """Any directory is a disk.

    \b
      vfloppy serve /some/directory       offers it over NBD, as a FAT32 disk
      vfloppy build /some/directory a.img writes the same bytes to a file

    Nothing is copied first: tables and directories are computed as somebody reads them, and the
    files' contents come straight from the host's files.
    """  # noqa: D301  click wants the \b itself


def main() -> None:
    """Run the command line and exit."""
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, _terminated)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names may have what the terminal has not
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _group.main(prog_name="vfloppy", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = 2
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        complain(error.format_message().rstrip() + hint)
        status = 2
    except click.ClickException as error:
        complain(error.format_message())
        status = 1
    except UnicodeEncodeError as error:
        text = f"{error.object!r} can't be said in this locale's {error.encoding}"
        complain(f"{text}; LC_ALL=C.UTF-8 helps")
        status = 1
    except (click.Abort, KeyboardInterrupt):
        status = 128 + signal.SIGINT
    except (VfloppyError, OSError) as error:
        complain(sentence(error))
        status = error.exit_status if isinstance(error, VfloppyError) else 1
    sys.exit(_flushed(status))


def _terminated(number: int, _frame: FrameType | None) -> None:
    """Unwind like an exit, so that temporary files go; a second signal changes nothing."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _flushed(status: int | None) -> int | None:
    """Write out what the standard streams hold, and return the exit status.

    Python would complain too late of a stream that can't be written.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout:
                if not status:
                    complain(f"standard output: {error.strerror}")
                status = status or 1
    return status
