"""What `import vfloppy` gives, in this process: disks opened, read, written and served."""

from __future__ import annotations

import datetime
import io
import os
import threading

import pytest
import vfloppy
from compare import assert_same
from vfloppy.library.api import DiskOptions
from vfloppy.library.description import all_options
from vfloppy.nbd.client import Client


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "files"
    (root / "EFI" / "BOOT").mkdir(parents=True)
    (root / "EFI" / "BOOT" / "BOOTX64.EFI").write_bytes(b"MZ" * 1000)
    (root / "hello.txt").write_text("hello")
    (root / "a:b").write_text("renamed")
    (root / "link").symlink_to("hello.txt")
    return root


def test_every_option_has_a_type():
    assert DiskOptions.__annotations__.keys() == all_options().keys() - {"format"}


@pytest.mark.parametrize("options", [
    {"fat": 12, "size": "2M", "partition": "none"}, {"fat": "16", "label": "A label"}, {"fat": 32},
    {"floppy": "1.44M"}, {"preset": "ovmf"}, {"sector_size": 4096, "cluster_size": 8192},
    {"partition": "gpt", "esp": True, "volume_id": "1234-abcd"}, {"preset": "vvfat"},
    {"format": "iso"}, {"format": "iso", "joliet": True, "iso_level": 1, "rock_ridge": False},
    {"format": "iso", "boot_uefi_dir": "EFI", "hybrid": True, "volume_date": "2026-01-01"},
], ids=str)  # fmt: skip
def test_a_disk_is_the_same_read_opened_and_written(folder, tmp_path, monkeypatch, options):
    monkeypatch.chdir(folder)
    with vfloppy.open_disk(folder, **options) as disk:
        whole = disk.read(0, disk.size)
        with disk.open() as raw:
            assert_same(io.BufferedReader(raw, 1 << 20).read(), whole)
        told = []
        disk.write_to(tmp_path / "disk.img", sync=False, progress=told.append)
        assert_same((tmp_path / "disk.img").read_bytes(), whole)
        assert sum(told) == disk.size
        places = {each.name: each for each in disk.regions() if each.kind == "file"}
        assert whole[places["hello.txt"].offset :][:5] == b"hello"
        assert {"hello.txt", "EFI"} <= {each["path"] for each in disk.files()}
        assert disk.title in repr(disk)
        again = vfloppy.open_disk(folder, **options)
        assert disk.is_same_as(again)
        (folder / "hello.txt").write_text("hellish")
        assert not disk.is_same_as(vfloppy.open_disk(folder, **options))


def test_a_file_that_changed_is_an_error_of_the_host(folder):
    disk = vfloppy.open_disk(folder)
    [place] = [each.offset for each in disk.regions() if each.name == "hello.txt"]
    (folder / "hello.txt").write_text("other")
    with pytest.raises(vfloppy.HostReadError, match=r"hello\.txt"):
        disk.read(place, 5)
    with pytest.raises(ValueError, match="are not within"):
        disk.read(disk.size, 1)


def test_names_that_changed_and_things_that_are_left_out_are_told(folder):
    disk = vfloppy.open_disk(folder)
    assert [(each.path, each.name) for each in disk.renamed] == [("a:b", "a_b")]
    assert [path for path, _reason in disk.skipped] == ["link"]
    inner = vfloppy.open_disk(folder, format="iso", boot_uefi_dir=folder)
    assert "boot_uefi_dir: a:b" in {each.path for each in inner.renamed}


def test_a_disk_as_a_file_can_be_searched(folder):
    with vfloppy.open_disk(folder, fat=12).open() as raw:
        assert raw.readable()
        assert raw.seekable()
        assert raw.seek(-2, os.SEEK_END) == raw.tell()
        assert len(raw.read(10)) == 2
        assert raw.read(10) == b""
        assert raw.seek(510) == 510
        assert raw.seek(-10, os.SEEK_CUR) == 500
        for wrong in ((-1, os.SEEK_SET), (0, 7)):
            with pytest.raises(ValueError, match=r"whence is 7|before the start"):
                raw.seek(*wrong)


@pytest.mark.parametrize(("options", "text"), [
    ({"fatt": 16}, "there is no option fatt"),
    ({"fat": 13}, "13 is not one of 'auto', '12', '16', '32'"),
    ({"fat": True}, "True is not one of"),
    ({"size": "huge"}, "'huge' is no size; expected one like 64M"),
    ({"cache_size": "+1M"}, "is no number of bytes"),
    ({"strict": "yes"}, "'yes' is neither true nor false"),
    ({"label": 3}, "3 is no text"),
    ({"esp": True, "partition": "none"}, "esp marks a partition; it goes without partition='none'"),
    ({"joliet": True}, "joliet is for format='iso'"),
    ({"format": "iso", "fat": 16}, "fat is for format='fat'"),
    ({"format": "iso", "volume_date": "soon"}, "'soon' is no date"),
    ({"format": "iso", "volume_date": "2026-13-01"}, "'2026-13-01' is no date"),
    ({"symlinks": "keep"}, "symlinks='keep' needs format='iso' with Rock Ridge"),
    ({"graft": {"": "/nowhere"}}, "/nowhere: No such file or directory"),
    ({"mbr_code": "/nowhere/at/all"}, "/nowhere/at/all"),
], ids=str)  # fmt: skip
def test_options_that_can_t_be_are_told_in_one_line(folder, options, text):
    with pytest.raises(vfloppy.VfloppyError) as caught:
        vfloppy.open_disk(folder, **options)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [
    "2026-11-23T10:00:00", "20261123 100000Z", datetime.datetime(2026, 11, 23, 10),
    datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
], ids=str)  # fmt: skip
def test_dates_are_taken_as_texts_and_as_python_has_them(folder, given):
    volume = vfloppy.open_disk(folder, format="iso", volume_date=given).read(16 * 2048, 2048)
    assert volume[813:829] == b"2026112310000000"


def test_nothing_but_a_directory_is_a_disk(folder):
    for paths in ((), "", folder / "hello.txt", folder / "missing"):
        with pytest.raises(vfloppy.VfloppyError):
            vfloppy.open_disk(paths)
    with pytest.raises(AttributeError, match="has no attribute 'open_dsk'"):
        vfloppy.open_dsk  # noqa: B018


@pytest.mark.parametrize("where", ["unix", "port", "private"])
def test_disks_are_served_by_threads_until_they_are_closed(folder, tmp_path, where):
    disk = vfloppy.open_disk(folder, fat=12)
    iso = vfloppy.open_disk(folder, format="iso")
    options = {"unix": {"unix": tmp_path / "s"}, "port": {"port": 0}, "private": {}}[where]
    before = threading.active_count()
    with vfloppy.serve({"": disk, "iso": iso.export}, **options) as server:
        first, second = Client(server.uri), Client(server.uri_of("iso"))
        assert_same(first.read(0, disk.size), disk.read(0, disk.size))
        assert second.read(0x8001, 5) == b"CD001"
        second.close()
    with pytest.raises(vfloppy.VfloppyError):
        first.read(0, 1)
    first.close()
    server.close()
    assert threading.active_count() == before
    assert not (tmp_path / "s").exists()
