"""Dates: seven bytes, seventeen bytes, and the years that they hold."""

from __future__ import annotations

from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from vfloppy.synth.iso.dates import NOT_SET, recording_date, volume_date

SECOND = 1_720_000_001  # 2024-07-03 09:46:41 UTC


def test_a_date_is_year_from_1900_to_second_and_zone():
    assert recording_date(SECOND) == bytes((124, 7, 3, 9, 46, 41, 0))


@pytest.mark.parametrize(
    ("zone", "hour", "quarters"),
    [(ZoneInfo("Europe/Berlin"), 11, 8), (ZoneInfo("Asia/Kathmandu"), 15, 23),
     (timezone(timedelta(hours=-8)), 1, 0x100 - 32),
     # The field ends at 13 hours; the moment is the same.
     (ZoneInfo("Pacific/Kiritimati"), 22, 52), (timezone(timedelta(hours=-13)), 21, 0x100 - 48)],
)  # fmt: skip
def test_a_zone_is_told_in_quarters_of_an_hour(zone, hour, quarters):
    date = recording_date(SECOND, zone)
    assert date[3] == hour
    assert date[6] == quarters


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (-(10**11), (0, 1, 1, 0, 0, 0, 0)),
        (10**11, (255, 12, 31, 23, 59, 59, 0)),
        (-1, (69, 12, 31, 23, 59, 59, 0)),
    ],
)
@pytest.mark.parametrize("zone", [None, ZoneInfo("UTC")])
def test_years_are_clamped_to_what_a_byte_holds(second, expected, zone):
    found = recording_date(second, zone)
    if abs(second) > 1:
        assert found == bytes(expected)
    else:
        assert found[0] in {69, 70}


def test_a_volume_date_has_digits_hundredths_and_zone():
    assert volume_date(SECOND * 10**9 + 987_654_321) == b"2024070309464198\0"
    assert volume_date(SECOND * 10**9, ZoneInfo("Asia/Kathmandu")) == b"2024070315314100\x17"
    assert volume_date(-(10**30)) == b"1900010100000000\0"
    assert volume_date(10**30) == b"2155123123595900\0"


def test_not_set_is_digits_zero_and_a_zero():
    assert NOT_SET == b"0000000000000000\0"
