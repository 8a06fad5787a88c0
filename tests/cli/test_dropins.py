"""The stand-ins as programs: names, exit statuses, streams, and what they say."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from tools import ENVIRONMENT, VFLOPPY, output, run, vfloppy


@pytest.fixture
def links(tmp_path) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    done = vfloppy("install-links", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_links_are_programs_by_their_names(links, tree, tmp_path):
    assert {each.name for each in links.iterdir()} == {
        "mkisofs", "genisoimage", "xorrisofs", "xorriso",
    }  # fmt: skip
    image = tmp_path / "a.iso"
    assert run(links / "genisoimage", "-quiet", "-o", image, "-r", tree).returncode == 0
    assert image.read_bytes()[32769:32774] == b"CD001"
    assert run(links / "xorriso", "-as", "mkisofs", "-quiet", "-o", image, tree).returncode == 0
    assert output(links / "mkisofs", "--version").startswith("mkisofs (vfloppy ")
    assert b"--bogus" in run(links / "xorrisofs", "--bogus").stderr


def test_links_replace_no_other_programs(tmp_path):
    (tmp_path / "mkisofs").write_text("another one")
    done = vfloppy("install-links", tmp_path)
    assert done.returncode == 1
    assert b"isn't vfloppy's" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["mkisofs"]
    assert vfloppy("install-links", tmp_path, "xorrisofs").returncode == 0
    assert vfloppy("install-links", tmp_path, "xorrisofs").returncode == 0, "again"
    assert vfloppy("install-links", tmp_path, "nero").returncode == 2


def test_an_image_comes_by_standard_output(tree, tmp_path):
    for out in ([], ["-o", "-"], ["-o", "stdio:/dev/fd/1"]):
        done = vfloppy("genisoimage", *out, "-r", tree)
        assert done.returncode == 0, done.stderr
        assert done.stdout[32769:32774] == b"CD001"
    assert b" extents written (" in done.stderr


def test_callers_read_percentages_and_the_last_line(tree, tmp_path):
    image = tmp_path / "a.iso"
    done = vfloppy("genisoimage", "-r", "-o", image, tree)
    lines = done.stderr.decode().splitlines()
    sectors = image.stat().st_size // 2048
    assert lines[-1] == f"{sectors} extents written ({sectors >> 9} MB)"
    assert lines[-2] == "100.00% done"
    done = vfloppy("xorriso", "-as", "mkisofs", "-v", "-o", image, tree)
    text = done.stderr.decode()
    assert f"Writing to 'stdio:{image}' completed successfully." in text
    assert "Writing:   primary descriptor" in text
    assert vfloppy("genisoimage", "-quiet", "-r", "-o", image, tree).stderr == b""


def test_what_is_left_out_is_told_even_quietly(tree, tmp_path):
    (tree / "link").symlink_to("hello.txt")
    done = vfloppy("genisoimage", "-quiet", "-J", "-o", tmp_path / "a.iso", tree)
    assert done.returncode == 0
    assert done.stderr == b"vfloppy: genisoimage: left out: link (symbolic link)\n"


def test_the_first_names_that_change_are_told(tree, tmp_path):
    for number in range(15):
        (tree / f"{number} with a long name.text").write_text("")
    text = vfloppy("genisoimage", "-o", tmp_path / "a.iso", tree).stderr.decode()
    assert text.count("renamed: ") == 11
    assert "renamed: 5 more\n" in text


def test_messages_go_to_a_log(tree, tmp_path):
    log = tmp_path / "log"
    done = vfloppy("mkisofs", "-r", "-log-file", log, "-o", tmp_path / "a.iso", tree)
    assert (done.returncode, done.stderr) == (0, b"")
    assert " extents written (" in log.read_text()


def test_a_size_is_printed_and_nothing_written(tree, tmp_path):
    image = tmp_path / "a.iso"
    done = vfloppy("mkisofs", "-print-size", "-quiet", "-r", "-o", image, tree)
    assert not image.exists()
    assert vfloppy("mkisofs", "-r", "-o", image, tree).returncode == 0
    assert int(done.stdout) * 2048 == image.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--bogus", "tree"], 2, "vfloppy: genisoimage: --bogus: no such option"),
        (["-o", "a.iso"], 2, "genisoimage: no directory and no file given"),
        (["-V", "x" * 33, "tree"], 2, "has 33 characters"),
        (["-o", "a.iso", "missing"], 1, "missing: No such file or directory"),
        (["-o", "a.iso", "-R", "-b", "hello.txt", "tree"], 1, "-b hello.txt has 5 bytes"),
        (["-o", "a.iso", "-stream-media-size", "9", "tree"], 1, "-stream-media-size allows 9"),
        (["-o", "a.iso", "-R", "-isohybrid-mbr", "missing", "tree"], 1, "-isohybrid-mbr"),
        (["-o", "a.iso", "-exclude-list", "missing", "tree"], 1, "missing: No such file"),
        (["-o", "missing/a.iso", "-r", "tree"], 1, "missing"),
        (["-o", "a.iso", "-r", "tree", "umlaut"], 1, "in more than one source: hello.txt; "),
        (["-o", "tree", "-r", "tree"], 2, "tree is a directory"),
        (["-o", "a.iso", "-input-charset", "koi8-r", "-r", "umlaut"], 1, "beyond ASCII"),
    ],
)
def test_failures_are_told_and_leave_what_was_there(arguments, status, text, tree, tmp_path):
    (tmp_path / "umlaut").mkdir()
    (tmp_path / "umlaut" / "ä").write_text("")
    (tmp_path / "umlaut" / "hello.txt").write_text("another")
    (tmp_path / "a.iso").write_text("old")
    done = vfloppy("genisoimage", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, b""), done
    assert text in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "a.iso").read_text() == "old"


def test_a_list_comes_by_standard_input(tree, tmp_path):
    image = tmp_path / "a.iso"
    done = vfloppy(
        "mkisofs", "-quiet", "-r", "-graft-points", "-path-list", "-", "-o", image,
        input=f"x/y={tree / 'hello.txt'}\n".encode(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"HELLO.TXT" not in image.read_bytes()


def test_the_volume_s_date_is_that_of_source_date_epoch(tree, tmp_path):
    image = tmp_path / "a.iso"
    environment = ENVIRONMENT | {"SOURCE_DATE_EPOCH": "86400"}
    for tool in (["genisoimage"], ["xorriso", "-as", "mkisofs"]):
        assert vfloppy(*tool, "-r", "-o", image, tree, env=environment).returncode == 0
        assert image.read_bytes()[32768 + 813 :][:16] == b"1970010200000000"
    given = ["--modification-date=2026112717073742"]
    assert vfloppy(*tool, *given, "-o", image, tree, env=environment).returncode == 0
    assert image.read_bytes()[32768 + 830 :][:16] == b"2026112717073742"
    done = vfloppy("genisoimage", "-o", image, tree, env=environment | {"SOURCE_DATE_EPOCH": "x"})
    assert done.returncode == 2
    assert b"SOURCE_DATE_EPOCH is 'x'" in done.stderr


def test_xorriso_takes_the_last_of_two_files(tree, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "hello.txt").write_text("the last one")
    done = vfloppy("xorrisofs", "-quiet", tree, tmp_path / "more")
    assert done.returncode == 0, done.stderr
    assert b"the last one" in done.stdout


def test_help_lists_what_is_honoured(tmp_path):
    """grub-mkrescue looks there for what it may use."""
    text = vfloppy("xorriso", "-as", "mkisofs", "-help").stdout.decode()
    for word in ("graft-points", "grub2-boot-info", "efi-boot-part"):
        assert word in text
    assert "-hfsplus" not in text
    assert vfloppy("mkisofs", "--help").returncode == 0


def test_a_reader_that_leaves_is_no_disaster(tree):
    (tree / "large").write_bytes(bytes(1 << 24))
    command = ["sh", "-c", f"{shlex.join(VFLOPPY)} genisoimage -r {tree} | head -c 10 >/dev/null"]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, cwd="/", check=False)
    assert b"Traceback" not in done.stderr
