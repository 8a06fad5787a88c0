"""What tests are made with: copies of the machine's trees."""

from __future__ import annotations

import os
import shutil

from trees import copy_bounded


def test_a_copy_of_a_real_tree_has_its_links_modes_and_times(tmp_path):
    source = tmp_path / "source"
    (source / "folder" / "within").mkdir(parents=True)
    (source / "skipped").mkdir()
    (source / "skipped" / "file").touch()
    (source / "folder" / "file").write_text("text")
    (source / "folder" / "large").write_bytes(bytes(1000))
    (source / "link").symlink_to("folder")
    (source / "dangling").symlink_to("nowhere")
    os.chmod(source / "folder" / "file", 0o640)
    for path in ("folder/file", "folder/within", "folder"):
        os.utime(source / path, ns=(0, 1_700_000_000_123_456_789))
    target = tmp_path / "target"
    copy_bounded(source, target, largest=999, ignored=shutil.ignore_patterns("skipped"))
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
    assert found == ["dangling", "folder", "folder/file", "folder/within", "link"]
    assert os.readlink(target / "link") == "folder"
    for path in ("folder/file", "folder/within", "folder"):
        copied, original = (target / path).stat(), (source / path).stat()
        assert (copied.st_mode, copied.st_mtime_ns) == (original.st_mode, original.st_mtime_ns)


def test_a_copy_is_bounded(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in "abc":
        (source / name).write_bytes(bytes(400))
    copy_bounded(source, tmp_path / "target", most=1000)
    assert sorted(os.listdir(tmp_path / "target")) == ["a", "b"]
