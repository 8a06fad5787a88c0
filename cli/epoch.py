"""SOURCE_DATE_EPOCH: a time from outside, so that what is built again is the same."""

from __future__ import annotations

import os

import click

_MOST_NS = (1 << 63) - 1  # as file systems' times are held here: the year 2262


def source_date_epoch() -> int | None:
    """The time that none on the disk is later than, by reproducible-builds.org's convention.

    Raises UsageError.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return None
    try:
        return max(-_MOST_NS, min(int(text) * 1_000_000_000, _MOST_NS))
    except ValueError:
        raise click.UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}; expected seconds since 1970"
        ) from None
