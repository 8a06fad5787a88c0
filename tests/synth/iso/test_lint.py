"""What a check says of a tree as ISO 9660, and to whom."""

from __future__ import annotations

import os

import pytest
from vfloppy.errors import worded
from vfloppy.synth.iso.lint import LEVEL_1, LINUX, MACOS, WINDOWS, XORRISO, lint


def findings(make, root, reader, **options) -> list[tuple[str, str]]:
    tree, layout, _ = make(root, **options)
    return [(each.path, worded(each.text)) for each in lint(tree, layout) if reader in each.readers]


@pytest.mark.parametrize("reader", [LINUX, MACOS, WINDOWS])
def test_of_plain_names_nothing_is_said(tmp_path, make, reader):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "Plain name.txt").write_bytes(b"x")
    assert findings(make, tmp_path, reader) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("what?.txt", "becomes 'what_.txt' in Joliet"),
        ("😀", "becomes '_' in Joliet"),
        ("n" * 65, f"becomes {'n' * 64!r} in Joliet"),
    ],
)
def test_windows_is_told_of_names_that_joliet_changes(tmp_path, make, name, text):
    (tmp_path / name).touch()
    assert findings(make, tmp_path, WINDOWS) == [(name, text)]
    assert findings(make, tmp_path, LINUX) == []


def test_windows_is_told_of_links_twins_and_long_paths(tmp_path, make):
    (tmp_path / "A").touch()
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    deep = tmp_path / "/".join(["d" * 50] * 5)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    found = findings(make, tmp_path, WINDOWS)
    assert ("a", "the same as A but for capitals") in found
    assert ("link", "neither file nor directory: is not in Joliet's tree") in found
    assert any(path.endswith("/file") and "a path of 259" in text for path, text in found)


def test_linux_is_told_of_names_that_it_cuts(tmp_path, make):
    for length in (253, 254):
        (tmp_path / ("n" * length)).touch()
    assert findings(make, tmp_path, LINUX) == [
        ("n" * 254, "a name of 254 bytes; it shows 253 at most")
    ]


def test_linux_is_told_of_files_that_it_cuts(tmp_path, make):
    for name, more in (("long", 0), ("too long", 1)):
        with open(tmp_path / name, "wb") as file:
            file.truncate(100 * 0xFFFF_F800 + more)
    assert findings(make, tmp_path, LINUX) == [
        ("too long", "in more than 100 extents (400 GiB): it reads no further")
    ]


def test_level_1_is_told_of_depth_long_names_and_large_files(tmp_path, make):
    (tmp_path / "/".join("abcdefgh")).mkdir(parents=True)
    (tmp_path / "longer than 8.txt").touch()
    with open(tmp_path / "LARGE", "wb") as file:
        file.truncate(1 << 32)
    found = findings(make, tmp_path, LEVEL_1)
    assert (
        "a/b/c/d/e/f/g/h",
        "9 levels deep; ISO 9660 has 8, newer readers have no limit",
    ) in found
    assert ("longer than 8.txt", "no name of 8.3; iso_level=1 makes one") in found
    assert any(path == "LARGE" and "several extents" in text for path, text in found)
    assert any(path == "LARGE" for path, _ in findings(make, tmp_path, MACOS))


def test_without_facets_their_readers_are_told(tmp_path, make):
    (tmp_path / "small.txt").touch()
    assert findings(make, tmp_path, WINDOWS, joliet=False) == [
        ("", "no Joliet: shows short names in capitals")
    ]
    assert findings(make, tmp_path, LINUX, rock_ridge=False) == [
        ("", "no Rock Ridge: modes and links are unknown")
    ]
    assert findings(make, tmp_path, LINUX, rock_ridge=False, joliet=False) == [
        ("", "names are capitals, digits and _ only")
    ]


def test_renamed_clamped_and_skipped_are_for_all(tmp_path, make):
    (tmp_path / ("n" * 70)).touch()
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (-(3 << 30), -(3 << 30)))
    (tmp_path / "link").symlink_to("old")
    found = findings(make, tmp_path, LINUX, rock_ridge=False)
    assert (f"{'n' * 70}", f"becomes {'n' * 64!r}: there is no Rock Ridge") in found
    assert ("link", "symbolic link") in found
    if os.stat(tmp_path / "old").st_mtime < -(2 << 30):
        assert ("old", "its time is outside of 1900 to 2155") in found


def test_xorriso_is_told_of_links_that_lead_too_far(tmp_path, make):
    for length in (1023, 1024):
        (tmp_path / f"{length}").symlink_to("t" * length)
    assert findings(make, tmp_path, XORRISO) == [
        ("1024", "a link of 1024 bytes; with more than 1023 it reads none of the image")
    ]
