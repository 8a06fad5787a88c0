"""The places of facets; once more for a partition that is the volume, too, and counts by itself."""

from __future__ import annotations

from collections.abc import Mapping

from .directories import FacetLayout
from .places import PARTITION_BLOCKS, SECOND_JOLIET_PARTS, SECOND_PRIMARY_PARTS, Part


def placed(
    layout: FacetLayout, places: Mapping[Part, range], parts: tuple[Part, Part, Part]
) -> FacetLayout:
    """Return a facet's layout with its places; `parts` are its directories, L and M tables."""
    directories, l_table, m_table = (places[each].start for each in parts)
    return layout._replace(
        first_directory_block=directories, little_table_block=l_table, big_table_block=m_table
    )


def second_parts(primary: FacetLayout, joliet: FacetLayout | None) -> dict[Part, int]:
    """Return the blocks of what the volume's partition has of its own."""
    blocks = {Part.SECOND_PRIMARY_DESCRIPTOR: 1, Part.SECOND_TERMINATOR: 1}
    for layout, parts in ((primary, SECOND_PRIMARY_PARTS), (joliet, SECOND_JOLIET_PARTS)):
        if layout:
            table = layout.path_table_blocks
            blocks |= zip(parts, (layout.directory_blocks, table, table), strict=True)
    if joliet:
        blocks[Part.SECOND_JOLIET_DESCRIPTOR] = 1
    return blocks


def second_layouts(
    primary: FacetLayout, joliet: FacetLayout | None, places: Mapping[Part, range]
) -> tuple[FacetLayout, ...]:
    """Return the layouts of the facets as the volume's partition has them, if there is one."""
    if not places[Part.SECOND_PRIMARY_DESCRIPTOR]:
        return ()
    shifted = {
        part: range(place.start - PARTITION_BLOCKS, place.stop - PARTITION_BLOCKS)
        for part, place in places.items()
    }
    facets = ((primary, SECOND_PRIMARY_PARTS), (joliet, SECOND_JOLIET_PARTS))
    return tuple(placed(layout, shifted, parts) for layout, parts in facets if layout)
