"""`vfloppy verify`: what is the same passes, and every kind of difference is told."""

from __future__ import annotations

import json
import os
import random
import resource
import sys

import pytest
from tools import ENVIRONMENT, need_tool, output, run, vfloppy

MTIME = 1_700_000_000


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "empty").mkdir(parents=True)
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / "sub" / "deeper" / "A long name, with Ümläuts.text").write_bytes(
        random.randbytes(70_000)
    )
    (root / "README.TXT").write_bytes(b"hello")
    (root / "nothing").touch()
    (root / "large.bin").write_bytes(random.randbytes(2_500_000))
    (root / "link").symlink_to("README.TXT")
    for path in [*root.rglob("*"), root]:
        os.utime(path, (MTIME, MTIME), follow_symlinks=False)
    return root


def built(tmp_path, tree, *options, name="disk.img"):
    image = tmp_path / name
    output(sys.executable, "-m", "vfloppy", "build", "-q", *options, tree, image)
    return image


def differences(image, tree, *options):
    """Pairs of kind and path, and the exit status."""
    done = vfloppy("verify", "--json", *options, str(image), str(tree))
    assert done.stderr == b""
    found = json.loads(done.stdout)["differences"]
    assert done.returncode == bool(found)
    return sorted((each["kind"], each["path"]) for each in found)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--fat", "12"),
        ("--fat", "16", "--size", "64M"),
        ("--partition", "gpt"),
        ("--partition", "none"),
        ("--sector-size", "4096"),
        ("--floppy", "2.88M", "--exclude", "large.bin", "--partition", "none"),
        ("--local-time",),
        ("--normalize", "nfc"),
        ("--format", "iso"),
        ("--format", "iso", "--no-rock-ridge"),
        ("--format", "iso", "--no-joliet", "--no-rock-ridge", "--iso-level", "1"),
        ("--format", "iso", "--symlinks", "follow"),
        ("--format", "iso", "--boot-bios", "large.bin"),
        ("--format", "iso", "--boot-uefi-dir", os.path.dirname(__file__), "--symlinks", "skip"),
    ],
    ids=" ".join,
)
def test_what_was_built_is_the_same(tmp_path, tree, options):
    if "--floppy" in options:
        options = options[:4]
    image = built(tmp_path, tree, *options)
    assert differences(image, tree, *options) == []


def test_a_boot_info_table_is_a_difference_where_nobody_asked_for_it(tmp_path, tree):
    image = built(tmp_path, tree, "--boot-bios", "large.bin", name="disk.iso")
    assert differences(image, tree) == [("bytes", "large.bin")]


def texts(image, tree, *options):
    found = json.loads(vfloppy("verify", "--json", *options, image, tree).stdout)["differences"]
    return [each["text"] for each in found if each["kind"] == "bytes"]


def test_a_boot_info_table_is_named(tmp_path, tree):
    """On the image, or in the directory's own file, into which mkisofs writes it."""
    file = tree / "large.bin"
    image = built(tmp_path, tree, "--boot-bios", "large.bin", name="disk.iso")
    on_image = "a boot info table on the image, which --boot-bios PATH expects there"
    assert texts(image, tree) == [f"differ only by {on_image}"]
    original = file.read_bytes()
    for place in (20, 64, 2_400_000):  # the table's, behind it, in another part of what is read
        file.write_bytes(original[:place] + b"another" + original[place + 7 :])
        os.utime(file, (MTIME, MTIME))
        only = f"differ from byte {place} on besides" if place > 20 else "differ only by"
        assert texts(image, tree) == [f"{only} {on_image}"]
    file.write_bytes(original)
    os.utime(file, (MTIME, MTIME))
    plain = built(tmp_path, tree, name="plain.iso")
    need_tool("genisoimage")
    command = ("genisoimage", "-quiet", "-b", "large.bin", "-no-emul-boot", "-boot-info-table")
    output(*command, "-o", str(tmp_path / "other.iso"), str(tree))
    on_host = "a boot info table in the directory's own file (mkisofs and genisoimage write it)"
    assert texts(plain, tree) == [f"differ only by {on_host}"]


@pytest.mark.parametrize("name", ["disk.img", "disk.iso"])
def test_what_changed_in_the_directory_is_told(tmp_path, tree, name):
    image = built(tmp_path, tree, name=name)
    (tree / "new").mkdir()
    os.utime(tree / "new", (MTIME, MTIME))
    (tree / "nothing").unlink()
    (tree / "README.TXT").write_bytes(b"Hello")  # its time, too
    with (tree / "large.bin").open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"other")
    os.utime(tree / "large.bin", (MTIME, MTIME))
    (tree / "sub" / "deeper" / "A long name, with Ümläuts.text").write_bytes(b"short")
    os.utime(tree / "sub" / "deeper" / "A long name, with Ümläuts.text", (MTIME, MTIME))
    found = differences(image, tree)
    expected = [
        ("bytes", "README.TXT"),
        ("bytes", "large.bin"),
        ("missing", "new"),
        ("size", "sub/deeper/A long name, with Ümläuts.text"),
        ("time", "README.TXT"),
        ("unexpected", "nothing"),
    ]
    assert set(expected) <= set(found)
    of_times = {kind for kind, _ in found if (kind, _) not in expected}
    assert of_times <= {"time", "missing", "size", "unexpected"}  # of Joliet's names
    assert [each for each in differences(image, tree, "--no-times") if each[0] == "time"] == []


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((), 4 << 20),
        (("--partition", "gpt", "--sector-size", "4096"), 5 << 20),
        (("--partition", "none", "--fat", "16"), 4 << 20),
        (("--floppy", "2.88M", "--exclude", "large.bin"), 2 << 20),
        (("--format", "iso"), -2048),
    ],
    ids=str,
)
def test_an_image_that_was_cut_off_is_not_the_same(tmp_path, tree, options, kept):
    image = built(tmp_path, tree, *options)
    os.truncate(image, kept if kept > 0 else image.stat().st_size + kept)
    found = vfloppy("verify", *options, image, tree)
    assert found.returncode == 1
    assert b"size: /: the image ends " in found.stdout


def test_paths_in_joliet_s_tree_can_be_read(tmp_path, tree):
    image = built(tmp_path, tree, "--no-rock-ridge", name="disk.iso")
    (tree / "sub" / "deeper" / "\u012f").touch()  # whose UTF-16 has a slash
    found = differences(image, tree, "--no-rock-ridge", "--no-times")
    assert ("missing", "sub/deeper/\u012f") in found
    assert all(kind == "missing" for kind, _ in found)


def test_directories_in_a_circle_are_an_error_and_no_end(tmp_path, tree):
    """The name of one `.` has changed, so that it is a directory as any other."""
    options = ("--partition", "none", "--fat", "12")
    image = built(tmp_path, tree, *options)
    data = image.read_bytes()
    at = data.index(b".          \x10")
    image.write_bytes(data[:at] + b"X" + data[at + 1 :])
    done = vfloppy("verify", *options, image, tree, timeout=60)
    assert done.returncode == 1
    assert b"is a directory that was there before" in done.stderr


def test_damage_to_the_records_of_an_iso_is_told_in_a_line(tmp_path, tree):
    image = built(tmp_path, tree, name="disk.iso")
    data = image.read_bytes()
    for at in range(data.index(b"README.TXT;1") - 33, data.index(b"README.TXT;1") + 120, 3):
        image.write_bytes(data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :])
        done = vfloppy("verify", image, tree, timeout=60)
        assert done.returncode in (0, 1)
        assert b"Traceback" not in done.stderr
        assert done.stderr.count(b"\n") <= 1


def test_another_file_s_bytes_in_joliet_s_tree_alone_are_told(tmp_path, tree):
    for name in ("one", "two"):
        (tree / name).write_bytes(name.encode() * 1000)
        os.utime(tree / name, (MTIME, MTIME))
    image = built(tmp_path, tree, name="disk.iso")
    data = bytearray(image.read_bytes())
    spots = [data.index(name.encode("utf-16-be")) - 31 for name in ("one", "two")]
    extents = [bytes(data[at : at + 8]) for at in spots]
    for at, extent in zip(spots, reversed(extents), strict=True):
        data[at : at + 8] = extent
    image.write_bytes(data)
    assert differences(image, tree) == [("bytes", "one"), ("bytes", "two")]


def test_a_link_that_has_become_a_file_is_told(tmp_path, tree):
    (tree / "link").unlink()
    (tree / "link").touch()
    image = built(tmp_path, tree, "--no-joliet", name="disk.iso")
    (tree / "link").unlink()
    (tree / "link").symlink_to("README.TXT")
    assert ("target", "link") in differences(image, tree, "--no-times")


def test_links_are_compared_by_where_they_lead(tmp_path, tree):
    image = built(tmp_path, tree, name="disk.iso")
    (tree / "link").unlink()
    (tree / "link").symlink_to("nothing")
    os.utime(tree / "link", (MTIME, MTIME), follow_symlinks=False)
    assert ("target", "link") in differences(image, tree, "--no-times")


def test_what_others_did_to_the_disk_is_told(tmp_path, tree):
    image = built(tmp_path, tree, "--partition", "none", "--size", "+8M")
    (tmp_path / "other").write_bytes(b"HELLO")
    output("mdel", "-i", str(image), "::nothing")
    output("mmd", "-i", str(image), "::sub/unknown")
    output("mdel", "-i", str(image), "::README.TXT")
    output("mcopy", "-i", str(image), str(tmp_path / "other"), "::README.TXT")
    found = differences(image, tree, "--no-times", "--partition", "none")
    assert found == [
        ("bytes", "README.TXT"),
        ("missing", "nothing"),
        ("unexpected", "sub/unknown"),
    ]


def test_a_disk_that_mtools_made_is_the_same(tmp_path, tree):
    image = tmp_path / "other.img"
    (tree / "link").unlink()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    output("mkfs.fat", "-F", "32", "-s", "1", str(image))
    output("mcopy", "-s", "-i", str(image), *map(str, tree.iterdir()), "::")
    assert differences(image, tree, "--no-times") == []


def test_a_disk_that_xorriso_made_is_the_same(tmp_path, tree):
    image = tmp_path / "other.iso"
    output("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", str(image), str(tree))
    assert differences(image, tree, "--no-joliet") == []


@pytest.mark.parametrize("form", ["fat", "iso"])
@pytest.mark.parametrize("where", [("-U", "-"), ("-p", "0")], ids=["unix", "tcp"])
def test_an_export_is_read_by_its_uri(tree, form, where):
    command = f"{sys.executable} -m vfloppy verify \"$uri\" '{tree}'"
    done = vfloppy("serve", "-q", "--format", form, *where, str(tree), "--run", command)
    assert done.returncode == 0, done.stderr
    assert b"0 differences" in done.stdout


@pytest.mark.parametrize(
    ("image", "what", "status"),
    [
        ("nowhere.img", "nowhere.img: No such file", 2),
        ("nbd+unix:///?socket=/nowhere", "No such file", 1),
        ("nbd+unix:///", "?socket=PATH is missing", 1),
        ("nbds://localhost", "TLS is not spoken here", 1),
        ("nbd://localhost:bad", "bad", 1),
    ],
)
def test_what_is_not_there_is_said(tmp_path, tree, image, what, status):
    done = vfloppy("verify", image, str(tree), cwd=tmp_path)
    assert done.returncode == status
    assert what in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_an_export_of_another_name_is_refused_in_words(tree):
    command = f"{sys.executable} -m vfloppy verify \"nbd+unix:///x?socket=$unixsocket\" '{tree}'"
    done = vfloppy("serve", "-q", "-U", "-", str(tree), "--run", command)
    assert done.returncode == 1
    assert b"refused the export 'x'" in done.stderr


@pytest.mark.parametrize("cut", [10, 40_000, 1 << 20, (1 << 20) + 700])
@pytest.mark.parametrize("name", ["disk.img", "disk.iso"])
def test_a_broken_image_is_one_line(tmp_path, tree, name, cut):
    image = built(tmp_path, tree, name=name)
    os.truncate(image, cut)
    done = vfloppy("verify", str(image), str(tree))
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") == 1 or b"difference" in done.stdout


def test_a_reader_that_is_not_installed_is_named(tmp_path, tree):
    image = built(tmp_path, tree)
    code = (
        "import sys; sys.modules['pyfatfs'] = None; sys.argv[0] = 'vfloppy';"
        "from vfloppy.cli import main; main()"
    )
    done = run(sys.executable, "-c", code, "verify", image, tree)
    assert done.returncode == 1
    assert b"pip install 'vfloppy[verify]'" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_links_lead_where_they_lead(tmp_path, tree):
    for number, target in enumerate(["/", "//", "/a/", ".", "..", "../", "a//b", "/.."]):
        (tree / f"to{number}").symlink_to(target)
        os.utime(tree / f"to{number}", (MTIME, MTIME), follow_symlinks=False)
    image = built(tmp_path, tree, name="disk.iso")
    assert differences(image, tree) == []
    (tree / "to0").unlink()
    (tree / "to0").symlink_to("/x")
    found = differences(image, tree, "--no-times")
    assert [kind for kind, _path in found] == ["target"]


def _with_little_memory():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


@pytest.mark.parametrize(
    ("name", "place", "field"),
    [
        ("disk.img", 36, b"\xff\xff\xff\x7f"),  # BPB_FATSz32
        ("disk.img", 32, b"\xff\xff\xff\xff"),  # BPB_TotSec32
        ("disk.img", 44, b"\xff\xff\xff\x0f"),  # BPB_RootClus
        ("disk.img", 13, b"\x00"),  # BPB_SecPerClus
        ("disk.iso", 16 * 2048 + 132, b"\xff\xff\xff\xff" * 2),  # the path table's size
        ("disk.iso", 16 * 2048 + 156 + 10, b"\x00\xf8\xff\xff\xff\xff\xf8\x00"),  # the root's
        ("disk.iso", 16 * 2048 + 156 + 2, b"\xff\xff\xff\xff" * 2),  # where that is
    ],
    ids=str,
)
def test_fields_that_say_too_much_take_no_memory(tmp_path, tree, name, place, field):
    options = ["--partition", "none"] if name == "disk.img" else []
    image = built(tmp_path, tree, *options, name=name)
    with open(image, "r+b") as file:
        file.seek(place)
        file.write(field)
    done = vfloppy(
        "verify", *options, image, tree, preexec_fn=_with_little_memory,
        env=ENVIRONMENT | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    said = done.stderr.decode()
    assert done.returncode == 1, said
    assert "Traceback" not in said, said
    assert "MemoryError" not in said, said
    assert said.count("\n") == 1 or b"difference" in done.stdout, said
