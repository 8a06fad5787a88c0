"""What is packed fast is what the declarations say."""

from __future__ import annotations

import pytest
from vfloppy.synth.iso.dates import recording_date
from vfloppy.synth.iso.records import (
    DIRECTORY_RECORD,
    RECORD_BYTES,
    VOLUME_DESCRIPTOR,
    pack_16_both,
    pack_32_both,
    pack_directory_record,
)
from vfloppy.synth.iso.rockridge import CE, ER, PX, TF, RockRidge, _continue_at
from vfloppy.synth.structures import Structure


@pytest.mark.parametrize("number", [0, 1, 0x1234, 0xFFFF])
def test_both_endian_numbers_are_as_declared(number):
    declared = Structure(("short", "<>H"), ("long", "<>I"))
    assert declared.build({"short": number, "long": number << 16}) == (
        pack_16_both(number) + pack_32_both(number << 16)
    )


@pytest.mark.parametrize("identifier", [b"\0", b"A.;1", b"ABCDE", b"\0a\0b\0;\0001"])
@pytest.mark.parametrize("use", [b"", b"1234", b"12345"])
def test_a_directory_record_is_as_declared(identifier, use):
    date = recording_date(1_720_000_001)
    record = pack_directory_record(identifier, 0x01020304, 0x05060708, date, 2, use)
    assert len(record) == record[0]
    assert len(record) % 2 == 0
    fields = DIRECTORY_RECORD.parse(record)
    assert fields.LocationOfExtent == 0x01020304
    assert fields.DataLength == 0x05060708
    assert fields.RecordingDateAndTime == date
    assert fields.FileFlags == 2
    assert fields.VolumeSequenceNumber == 1
    assert fields.LengthOfFileIdentifier == len(identifier)
    padded = identifier if len(identifier) % 2 else identifier + b"\0"
    assert record[RECORD_BYTES:] == (padded + use).ljust(len(record) - RECORD_BYTES, b"\0")


def test_a_descriptor_is_a_block():
    assert VOLUME_DESCRIPTOR.size == 2048


def test_system_use_is_as_declared(tmp_path, make):
    (tmp_path / "x").write_bytes(b"x")
    tree, layout, _ = make(tmp_path)
    rock_ridge: RockRidge = layout.primary.rock_ridge
    node = tree.find("x")
    use = rock_ridge.system_use(node, 38, layout.primary_layout.first_directory_block)
    px = PX.parse(use)
    assert (px.st_mode, px.st_nlink, px.st_uid, px.st_gid) == (0o100444, 1, 0, 0)
    tf = TF.parse(use[PX.size :])
    assert layout.dates.date(node) == tf.MODIFY
    assert use[PX.size + TF.size :] == b"NM\x06\1\0x"
    ce = CE.parse(_continue_at(7, 8, 9))
    assert (ce.LOCATION, ce.OFFSET, ce.LENGTH) == (7, 8, 9)
    assert len(ER) == ER[2]
