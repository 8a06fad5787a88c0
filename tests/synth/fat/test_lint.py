"""The linter: what changed on the way to the disk, and who trips over what is left."""

from __future__ import annotations

import os

import pytest
from vfloppy.errors import worded
from vfloppy.synth.fat.lint import ALL, DOS, EDK2, MACOS, U_BOOT, WINDOWS, Finding, lint
from vfloppy.synth.fat.plan import FatOptions, plan
from vfloppy.synth.scanning.scan import ScanOptions, scan

CALM = {"fat_bits": 16, "partition": "mbr"}  # a disk that by itself gives rise to nothing


def findings(root, scan_options: ScanOptions | None = None, **options) -> list[Finding]:
    tree = scan(str(root), scan_options)
    found = lint(tree, plan(tree, FatOptions(**(CALM | options))))
    return [each._replace(text=worded(each.text)) for each in found]


def the_only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    return found[0]


def test_nothing_to_say(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a file.txt").write_text("x")
    assert findings(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "becomes", "why"),
    [
        ("a:b", "a_b", "characters that FAT doesn't"),
        ("x.", "x_", "ends with a dot or a space"),
        ("con.txt", "con_.txt", "a device's name"),
        (b"caf\xe9", "caf_", "not UTF-8"),
    ],
)
def test_what_is_renamed(tmp_path, name, becomes, why):
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    open(path, "w").close()
    found = the_only(findings(tmp_path))
    assert (found.kind, found.readers) == ("renamed", ALL)
    assert repr(becomes) in found.text
    assert why in found.text


def test_what_is_skipped(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert the_only(findings(tmp_path)) == Finding("link", "skipped", "symbolic link", ALL)


@pytest.mark.parametrize("seconds", [0, -1, 315_532_799, 4_354_819_200])
def test_times_outside_of_what_fat_holds(tmp_path, seconds):
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (seconds, seconds))
    assert the_only(findings(tmp_path)).kind == "clamped"


@pytest.mark.parametrize("seconds", [315_532_801, 1_720_000_000, 4_354_819_100])
def test_times_inside(tmp_path, seconds):
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (seconds, seconds))
    assert findings(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "readers"),
    [
        ({"fat_bits": 32}, (DOS,)),
        ({"partition": "gpt"}, (DOS,)),
        ({"cluster_bytes": 65_536}, (DOS, MACOS, U_BOOT)),
        ({"sector_bytes": 4096}, ALL),
        ({"partition": "none"}, (WINDOWS,)),
    ],
    ids=str,
)
def test_disks_that_some_cannot_read(tmp_path, options, readers):
    found = the_only(findings(tmp_path, **options))
    assert (found.path, found.kind, found.readers) == ("", "trips", readers)


def test_a_floppy_needs_no_partition(tmp_path):
    assert findings(tmp_path, floppy="1.44M") == []


def test_a_root_directory_of_more_than_is_usual(tmp_path):
    for number in range(512):
        (tmp_path / f"{number}").touch()
    assert "640 entries" in the_only(findings(tmp_path)).text


def test_paths_that_are_too_long_for_some(tmp_path):
    folder = tmp_path / ("a" * 200)
    folder.mkdir()
    (folder / ("b" * 55)).touch()  # 256 characters, all that fits behind C:\
    assert {found.readers for found in findings(tmp_path)} == {(DOS,)}
    (folder / ("b" * 56)).touch()
    assert [found.path[-56:] for found in findings(tmp_path) if found.readers == (WINDOWS,)] == [
        "b" * 56
    ]


def test_paths_are_measured_in_names_of_any_encoding(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    open(os.path.join(folder, b"\xff" * 60), "w").close()
    kinds = [found.kind for found in findings(tmp_path)]
    assert sorted(kinds) == ["renamed", "renamed", "trips"]


def test_a_name_of_the_very_greatest_length(tmp_path):
    (tmp_path / ("x" * 255)).touch()
    assert any(found.readers == (EDK2, U_BOOT) for found in findings(tmp_path))


def test_characters_that_some_lack(tmp_path):
    (tmp_path / "é").touch()
    assert the_only(findings(tmp_path)).readers == (DOS,)
    (tmp_path / "é").rename(tmp_path / "😀")
    assert the_only(findings(tmp_path)).readers == (DOS, EDK2, U_BOOT)


def test_names_that_are_one_once_composed(tmp_path):
    (tmp_path / "e\u0301").touch()
    (tmp_path / "é").touch()
    texts = [found.text for found in findings(tmp_path) if found.readers == (MACOS,)]
    assert "the same as e\u0301 once composed" in texts
    assert "not composed; normalize='nfc' would do that" in texts
    kinds = {found.kind for found in findings(tmp_path, normalize=True)}
    assert "renamed" in kinds


def test_files_that_programs_with_signed_sizes_miss(tmp_path):
    for size in ((1 << 31) - 1, 1 << 31):
        with open(tmp_path / f"{size}", "wb") as file:
            file.truncate(size)
    found = the_only([each for each in findings(tmp_path, fat_bits=32) if each.path])
    assert (found.path, found.readers) == (str(1 << 31), (DOS, U_BOOT))
