"""The parts of an image stand in their order, without overlaps, and some at whole pages."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from vfloppy.synth.iso.places import Part, place_parts, tail_blocks


@given(st.dictionaries(st.sampled_from(Part), st.integers(0, 9)))
def test_parts_stand_in_order_each_with_its_blocks(blocks):
    places = place_parts(blocks)
    assert list(places) == list(Part)
    assert {part: len(place) for part, place in places.items() if place} == {
        part: count for part, count in blocks.items() if count
    }
    for (_, before), (part, place) in pairwise(places.items()):
        at_a_page = part in (Part.BOOT_FILE, Part.CONTENTS)
        gap = before.stop % 2 if at_a_page else 0
        if part is Part.SECOND_PRIMARY_DESCRIPTOR and place:
            gap = max(32 - before.stop, 0)  # block 16 of a partition that starts at 16
        assert place.start - before.stop == gap


def test_a_tail_ends_a_cylinder_and_has_room_for_a_gpt():
    assert [tail_blocks(end) for end in (1000, 1015, 1016, 1020)] == [24, 9, 520, 516]
