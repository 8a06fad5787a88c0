"""The command line: statuses, one-line errors, and that a build leaves all or nothing."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from compare import assert_same
from tools import ENVIRONMENT, VFLOPPY, missing_dependency, output, run, vfloppy

AS_ROOT = os.geteuid() == 0
NOBODY = 65534


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "hello.txt").write_text("hello")
    (root / "sub" / "data.bin").write_bytes(random.randbytes(100_000))
    return root


def failure(done: subprocess.CompletedProcess[bytes], status: int = 1) -> str:
    """The single line of a failure."""
    text = done.stderr.decode()
    assert done.returncode == status, text
    assert text.startswith("vfloppy: ")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def test_version_and_help():
    assert output(*VFLOPPY, "--version").startswith("vfloppy 0.")
    text = output(*VFLOPPY, "--help")
    for command in ("bench", "build", "check", "completion", "map", "presets", "serve", "verify"):
        assert command in text
        assert "Usage" in output(*VFLOPPY, command, "--help")
    for command in ("build", "check", "map", "serve"):
        assert "Examples:" in output(*VFLOPPY, command, "--help")


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_completion(shell):
    assert "_VFLOPPY_COMPLETE" in output(*VFLOPPY, "completion", shell)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "No such command"),
        (["build", "--label", "far too long a label", "{tree}", "x"], "at most 11"),
        (["build", "--label", "a:b", "{tree}", "x"], "can't be written"),
        (["build", "--size", "64Q", "{tree}", "x"], "no size"),
        (["build", "--volume-id", "12", "{tree}", "x"], "no volume id"),
        (["build", "--graft", "nothing", "{tree}", "x"], "TARGET=SOURCE"),
        (["build", "--floppy", "1.44M", "--size", "3M", "{tree}", "x"], "goes without --size"),
        (["build", "--fat", "13", "{tree}", "x"], "13"),
        (["build", "{tree}"], "no directory"),
        (["build", "{tree}", "{tree}"], "is a directory"),
        (["build", "{tree}", "/dev/null"], "--force"),
        (["serve", "-U", "x", "-p", "1", "{tree}"], "goes without"),
        (["serve", "-p", "99999", "{tree}"], "99999"),
        (["serve", "--single", "fat:rw:{tree}"], "fat:rw: goes without --single"),
        (["serve", "fat:12:16:{tree}"], "at once"),
        (["serve", "--fat", "16", "fat:12:{tree}"], "QEMU's fat:12: goes without --fat"),
        (["serve", "--size", "1G", "fat:floppy:{tree}"], "fat:floppy: goes without --size"),
        (["serve", "--for", "dos", "fat:{tree}"], "fat: goes without --for"),
        (["serve"], "no directory"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(tree, tmp_path, arguments, words):
    arguments = [word.format(tree=tree) for word in arguments]
    assert words in failure(run(*VFLOPPY, *arguments, cwd=tmp_path), 2)


@pytest.mark.parametrize(
    ("command", "directory", "words"),
    [
        *((each, "missing", "no such directory") for each in ("build", "check", "map", "serve")),
        *((each, "file", "not a directory") for each in ("check", "map")),
        *((each, "file", "is empty, and an image is expected") for each in ("build", "serve")),
    ],
)
def test_a_directory_that_is_none(tmp_path, command, directory, words):
    (tmp_path / "file").touch()
    out = [str(tmp_path / "out.img")] if command == "build" else []
    assert words in failure(vfloppy(command, str(tmp_path / directory), *out))
    assert not (tmp_path / "out.img").exists()


@pytest.mark.skipif(not AS_ROOT, reason="only root can become somebody who may read less")
def test_what_may_not_be_read_is_refused_or_skipped(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    (root / "open").write_text("open")
    (root / "secret").write_text("secret")
    (root / "secret").chmod(0o600)
    (root / "closed").mkdir(mode=0o700)
    for path in (root, *root.parents):
        path.chmod(path.stat().st_mode | 0o755)
    assert "closed, secret" in failure(as_nobody("map", root))
    assert "--skip-unreadable" in failure(as_nobody("map", root))
    report = json.loads(as_nobody("map", "--json", "--skip-unreadable", root).stdout)
    assert sorted(each["path"] for each in report["skipped"]) == ["closed", "secret"]
    root.chmod(0o700)
    assert "can't be opened: Permission denied" in failure(as_nobody("map", root))


def as_nobody(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Runs the command line as somebody else, who may not even read this Python's modules."""
    script = (
        f"import os, vfloppy.cli.commands.{command}; from vfloppy.cli import main; "
        "from vfloppy.library.preload import preload; preload(everything=True); "
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); main()"
    )
    return run(sys.executable, "-c", script, command, *arguments)


@pytest.mark.skipif(not AS_ROOT, reason="only root can become somebody who may read less")
def test_what_links_and_grafts_lead_to_may_not_be_read_either(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    (root / "open").write_text("open")
    (root / "secret").write_text("secret")
    (root / "secret").chmod(0o600)
    (root / "closed").mkdir(mode=0o700)
    (root / "to secret").symlink_to("secret")
    (root / "to closed").symlink_to("closed")
    for path in (root, *root.parents):
        path.chmod(path.stat().st_mode | 0o755)
    options = ("--symlinks", "follow", "--graft", f"graft={root}/secret")
    text = failure(as_nobody("map", *options, root))
    assert "may not be read: closed, secret, to closed and 2 more" in text
    report = json.loads(as_nobody("map", "--json", "--skip-unreadable", *options, root).stdout)
    assert sorted(each["path"] for each in report["skipped"]) == [
        "closed", "graft", "secret", "to closed", "to secret",
    ]  # fmt: skip
    assert [each["name"] for each in report["regions"] if each["kind"] == "file"] == ["open"]


def test_a_tree_that_does_not_fit(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    with open(root / "huge", "wb") as file:
        file.truncate(1 << 32)
    text = failure(vfloppy("build", root, tmp_path / "out.img"))
    assert "huge (4294967296)" in text
    with open(root / "huge", "wb") as file:
        file.truncate((1 << 32) - 1)
    assert vfloppy("map", root).returncode == 0
    with open(root / "huge", "ab") as file:
        file.truncate(1 << 32)
    assert vfloppy("map", "--skip-large", root).returncode == 0
    assert not (tmp_path / "out.img").exists()


def test_seventy_thousand_files_in_a_directory_are_refused(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(70_000):
        (root / f"{number}").touch()
    text = failure(vfloppy("map", root))
    assert "70000 names" in text
    assert "65536" in text


def test_build_writes_a_sparse_file(tree, tmp_path):
    image = tmp_path / "out.img"
    assert vfloppy("build", "-q", tree, image).returncode == 0
    status = image.stat()
    assert status.st_size > 250 << 20
    assert status.st_blocks * 512 < 2 << 20


def test_build_to_standard_output_is_the_same_bytes(tree, tmp_path):
    vfloppy("build", "-q", "--floppy", "1.44M", tree, tmp_path / "out.img")
    done = vfloppy("build", "-q", "--floppy", "1.44M", tree, "-")
    assert_same(done.stdout, (tmp_path / "out.img").read_bytes())


def test_out_inside_the_directory_does_not_swallow_itself(tree):
    image = tree / "out.img"
    vfloppy("build", "-q", tree, image)
    first = image.read_bytes()
    assert b"OUT     IMG" not in first
    vfloppy("build", "-q", tree, image)
    assert_same(image.read_bytes(), first)


def test_build_follows_a_link_that_is_out_and_keeps_its_mode(tree, tmp_path):
    (tmp_path / "real.img").touch(mode=0o640)
    (tmp_path / "link.img").symlink_to("real.img")
    assert vfloppy("build", "-q", tree, tmp_path / "link.img").returncode == 0
    assert (tmp_path / "link.img").is_symlink()
    assert (tmp_path / "real.img").stat().st_size > 0
    assert (tmp_path / "real.img").stat().st_mode & 0o777 == 0o640


def test_force_writes_over_what_is_no_file(tree, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    copy = tmp_path / "copy"
    with open(copy, "wb") as target, subprocess.Popen(["cat", fifo], stdout=target):
        done = vfloppy("build", "-q", "--force", "--floppy", "1.44M", tree, fifo)
    assert done.returncode == 0
    assert copy.stat().st_size == 1440 << 10


def nothing_half_made(folder: Path, old: bytes | None) -> None:
    """OUT is as it was, and nothing lies beside it."""
    names = sorted(path.name for path in folder.iterdir())
    if old is None:
        assert names == []
    else:
        assert names == ["out.img"]
        assert_same((folder / "out.img").read_bytes(), old)


@pytest.mark.parametrize("old", [None, b"the old image"])
def test_a_file_size_limit_leaves_nothing_half_made(tree, tmp_path, old):
    folder = tmp_path / "out"
    folder.mkdir()
    if old:
        (folder / "out.img").write_bytes(old)
    done = run(
        *VFLOPPY, "build", "-q", str(tree), str(folder / "out.img"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )  # fmt: skip
    assert "larger than a file may be" in failure(done)
    nothing_half_made(folder, old)


@pytest.mark.skipif(not AS_ROOT, reason="only root can mount a small file system")
def test_a_full_disk_leaves_nothing_half_made(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(random.randbytes(3 << 20))
    folder = tmp_path / "small"
    folder.mkdir()
    if run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)).returncode:
        missing_dependency("this kernel or container mounts no tmpfs")
    try:
        (folder / "out.img").write_bytes(b"the old image")
        done = vfloppy("build", "-q", tree, folder / "out.img")
        assert "no space left" in failure(done)
        nothing_half_made(folder, b"the old image")
    finally:
        run("umount", str(folder))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing_half_made(tmp_path, number):
    """The build waits in the middle, for a file of the tree that is a full pipe's other end."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "out.img").write_bytes(b"the old image")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "data").write_bytes(b"data")
    stop_in_the_middle = (
        "import sys, time, os\n"
        "from vfloppy.synth.output import writer as write\n"
        "def wait(*_):\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "write._pwrite_all = wait\n"
        "from vfloppy.cli import main\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", stop_in_the_middle, "build", "-q", tree, folder / "out.img"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=ENVIRONMENT,
    )
    assert process.stdout
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + number
    assert b"Traceback" not in errors
    nothing_half_made(folder, b"the old image")


def test_a_changed_file_fails_the_build_and_leaves_the_old_image(tree, tmp_path):
    """Between scan and copying, a file shrinks."""
    out = tmp_path / "out.img"
    out.write_bytes(b"the old image")
    shrink = (
        "import os, sys\n"
        "from vfloppy.library import disk as disks\n"
        "scan = disks.scan\n"
        "def and_shrink(*a):\n"
        "    tree = scan(*a)\n"
        f"    os.truncate({str(tree / 'sub' / 'data.bin')!r}, 10)\n"
        "    return tree\n"
        "disks.scan = and_shrink\n"
        "from vfloppy.cli import main\n"
        "main()\n"
    )
    done = run(sys.executable, "-c", shrink, "build", "-q", str(tree), str(out))
    assert "data.bin has 10 bytes, 100000 at the scan" in failure(done)
    assert out.read_bytes() == b"the old image"


def test_a_reader_that_leaves_early_is_no_traceback(tree):
    command = " ".join([*VFLOPPY, "build", "-q", str(tree), "-", "|", "head", "-c", "10"])
    done = run("bash", "-o", "pipefail", "-c", command)
    assert done.returncode == 1
    assert done.stderr == b""


def test_a_full_standard_output_is_one_line(tree):
    with open("/dev/full", "wb") as full:
        done = run(*VFLOPPY, "build", "-q", str(tree), "-", stdout=full, capture_output=False,
                   stderr=subprocess.PIPE)  # fmt: skip
    assert "No space left" in failure(done)


def test_what_is_skipped_and_renamed_is_listed_and_counted(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a:b").touch()
    (root / "link").symlink_to("a:b")
    done = vfloppy("build", root, tmp_path / "out.img")
    lines = done.stderr.decode().splitlines()
    assert "vfloppy: skipped: link (symbolic link)" in lines
    assert "vfloppy: renamed: a:b to a_b" in lines
    assert lines[-1].endswith("skipped 1 (1 x symbolic link); renamed 1")
    failure(vfloppy("build", "--strict", root, tmp_path / "out.img"))


def test_long_lists_are_cut_and_say_so(tmp_path):
    for number in range(30):
        (tmp_path / f"link{number}").symlink_to("x")
    lines = vfloppy("map", tmp_path).stderr.decode().splitlines()
    assert lines[-1] == "vfloppy: skipped: 20 more; `vfloppy map --json` lists them all"
    report = json.loads(vfloppy("map", "--json", tmp_path).stdout)
    assert len(report["skipped"]) == 30


def test_map_lists_every_stretch(tree):
    table = output(*VFLOPPY, "map", str(tree))
    for words in ("master boot record", "FAT 1", "directory: /sub", "file: hello.txt", "free"):
        assert words in table
    report = json.loads(output(*VFLOPPY, "map", "--json", str(tree)))
    position = 0
    for region in report["regions"]:
        assert region["offset"] == position
        position += region["length"]
    assert position == report["size"]


def test_check_finds_nothing_or_something(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    (root / "fine").touch()
    assert vfloppy("check", root).returncode == 0
    (root / "COM1.txt").touch()
    os.utime(root / "fine", (0, 0))
    done = vfloppy("check", root)
    assert done.returncode == 1
    assert b"renamed: COM1.txt: becomes 'COM1_.txt': is a device's name" in done.stdout
    assert b"clamped: fine" in done.stdout
    report = json.loads(vfloppy("check", "--json", root).stdout)
    assert {each["kind"] for each in report["findings"]} == {"renamed", "clamped"}


def test_check_knows_for_whom(tmp_path):
    (tmp_path / "😀").touch()
    assert vfloppy("check", "--for", "windows", tmp_path).returncode == 0
    done = vfloppy("check", "--for", "ovmf", tmp_path)
    assert done.returncode == 1
    assert b"beyond U+FFFF [DOS, EDK2, U-Boot]" in done.stdout


def test_check_says_what_would_be_refused(tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(5 << 30)
    done = vfloppy("check", tmp_path)
    assert done.returncode == 1
    assert b"refused: huge" in done.stdout


def test_presets_are_listed_and_can_be_overridden(tree, tmp_path):
    text = output(*VFLOPPY, "presets")
    assert "ovmf: --fat 32 --partition gpt --esp --label 'EFI SYSTEM'" in text
    assert "--order /IO.SYS --order /IBMBIO.COM" in text
    vfloppy("build", "-q", "--for", "floppy", tree, tmp_path / "floppy.img")
    assert (tmp_path / "floppy.img").stat().st_size == 1440 << 10
    vfloppy("build", "-q", "--for", "cidata", "--label", "OTHER", tree, tmp_path / "seed.img")
    assert b"OTHER      " in (tmp_path / "seed.img").read_bytes()[:512]


@pytest.mark.parametrize(
    ("name", "size", "fat"),
    [
        ("fat:", 1024 * 16 * 63 * 512, b"FAT16"),
        ("fat:16:", 1024 * 16 * 63 * 512, b"FAT16"),
        ("fat:12:", 64 * 16 * 63 * 512, b"FAT12"),
        ("fat:32:", 1024 * 16 * 63 * 512, b"FAT32"),
        ("fat:floppy:", 2880 << 10, b"FAT12"),
        ("fat:floppy:12:", 1440 << 10, b"FAT12"),
        ("fat:12:floppy:", 1440 << 10, b"FAT12"),
        ("fat:floppy:16:", 2880 << 10, b"FAT16"),
    ],
)
def test_qemu_s_names_mean_what_they_mean_to_qemu(tree, tmp_path, name, size, fat):
    image = tmp_path / "out.img"
    done = vfloppy("build", "-q", name + str(tree), image)
    assert (done.returncode, done.stderr) == (0, b"")
    data = image.read_bytes()
    assert len(data) == size
    volume = data if "floppy" in name else data[1 << 20 :]
    assert fat in volume[54:90]


def test_what_is_given_counts_more_than_what_qemu_s_names_mean(tree, tmp_path):
    image = tmp_path / "out.img"
    given = ("--label", "OTHER", "--size", "64M")
    assert vfloppy("build", "-q", *given, f"fat:{tree}", image).returncode == 0
    assert image.stat().st_size == 64 << 20
    assert image.read_bytes()[(1 << 20) + 43 :][:11] == b"OTHER      "


def test_on_fat_a_later_source_s_names_need_not_have_the_same_case(tree, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "HELLO.TXT").write_text("later")
    sources = (tree, tmp_path / "other")
    composed, apart = "caf\u00e9", "cafe\u0301"
    (tree / composed).touch()
    (tmp_path / "other" / apart).touch()
    vfloppy("build", "-q", "--normalize", "nfc", *sources, tmp_path / "out.img")
    listed = output("mdir", "-b", "-i", f"{tmp_path}/out.img@@1M", "::").split()
    assert set(listed) == {"::/sub/", f"::/{composed}", "::/hello.txt"}
    assert output("mtype", "-i", f"{tmp_path}/out.img@@1M", "::hello.txt") == "later"


@pytest.mark.parametrize("epoch", ["-99999999999999", "99999999999999"])
def test_an_epoch_may_be_as_far_away_as_anybody_likes(tree, tmp_path, epoch):
    environment = ENVIRONMENT | {"SOURCE_DATE_EPOCH": epoch}
    for name in ("out.img", "out.iso"):
        done = vfloppy("build", "-q", tree, tmp_path / name, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")


def test_grafts_excludes_and_merging(tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "hello.txt").write_text("later")
    (other / "skip.o").touch()
    manifest = tmp_path / "manifest.json"
    done = vfloppy(
        "build", "-q", "--graft", f"EFI/BOOT/x.efi={tree}/hello.txt", "--exclude", "*.o",
        "--manifest", manifest, tree, other, tmp_path / "out.img",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(manifest.read_text())
    files = {each["path"]: each for each in report["files"]}
    assert sorted(files) == [
        "EFI", "EFI/BOOT", "EFI/BOOT/x.efi", "hello.txt", "sub", "sub/data.bin",
    ]  # fmt: skip
    assert files["hello.txt"]["host_path"] == str(other / "hello.txt")
    assert files["EFI/BOOT/x.efi"]["host_path"] == str(tree / "hello.txt")
    assert report["skipped"] == [{"path": "skip.o", "reason": "excluded"}]
    text = failure(vfloppy("map", "--strict", tree, other))
    assert "in more than one source: hello.txt" in text


def test_the_manifest_reverses_renames(tmp_path):
    (tmp_path / "tree").mkdir()
    for name in ("a:b", "a_b", "Twin", "twin"):
        (tmp_path / "tree" / name).touch()
    manifest = tmp_path / "manifest.json"
    vfloppy("build", "-q", "--manifest", manifest, tmp_path / "tree", tmp_path / "out.img")
    files = json.loads(manifest.read_text())["files"]
    names = {each["long_name"]: each["path"] for each in files}
    assert names == {"a_b~2": "a:b", "a_b": "a_b", "Twin": "Twin", "twin~2": "twin"}
    assert len({each["short_name"] for each in files}) == 4


def test_source_date_epoch_limits_times(tree, tmp_path):
    images = []
    for time_ in (1_800_000_000, 1_900_000_000):
        os.utime(tree / "hello.txt", (time_, time_))
        done = vfloppy(
            "build", "-q", "--volume-id", "0000-0001", tree, tmp_path / "out.img",
            env=ENVIRONMENT | {"SOURCE_DATE_EPOCH": "1700000000"},
        )  # fmt: skip
        assert done.returncode == 0
        images.append((tmp_path / "out.img").read_bytes())
    assert_same(images[0], images[1])
    done = vfloppy("map", tree, env=ENVIRONMENT | {"SOURCE_DATE_EPOCH": "soon"})
    failure(done, 2)


def test_local_time(tree, tmp_path):
    os.utime(tree / "hello.txt", (1_700_000_000, 1_700_000_000))
    images = []
    for zone, option in (("UTC", "--utc"), ("Asia/Tokyo", "--local-time"), ("Asia/Tokyo", "--utc")):
        vfloppy(
            "build", "-q", "--volume-id", "0000-0001", option, tree, tmp_path / "out.img",
            env=ENVIRONMENT | {"TZ": zone},
        )  # fmt: skip
        images.append((tmp_path / "out.img").read_bytes())
    assert_same(images[0], images[2])
    assert images[0] != images[1]


def test_boot_code_comes_from_files_and_parameters_do_not(tree, tmp_path):
    code = tmp_path / "boot.bin"
    code.write_bytes(b"\xeb\x3c\x90" + bytes(59) + b"CODE".ljust(448, b"\x90") + b"\x55\xaa")
    mbr = tmp_path / "mbr.bin"
    mbr.write_bytes(b"MBRCODE".ljust(440, b"\x90"))
    image = tmp_path / "out.img"
    done = vfloppy("build", "-q", "--floppy", "1.44M", "--boot-sector", code, tree, image)
    assert (done.returncode, done.stderr) == (0, b"")
    sector = image.read_bytes()[:512]
    assert sector[62:66] == b"CODE"
    assert sector[11:13] == b"\x00\x02"
    assert sector[510:] == b"\x55\xaa"
    vfloppy("build", "-q", "--fat", "16", "--mbr-code", mbr, "--boot-sector", code, tree, image)
    sector = image.read_bytes()[:512]
    assert sector[:7] == b"MBRCODE"
    assert sector[446] == 0x80
    text = failure(vfloppy("build", "-q", "--boot-sector", code, tree, image))
    assert "FAT32" in text
    mbr.write_bytes(b"x" * 600)
    failure(vfloppy("build", "-q", "--mbr-code", mbr, tree, image))


def test_progress_is_shown_on_a_terminal_only(tree, tmp_path):
    command = " ".join([*VFLOPPY, "build", str(tree), str(tmp_path / "out.img")])
    shown = run("script", "-qec", command, "/dev/null", env=ENVIRONMENT | {"TERM": "xterm"})
    assert b"257.5 MiB" in shown.stdout
    assert b"\x1b[" in shown.stdout
    assert b"\x1b[" not in vfloppy("build", tree, tmp_path / "out.img").stderr


@pytest.mark.parametrize(
    ("options", "words"), [([], "sandbox: "), (["--no-sandbox"], "none (--no-sandbox)")]
)
def test_serving_says_what_confines_it(tree, options, words):
    done = vfloppy("serve", "-U", "-", *options, tree, "--run", "true")
    assert done.returncode == 0
    assert words in done.stderr.decode()
    assert done.stderr.decode().count("sandbox: ") == 1
