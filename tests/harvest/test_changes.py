"""Changes as data: what they read of a disk."""

from __future__ import annotations

from vfloppy.harvest.changes import Change, Changes, Kind


def test_a_content_is_read_run_by_run_in_parts_of_at_most_a_mebibyte():
    disk = bytes(range(256)) * (3 << 12)
    asked = []

    def read(offset, length):
        asked.append(length)
        return disk[offset : offset + length]

    runs = ((1000, 2 << 20), (10, 100))
    change = Change(Kind.CREATED, ("a",), size=(2 << 20) + 7, chain=runs)
    found = Changes((change,), read=read)
    assert b"".join(found.content(change)) == disk[1000 : 1000 + (2 << 20)] + disk[10:17]
    assert asked == [1 << 20, 1 << 20, 7]
