"""Checks: what a disk would lose or change of its directories, and who would trip over it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ..errors import PlanError, Spelling, in_python, option_named, worded
from ..synth.findings import Finding
from .description import Description
from .disk import Disk, open_described, within
from .presets import PRESETS

_LENIENT = {"skip_unreadable": True, "skip_large": True, "strict": False}


def findings(description: Description) -> Iterator[Finding]:
    """Scan and lay out, and yield what there is to know of the disk before somebody reads it.

    Nothing that a disk of that description would be refused for is raised: it is a finding.
    With a preset, only what concerns its reader is said. Texts and paths have marks of options in
    them (`errors.option_named`), for the caller to word.
    """
    # Lenient: what a stricter run refuses is what this one is to find.
    values = {**description.values, **_LENIENT}
    if values["symlinks"] == "refuse":
        values["symlinks"] = "skip"
    try:
        disk = open_described(description._replace(values=values))
    except PlanError as error:
        yield Finding("", "refused", error.marked, description.format.readers)
        return
    yield from findings_of(disk, description)


def findings_of(disk: Disk, description: Description) -> Iterator[Finding]:
    """Yield what there is to know of a disk that was laid out, as `findings` does.

    `description` says what would be refused; the disk may have been opened more leniently.
    """
    form = description.format
    preset = PRESETS.get(description.values["preset"] or "")
    concerned = {preset.reader} if preset and preset.reader else form.usual_readers(disk.layout)
    for each in chain(form.lint(disk.layout, disk.tree), _of_inner(disk, tuple(concerned))):
        if set(each.readers) & concerned:
            yield each._replace(kind=_kind(each, description))


def spelled_out(found: Iterator[Finding], spelling: Spelling = in_python) -> list[Finding]:
    """Return findings with the options in them as `spelling` has it."""
    return [
        each._replace(path=worded(each.path, spelling), text=worded(each.text, spelling))
        for each in found
    ]


def _of_inner(disk: Disk, readers: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what is not as the host has it on the disks inside."""
    for part in disk.parts[1:]:
        option = option_named(part.option)
        for path, reason in part.skipped:
            yield Finding(within(option, path), "skipped", reason, readers)
        for each in part.renamed:
            path = within(option, each.path)
            yield Finding(path, "renamed", f"becomes {each.name!r}: {each.reason}", readers)


def _kind(finding: Finding, description: Description) -> str:
    """Return a finding's kind with the options as they were given."""
    values = description.values
    if finding.kind == "skipped":
        refused = (
            (finding.text == "may not be read" and not values["skip_unreadable"])
            or (finding.text.startswith("larger than") and not values["skip_large"])
            or (finding.text.startswith("symbolic link") and values["symlinks"] == "refuse")
        )
        return "refused" if refused else "skipped"
    return "refused" if finding.kind == "renamed" and values["strict"] else finding.kind
