"""`Disk.verify`, `Disk.check` and `vfloppy.check`: what they take, what they return."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
import vfloppy
from tools import ENVIRONMENT


@pytest.mark.parametrize("form", ["fat", "iso"])
@pytest.mark.parametrize("kind", ["str", "bytes", "path", "file", "raw", "disk", "uri"])
def test_an_image_of_any_kind_is_the_same(tree, tmp_path, form, kind):
    disk = vfloppy.open_disk(tree, format=form)
    image = tmp_path / "image"
    disk.write_to(image)
    if kind == "uri":
        with vfloppy.serve(disk) as server:
            assert disk.verify(server.uri) == []
    elif kind in {"file", "raw"}:
        with open(image, "rb", buffering=0 if kind == "raw" else -1) as file:
            assert disk.verify(file) == []
            assert not file.closed
    elif kind == "disk":
        with disk.open() as raw:
            assert disk.verify(raw) == []
            assert not raw.closed
            assert disk.verify(io.BufferedReader(raw)) == []
    else:
        assert (
            disk.verify({"str": str, "bytes": os.fsencode, "path": lambda p: p}[kind](image)) == []
        )


@pytest.mark.parametrize("form", ["fat", "iso"])
def test_differences_are_returned_and_progress_is_told(tree, tmp_path, form):
    disk = vfloppy.open_disk(tree, format=form)
    disk.write_to(tmp_path / "image")
    done = []
    assert disk.verify(tmp_path / "image", progress=done.append) == []
    assert sum(done) == 256_005
    (tree / "new").write_text("new")
    os.utime(tree / "hello.txt", (0, 10**9))
    newer = vfloppy.open_disk(tree, format=form)
    found = newer.verify(tmp_path / "image")
    assert {("missing", "new"), ("time", "hello.txt")} <= {(each.kind, each.path) for each in found}
    assert all(isinstance(each, vfloppy.Difference) for each in found)
    without = newer.verify(tmp_path / "image", times=False)
    assert {(each.kind, each.path) for each in without} == {("missing", "new")}


def test_what_is_no_image_is_an_error_of_ours(tree, tmp_path):
    disk = vfloppy.open_disk(tree)
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    with pytest.raises(vfloppy.VfloppyError, match=r"zeros: neither FAT nor ISO 9660"):
        disk.verify(tmp_path / "zeros")
    with pytest.raises(vfloppy.OptionError, match=r"nowhere: No such file"):
        disk.verify(tmp_path / "nowhere")
    with pytest.raises(vfloppy.OptionError, match=r"Is a directory"):
        disk.verify(tmp_path)
    with pytest.raises(vfloppy.VfloppyError, match=r"gone"):
        disk.verify(f"nbd+unix:///?socket={tmp_path}/gone")


def test_findings_are_worded_as_python_has_options(tree):
    (tree / "a:b").write_text("")
    disk = vfloppy.open_disk(tree)
    [renamed] = [each for each in disk.check() if each.kind == "renamed"]
    assert isinstance(renamed, vfloppy.Finding)
    assert renamed.path == "a:b"
    assert vfloppy.check(tree) == disk.check()
    [refused] = [each for each in vfloppy.check(tree, strict=True) if each.path == "a:b"]
    assert refused.kind == "refused"
    for each in vfloppy.check(tree, format="iso", boot_bios="nothing"):
        assert each.text.isprintable()
        assert "--" not in each.text


def test_a_finding_of_a_disk_inside_names_its_option(tree, tmp_path):
    (tmp_path / "esp").mkdir()
    (tmp_path / "esp" / "a:b").write_text("")
    found = vfloppy.check(tree, format="iso", boot_uefi_dir=tmp_path / "esp")
    assert "boot_uefi_dir: a:b" in {each.path for each in found}


def test_the_library_imports_no_click(tmp_path):
    """Nor does what it does when it scans, checks, writes, verifies and serves."""
    code = """
import importlib, os, pkgutil, sys
import vfloppy, vfloppy.library
for each in pkgutil.iter_modules(vfloppy.library.__path__):
    importlib.import_module(f"vfloppy.library.{each.name}")
os.mkdir("tree")
open("tree/file", "w").write("x")
for form in ("fat", "iso"):
    disk = vfloppy.open_disk("tree", format=form)
    disk.check(), vfloppy.check("tree", format=form), list(disk.files()), list(disk.regions())
    disk.write_to("image")
    with vfloppy.serve(disk) as server:
        assert disk.verify(server.uri) == []
assert "click" not in sys.modules
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_all_names_are_there():
    missing = [name for name in vfloppy.__all__ if not hasattr(vfloppy, name)]
    assert not missing
