"""Disks that a program writes to: by their files, by readers, and by clients of threads."""

from __future__ import annotations

import errno
import io
import json
import os
import time
from pathlib import Path

import pytest
import vfloppy
from fakes import Client, pattern, request
from vfloppy.filters.store import OverlayFile
from vfloppy.library.overlays import described, digest_of, facts_of
from vfloppy.nbd.protocol import wire

FREE = 400 << 20


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    (root / "folder").mkdir(parents=True)
    (root / "hello.txt").write_text("hello")
    (root / "folder" / "data").write_bytes(pattern(50_000))
    return root


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "changes"


@pytest.fixture
def in_tokyo():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_a_disk_is_written_as_a_file_and_found_again(tree, path):
    data = pattern(10_000, 5)
    with vfloppy.open_disk(tree, overlay=path) as disk:
        with disk.open() as raw:
            assert raw.writable()
            raw.seek(FREE + 3)
            assert raw.write(data) == 10_000
            assert raw.tell() == FREE + 10_003
            raw.flush()
            raw.seek(-2, os.SEEK_END)
            assert raw.write(b"end") == 2, "as much as there is room for"
            with pytest.raises(OSError, match="ends here") as refused:
                raw.write(b"d")
            assert refused.value.errno == errno.ENOSPC
        with io.BufferedRandom(disk.open()) as buffered:
            buffered.seek(FREE)
            assert buffered.read(10_006) == bytes(3) + data + bytes(3)
        assert disk.read(FREE + 3, 10_000) == data
        assert disk.overlay.file.is_touched
    with vfloppy.open_disk(tree, overlay=os.fsencode(path)) as disk:
        assert disk.read(FREE + 3, 10_000) == data
        assert disk.image.open().read(FREE + 3, 10_000) == bytes(10_000)


def test_a_disk_that_is_not_writable_says_so(tree):
    with vfloppy.open_disk(tree) as disk, disk.open() as raw:
        assert disk.overlay is None
        assert not raw.writable()
        with pytest.raises(io.UnsupportedOperation, match="writable=True"):
            raw.write(b"x")


def test_what_is_written_is_gone_when_a_disk_is_closed(tree):
    for _ in range(2):
        with vfloppy.open_disk(tree, writable=True) as disk, disk.export.open() as writer:
            assert isinstance(writer, vfloppy.Writer)
            assert writer.read(FREE, 4) == bytes(4)
            writer.write(FREE, b"here")
            assert disk.read(FREE, 4) == b"here"


def test_an_image_of_a_disk_has_what_was_written(tree, path, tmp_path):
    with vfloppy.open_disk(tree, overlay=path) as disk, disk.export.open() as writer:
        writer.write(FREE, b"here")
        writer.trim(0, 1 << 20)
        disk.write_to(tmp_path / "image")
    with open(tmp_path / "image", "rb") as image:
        assert image.read(1 << 20) == bytes(1 << 20)
        image.seek(FREE)
        assert image.read(5) == b"here\0"


def test_clients_of_threads_write_beside_each_other(tree, path):
    with vfloppy.open_disk(tree, overlay=path) as disk:
        with vfloppy.serve(disk) as server:
            socket_path = server.uri.partition("socket=")[2]
            for number in range(4):
                with Client(socket_path) as client:
                    client.go()
                    data = pattern(5000, number)
                    place = FREE + number * 4999
                    client.send(request(wire.NBD_CMD_WRITE, place, 5000) + data)
                    assert client.chunk().error == 0
        assert disk.read(FREE + 3 * 4999, 5000) == pattern(5000, 3)
        assert disk.read(FREE, 4999) == pattern(5000, 0)[:4999]


def test_another_disk_is_refused_in_pythons_words(tree, path):
    with vfloppy.open_disk(tree, overlay=path) as disk, disk.export.open() as writer:
        writer.write(FREE, b"here")
    with pytest.raises(vfloppy.OverlayError, match="no label before, now label='X'"):
        vfloppy.open_disk(tree, overlay=path, label="X")
    with pytest.raises(vfloppy.OverlayError, match="overlay is empty"):
        vfloppy.open_disk(tree, overlay="")
    vfloppy.open_disk(tree, overlay=path).close()


@pytest.mark.parametrize(
    "options",
    [
        {"label": "X"}, {"volume_id": "1234-ABCD"}, {"hide_dotfiles": True}, {"partition": "gpt"},
        {"esp": True}, {"fat": 16}, {"utc": False}, {"sector_size": 4096}, {"format": "iso"},
    ],
)  # fmt: skip
def test_whatever_changes_bytes_makes_another_disk(tree, options, in_tokyo):
    (tree / ".hidden").touch()
    plain, other = vfloppy.open_disk(tree), vfloppy.open_disk(tree, **options)
    assert digest_of(plain) != digest_of(other)
    assert digest_of(plain) == digest_of(vfloppy.open_disk(tree, cache_size="1M", processes=2))


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: os.utime(tree / "hello.txt", ns=(0, 10**18 + 10**10)),
        lambda tree: (tree / "hello.txt").write_text("hello!"),
        # Less than the two seconds that FAT tells apart.
        lambda tree: os.utime(tree / "hello.txt", ns=(0, 1_000_000_000_000_000_001)),
        lambda tree: (tree / "hello.txt").rename(tree / "hallo.txt"),
        lambda tree: (tree / "hello.txt").chmod(0o444),
    ],
)
def test_whatever_changes_files_makes_another_disk(tree, change):
    os.utime(tree / "hello.txt", ns=(0, 10**18))
    before = digest_of(vfloppy.open_disk(tree))
    change(tree)
    assert digest_of(vfloppy.open_disk(tree)) != before


def test_the_overlay_remembers_its_disk(tree, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "extra").write_text("extra")
    (tmp_path / "patterns").write_text("*.o\n")
    (tree / "x.o").touch()
    options = {
        "graft": {"grafted": "extra"}, "exclude_from": "patterns", "label": "Y",
        "size": "+200M", "preset": "windows", "volume_id": 7,
    }  # fmt: skip
    with vfloppy.open_disk("tree", overlay="changes", **options) as disk:
        expected = digest_of(disk)
    monkeypatch.chdir("/")
    with OverlayFile.open(str(path)) as file:
        description = described(file.description)
    assert description.values["writable"]
    from vfloppy.library.disk import open_described  # noqa: PLC0415

    assert digest_of(open_described(description)) == expected


def test_what_is_remembered_is_json_whatever_the_names_are(tree):
    (tree / os.fsdecode(b"\xff name")).touch()
    facts = facts_of(vfloppy.open_disk(os.fsencode(tree), format="iso", volume_date="2020-01-01"))
    assert json.loads(json.dumps(facts)) == facts
    with pytest.raises(vfloppy.OverlayError, match="makes no sense"):
        described({**facts, "options": 3})


def test_configuration_files_name_overlays(tree, path, tmp_path):
    (tmp_path / "exports.toml").write_text(
        f'[export.a]\ndirectory = "{tree}"\noverlay = "{path}"\n[export.b]\ndirectory = "{tree}"\n'
    )
    disks = vfloppy.open_config(tmp_path / "exports.toml")
    assert disks["a"].overlay.file.name == str(path)
    assert disks["b"].overlay is None
    disks["a"].close()
    (tmp_path / "exports.toml").write_text(f'[export.a]\ndirectory = "{tree}"\noverlay = 3\n')
    with pytest.raises(vfloppy.OptionError, match=r"export\.a: overlay is no name of a file"):
        vfloppy.open_config(tmp_path / "exports.toml")
