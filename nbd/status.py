"""What NBD_CMD_BLOCK_STATUS answers: an export's extents as descriptors of `base:allocation`.

Doc: "The `base:allocation` metadata context", `NBD_REPLY_TYPE_BLOCK_STATUS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ..pieces import Extent
from .wire import DESCRIPTOR, NBD_STATE_HOLE, NBD_STATE_ZERO

# Looking at more extents for one answer would keep the client and its other requests waiting;
# it asks again from where the answer ended. 2^16 descriptors are half a megabyte.
MAXIMUM_EXTENTS = 1 << 16
HOLE_AND_ZERO = NBD_STATE_HOLE | NBD_STATE_ZERO


def allocation(extents: Iterable[Extent], *, one: bool) -> bytes:
    """Packed descriptors, equal neighbours merged; only the first of them when `one` is asked."""
    descriptors = bytearray()
    run_length, run_status = 0, 0
    for extent in islice(extents, MAXIMUM_EXTENTS):
        status = HOLE_AND_ZERO if extent.hole else 0
        if run_length and status != run_status:
            if one:
                break
            descriptors += DESCRIPTOR.pack(run_length, run_status)
            run_length = 0
        run_length += extent.length
        run_status = status
    return bytes(descriptors) + DESCRIPTOR.pack(run_length, run_status)
