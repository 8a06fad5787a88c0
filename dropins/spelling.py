"""Options of the library in the words of mkisofs, for messages."""

from __future__ import annotations

from .table import TABLE

# Of those that no single row of the table sets.
_WORDS = {
    "boot_bios": "-b",
    "boot_uefi": "-e",
    "boot_uefi_append": "-append_partition",
    "hide": "-hide",
    "volume_partition": "-partition_offset",
    "hide_joliet": "-hide-joliet",
    "boot_floppy": "-b without -no-emul-boot",
    "boot_load_size": "-boot-load-size",
    "boot_info_table": "-boot-info-table",
    "boot_catalogue": "-c",
    "exclude": "-m",
    "format": "the format",
    "hybrid": "--protective-msdos-label",
    "iso_level": "-iso-level",
    "joliet_long": "-joliet-long",
    "mbr_code": "-isohybrid-mbr",
    "preserve": "-R",
    "skip_unreadable": "-m",
    "symlinks": "-f",
    "graft": "paths",
    "strict": "that rule of genisoimage",
}
_OFF = {"rock_ridge": "--norock", "joliet": "no -J", "boot_info_table": "no -boot-info-table"}


def spelled(name: str, value: str | None = None) -> str:
    """Return an option as a caller of mkisofs types it; see `errors.Spelling`."""
    if value == "False" and name in _OFF:
        return _OFF[name]
    words = {each.sets: each.names.split()[0] for each in TABLE if each.sets and each.to is None}
    word = _WORDS.get(name) or f"-{words.get(name, name.replace('_', '-'))}"
    return word if value in {None, "True"} or name == "skip_unreadable" else f"{word} {value}"
