"""Damaged disks: no exception, nothing unbounded, and no path that leads elsewhere."""

from __future__ import annotations

import random

import pytest

from .damage import damaged_disks

COUNT = 250


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    return damaged_disks(tmp_path_factory.mktemp("damaged") / "tree")


@pytest.mark.parametrize("part", range(4))
def test_damaged_disks_are_harvested_or_the_reason_is_told(disks, part, pytestconfig):
    for number in range(COUNT):
        seed = f"{pytestconfig.option.seed} {part} {number}"
        try:
            disks[part].check(random.Random(seed))
        except BaseException as error:
            error.add_note(f"generator seed {seed!r}")
            raise
