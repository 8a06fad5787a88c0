"""Options: what they take, what they refuse, and that none is quietly ignored."""

from __future__ import annotations

import json
import os
import random
import subprocess

import click
import pytest
from click.testing import CliRunner
from tools import vfloppy
from vfloppy.cli.app import _group
from vfloppy.cli.destinations import write_whole
from vfloppy.library.presets import PRESETS
from vfloppy.library.summary import count, human_size

MIB = 1 << 20


def failure(done: subprocess.CompletedProcess[bytes], status: int) -> str:
    text = done.stderr.decode()
    assert "Traceback" not in text, text.splitlines()[-1]
    assert done.returncode == status, text
    assert text.startswith("vfloppy: ")
    assert text.count("\n") == 1
    return text


def mapped(*arguments: object) -> dict:
    """What `vfloppy map --json` says, without a process of its own."""
    done = CliRunner().invoke(_group, ["map", "--json", *map(str, arguments)])
    if done.exception:
        raise done.exception
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("text", "size"),
    [("67108864", 64 * MIB), ("64M", 64 * MIB), ("64m", 64 * MIB), ("64MiB", 64 * MIB),
     ("64MB", 64 * MIB), ("65536K", 64 * MIB), ("0.0625G", 64 * MIB), ("1.5G", 1536 * MIB)],
)  # fmt: skip
def test_sizes(tree, text, size):
    assert mapped("--size", text, tree)["size"] == size


def test_a_size_with_a_plus_is_room_to_leave_free(tree):
    regions = mapped("--size", "+300M", tree)["regions"]
    free = sum(each["length"] for each in regions if each["kind"] == "free")
    assert 300 * MIB <= free < 301 * MIB


@pytest.mark.parametrize(
    "text",
    ["", "M", "-1", "+", "1.M", "1..5G", "64X", "0x10", "1e9", "9" * 400, "9" * 5000],
    ids=lambda text: text[:6],
)
@pytest.mark.parametrize("plus", ["", "+"])
def test_what_is_no_size_is_one_line(tree, text, plus):
    text = failure(vfloppy("map", "--size", plus + text, tree), 2)
    assert "--size" in text


@pytest.mark.parametrize("size", ["0", "1", "512", "1M", "1048577", "9" * 30, "99999T"])
def test_a_size_that_no_disk_has_is_refused(tree, size):
    text = failure(vfloppy("map", "--size", size, tree), 1)
    assert "too small" in text or "too large" in text or "no whole number" in text


def test_the_size_that_a_refusal_names_is_one_that_will_do(tree):
    (tree / "data").write_bytes(random.randbytes(3 * MIB))
    for options in ([], ["--fat", "16"], ["--fat", "32"], ["--partition", "gpt"],
                    ["--partition", "none"]):  # fmt: skip
        text = failure(vfloppy("map", *options, "--size", "2M", tree), 1)
        size = text.split("; ")[1].split()[0]
        assert mapped(*options, "--size", size, tree)["size"] == int(size)


@pytest.mark.parametrize(
    ("text", "stored"), [("1234-ABCD", "cdab3412"), ("1234abcd", "cdab3412"), ("0x0-", None)]
)
def test_volume_ids(tree, tmp_path, text, stored):
    out = tmp_path / "out.img"
    done = vfloppy("build", "-q", "--floppy", "1.44M", "--volume-id", text, tree, out)
    if stored is None:
        failure(done, 2)
    else:
        assert out.read_bytes()[39:43].hex() == stored


@pytest.mark.parametrize(
    "extra", [[], ["--size", "64M"], ["--fat", "16"], ["--fat", "12"]], ids=str
)
def test_clusters_of_less_than_a_sector_are_refused(tree, extra):
    done = vfloppy("map", "--sector-size", "4096", "--cluster-size", "2048", *extra, tree)
    assert "sector" in failure(done, done.returncode or 1)
    assert done.returncode in (1, 2)


@pytest.mark.parametrize(
    "cluster", ["512", "1024", "2048", "4096", "8192", "16384", "32768", "65536"]
)
def test_cluster_sizes(tree, tmp_path, cluster):
    out = tmp_path / "out.img"
    done = vfloppy("build", "-q", "--fat", "16", "--partition", "none", "--cluster-size", cluster,
                   tree, out)  # fmt: skip
    assert done.returncode == 0
    assert out.read_bytes()[13] * 512 == int(cluster)


@pytest.mark.parametrize("pattern", ["!", "a[", "[", "\\", "", "/", "***", "#x", "  ", "\udcff"])
def test_any_pattern_is_taken_or_refused_in_one_line(tree, tmp_path, pattern):
    lines = tmp_path / "lines"
    lines.write_bytes(os.fsencode(pattern) + b"\n")
    for arguments in (["--exclude", pattern], ["--exclude-from", str(lines)]):
        done = vfloppy("map", *arguments, tree)
        assert b"Traceback" not in done.stderr, done.stderr.splitlines()[-1].decode()
        if done.returncode:
            failure(done, done.returncode)


def test_patterns_are_those_of_gitignore(tmp_path):
    for path in ("a.o", "keep.o", "sub/a.o", "sub/build/x", "build/x", "docs/build/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    patterns = [each for text in ("*.o", "!keep.o", "/build/") for each in ("--exclude", text)]
    report = mapped(*patterns, tmp_path)
    files = {each["name"] for each in report["regions"] if each["kind"] == "file"}
    assert files == {"keep.o", "sub/build/x", "docs/build/x"}
    assert {each["path"] for each in report["skipped"]} == {"a.o", "sub/a.o", "build"}


@pytest.mark.parametrize(
    ("preset", "given"),
    [("floppy", ["--size", "64M"]), ("floppy", ["--fat", "16"]), ("floppy", ["--partition", "gpt"]),
     ("superfloppy", ["--esp"]), ("superfloppy", ["--mbr-code", __file__])],
    ids=str,
)  # fmt: skip
def test_what_is_given_beside_a_preset_counts_or_is_refused(tree, preset, given):
    """Never does an option stand on the command line and do nothing."""
    done = vfloppy("map", "--for", preset, *given, tree)
    if done.returncode:
        failure(done, 2)
    else:
        assert done.stdout != vfloppy("map", "--for", preset, tree).stdout


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_makes_a_disk(tree, preset):
    report = mapped("--for", preset, tree)
    assert sum(each["length"] for each in report["regions"]) == report["size"]
    assert {"name": "hello.txt"}.items() <= next(
        each for each in report["regions"] if each["kind"] == "file"
    ).items()


def test_an_empty_name_is_not_the_current_directory(tree, tmp_path):
    """As in `vfloppy build "$UNSET" out.img`."""
    failure(vfloppy("map", "", cwd=tmp_path), 1)
    assert "OUT is empty" in failure(vfloppy("build", tree, "", cwd=tmp_path), 2)
    assert "--unix is empty" in failure(vfloppy("serve", "-U", "", tree, cwd=tmp_path), 2)


def test_out_in_a_directory_of_the_tree_is_not_swallowed(tree):
    (tree / "sub").mkdir()
    out = tree / "sub" / "out.img"
    for _ in range(2):
        assert vfloppy("build", "-q", "--floppy", "1.44M", tree, out).returncode == 0
        assert b"OUT     IMG" not in out.read_bytes()
    assert sorted(path.name for path in (tree / "sub").iterdir()) == ["out.img"]


def test_the_manifest_is_no_part_of_the_disk_that_it_lists(tree):
    manifest = tree / "manifest.json"
    for _ in range(2):
        vfloppy("build", "-q", "--manifest", manifest, tree, tree / "out.img")
        assert [each["path"] for each in json.loads(manifest.read_text())["files"]] == ["hello.txt"]


def test_a_manifest_is_written_whole_or_not_at_all(tree, tmp_path):
    out = tmp_path / "out.img"
    assert "--manifest wants a file" in failure(vfloppy("map", "--manifest", "-", tree), 2)
    done = vfloppy("build", "--manifest", out, tree, f"{tmp_path}/./out.img")
    assert f"--manifest {out} and OUT are one file" in failure(done, 2)
    done = vfloppy("build", "--manifest", "/dev/full/x", tree, out)
    assert "--manifest /dev/full/x: Not a directory" in failure(done, 1)
    (tmp_path / "old").mkdir()
    done = vfloppy("map", "--manifest", tmp_path / "old", tree)
    assert f"--manifest {tmp_path}/old: Is a directory" in failure(done, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "tree"]


def test_a_manifest_may_go_through_a_link_or_to_a_pipe(tree, tmp_path):
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to("real")
    assert vfloppy("build", "--manifest", tmp_path / "link", tree, tmp_path / "o").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "real").read_text())["files"][0]["path"] == "hello.txt"
    done = vfloppy("build", "-q", "--manifest", "/dev/stdout", tree, tmp_path / "o")
    assert json.loads(done.stdout)["files"][0]["path"] == "hello.txt"
    assert os.path.islink("/dev/stdout")


def test_a_file_that_fails_half_way_leaves_what_was_there(tmp_path):
    def parts():
        yield "begin"
        raise OSError(28, "No space left on device")

    (tmp_path / "old").write_text("what was there")
    with pytest.raises(click.ClickException, match=r"--manifest .*old: No space left"):
        write_whole("--manifest", str(tmp_path / "old"), parts())
    assert (tmp_path / "old").read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [tmp_path / "old"]


@pytest.mark.parametrize("option", ["--idle-exit", "--handshake-timeout"])
@pytest.mark.parametrize("seconds", ["nan", "inf", "1e12", "-1"])
def test_seconds_that_no_clock_holds(tree, option, seconds):
    assert option in failure(vfloppy("serve", "-U", "-", option, seconds, tree), 2)


def test_a_size_of_less_than_its_partition_table_is_named_as_it_is(tree):
    assert "a disk of 102400 bytes is too small" in failure(
        vfloppy("map", "--size", "100k", tree), 1
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (257 * MIB + MIB // 2,
     "257.5 MiB"), (1 << 40, "1 TiB"), (5 << 50, "5 PiB"), (1 << 60, "1024 PiB")],
)  # fmt: skip
def test_sizes_for_people(size, text):
    assert human_size(size) == text


def test_counts_for_people():
    assert [count(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert count(2, "directory", "directories") == "2 directories"
