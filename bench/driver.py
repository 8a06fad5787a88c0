"""Runs the command line of the environment it is started in, a job a line, each in a process.

A line of standard input is a JSON object: `folder` to work in, and `arguments`. `stdout` and
`stderr` are made there, and the exit status is answered as a line. All modules are loaded before
the first job, so that a job costs a fork, and not a start.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points


def main() -> None:
    """Answers jobs until the end of standard input."""
    (entry,) = entry_points(group="console_scripts", name="vfloppy")
    run = entry.load()
    load_what_is_loaded_by(run)
    for line in sys.stdin:
        job = json.loads(line)
        process = os.fork()
        if not process:
            in_child(run, job["folder"], job["arguments"])
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def in_child(run: Callable[[], object], folder: str, arguments: list[str]) -> None:
    """As if the program had been started there; never returns."""
    os.chdir(folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, flags, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["vfloppy", *arguments]
    run()
    raise SystemExit(0)


def load_what_is_loaded_by(run: Callable[[], object]) -> None:
    """Imports what the commands import when they are asked for; their names are not known here."""
    names: set[str] = set()
    for words in (("build", "--help"), ("map", "--help"), ("check", "--help")):
        reader, writer = os.pipe()
        if not os.fork():
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.argv = ["vfloppy", *words]
            with contextlib.suppress(SystemExit):
                run()
            os.write(writer, "\n".join(sys.modules).encode())  # less than a pipe holds
            os._exit(0)
        os.close(writer)
        with open(reader) as text:
            names |= {name for name in text.read().split() if name.startswith("vfloppy")}
        os.wait()
    for name in sorted(names):
        importlib.import_module(name)


if __name__ == "__main__":
    main()
