"""Disks that foreign programs have written to: what is harvested is what foreign readers find."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from compare import assert_same
from firmware import ovmf
from recording import Recorder, Replay
from tools import need_tool, output, run
from trees import settle_times
from written import Contents, Guest, applied, harvested, said

DISKS = {
    "fat32": {"size": "+8M"},
    "fat32-gpt": {"partition": "gpt", "size": "+8M"},
    "fat32-bare": {"partition": "none", "cluster_size": 512, "fat": 32, "size": "+8M"},
    "fat16": {"fat": 16, "size": "9M"},
    "fat12": {"fat": 12, "partition": "none", "size": "4M"},
    "floppy": {"floppy": "2.88M"},
}


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    generator = random.Random(7)
    for folder in ("", "docs", "docs/old", "empty", "System"):
        (root / folder).mkdir(exist_ok=True)
        for number in range(4 if folder != "empty" else 0):
            size = generator.choice((1, 511, 4096, 4097, 20_000))
            name = f"file number {number} of {folder.replace('/', '-') or 'root'}.txt"
            (root / folder / name).write_bytes(generator.randbytes(size))
    (root / "README").write_bytes(b"read me\n")
    (root / "UPPER.TXT").write_bytes(b"upper\n" * 1000)
    (root / "void").touch()
    (root / "grüße.txt").write_bytes(b"greetings")
    settle_times(root)
    return root


# Each type has its writers in one of the three tests below: all in all take a minute more.
ACROSS = ("fat32", "fat12")


def by_mtools(guest: Guest, scratch: Path) -> list[tuple[str, list[str]]]:
    """Operations by name, each with the command that does it."""
    new, small = scratch / "new", scratch / "small"
    new.write_bytes(random.randbytes(30_000))
    small.write_bytes(b"few bytes")
    return [
        ("create", ["mcopy", str(new), "::/A New Name, of mine.bin"]),
        ("create odd names", ["mcopy", str(small), "::/docs/+,;=[] grüße 日本.x.y"]),
        ("replace by a longer one", ["mcopy", "-o", str(new), "::/README"]),
        ("replace by a shorter one", ["mcopy", "-o", str(small), "::/UPPER.TXT"]),
        ("make directories", ["mmd", "::/Made", "::/Made/Within"]),
        ("move a directory", ["mmove", "::/docs", "::/Made/Within/Docs"]),
        ("move a file", ["mmove", "::/README", "::/Made/Moved Readme"]),
        ("rename", ["mren", "::/grüße.txt", "::/Other Greetings.txt"]),
        ("remove an empty file", ["mdel", "::/void"]),
        ("remove a tree", ["mdeltree", "::/System"]),
        ("remove a directory", ["mrd", "::/empty"]),
        ("make read-only", ["mattrib", "+r", "::/Made/Moved Readme"]),
        ("fill the place", ["mcopy", str(new), "::/void"]),
    ]


@pytest.mark.parametrize("name", DISKS)
def test_what_mtools_writes(tree, tmp_path, name):
    need_tool("mcopy")
    guest = Guest(tree, tmp_path, DISKS[name])
    told: list[str] = []
    for what, command in by_mtools(guest, tmp_path):
        output(command[0], "-i", f"{guest.written}@@{guest.offset}", *command[1:])
        told = guest.check(guest.written, what)
    assert set(told) >= {
        "created Made",
        "created Made/Within",
        "created A New Name, of mine.bin",
        "renamed grüße.txt -> Other Greetings.txt",
        "moved docs -> Made/Within/Docs",
        "created Made/Within/Docs/+,;=[] grüße 日本.x.y",
        "removed README",
        "changed UPPER.TXT",
        "changed void",
        "removed System",
        "removed empty",
    }


GUESTFISH = [
    ("nothing", []),
    ("create", ["write '/a new file with a long name.txt' 'some text'"]),
    ("create an empty file", ["touch /new-empty"]),
    ("create a large file", ["fill 97 3000000 /docs/large.bin"]),
    ("grow", ["write-append /README 'and then some more'"]),
    ("grow by clusters", ["fill 98 50000 /more", "upload SOURCE /UPPER.TXT"]),
    ("overwrite in the middle", ["pwrite /docs/large.bin 'in the middle' 1234567"]),
    ("overwrite one that was served", ["pwrite '/docs/LARGEST' 'xyz' 5000"]),
    ("shrink", ["truncate-size /docs/LARGEST 4097"]),
    ("shrink to nothing", ["truncate /grüße.txt"]),
    ("rename", ["rename '/System/one.txt' '/System/one renamed.txt'"]),
    ("rename in case only", ["rename /README /t", "rename /t /Readme"]),
    ("move a file", ["rename /System/two.txt /docs/two.txt"]),
    ("move an empty file", ["rename /void /empty/void"]),
    ("move a directory", ["rename /docs /System/docs"]),
    ("rename a directory", ["rename /System/docs/old '/System/docs/Older ones'"]),
    ("rename a directory in case only", ["rename /System /t", "rename /t /SYSTEM"]),
    ("move out and remove", ["rename /tree/deep/deeper/x /x", "rm-rf /tree"]),
    (
        "replace by a temporary file",
        ["upload SOURCE /three.tmp", "rename /three.tmp /SYSTEM/three.txt"],
    ),
    ("keep a copy", ["rename /SYSTEM/four.txt /SYSTEM/four.txt~", "write /SYSTEM/four.txt 'new'"]),
    ("change places", ["rename /left /t", "rename /right /left", "rename /t /right"]),
    (
        "change places of directories",
        ["rename /ldir /t", "rename /rdir /ldir", "rename /t /rdir"],
    ),
    ("turn three", ["rename /1 /t", "rename /2 /1", "rename /3 /2", "rename /t /3"]),
    ("remove", ["rm /SYSTEM/five.txt"]),
    ("make directories", ["mkdir-p '/made/with/many a level'", "mkdir /made/empty"]),
    ("make and remove", ["mkdir /gone", "touch /gone/x", "rm-rf /gone"]),
    ("remove a directory", ["rmdir /other-empty"]),
    ("a file for a directory", ["rm-rf /kind", "write /kind 'now a file'"]),
    ("a directory for a file", ["rm /kind2", "mkdir /kind2", "touch /kind2/x"]),
    ("same bytes again", ["cp /same /t", "cp /t /same", "rm /t"]),
    ("log rotation", ["rename /log.1 /log.2", "rename /log /log.1", "write /log new"]),
    ("odd names", ["touch '/.hidden'", "touch '/x.tar.gz'", "touch '/日本語 + [é].txt'"]),
    ("255 characters", ["write '/" + "n" * 255 + "' x"]),
    ("many", [f"write '/made/empty/file {n}' {n}" for n in range(60)]),
    ("junk", ["mkdir '/System Volume Information'", "write '/System Volume Information/x' y"]),
]


@pytest.fixture
def richer(tree) -> Path:
    for folder in ("tree/deep/deeper", "ldir", "rdir", "other-empty", "kind"):
        (tree / folder).mkdir(parents=True)
    for number in ("one", "two", "three", "four", "five"):
        (tree / "System" / f"{number}.txt").write_text(number * 1000)
    (tree / "docs" / "LARGEST").write_bytes(random.randbytes(70_000))
    for name in ("1", "2", "3", "left", "right", "ldir/of left", "rdir/of right", "kind2", "same",
                 "log", "log.1", "tree/deep/deeper/x", "tree/deep/y"):  # fmt: skip
        (tree / name).write_text(f"content of {name}\n" * 9)
    settle_times(tree)
    return tree


@pytest.mark.parametrize("name", ACROSS)
def test_what_linux_writes(richer, tmp_path, name):
    need_tool("guestfish", "mcopy")
    guest = Guest(richer, tmp_path, DISKS[name])
    source = tmp_path / "source"
    source.write_bytes(random.randbytes(40_000))
    device = "/dev/sda" if not guest.offset else "/dev/sda1"
    script = ["run"]
    for number, (_, commands) in enumerate(GUESTFISH):
        script += [f"mount-options utf8 {device} /"]
        script += [each.replace("SOURCE", str(source)) for each in commands]
        script += ["umount-all", f"!cp --sparse=always {guest.written} {tmp_path}/state{number}"]
    command = ("guestfish", "--format=raw", "-a", str(guest.written))
    done = run(*command, input="\n".join(script).encode(), timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    told: list[str] = []
    for number, (what, _) in enumerate(GUESTFISH):
        state = tmp_path / f"state{number}"
        if what == "junk":
            told = guest.check(state, what, without_junk(guest.read(state)))
        else:
            told = guest.check(state, what)
        if what == "nothing":
            assert told == []
        state.unlink()
    assert set(told) >= LINUX_CHANGES, LINUX_CHANGES - set(told)
    assert not [each for each in told if each.endswith((" same", " docs/old"))]


def without_junk(contents: Contents) -> Contents:
    return {path: data for path, data in contents.items() if "System Volume" not in path}


@pytest.mark.parametrize("name", ["fat16"])
def test_each_moment_of_what_linux_writes(richer, tmp_path, name):
    """Cut off after any write: the reason why nothing can be said, or what a reader finds."""
    need_tool("guestfish", "mcopy")
    guest = Guest(richer, tmp_path, DISKS[name])
    source = tmp_path / "source"
    source.write_bytes(random.randbytes(40_000))
    device = "/dev/sda" if not guest.offset else "/dev/sda1"
    with Recorder(guest.served.read_bytes(), tmp_path / "socket") as recorder:
        script = ["run", f"mount-options utf8 {device} /"]
        for number, (_, commands) in enumerate(GUESTFISH):
            script += [each.replace("SOURCE", str(source)) for each in commands]
            script += ["sync", f"!touch {recorder.mark(number)}"]
        script += ["umount-all"]
        done = run("guestfish", "-a", recorder.uri, input="\n".join(script).encode(), timeout=600)
        assert done.returncode == 0, done.stderr.decode()
    count, told = check_moments(guest, recorder)
    assert len(recorder.quiet) == len(GUESTFISH)
    assert count > len(GUESTFISH)
    assert told >= LINUX_CHANGES


def check_moments(guest: Guest, recorder: Recorder) -> tuple[int, set[str]]:
    """Hold each prefix of a trace, where nothing is wrong but a mark, against a foreign reader.

    Return the number of these, and the changes at the end, in words.
    """
    replay = Replay(guest.served.read_bytes())
    image = guest.folder / "moment"
    count, faults = 0, [""]
    for at, step in enumerate(recorder.trace, 1):
        if step is not None:
            replay.write(*step)
            changes = harvested(guest.disk, replay, allow_removals=True)
            faults = [each for each in changes.problems if "marked as mounted" not in each]
        if step is not None and not faults:
            image.write_bytes(replay.data)
            expected = without_junk(guest.read(image))
            assert_same(applied(guest.before, changes), expected, f"after write {at}")
            count += 1
        assert not (at in recorder.quiet and faults), faults
    assert changes.problems == ()
    return count, {said(each) for each in changes.changes}


LINUX_CHANGES = {
    "renamed System -> SYSTEM",
    "moved docs -> SYSTEM/docs",
    "renamed docs/old -> SYSTEM/docs/Older ones",
    "renamed left -> right",
    "renamed right -> left",
    "renamed ldir -> rdir",
    "renamed rdir -> ldir",
    "renamed 1 -> 3",
    "renamed 2 -> 1",
    "renamed 3 -> 2",
    "renamed rewritten README -> Readme",
    "moved void -> empty/void",
    "moved tree/deep/deeper/x -> x",
    "removed tree/deep/y",
    "removed tree",
    "changed SYSTEM/three.txt",
}


SHELL = r"""@echo -off
FS0:
mkdir made
mkdir made\within
cp README made\copy-of-readme.txt
cp docs\LARGEST "made\A Long Name.bin"
mv UPPER.TXT Renamed.upper
mv "System\one.txt" made\one.txt
mv void made\void
mv tree\deep made\within\deep
mv ldir rdir\ldir
rm -q docs\old
cp -q docs\LARGEST left
rm -q 1
cp -q 2 1
echo some words >New-File-Of-Words.txt
echo more words >>New-File-Of-Words.txt
attrib +r same
mv docs Docs2
reset -s
"""


SHELL_CHANGES = {
    "renamed docs -> Docs2",
    "renamed UPPER.TXT -> Renamed.upper",
    "moved System/one.txt -> made/one.txt",
    "moved void -> made/void",
    "moved tree/deep -> made/within/deep",
    "moved ldir -> rdir/ldir",
    "created made/A Long Name.bin",
    "changed left",
    "changed 1",
    "removed docs/old",
}


@pytest.mark.parametrize("name", ["fat32-bare", "fat12"])
def test_each_moment_of_what_the_uefi_shell_writes(richer, tmp_path, name):
    """It flushes after each step, and its mark of use is seldom on the disk."""
    need_tool("qemu-system-x86_64", "mcopy")
    (richer / "startup.nsh").write_bytes(SHELL.replace("\n", "\r\n").encode())
    settle_times(richer)
    guest = Guest(richer, tmp_path, DISKS[name])
    with Recorder(guest.served.read_bytes(), tmp_path / "socket") as recorder:
        uri = recorder.uri.replace("nbd://", "nbd+unix:///")
        machine = (
            "qemu-system-x86_64 -accel tcg -machine q35 -m 256 -nodefaults -no-reboot -display "
            f"none -serial stdio -monitor none {ovmf(tmp_path)} "
            f"-drive file={uri},format=raw,if=virtio"
        )
        done = run("timeout", "240", *machine.split(), timeout=300)
        assert done.returncode == 0, done.stdout[-2000:]
    count, told = check_moments(guest, recorder)
    assert count > len(SHELL_CHANGES)
    assert told >= SHELL_CHANGES, SHELL_CHANGES - told
