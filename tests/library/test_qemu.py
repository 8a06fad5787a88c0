"""QEMU's names for directories, as options of ours."""

from __future__ import annotations

import pytest
from vfloppy.errors import OptionError
from vfloppy.library.qemu import from_qemu_name, is_qemu_name, is_to_be_written


@pytest.mark.parametrize(("name", "expected"), [
    ("fat:/some/dir", {}),
    ("fat:16:/some/dir", {"fat": "16"}),
    ("fat:12:/some/dir", {"fat": "12", "size": (False, 64 * 16 * 63 * 512)}),
    ("fat:floppy:/some/dir", {"floppy": "2.88M", "fat": "auto"}),
    ("fat:floppy:12:/some/dir", {"floppy": "1.44M", "fat": "auto"}),
    ("fat:16:floppy:/some/dir", {"partition": "none", "size": (False, 5760 * 512)}),
])  # fmt: skip
def test_a_name_is_a_directory_and_options(name, expected):
    assert is_qemu_name(name)
    path, values = from_qemu_name(name, ())
    assert path == "/some/dir"
    assert {key: values[key] for key in expected} == expected


@pytest.mark.parametrize("name", ["fat:rw:/some/dir", "fat:floppy:rw:/some/dir"])
def test_rw_is_a_disk_that_is_written_and_written_back(name):
    directory, values = from_qemu_name(name, ())
    assert (directory, values["writable"]) == ("/some/dir", True)
    assert is_to_be_written(name)
    assert not is_to_be_written(name.replace("rw:", ""))


@pytest.mark.parametrize(("name", "given", "text"), [
    ("fat:12:16:/some/dir", (), "with 12 and 16 at once"),
    ("fat:floppy:32:/some/dir", (), "no FAT32 floppy"),
    ("fat:16:/some/dir", ("fat",), "QEMU's fat:16: goes without fat"),
    ("fat:/some/dir", ("preset",), "QEMU's fat: goes without preset"),
])  # fmt: skip
def test_what_cannot_be_had_is_told(name, given, text):
    with pytest.raises(OptionError) as caught:
        from_qemu_name(name, given)
    assert text in str(caught.value)


@pytest.mark.parametrize("path", ["/some/dir", "fat", "fat:", "vfat:/x"])
def test_other_paths_are_none(path):
    assert not is_qemu_name(path)
