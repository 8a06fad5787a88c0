"""Structures of fixed length, each declared once: built by `struct`, read by construct.

To import construct takes as long as all of this program's own modules, and a disk is made of a
dozen structures only. So a command that makes one does without; what reads structures, such as
tests and explanations of a disk, gets construct's declaration from the same table.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from construct import Construct

Field = tuple[str, str] | tuple[str, str, int | bytes]
"""A name of the specification's, a code, and the value where it is always the same.

Codes are those of `struct` for one number, with an order of bytes (`B`, `<H`, `>I`), or for bytes
(`8s`). `<>I` is ISO 9660's "both-endian": the number little-endian, then the same big-endian. A
field without a name is zeros (`12x`).
"""


class Structure:
    """A structure whose fields follow one another.

    FSINFO = Structure(("FSI_LeadSig", "<I", 0x41615252), ("", "480x"), ("FSI_Free_Count", "<I"))
    FSINFO.build({"FSI_Free_Count": 7})
    """

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self.size: int = sum(map(_bytes_of, fields))

    def build(self, values: Mapping[str, Any]) -> bytes:
        """Return the structure of the values of its fields, constants left out.

        Raise KeyError if one is missing, ValueError or struct.error if it does not fit exactly.
        """
        return b"".join(_packed(field, values) for field in self.fields)

    def parse(self, data: bytes) -> Any:
        """Return the fields as construct reads them. Raise ConstructError or ValueError."""
        return self.declaration.parse(data)

    @cached_property
    def declaration(self) -> Construct:
        """The structure as construct declares it; its fields can be asked for their places."""
        from construct import Struct  # noqa: PLC0415

        return Struct(*map(_declared, self.fields))


def _codes(field: Field) -> list[str]:
    """Return a field's codes, each for `struct` alone."""
    code = field[1]
    return ["<" + code[2:], ">" + code[2:]] if code.startswith("<>") else [code]


def _bytes_of(field: Field) -> int:
    return sum(map(struct.calcsize, _codes(field)))


def _packed(field: Field, values: Mapping[str, Any]) -> bytes:
    name, code = field[:2]
    if not name:
        return bytes(_bytes_of(field))
    value: Any = values[name] if len(field) == 2 else field[2]
    if code.endswith("s"):
        if len(value) != _bytes_of(field):
            raise ValueError(f"{name} has {_bytes_of(field)} bytes, not {len(value)}")
        return bytes(value)
    return b"".join(struct.pack(each, value) for each in _codes(field))


def _declared(field: Field) -> Any:
    """Return a field as construct declares it."""
    from construct import Bytes, Const, Padding  # noqa: PLC0415

    name, code = field[:2]
    if not name:
        return Padding(_bytes_of(field))
    kind = Bytes(_bytes_of(field)) if code.endswith("s") else _number(code)
    return name / (kind if len(field) == 2 else Const(field[2], kind))


def _number(code: str) -> Any:
    from construct import BytesInteger, ExprAdapter  # noqa: PLC0415

    size = struct.calcsize("<" + code[-1])
    if not code.startswith("<>"):
        return BytesInteger(size, swapped=not code.startswith(">"))

    def decoded(pair: Any, _context: Any) -> int:
        if pair[0] != pair[1]:
            raise ValueError(f"a both-endian field holds {pair[0]} and {pair[1]}")
        number: int = pair[0]
        return number

    pair = BytesInteger(size, swapped=True) >> BytesInteger(size)
    return ExprAdapter(pair, decoded, lambda number, _context: [number, number])
