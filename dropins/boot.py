"""El Torito's entries, as a command line describes them one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError
from .paths import clean

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
        self.now.image = clean(image)
        self.now.is_uefi |= is_uefi

    def set_platform(self, name: str) -> None:
        """Say whose firmware starts the latest entry. Raise OptionError."""
        if name.lower() not in _PLATFORMS:
            raise OptionError(f"-eltorito-platform {name}: only x86 and efi start images")
        self.now.is_uefi = _PLATFORMS[name.lower()]

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
            if each.is_uefi:
                if each.info_table:
                    raise OptionError(f"-boot-info-table: not into {each.image}, a FAT for UEFI")
            elif each.emulates:
                found["boot_floppy"] = True
            else:
                found["boot_load_size"] = each.load_size
                found["boot_info_table"] = each.info_table
        if entries:
            found["boot_catalogue"] = clean(self.catalogue) or "boot.catalog"
        elif self.catalogue:
            raise OptionError(f"-c {self.catalogue}: a boot catalogue, and nothing to start")
        return found
