"""El Torito's entries, as a command line describes them one after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError
from .paths import clean

_APPENDED = re.compile(
    r"--interval:appended_partition_(\d+)(?:_start_\d+s_size_\d+d)?:[^:]*:[^:]*:?"
)
_UEFI_TYPES = {"0xef", "ef", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"}
_PLATFORMS = {"x86": False, "efi": True, "0": False, "0x00": False, "0xef": True, "239": True}


@dataclass
class Entry:
    """An image that firmware starts."""

    image: str = ""
    is_uefi: bool = False
    emulates: bool = True
    """A diskette, unless told otherwise."""
    load_size: str = "full"
    info_table: bool = False


class Entries:
    """The entries so far; options are about the latest."""

    def __init__(self) -> None:
        self._all = [Entry()]
        self.catalogue = ""
        self.hides_catalogue = False
        self._appended: tuple[str, str] | None = None

    @property
    def now(self) -> Entry:
        """The entry that options are about."""
        return self._all[-1]

    def begin(self) -> None:
        """Begin another entry, if the latest has an image."""
        if self.now.image:
            self._all.append(Entry())

    def name(self, option: str, image: str, *, is_uefi: bool = False) -> None:
        """Give the latest entry its image. Raise OptionError if it has another one."""
        if self.now.image:
            raise OptionError(
                f"{option} {image}: the entry starts {self.now.image} already; -eltorito-alt-boot "
                "begins another"
            )
        self.now.image = image if image.startswith("--interval:") else clean(image)
        self.now.is_uefi |= is_uefi

    def set_platform(self, name: str) -> None:
        """Say whose firmware starts the latest entry. Raise OptionError."""
        if name.lower() not in _PLATFORMS:
            raise OptionError(f"-eltorito-platform {name}: only x86 and efi start images")
        self.now.is_uefi = _PLATFORMS[name.lower()]

    def append(self, number: str, kind: str, path: str) -> None:
        """Have a file of the host as a partition. Raise OptionError for one that UEFI can't use."""
        if kind.lower() not in _UEFI_TYPES:
            raise OptionError(
                f"-append_partition {number} {kind}: only 0xef, for UEFI, is appended"
            )
        if self._appended:
            raise OptionError(f"-append_partition {number}: one partition is appended, and no more")
        self._appended = number, path

    def _check_interval(self, image: str) -> None:
        """Raise OptionError unless an image is the partition that is appended."""
        match = _APPENDED.fullmatch(image)
        if not match or not self._appended or match[1] != self._appended[0]:
            raise OptionError(f"-e {image}: no partition of that number is appended")

    def options(self) -> Mapping[str, Any]:
        """Return the library's options. Raise OptionError for entries that an image can't have."""
        entries = [each for each in self._all if each.image]
        found: dict[str, Any] = {}
        for each in entries:
            name = "boot_uefi" if each.is_uefi else "boot_bios"
            if name in found:
                firmware = "UEFI" if each.is_uefi else "BIOSes"
                raise OptionError(f"{found[name]} and {each.image}: one image for {firmware}")
            found[name] = each.image
            if each.image.startswith("--interval:"):
                self._check_interval(each.image)
                del found[name]
            if each.is_uefi:
                if each.info_table:
                    raise OptionError(f"-boot-info-table: not into {each.image}, a FAT for UEFI")
            elif each.emulates:
                found["boot_floppy"] = True
            else:
                found["boot_load_size"] = each.load_size
                found["boot_info_table"] = each.info_table
        if self._appended:
            found |= {"boot_uefi_append": self._appended[1], "hybrid": True}
        if entries and not self.hides_catalogue:
            found["boot_catalogue"] = clean(self.catalogue) or "boot.catalog"
        if self.catalogue and not entries:
            raise OptionError(f"-c {self.catalogue}: a boot catalogue, and nothing to start")
        return found
