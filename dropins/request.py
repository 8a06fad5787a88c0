"""A command line of mkisofs or its like becomes a request: an image's description, and where to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..errors import OptionError, PlanError
from ..library.description import Description, describe
from ..synth.tree.columns import Tree
from .boot import Entries
from .paths import Spec, hidden_paths, patterns, spec
from .table import Fate
from .words import Found, found_in, split_xorriso

SECTOR_BYTES = 2048
# What a volume says of itself if nobody says anything else.
_TEXTS = {"label": "CDROM", "system_id": "LINUX"}
_XORRISO_TEXTS = {"label": "ISOIMAGE"}
_UTF8 = {"utf8", "utf", "ascii", "usascii"}


@dataclass
class Request:
    """All that a command line asks for."""

    tool: str
    out: str = "-"
    is_quiet: bool = False
    is_verbose: bool = False
    only_size: bool = False
    log_file: str = ""
    most_sectors: int = 0
    """The size that the image may have; 0: any."""
    charset: str = ""
    """The option that promises names of ASCII alone."""
    notes: list[str] = field(default_factory=list)
    """Sentences on options that have no effect, and that somebody might miss."""
    specs: list[Spec] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    """Options of the library as users write them."""
    base: dict[str, Any] = field(default_factory=dict)
    """The same as converted values."""

    def check(self, tree: Tree, sectors: int) -> None:
        """Raise PlanError for an image that a promise of the command line doesn't hold for."""
        if self.charset and not tree.names.isascii():
            raise PlanError(
                f"{self.charset}: there are names beyond ASCII; they are taken as UTF-8"
            )
        if self.most_sectors and sectors > self.most_sectors:
            raise PlanError(
                f"the image has {sectors} sectors; -stream-media-size allows {self.most_sectors}"
            )

    def description(self, epoch: str | None, **more: Any) -> Description:
        """Return the image to be; `more` are values that the caller decides.

        `epoch` is SOURCE_DATE_EPOCH: no date is later, and the volume's is that. Raise OptionError.
        """
        grafts = [(each.target, each.source) for each in self.specs]
        given: dict[str, Any] = {"format": "iso", "graft": grafts, **self.given}
        if epoch is not None:
            given["source_date_epoch"] = epoch
            if epoch.isdecimal():
                more["volume_date"] = int(epoch) * 10**9
        try:
            return describe((), given, {**more, **self.base})
        except OptionError as error:
            if error.option != "source_date_epoch":
                raise
            text = f"SOURCE_DATE_EPOCH is {epoch!r}; expected seconds since 1970"
            raise OptionError(text) from None


def read_request(tool: str, arguments: Sequence[str], read: Callable[[str], str]) -> Request:
    """Return what a command line of a tool asks for. Raise OptionError.

    `read` gives the text of a file that an option names.
    """
    reading = Reading(tool, read)
    if tool == "xorriso":
        before, arguments = split_xorriso(arguments)
        for each in before:
            reading.take(each)
    for each in found_in(arguments, tool):
        reading.take(each)
    return reading.request()


class Reading:
    """A command line while it is read, option by option."""

    def __init__(self, tool: str, read: Callable[[str], str]) -> None:
        self._request = Request(tool)
        self._read = read
        self._given: dict[str, Any] = self._request.given
        self._paths: list[tuple[str, str]] = []  # with the root of each
        self._may_graft = False
        self._root = ""
        self._globs: list[str] = []
        self._hidden: list[str] = []
        self._hidden_in_joliet: list[str] = []
        self._entries = Entries()
        self._changes_names: list[str] = []
        self._level = ""
        self._is_xorriso = tool.startswith("xorriso")
        self._given["joliet"] = False
        self._given["rock_ridge"] = self._is_xorriso
        self._is_rational = False
        self._option = ""

    def take(self, found: Found) -> None:
        """Take an option or a path. Raise OptionError."""
        word = found.word
        if word is None:
            self._paths.append((found.spelled, self._root))
            return
        if word.only_with_names:
            self._changes_names.append(found.spelled)
        if word.fate is Fate.NO_EFFECT:
            if word.is_told:
                self._request.notes.append(f"{found.spelled} has no effect: {word.says}")
        elif word.sets:
            self._given[word.sets] = found.values[0] if word.takes else word.to
        else:
            self._option = found.spelled
            getattr(self, word.does)(*found.values)

    def request(self) -> Request:
        """Return what was read, as a whole. Raise OptionError for what contradicts itself."""
        request, given = self._request, self._given
        request.specs = [
            spec(path, may_graft=self._may_graft, root=root) for path, root in self._paths
        ]
        if not request.specs:
            raise OptionError(f"{request.tool}: no directory and no file given")
        request.given = given = {**(_XORRISO_TEXTS if self._is_xorriso else _TEXTS), **given}
        if not self._is_xorriso:  # there, the last one is taken
            given["distinct"] = True
            _check_distinct(request.specs)
        has_names = given["rock_ridge"] or given["joliet"]
        if not has_names and self._changes_names:
            raise OptionError(
                f"{self._changes_names[0]}: names are Rock Ridge's (-R) or Joliet's (-J); without "
                "both, only those of -iso-level are there"
            )
        usual = "3" if has_names or self._is_xorriso else "1"
        given["iso_level"] = self._level or usual
        if given["rock_ridge"]:
            given["preserve"] = not self._is_rational
        if globs := patterns(self._globs, request.specs):
            given["exclude"] = globs
        for option, hidden in (("hide", self._hidden), ("hide_joliet", self._hidden_in_joliet)):
            if hidden:
                given[option] = hidden_paths(hidden, request.specs)
        given.update(self._entries.options())
        return request

    # The methods below are those that the table names; each takes an option's values.

    def output(self, path: str) -> None:
        self._request.out = path.removeprefix("stdio:") or "-"

    def be_quiet(self) -> None:
        self._request.is_quiet = True

    def be_verbose(self) -> None:
        self._request.is_verbose = True

    def print_size(self) -> None:
        self._request.only_size = True

    def log_to(self, path: str) -> None:
        self._request.log_file = path

    def limit_size(self, sectors: str) -> None:
        self._request.most_sectors = self._number(sectors)

    def follow(self, which: str) -> None:
        words = set(which.split(":"))
        if words & {"link", "on"}:
            self._given["symlinks"] = "follow-all"

    def graft_points(self) -> None:
        self._may_graft = True

    def path_list(self, path: str) -> None:
        self._paths += [(line, self._root) for line in self._lines(path)]

    def root(self, path: str) -> None:
        self._root = path

    def exclude(self, glob: str) -> None:
        self._globs.append(glob)

    def exclude_list(self, path: str) -> None:
        self._globs += self._lines(path)

    def hide(self, glob: str) -> None:
        self._hidden.append(glob)

    def hide_list(self, path: str) -> None:
        self._hidden += self._lines(path)

    def hide_joliet(self, glob: str) -> None:
        self._hidden_in_joliet.append(glob)

    def hide_joliet_list(self, path: str) -> None:
        self._hidden_in_joliet += self._lines(path)

    def _lines(self, path: str) -> list[str]:
        return [line for line in self._read(path).split("\n") if line]

    def rock_ridge(self) -> None:
        self._given["rock_ridge"] = True
        self._is_rational = False

    def rational(self) -> None:
        self._given["rock_ridge"] = True
        self._is_rational = True

    def joliet_long(self) -> None:
        self._given["joliet"] = self._given["joliet_long"] = True

    def iso_level(self, level: str) -> None:
        if level == "4":
            self._changes_names.append("-iso-level 4")
        self._level = "3" if level == "4" else level

    def long_names(self) -> None:
        self._level = self._level if self._level in {"2", "3"} else "3"

    def charset(self, name: str) -> None:
        if "".join(filter(str.isalpha, name.lower())) not in _UTF8:
            self._request.charset = f"{self._option} {name}"

    def joliet_charset(self, name: str) -> None:
        self._given["joliet"] = True
        self.charset(name)

    def own_by_uid(self, number: str) -> None:
        self._posix("uid", self._number(number))

    def own_by_gid(self, number: str) -> None:
        self._posix("gid", self._number(number))

    def file_mode(self, mode: str) -> None:
        self._posix("file_mode", mode)

    def dir_mode(self, mode: str) -> None:
        self._posix("dir_mode", mode)

    def new_dir_mode(self, mode: str) -> None:
        self._posix("new_dir_mode", mode)

    def _posix(self, option: str, value: object) -> None:
        self._given["rock_ridge"] = True
        self._given[option] = value

    def date(self, text: str) -> None:
        digits = text[:16]
        try:
            if len(text) != 16 or not digits.isdecimal():
                raise ValueError
            when = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            raise OptionError(f"{self._option} {text}: expected YYYYMMDDhhmmsscc") from None
        seconds = int(when.timestamp())
        self._request.base["volume_date"] = seconds * 10**9 + int(digits[14:]) * 10**7

    def only_one(self, number: str) -> None:
        if self._number(number) != 1:
            raise OptionError(f"{self._option} {number}: a set has one volume here")

    def padding(self, size: str) -> None:
        if size.rstrip("kKsSmM") not in {"0", "300", "150"}:
            raise OptionError(f"{self._option} {size}: the padding is 0 or 300k")
        self._given["padding"] = size.rstrip("kKsSmM") != "0"

    def boot_image(self, path: str) -> None:
        self._entries.name(self._option, path)

    def uefi_image(self, path: str) -> None:
        self._entries.name(self._option, path, is_uefi=True)

    def next_uefi_image(self, path: str) -> None:
        self._entries.begin()
        self._entries.name(self._option, path, is_uefi=True)
        self._entries.begin()

    def next_entry(self) -> None:
        self._entries.begin()

    def platform(self, name: str) -> None:
        self._entries.set_platform(name)

    def no_emulation(self) -> None:
        self._entries.now.emulates = False

    def load_size(self, sectors: str) -> None:
        self._entries.now.load_size = sectors

    def load_segment(self, segment: str) -> None:
        if self._number(segment) not in {0, 0x7C0}:
            raise OptionError(f"{self._option} {segment}: images are loaded at 0x7c0")

    def grub_info(self) -> None:
        """Do nothing: the library does it where --grub2-mbr starts it, and nobody else asks."""

    def info_table(self) -> None:
        self._entries.now.info_table = True

    def catalogue(self, path: str) -> None:
        self._entries.catalogue = path

    def hide_catalogue(self) -> None:
        self._entries.hides_catalogue = True

    def append(self, number: str, kind: str, path: str) -> None:
        self._entries.append(number, kind, path)

    def boot_code(self, path: str) -> None:
        self._given["hybrid"] = True
        self._given["mbr_code"] = path

    def hybrid(self) -> None:
        self._given["hybrid"] = True

    def partition_offset(self, blocks: str) -> None:
        if self._number(blocks) not in {0, 16}:
            raise OptionError(f"{self._option} {blocks}: the volume's partition begins at 16, or 0")
        if self._number(blocks):
            self._given["volume_partition"] = self._given["hybrid"] = True

    def volume_type(self, kind: str) -> None:
        if kind.lower() not in {"0x17", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"}:
            raise OptionError(f"{self._option} {kind}: the volume's partition has the usual type")

    def uefi_partition(self, path: str) -> None:
        if path != "--efi-boot-image":
            raise OptionError(f"{self._option} {path}: only --efi-boot-image is a partition")
        self._given["hybrid"] = True

    def _number(self, text: str) -> int:
        try:
            return int(text, 16 if text.lower().startswith("0x") else 10)
        except ValueError:
            raise OptionError(f"{self._option} {text}: expected a number") from None


def _check_distinct(specs: Sequence[Spec]) -> None:
    """Raise OptionError for two files that would be at one place."""
    files: dict[str, str] = {}
    for each in specs:
        if os.path.isdir(each.source):
            continue
        if each.target in files:
            raise OptionError(
                f"{files[each.target]} and {each.source}: both would be {each.target}"
            )
        files[each.target] = each.source
