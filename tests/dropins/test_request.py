"""Command lines of mkisofs and its like, and what is asked of the library."""

from __future__ import annotations

import pytest
from vfloppy.dropins.paths import Spec, patterns, split_graft
from vfloppy.dropins.request import Request, read_request
from vfloppy.dropins.words import found_in
from vfloppy.errors import OptionError


def request(*arguments: str, tool: str = "genisoimage", files: dict[str, str] | None = None):
    """What is asked for by words, some of them joined by spaces."""
    words = [word for each in arguments for word in each.split()]
    return read_request(tool, words, (files or {}).__getitem__)


def specs(made: Request) -> list[tuple[str, str]]:
    return [tuple(each) for each in made.specs]


# --- Words ---


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("-V x", [("-V", ("x",))]),
        ("--volid x", [("--volid", ("x",))]),
        ("--volid=x", [("--volid", ("x",))]),
        ("--modification-date=2026", [("--modification-date", ("2026",))]),
        ("-vvvvv", [("-vvvvv", ())]),
        ("-hfs_bless_by i /x", [("-hfs_bless_by", ("i", "/x"))]),
        ("-efi-boot-part --efi-boot-image", [("-efi-boot-part", ("--efi-boot-image",))]),
        ("-- -V x", [("-V", ()), ("x", ())]),
        ("a -J b", [("a", ()), ("-J", ()), ("b", ())]),
    ],
)
def test_options_and_values_are_found(line, found):
    words = found_in(line.split(), "genisoimage")
    assert [(each.spelled, each.values) for each in words] == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--bogus tree", "--bogus: no such option"),
        ("-rockridge tree", "-rockridge: no such option"),
        ("-JR tree", "-JR: no such option"),
        ("-quiet=1 tree", "-quiet=1: no such option"),
        ("tree -o", "-o wants FILE, and the command line ends"),
        ("-udf tree", "-udf: refused: there is no UDF tree"),
        ("-V x", "no directory and no file given"),
        ("-allow-lowercase tree", "-allow-lowercase: names are Rock Ridge's"),
        ("-iso-level 4 tree", "-iso-level 4: names are Rock Ridge's"),
        ("-uid me tree", "-uid me: expected a number"),
        ("-volset-size 2 tree", "-volset-size 2: a set has one volume"),
        ("--modification-date=2026 tree", "expected YYYYMMDDhhmmsscc"),
        ("--modification-date=2026139917073700 tree", "expected YYYYMMDDhhmmsscc"),
        ("-c boot.cat tree", "a boot catalogue, and nothing to start"),
        ("-b a -b b tree", "the entry starts a already"),
        ("-b a -eltorito-alt-boot -b b tree", "a and b: one image for BIOSes"),
        ("-eltorito-platform ppc tree", "only x86 and efi"),
        ("-e a -boot-info-table tree", "not into a, a FAT for UEFI"),
        ("-hard-disk-boot -b a tree", "none of hard disks"),
        ("-boot-load-seg 0x2000 -b a tree", "loaded at 0x7c0"),
        ("-padding 1m tree", "the padding is 0 or 300k"),
        ("-append_partition 2 0x83 x tree", "only 0xef, for UEFI"),
        ("-append_partition 2 0xef x -append_partition 3 0xef y tree", "one partition is appended"),
        ("-e --interval:appended_partition_2:all:: tree", "no partition of that number"),
        (
            "-append_partition 3 0xef x -e --interval:appended_partition_2:all:: tree",
            "no partition",
        ),
        ("-append_partition 2 0xef x -e --interval:local_fs:0s-15s:: tree", "no partition"),
        ("-efi-boot-part x.img tree", "only --efi-boot-image"),
        ("-partition_offset 32 tree", "begins at 16, or 0"),
        ("-iso_mbr_part_type 0x83 tree", "has the usual type"),
        ("-graft-points c=user-data c=other/c", "user-data and other/c: both would be c"),
    ],
)
def test_what_cannot_be_had_is_refused(line, message, folder):
    with pytest.raises(OptionError, match=message):
        request(line)


def test_xorriso_s_own_language_is_refused_in_a_sentence():
    for line in ("-indev a.iso -ls", "", "-as cdrecord -v", "-map a b -as mkisofs x", "-as"):
        with pytest.raises(OptionError, match="only `xorriso -as mkisofs` is there"):
            request(line, tool="xorriso")
    with pytest.raises(OptionError, match="needs xorriso itself"):
        request("-as mkisofs tree -- -commit", tool="xorriso")
    with pytest.raises(OptionError, match="needs xorriso itself"):
        request("tree -- -commit", tool="xorrisofs")


def test_options_before_as(folder):
    made = request("-no_rc -follow link -return_with SORRY 0 -as genisoimage tree", tool="xorriso")
    assert made.given["symlinks"] == "follow-all"
    assert "symlinks" not in request("-follow mount -as mkisofs tree", tool="xorriso").given


# --- Paths ---


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=b", ("a", "b")),
        ("a=b=c", ("a", "b=c")),
        (r"a\=b", (None, "a=b")),
        (r"a\=b=c\=d", ("a=b", "c=d")),
        (r"a\\=b", ("a\\", "b")),
        (r"a\b", (None, r"a\b")),
        ("a\\", (None, "a\\")),
        ("=b", ("", "b")),
    ],
)
def test_graft_points_are_split(text, found):
    assert split_graft(text) == found


def test_paths_go_where_mkisofs_puts_them(folder):
    line = "-graft-points tree user-data x=user-data y/=user-data z=tree /w/./v/=other ="
    assert specs(request(line.removesuffix(" ="))) == [
        ("", "tree"),
        ("user-data", "user-data"),
        ("x", "user-data"),
        ("y/user-data", "user-data"),
        ("z", "tree"),
        ("w/v", "other"),
    ]
    with pytest.raises(OptionError, match="no path on the host"):
        request("-graft-points x=")


def test_without_graft_points_a_sign_is_a_sign(folder):
    assert specs(request("a=b")) == [("a=b", "a=b")]


def test_lists_of_paths_may_be_graft_points(folder):
    files = {"-": "tree\nnew=user-data\n\n"}
    made = request("-path-list - -graft-points", files=files)
    assert specs(made) == [("", "tree"), ("new", "user-data")]


def test_a_root_is_for_what_comes_next(folder):
    assert specs(request("tree -root deep/er user-data other")) == [
        ("", "tree"),
        ("deep/er/user-data", "user-data"),
        ("deep/er", "other"),
    ]


def test_excludes_become_patterns_of_the_tree(folder):
    given = [Spec("", "tree"), Spec("at", str(folder / "other"))]
    assert patterns(["*.o"], given) == ["*.o"]
    assert patterns(["tree/sub"], given) == ["/sub"]
    assert patterns([f"{folder}/other/c*"], given) == ["/at/c*"]
    assert patterns(["elsewhere/x", "/proc/*"], given) == []
    assert patterns(["#x", "!y", "z "], given) == [r"\#x", r"\!y", "z\\ "]
    assert patterns(["other/c"], [Spec("a[1]", "other")]) == [r"/a\[1]/c"]


# --- Options ---


def test_each_tool_has_its_own_defaults(folder):
    for tool in ("mkisofs", "genisoimage"):
        given = request("tree", tool=tool).given
        assert (given["label"], given["rock_ridge"], given["iso_level"]) == ("CDROM", False, "1")
    for tool, before in (("xorrisofs", ""), ("xorriso", "-as mkisofs ")):
        given = request(f"{before}tree", tool=tool).given
        assert (given["label"], given["rock_ridge"], given["iso_level"]) == ("ISOIMAGE", True, "3")
        assert given["preserve"]
    assert not request("--norock tree", tool="xorrisofs").given["rock_ridge"]


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("-R", {"rock_ridge": True, "preserve": True, "joliet": False}),
        ("-R -r", {"preserve": False}),
        ("-r -R", {"preserve": True}),
        ("-l", {"iso_level": "3", "rock_ridge": False}),
        ("-R -iso-level 1", {"iso_level": "1"}),
        ("-J -iso-level 4", {"iso_level": "3"}),
        ("-jcharset utf-8", {"joliet": True}),
        ("-joliet-long", {"joliet": True, "joliet_long": True}),
        ("-uid 1", {"uid": 1, "rock_ridge": True}),
        ("-f", {"symlinks": "follow-all"}),
        ("-b a", {"boot_bios": "a", "boot_floppy": True, "boot_catalogue": "boot.catalog"}),
        ("-b /a/./b -no-emul-boot", {"boot_bios": "a/b", "boot_load_size": "full"}),
        ("-b a -no-emul-boot", {"boot_info_table": False}),
        ("-e a", {"boot_uefi": "a"}),
        ("-eltorito-platform efi -b a", {"boot_uefi": "a"}),
        ("-b a -eltorito-platform 0xEF", {"boot_uefi": "a"}),
        ("-b a -no-emul-boot --efi-boot b", {"boot_bios": "a", "boot_uefi": "b"}),
        ("--efi-boot b -b a -no-emul-boot", {"boot_bios": "a", "boot_uefi": "b"}),
        ("-e a -efi-boot-part --efi-boot-image", {"hybrid": True}),
        ("-append_partition 2 0xEF x", {"boot_uefi_append": "x", "hybrid": True}),
        ("-append_partition 2 0xef x -e --interval:appended_partition_2:::", {"hybrid": True}),
        (
            "-append_partition 2 ef x -e --interval:appended_partition_2_start_9s_size_4d:all::",
            {"boot_catalogue": "boot.catalog", "boot_uefi_append": "x"},
        ),
        ("-append_partition 2 0xef x -e y", {"boot_uefi": "y", "boot_uefi_append": "x"}),
        ("-partition_offset 16", {"volume_partition": True, "hybrid": True}),
        ("-hide x -hide-joliet tree/y", {"hide": ["x"], "hide_joliet": ["tree/y", "/y"]}),
        ("-padding 0", {"padding": False}),
        ("-pad", {"padding": True}),
    ],
)
def test_options_of_the_library(line, given, folder):
    found = request(f"{line} tree").given
    assert {name: found[name] for name in given} == given


def test_the_catalogue_can_be_in_no_directory(folder):
    assert "boot_catalogue" not in request("-b a --boot-catalog-hide tree").given


def test_dates_have_hundredths(folder):
    made = request("--modification-date=1970010200000142 tree")
    assert made.base == {"volume_date": 86_401_420_000_000}


def test_what_has_no_effect_is_told_where_somebody_might_miss_it(folder):
    assert request("-cache-inodes tree").notes == []
    assert request("-sort w tree").notes == [
        "-sort has no effect: contents are in the order of the tree"
    ]


def test_charsets_other_than_utf_8_are_for_ascii_names(folder):
    assert request("-input-charset UTF-8 -output-charset utf8 tree").charset == ""
    assert request("-input-charset iso8859-1 tree").charset == "-input-charset iso8859-1"


def test_a_word_is_not_taken_for_a_prefix(folder):
    """As getopt would: what an option that we don't have begins with may be another one here."""
    with pytest.raises(OptionError, match="-vol: no such option"):
        request("-vol x tree")
