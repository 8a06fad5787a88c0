"""Volume descriptors: what the volume is called, how large it is, where its trees are."""

from __future__ import annotations

from ...errors import PlanError
from .dates import NOT_SET, volume_date
from .directories import FacetLayout, IsoDirectories
from .layout import IsoLayout
from .records import JOLIET_ESCAPE, TYPE_PRIMARY, TYPE_SUPPLEMENTARY, VOLUME_DESCRIPTOR

# Characters that each text may have (ECMA-119, 8.4.5 and on); half as many in Joliet.
_LENGTHS = {
    "system": 32,
    "volume": 32,
    "volume_set": 128,
    "publisher": 128,
    "preparer": 128,
    "application": 128,
}
_FIELDS = {
    "system": "SystemIdentifier",
    "volume": "VolumeIdentifier",
    "volume_set": "VolumeSetIdentifier",
    "publisher": "PublisherIdentifier",
    "preparer": "DataPreparerIdentifier",
    "application": "ApplicationIdentifier",
}
_FILE_FIELDS = ("CopyrightFileIdentifier", "AbstractFileIdentifier", "BibliographicFileIdentifier")
_FILE_BYTES = 37


def check_text(field: str, text: str) -> str:
    """Return a text for the field of `Texts` of that name. Raise PlanError with the reason.

    Any printable ASCII is taken: small letters, too, as labels like `cidata` have them and as all
    readers do.
    """
    if len(text) > _LENGTHS[field]:
        raise PlanError(
            f"{text!r} has {len(text)} characters; an ISO 9660 image holds {_LENGTHS[field]}"
        )
    if not text.isascii() or not text.isprintable():
        raise PlanError(f"{text!r} can't be written; ISO 9660 takes printable ASCII only")
    return text


def primary_descriptor(
    layout: IsoLayout, place: FacetLayout, directories: IsoDirectories, start: int = 0
) -> bytes:
    """Return the primary volume descriptor (ECMA-119, 8.4)."""
    texts = {
        _FIELDS[name]: check_text(name, text).encode("ascii").ljust(_LENGTHS[name])
        for name, text in layout.options.texts._asdict().items()
    }
    files = dict.fromkeys(_FILE_FIELDS, b" " * _FILE_BYTES)
    own = {"VolumeDescriptorType": TYPE_PRIMARY, "EscapeSequences": bytes(32)}
    return _descriptor(layout, place, start, directories, own | texts | files)


def joliet_descriptor(
    layout: IsoLayout, place: FacetLayout, directories: IsoDirectories, start: int = 0
) -> bytes:
    """Return Joliet's supplementary volume descriptor (ECMA-119, 8.5)."""
    texts = {
        _FIELDS[name]: _ucs2(text, _LENGTHS[name])
        for name, text in layout.options.texts._asdict().items()
    }
    files = dict.fromkeys(_FILE_FIELDS, _ucs2("", _FILE_BYTES))
    own = {
        "VolumeDescriptorType": TYPE_SUPPLEMENTARY,
        "EscapeSequences": JOLIET_ESCAPE.ljust(32, b"\0"),
    }
    return _descriptor(layout, place, start, directories, own | texts | files)


def _descriptor(
    layout: IsoLayout,
    place: FacetLayout,
    start: int,
    directories: IsoDirectories,
    fields: dict[str, object],
) -> bytes:
    options = layout.options
    date = volume_date(layout.created_ns, options.zone)
    return VOLUME_DESCRIPTOR.build(
        {
            "VolumeSpaceSize": layout.volume_blocks - start,
            "PathTableSize": place.path_table_bytes,
            "LocationOfTypeLPathTable": place.little_table_block,
            "LocationOfTypeMPathTable": place.big_table_block,
            "DirectoryRecordForRootDirectory": directories.root_record(),
            "VolumeCreationDateAndTime": date,
            "VolumeModificationDateAndTime": date,
            "VolumeExpirationDateAndTime": NOT_SET,
            "VolumeEffectiveDateAndTime": NOT_SET,
            **fields,
        }
    )


def _ucs2(text: str, size: int) -> bytes:
    """Return a text in UCS-2 big-endian, cut to the field and padded with spaces; odd bytes are
    zero.
    """
    whole = text[: size // 2].ljust(size // 2).encode("utf-16-be")
    return whole.ljust(size, b"\0")
