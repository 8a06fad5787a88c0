"""The options of mkisofs and its like, as data: spelling, values, and what becomes of each.

Options of genisoimage, of xorriso's emulation, or of both. Words have one dash or two, and `_` for
`-` inside.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple


class Fate(StrEnum):
    """A thing to do with an option."""

    HONOURED = "honoured"
    NO_EFFECT = "no effect"
    """It changes nothing that a reader of the image would see."""
    REFUSED = "refused"


class Word(NamedTuple):
    """An option."""

    names: str
    """Its spellings, without dashes."""
    values: str
    """The words for its values, one for each that it takes."""
    fate: Fate
    says: str
    """Its meaning, the reason why it has none, or why it is refused."""
    sets: str = ""
    """The option of the library that it sets, to its value or to `to`."""
    to: Any = None
    does: str = ""
    """The method of `request.Reading` that takes its values, where one option isn't all."""
    only_with_names: bool = False
    """Refused where names are neither Rock Ridge's nor Joliet's: there it would change them."""
    is_told: bool = False
    """The caller hears that it has no effect: some reader might miss it."""

    @property
    def takes(self) -> int:
        """Return how many values it takes."""
        return len(self.values.split())

    @property
    def spelled(self) -> str:
        """Return its spellings as one types them."""
        return ", ".join(f"{'-' if len(each) == 1 else '--'}{each}" for each in self.names.split())


def _sets(names: str, values: str, option: str, says: str, to: Any = None) -> Word:
    return Word(names, values, Fate.HONOURED, says, sets=option, to=to)


def _does(names: str, values: str, method: str, says: str) -> Word:
    return Word(names, values, Fate.HONOURED, says, does=method)


def _no_effect(names: str, values: str, says: str, *, told: bool = False) -> Word:
    return Word(names, values, Fate.NO_EFFECT, says, is_told=told)


def _of_names(names: str, values: str, says: str) -> Word:
    return Word(names, values, Fate.NO_EFFECT, says, only_with_names=True)


def _refused(names: str, values: str, says: str) -> Word:
    return Word(names, values, Fate.REFUSED, says)


_HFS = "there is no HFS+ tree: Macs read Rock Ridge and start by UEFI"
_APM = "there is no Apple partition map: Macs that need one don't start from it"
_RELAXES = "Rock Ridge and Joliet have the names as they are"
_JIGDO = "no jigdo files are written"
_OLD_MACHINES = "images start on BIOS and UEFI machines only"
_SESSIONS = "images have one session"

TABLE: tuple[Word, ...] = (
    # Where to, and how much is said.
    _does("o output", "FILE", "output", "the image; `-`, or no -o, is standard output"),
    _does("quiet", "", "be_quiet", "say nothing but errors"),
    _does("v verbose", "", "be_verbose", "name the parts of the image as they are written"),
    _does("print-size", "", "print_size", "print the number of 2048-byte sectors, write nothing"),
    _does("log-file", "FILE", "log_to", "messages go there"),
    _does("stream-media-size", "SECTORS", "limit_size", "refuse a larger image"),
    _no_effect("gui", "", "messages are the same for programs and people"),
    _no_effect("stdio_sync", "MODE", "the image is synced at its end"),
    _no_effect("no-emul-toc emul-toc", "", "there is no table of sessions in an image file"),
    _no_effect("no_rc", "", "no startup files are read"),
    _no_effect("old-empty", "", "empty files have no block"),
    # What goes in.
    _does("graft-points", "", "graft_points", "paths may be TARGET=SOURCE; `\\=` is no such sign"),
    _does("path-list", "FILE", "path_list", "more paths, one a line; `-` is standard input"),
    _does("root", "DIR", "root", "what comes next goes below DIR on the image"),
    _does("m exclude", "GLOB", "exclude", "leave out files and directories"),
    _does("x old-exclude", "PATH", "exclude", "leave out files and directories"),
    _does("exclude-list", "FILE", "exclude_list", "leave out what is listed there, one a line"),
    _sets("f follow-links", "", "symlinks", "follow symbolic links", "follow-all"),
    _no_effect("cache-inodes no-cache-inodes hardlinks", "", "hard links stay hard links"),
    _no_effect("force-rr no-rr", "", "it is about older sessions"),
    _refused("M prev-session dev", "FILE", _SESSIONS),
    _refused("C cdrecord-params", "PARAMETERS", _SESSIONS),
    _refused("old-root", "DIR", _SESSIONS),
    _refused("check-oldnames", "", _SESSIONS),
    _refused("check-session", "FILE", _SESSIONS),
    _refused("nobak no-bak", "", "`-m '*~'` leaves backup files out"),
    _refused("z transparent-compression", "", "files are stored as they are"),
    _refused("acl xattr xattr-any for_backup", "", "images have no ACLs and attributes"),
    _refused("quoted_path_list", "FILE", "-path-list takes unquoted paths"),
    # Trees of names.
    _does("R rock", "", "rock_ridge", "Rock Ridge, with owners and modes as they are"),
    _does("r rational-rock", "", "rational", "Rock Ridge, with owner 0, and all may read"),
    _sets("norock", "", "rock_ridge", "no Rock Ridge", False),
    _sets("J joliet", "", "joliet", "Joliet", True),
    _does("joliet-long", "", "joliet_long", "Joliet, with names of up to 103 characters"),
    _does("iso-level", "LEVEL", "iso_level", "1 to 3; 4 is 3"),
    _does("uid", "NUMBER", "own_by_uid", "the owner of everything"),
    _does("gid", "NUMBER", "own_by_gid", "the group of everything"),
    _does("file-mode", "MODE", "file_mode", "the permissions of all files"),
    _does("dir-mode", "MODE", "dir_mode", "the permissions of all directories"),
    _does("new-dir-mode", "MODE", "new_dir_mode", "those of directories made for graft points"),
    _does("input-charset", "CHARSET", "charset", "UTF-8; others while all names are ASCII"),
    _does("output-charset", "CHARSET", "charset", "as for -input-charset"),
    _does("jcharset", "CHARSET", "joliet_charset", "Joliet, and as for -input-charset"),
    _does("l full-iso9660-filenames", "", "long_names", "names of up to 31 characters"),
    _of_names("max-iso9660-filenames", "", _RELAXES),
    _of_names("U untranslated-filenames no-iso-translate", "", _RELAXES),
    _of_names("relaxed-filenames allow-lowercase allow-multidot", "", _RELAXES),
    _of_names("L ldots allow-leading-dots", "", _RELAXES),
    _of_names("d omit-period N omit-version-number", "", _RELAXES),
    _of_names("untranslated_name_len", "LENGTH", _RELAXES),
    _of_names("disallow_dir_id_ext", "", _RELAXES),
    _of_names("T translation-table", "", "no TRANS.TBL is made: " + _RELAXES),
    _of_names("table-name", "NAME", "no TRANS.TBL is made: " + _RELAXES),
    _of_names("hide-joliet-trans-tbl", "", "no TRANS.TBL is made"),
    _no_effect("D disable-deep-relocation", "", "deep directories are never relocated"),
    _no_effect("hide-rr-moved", "", "deep directories are never relocated"),
    _no_effect("rr_reloc_dir", "NAME", "deep directories are never relocated"),
    _no_effect("no-split-symlink-components no-split-symlink-fields", "", "all readers read links"),
    _no_effect("ucs-level", "LEVEL", "Joliet is always level 3"),
    _no_effect("joliet-utf16", "", "characters beyond 16 bits are written in UTF-16"),
    _no_effect("allow-limited-size", "", "files of 4 GiB and more have several extents"),
    _no_effect("use-fileversion", "LEVEL", "Linux's file systems have no versions"),
    _refused("udf dvd-video", "", "there is no UDF tree"),
    _refused("XA xa", "", "there are no XA attributes"),
    _refused("s sectype", "TYPE", "sectors are of 2048 bytes"),
    _refused("file_name_limit", "LENGTH", "names are never cut"),
    _refused("split-output", "", "an image is one file"),
    _refused("stream-file-name", "NAME", "an image holds a tree, and not a stream"),
    _refused("hidden", "GLOB", "files have no hidden attribute"),
    _refused("hidden-list", "FILE", "files have no hidden attribute"),
    _does("hide", "GLOB", "hide", "files that all trees but Joliet's don't show; no directories"),
    _does("hide-list", "FILE", "hide_list", "the same, one a line"),
    _does("hide-joliet", "GLOB", "hide_joliet", "files that Joliet's tree doesn't show"),
    _does("hide-joliet-list", "FILE", "hide_joliet_list", "the same, one a line"),
    # What the volume says of itself.
    _sets("V volid", "ID", "label", "the volume's name"),
    _sets("volset", "ID", "volume_set", "the set that it is part of"),
    _sets("P publisher", "ID", "publisher", "who published it"),
    _sets("p preparer", "ID", "preparer", "who prepared it"),
    _sets("A appid", "ID", "application", "what it is for"),
    _sets("sysid", "ID", "system_id", "for which system it is"),
    _does("modification-date", "YYYYMMDDhhmmsscc", "date", "its dates, in UTC: GRUB's UUID of it"),
    _does("volset-size volset-seqno", "NUMBER", "only_one", "1 and no other"),
    _no_effect("md5", "", "there are no checksums for xorriso to check", told=True),
    _no_effect("checksum_algorithm_iso", "NAMES", "no jigdo files are written"),
    _no_effect("checksum_algorithm_template", "NAMES", "no jigdo files are written"),
    _refused("abstract biblio copyright", "FILE", "the volume's fields for files stay empty"),
    _refused("application_use", "TEXT", "that field stays empty, for implantisomd5"),
    _refused("set_all_file_dates", "TIME", "SOURCE_DATE_EPOCH limits dates"),
    _refused("scdbackup_tag", "PATH NAME", "there are no tags of scdbackup"),
    # Where things are.
    _sets("pad", "", "padding", "300 KiB of zeros at the end: the default", True),
    _sets("no-pad", "", "padding", "no zeros at the end", False),
    _does("padding", "SIZE", "padding", "0 or 300k, no other size"),
    _no_effect("sort", "FILE", "contents are in the order of the tree", told=True),
    _no_effect("sort-weight", "NUMBER PATH", "contents are in the order of the tree"),
    _no_effect("sort-weight-list sort-weight-patterns", "FILE", "likewise", told=True),
    # What starts from it.
    _does("b eltorito-boot", "PATH", "boot_image", "what a BIOS starts, in the tree"),
    _does("e", "PATH", "uefi_image", "the FAT image UEFI starts, in the tree, or --interval:"),
    _does("efi-boot", "PATH", "next_uefi_image", "the same, as an entry of its own"),
    _does("eltorito-alt-boot", "", "next_entry", "what comes next is about another image"),
    _does("eltorito-platform", "NAME", "platform", "x86 or efi"),
    _does("no-emul-boot", "", "no_emulation", "the image is a program"),
    _refused("hard-disk-boot", "", "images of diskettes are emulated, and none of hard disks"),
    _does("boot-load-size", "SECTORS", "load_size", "how much of it is loaded; `full` is all"),
    _does("boot-load-seg", "SEGMENT", "load_segment", "0 or 0x7c0, no other"),
    _does("boot-info-table", "", "info_table", "tell it where it is"),
    _does("c eltorito-catalog", "PATH", "catalogue", "the boot catalogue, as a file"),
    _does("boot-catalog-hide", "", "hide_catalogue", "the boot catalogue is in no directory"),
    _does("grub2-boot-info", "", "grub_info", "tell GRUB's image where the rest of it is"),
    _no_effect("eltorito-id", "ID", "no firmware looks at it"),
    _refused("eltorito-selcrit", "BYTES", "there are no criteria of selection"),
    _refused("no-boot", "", "an entry that nothing may start"),
    _does("isohybrid-mbr grub2-mbr", "FILE", "boot_code", "code for a BIOS: start as a disk, too"),
    _does("isohybrid-gpt-basdat", "", "hybrid", "a partition for UEFI"),
    _does("part_like_isohybrid", "", "hybrid", "a partition for UEFI"),
    _does("protective-msdos-label", "", "hybrid", "partition tables"),
    _does("efi-boot-part", "FILE", "uefi_partition", "--efi-boot-image: a partition for UEFI"),
    _no_effect("mbr-force-bootable", "", "a hybrid always has an active partition"),
    _no_effect("partition_cyl_align", "MODE", "hybrids have whole cylinders"),
    _no_effect("isohybrid-apm-hfsplus isohybrid-gpt-hfsplus", "", _APM, told=True),
    _no_effect("appended_part_as_apm", "", _APM, told=True),
    _no_effect("apm-block-size", "NUMBER", _APM),
    _no_effect("hfsplus", "", _HFS, told=True),
    _no_effect("hfsplus-file-creator-type", "CREATOR TYPE PATH", _HFS),
    _no_effect("hfs-bless", "PATH", _HFS),
    _no_effect("hfs-bless-by", "TYPE PATH", _HFS),
    _no_effect("hfsplus-serial-no", "HEX", _HFS),
    _no_effect("hfsplus-block-size", "NUMBER", _HFS),
    _no_effect("hide-hfsplus hide-hfsplus-list", "GLOB", _HFS),
    _does(
        "append_partition",
        "NUMBER TYPE FILE",
        "append",
        "a partition for UEFI, the first in the GPT",
    ),
    _no_effect("appended_part_as_gpt", "", "appended partitions are always in the GPT"),
    _does("partition_offset", "BLOCKS", "partition_offset", "16: a partition to be mounted; or 0"),
    _refused("partition_sec_hd partition_hd_cyl", "NUMBER", "hybrids have 64 heads of 32 sectors"),
    _does("iso_mbr_part_type", "TYPE", "volume_type", "0x17, or basic data in a GPT; no other"),
    _refused("gpt_disk_guid", "GUID", "the GPT's GUIDs come from the tree"),
    _refused("G generic-boot embedded-boot", "FILE", "-isohybrid-mbr and --grub2-mbr start disks"),
    _refused("chrp-boot chrp-boot-part", "", _OLD_MACHINES),
    _refused("prep-boot prep-boot-part", "FILE", _OLD_MACHINES),
    _refused("B sparc-boot sunx86-boot grub2-sparc-core", "FILES", _OLD_MACHINES),
    _refused("sparc-label sunx86-label", "LABEL TEXT", _OLD_MACHINES),
    _refused("alpha-boot mips-boot mipsel-boot", "FILE", _OLD_MACHINES),
    _refused("hppa-cmdline hppa-kernel-32 hppa-kernel-64", "FILE", _OLD_MACHINES),
    _refused("hppa-bootloader hppa-ramdisk hppa-hdrversion", "FILE", _OLD_MACHINES),
    _refused("g apple h hfs part probe mac-name", "", "there is no HFS tree"),
    _refused(
        "hfs-volid hfs-type hfs-creator map H magic boot-hfs-file", "X", "there is no HFS tree"
    ),
    _refused("jigdo-jigdo jigdo-template md5-list checksum-list", "FILE", _JIGDO),
    _refused("jigdo-min-file-size jigdo-force-md5 jigdo-exclude jigdo-map", "X", _JIGDO),
    _refused("jigdo-force-checksum jigdo-checksum-algorithm", "X", _JIGDO),
    _refused("jigdo-template-compress", "ALGORITHM", _JIGDO),
)

BEFORE_AS: tuple[Word, ...] = (
    _no_effect("no_rc", "", "no startup files are read"),
    _does("follow", "WHICH", "follow", "`link` and `on` follow symbolic links; the others none"),
    _no_effect("report_about abort_on error_behavior", "SEVERITY", "errors are told, and end it"),
    _no_effect("return_with", "SEVERITY STATUS", "errors end it with 1 or 2"),
    _no_effect("temp_mem_limit", "SIZE", "memory is bounded"),
    _no_effect("stdio_sync", "MODE", "the image is synced at its end"),
    _no_effect("use_readline pacifier hardlinks", "MODE", "there is no dialogue"),
)
"""Options of xorriso itself that may come before `-as`."""


@cache
def by_name() -> dict[str, Word]:
    """Return the words of the table by each spelling, with `-` for `_`."""
    return named(TABLE)


def named(table: tuple[Word, ...]) -> dict[str, Word]:
    """Return the words of a table by each spelling, with `-` for `_`."""
    found: dict[str, Word] = {}
    for word in table:
        for name in word.names.split():
            assert plain(name) not in found, name
            found[plain(name)] = word
    return found


def plain(name: str) -> str:
    """Return a spelling with `-` for `_`."""
    return name.replace("_", "-")
