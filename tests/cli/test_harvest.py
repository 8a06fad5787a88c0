"""`vfloppy harvest`: what an overlay holds, and the exit statuses."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
import vfloppy
from tools import need_tool, output
from tools import vfloppy as run_vfloppy


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    (root / "Sub Folder").mkdir(parents=True)
    (root / "First File.txt").write_bytes(b"first")
    (root / "Sub Folder" / "Second File.txt").write_bytes(b"second")
    return root


@pytest.fixture
def overlay(tree, tmp_path) -> Path:
    return written(tree, tmp_path, ["mcopy", "SOURCE", "::/New File.txt"], ["mdel", "::/First*"])


def written(tree: Path, folder: Path, *commands: list[str], **options) -> Path:
    """An overlay in which mtools has written what it writes to an image of the disk."""
    need_tool("mcopy")
    path = folder / "overlay"
    with vfloppy.open_disk(tree, overlay=path, floppy="720k", **options) as disk:
        image, source = folder / "image", folder / "source"
        disk.write_to(image)
        before = image.read_bytes()
        source.write_bytes(b"new")
        for command in commands:
            arguments = [str(source) if each == "SOURCE" else each for each in command[1:]]
            output(command[0], "-i", str(image), *arguments)
        after = image.read_bytes()
        with disk.export.open() as writer:
            for at in range(0, len(before), 512):
                if before[at : at + 512] != after[at : at + 512]:
                    writer.write(at, after[at : at + 512])
    return path


def test_changes_are_told_and_nothing_happens(tree, overlay):
    listed = {path: path.stat() for path in tree.rglob("*")}
    done = run_vfloppy("harvest", overlay)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        "created /New File.txt (3 bytes)",
        "removed /First File.txt",
        "2 changes",
    ]
    assert done.stderr == b""
    assert {path: path.stat() for path in tree.rglob("*")} == listed


def test_json_is_one_document(overlay):
    done = run_vfloppy("harvest", "--json", overlay)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [each["path"] for each in found["changes"]] == ["New File.txt", "First File.txt"]
    assert found["problems"] == found["left_out"] == []


def test_no_change_is_exit_status_0(tree, tmp_path):
    done = run_vfloppy("harvest", written(tree, tmp_path))
    assert (done.returncode, done.stdout) == (0, b"0 changes\n")


def test_files_are_written_elsewhere(overlay, tmp_path):
    done = run_vfloppy("harvest", "--to", tmp_path / "out.tar", overlay)
    assert done.returncode == 1
    assert b"1 file written to" in done.stdout
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert archive.getnames() == ["files/New File.txt", "changes.json"]
    again = run_vfloppy("harvest", "-q", "--to", tmp_path / "out.tar", overlay)
    assert again.returncode == 2
    assert b"is there already; a new archive is expected" in again.stderr


def test_directories_may_be_somewhere_else_now(tree, overlay):
    moved = tree.rename(tree.with_name("moved"))
    done = run_vfloppy("harvest", overlay)
    assert done.returncode == 2
    assert b"no such directory" in done.stderr
    assert run_vfloppy("harvest", overlay, moved).returncode == 1


def test_directories_that_make_another_disk_are_refused(tree, overlay):
    (tree / "Sub Folder" / "Second File.txt").write_bytes(b"other bytes")
    done = run_vfloppy("harvest", overlay)
    assert done.returncode == 2
    assert b"1 changed: 'Sub Folder/Second File.txt'" in done.stderr


def test_problems_are_told_beside_what_can_be(tree, tmp_path):
    path = written(tree, tmp_path, ["mcopy", "SOURCE", "::/New File.txt"])
    with (
        vfloppy.open_disk(tree, overlay=path, floppy="720k") as disk,
        disk.export.open() as writer,
    ):
        writer.write(0x25, b"\1")
    done = run_vfloppy("harvest", path)
    assert done.returncode == 2
    assert b"created /New File.txt" in done.stdout
    assert b"the disk is marked as mounted" in done.stderr


def test_what_is_no_overlay_is_refused(tree, tmp_path):
    for what in (tree, tmp_path / "none", tree / "First File.txt"):
        done = run_vfloppy("harvest", what)
        assert done.returncode == 2
        assert done.stderr.startswith(b"vfloppy: ")
        assert len(done.stderr.splitlines()) == 1


def test_an_overlay_that_is_in_use_is_refused(tree, overlay):
    with vfloppy.open_disk(tree, overlay=overlay, floppy="720k"):
        done = run_vfloppy("harvest", overlay)
    assert done.returncode == 2
    assert b"another process has it open" in done.stderr


def test_an_overlay_in_its_own_directory_is_not_on_the_disk(tree):
    path = written(tree, tree, ["mcopy", "SOURCE", "::/New File.txt"])
    for each in ("image", "source"):
        os.unlink(tree / each)
    done = run_vfloppy("harvest", path)
    assert (done.returncode, done.stderr) == (1, b"")


def test_many_removals_have_to_be_meant(tmp_path):
    root = tmp_path / "tree"
    (root / "many").mkdir(parents=True)
    for number in range(20):
        (root / "many" / f"File {number}").write_bytes(b"x")
    path = written(root, tmp_path, ["mdeltree", "::/many"])
    done = run_vfloppy("harvest", path)
    assert done.returncode == 2
    assert b"20 of 20 files are gone" in done.stderr
    assert b"--allow-removals" in done.stderr
    assert run_vfloppy("harvest", "--allow-removals", path).returncode == 1


def test_the_library_has_all_of_it(tree, overlay, tmp_path):
    with vfloppy.open_overlay(overlay) as disk:
        changes: vfloppy.Changes = vfloppy.find_changes(disk)
        created, removed = changes.changes
        assert (created.kind, created.path) == ("created", ("New File.txt",))
        assert b"".join(changes.content(created)) == b"new"
        assert disk.tree.name(removed.number) == b"First File.txt"
    shutil.rmtree(tree)
    with pytest.raises(vfloppy.ScanError):
        vfloppy.open_overlay(overlay)
