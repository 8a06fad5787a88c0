"""Structures are built as construct builds what they declare, and read back by it."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest
from construct import ConstructError
from hypothesis import given
from hypothesis import strategies as st
from vfloppy.synth.fat import records as fat
from vfloppy.synth.image import partition
from vfloppy.synth.iso import records as iso
from vfloppy.synth.iso import rockridge
from vfloppy.synth.structures import Structure

DECLARED = {
    f"{module.__name__}.{name}": value
    for module in (fat, partition, iso, rockridge)
    for name, value in vars(module).items()
    if isinstance(value, Structure)
}


def values_of(structure: Structure) -> st.SearchStrategy[dict[str, object]]:
    """Values for all fields that are not constant."""

    def value(code: str) -> st.SearchStrategy[object]:
        size = struct.calcsize("<" + code.lstrip("<>"))
        if code.endswith("s"):
            return st.binary(min_size=size, max_size=size)
        return st.integers(0, (1 << 8 * size) - 1)

    free = [field for field in structure.fields if field[0] and len(field) == 2]
    return st.fixed_dictionaries({field[0]: value(field[1]) for field in free})


def test_all_structures_are_looked_at():
    assert len(DECLARED) >= 21


@pytest.mark.parametrize("name", DECLARED)
@given(data=st.data())
def test_a_structure_is_built_and_read_as_construct_does_it(name, data):
    structure = DECLARED[name]
    values = data.draw(values_of(structure))
    built = structure.build(values)
    assert built == structure.declaration.build(values)
    assert len(built) == structure.size == structure.declaration.sizeof()
    parsed = structure.parse(built)
    assert {key: parsed[key] for key in values} == values


def test_what_does_not_fit_is_refused():
    structure = Structure(("name", "4s"), ("number", "<H"))
    with pytest.raises(ValueError, match="name has 4 bytes, not 3"):
        structure.build({"name": b"abc", "number": 1})
    with pytest.raises(struct.error):
        structure.build({"name": b"abcd", "number": 1 << 16})
    with pytest.raises(KeyError):
        structure.build({"name": b"abcd"})


def test_a_both_endian_number_that_differs_is_no_number():
    with pytest.raises((ConstructError, ValueError), match="holds 1 and 256"):
        Structure(("number", "<>H")).parse(b"\1\0\1\0")


def test_a_constant_that_differs_is_refused():
    with pytest.raises(ConstructError):
        fat.FSINFO.parse(bytes(512))


@pytest.mark.parametrize("kind", ["fat", "iso"])
def test_a_disk_is_made_without_construct(tmp_path, kind):
    (tmp_path / "tree").mkdir()
    script = (
        "import sys; from vfloppy.cli import main\n"
        f"try: main(['build', '-q', '--format', '{kind}', '{tmp_path}/tree', '{tmp_path}/out'])\n"
        "finally: sys.exit('construct' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
