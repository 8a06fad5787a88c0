"""Numbers that tell apart names which become the same: the first that is free, none tried twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TypeAlias

Counters: TypeAlias = dict[tuple[str, str, int], int]
"""By beginning, end and digits of names in one directory: the next number to try."""


def first_free(
    beginning_of: Callable[[int], str],
    end: str,
    is_taken: Callable[[str, int], bool],
    counters: Counters,
    *,
    least: int,
) -> tuple[str, int]:
    """Return the beginning, and the first number from `least` on, of a name that is not taken.

    `beginning_of` returns what stands before a number of so many digits: a longer number leaves
    less room. `is_taken` is called with that and a number. Numbers of so many digits are counted
    for each beginning and `end`, whatever names are cut to them: no number is tried twice.
    """
    for digits in count(1):
        beginning = beginning_of(digits)
        key = (beginning, end, digits)
        number = counters.get(key, max(least, 10 ** (digits - 1)))
        while number < 10**digits and is_taken(beginning, number):
            number += 1
        counters[key] = number + 1
        if number < 10**digits:
            return beginning, number
    raise AssertionError  # numbers don't end
