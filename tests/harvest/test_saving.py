"""Changes saved elsewhere: a directory, a tar, a zip; and never through or over anything."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from vfloppy.errors import WriteError
from vfloppy.harvest.changes import Change, Changes, Kind
from vfloppy.harvest.report import line
from vfloppy.harvest.saving import save

DISK = bytes(range(256)) * 20_000
WHEN_NS = 1_700_000_000 * 10**9
CHANGES = Changes(
    (
        Change(Kind.CREATED, ("New Folder",), is_directory=True),
        Change(Kind.RENAMED, ("b",), ("a",), size=5, number=3, chain=((0, 5),)),
        Change(Kind.CREATED, ("New Folder", "日本.txt"), size=3_000_000, modified_ns=WHEN_NS,
               chain=((512, 2_000_000), (3_000_000, 1_500_000))),
        Change(Kind.CHANGED, ("old", "deep", "file"), size=4, rewritten=True, number=4,
               chain=((1, 4),)),
        Change(Kind.CHANGED, ("locked",), size=4, number=7, read_only=True, chain=((1, 4),)),
        Change(Kind.CREATED, ("empty",)),
        Change(Kind.REMOVED, ("gone",), number=5),
    ),
    ("a problem",),
    ("/._x: left out",),
    lambda offset, length: DISK[offset : offset + length],
)  # fmt: skip
FILES = {
    "files/New Folder/日本.txt": (DISK[512:2_000_512] + DISK[3_000_000:])[:3_000_000],
    "files/old/deep/file": DISK[1:5],
    "files/empty": b"",
}


def saved_in(out: Path) -> dict[str, bytes]:
    found = {}
    if out.name.endswith(".tar"):
        with tarfile.open(out) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file:
                    found[member.name] = file.read()
    elif out.name.endswith(".zip"):
        with zipfile.ZipFile(out) as archive:
            assert archive.testzip() is None
            found = {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    else:
        paths = (path for path in out.rglob("*") if path.is_file())
        found = {str(path.relative_to(out)): path.read_bytes() for path in paths}
    return found


@pytest.mark.parametrize("name", ["out", "out.tar", "out.zip"])
def test_new_and_rewritten_files_are_saved_with_a_list_of_all_changes(tmp_path, name):
    out = tmp_path / name
    assert save(CHANGES, str(out)) == len(FILES)
    found = saved_in(out)
    listed = json.loads(found.pop("changes.json"))
    assert found == FILES
    assert [each["kind"] for each in listed["changes"]] == [
        "created", "renamed", "created", "changed", "changed", "created", "removed",
    ]  # fmt: skip
    assert listed["changes"][1] == {
        "kind": "renamed", "path": "b", "old_path": "a", "directory": False, "size": 5,
        "rewritten": False,
    }  # fmt: skip
    assert listed["changes"][2]["modified"] == "2023-11-14T22:13:20Z"
    assert listed["changes"][4]["read_only"] is True
    assert listed["problems"] == ["a problem"]
    assert listed["left_out"] == ["/._x: left out"]
    assert os.listdir(tmp_path) == [name]


def test_times_are_the_guest_s(tmp_path):
    save(CHANGES, str(tmp_path / "out"))
    save(CHANGES, str(tmp_path / "out.tar"))
    assert (tmp_path / "out/files/New Folder/日本.txt").stat().st_mtime_ns == WHEN_NS
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert archive.getmember("files/New Folder/日本.txt").mtime * 10**9 == WHEN_NS
        assert archive.getmember("files/New Folder").isdir()


@pytest.mark.parametrize("name", ["out", "out.tar", "out.zip"])
def test_what_is_there_is_not_written_over(tmp_path, name):
    out = tmp_path / name
    if name == "out":
        out.mkdir()
        (out / "mine").write_bytes(b"mine")
    else:
        out.write_bytes(b"mine")
    with pytest.raises(WriteError, match="new"):
        save(CHANGES, str(out))
    assert b"mine" in (out / "mine" if name == "out" else out).read_bytes()


def test_no_archive_is_left_where_the_disk_could_not_be_read(tmp_path):
    def read(offset, length):
        raise OSError(5, "Input/output error")

    broken = Changes(CHANGES.changes, read=read)
    for name in ("out.tar", "out.zip"):
        with pytest.raises(WriteError, match=r"out\.\w+: Input/output error"):
            save(broken, str(tmp_path / name))
    assert os.listdir(tmp_path) == []


def test_an_archive_in_no_directory_is_refused(tmp_path):
    with pytest.raises(WriteError, match="No such file"):
        save(CHANGES, str(tmp_path / "none" / "out.tar"))


def test_a_change_is_a_line():
    assert [line(each) for each in CHANGES.changes] == [
        "created /New Folder/",
        "renamed /a to /b (5 bytes)",
        "created /New Folder/日本.txt (3000000 bytes)",
        "changed /old/deep/file (4 bytes)",
        "changed /locked (4 bytes, read-only)",
        "created /empty (0 bytes)",
        "removed /gone",
    ]
    odd = Change(Kind.MOVED, ("a\nb",), ("c",), rewritten=True, read_only=False)
    assert line(odd) == "moved /c to /a\\nb (0 bytes, rewritten, no longer read-only)"
