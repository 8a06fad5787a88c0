"""Small trees and options drawn from a seed: everything that directories do and disks find hard."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

_ENDS = ("", ".txt", ".TXT", ".tar.gz", ".jpeg", ".c", ".EFI", ".a b", ".", " ", "..x", ".é")
_STEMS = ("readme", "README", "ReadMe", "a", "con", "aux", "LPT1", "nul", "file", "photo of", "x+y",
          "x=y", "a:b?", 'quo"te', "back\\slash", "grüße", "GRÜSSE", "Ελληνικά", "日本語", "😀",
          "e\u0301", "\u00e9", "straße", "COLLIS~1", "COLLI~10", ".profile", ".a.b", "tab\there",
          "new\nline", "semi;1", "under_score", "~", "-dash", "%41", "0", "#", " lead",
          "nbsp\u00a0", "\ufb01", "\u0130", "\u017f", "\u212a", "\u202e", "\u0001",
          "EFI", "boot", "n" * 120, "ü" * 90)  # fmt: skip
_STRAY = (b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"x\x80.txt", b"\xc3")
_SIZES = (0, 0, 1, 10, 511, 512, 513, 2047, 2048, 2049, 4095, 4096, 4097, 8192, 12_345, 70_000)
_DAY = 86_400
_LINKS = ("skip", "keep", "follow", "follow-all")
_PRESETS = ("cidata", "dos", "floppy", "oemdrv", "ovmf", "raw-4k", "superfloppy", "u-boot", "vvfat",
            "windows")  # fmt: skip


class Drawn:
    """A numbered tree below a folder, with the sources and options of a build of it."""

    def __init__(self, seed: int, number: int, folder: Path) -> None:
        self.random = random.Random(f"{seed} {number}")
        self.folder = folder
        self.stamp = self.random.randbytes(8)
        self.inodes: list[bytes] = []
        self.left = self.random.choice((3, 12, 40, 40, 120, 400))
        self.sources = [self._source(f"source{each}") for each in range(self._how_many())]
        self.options = self._options()
        self._settle()

    def _how_many(self) -> int:
        return self.random.choice((1, 1, 1, 1, 2, 3))

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _name(self) -> bytes:
        """A name; the same ones come often enough to stand in several directories."""
        draw = self.random
        if draw.random() < 0.04:
            return draw.choice(_STRAY)
        if draw.random() < 0.02:
            return b"n" * draw.choice((8, 9, 12, 13, 14, 26, 27, 64, 65, 103, 104, 250, 254, 255))
        text = draw.choice(_STEMS)
        if draw.random() < 0.4:
            text += f" {draw.randrange(30)}"
        return (text + draw.choice(_ENDS)).encode()[:255]

    def _source(self, name: str) -> Path:
        root = self.folder / name
        root.mkdir()
        self._fill(os.fsencode(root), 0)
        return root

    def _fill(self, folder: bytes, depth: int) -> None:
        if depth < 3 and self._chance(0.06):  # many names that are one name in 8.3
            for number in range(self.random.choice((15, 120, 700))):
                self._file(folder + b"/collision of names %d.text" % number, 3)
        for _ in range(self.random.choice((0, 1, 3, 8, 8, 20, 60))):
            if self.left <= 0:
                return
            self.left -= 1
            path = folder + b"/" + self._name()
            if not os.path.lexists(path) and len(path) < 3000:
                self._make(path, depth)

    def _make(self, path: bytes, depth: int) -> None:
        kind = self.random.random()
        if kind < 0.25 and depth < 12:
            os.mkdir(path)
            self._fill(path, depth + 1)
            if self._chance(0.05):
                self._deep(path)
        elif kind < 0.32:
            target = self.random.choice((
                b"readme", b"..", b"/nowhere", b".", b"a/../b", b"x" * 300, b"self",
                *self.inodes[-3:], *(os.path.relpath(each, path) for each in self.inodes[-3:]),
            ))  # fmt: skip
            os.symlink(target, path)  # none leads out of the folder, to what others change
        elif kind < 0.36 and self.inodes:
            os.link(self.random.choice(self.inodes), path)
        elif kind < 0.38:
            self._special(path)
        elif kind < 0.42:
            self._sparse(path)
        else:
            self._file(path, self.random.choice(_SIZES))

    def _deep(self, path: bytes) -> None:
        for level in range(self.random.choice((8, 9, 30))):
            path += b"/level %d" % level
            os.mkdir(path)
        self._file(path + b"/at the end", 100)

    def _file(self, path: bytes, size: int) -> None:
        with open(path, "wb") as file:
            file.write((self.stamp * (size // 8 + 1))[:size])
        if self._chance(0.1):
            self.inodes.append(path)

    def _sparse(self, path: bytes) -> None:
        size = self.random.choice((1 << 16, 1 << 20, 5_000_001, 100 << 20))
        with open(path, "wb") as file:
            file.truncate(size)
            for _ in range(self.random.randrange(4)):
                file.seek(self.random.randrange(size - 8))
                file.write(self.stamp)

    def _special(self, path: bytes) -> None:
        if self._chance(0.5):
            os.mkfifo(path)
            return
        before = os.getcwd()
        os.chdir(os.path.dirname(path))  # the path of a socket may not be long
        try:
            with socket.socket(socket.AF_UNIX) as bound:
                name = os.path.basename(path)
                if len(name) < 100:
                    bound.bind(name)
        finally:
            os.chdir(before)

    def _settle(self) -> None:
        """Give everything modes, owners (to root only) and times that depend on the seed alone."""
        for folder, directories, files in os.walk(os.fsencode(self.folder), topdown=False):
            for name in sorted(directories) + sorted(files):
                path = os.path.join(folder, name)
                if self._chance(0.3) and os.getuid() == 0:
                    os.chown(path, self.random.choice((0, 1000, 70_000)), 5, follow_symlinks=False)
                if self._chance(0.3) and not os.path.islink(path):
                    mode = self.random.choice((0o600, 0o755, 0o4711, 0o1777, 0o444, 0o2750))
                    os.chmod(path, mode | 0o500)
                os.utime(path, ns=(0, self._moment()), follow_symlinks=False)
        for source in self.sources:
            os.utime(source, ns=(0, self._moment()))

    def _moment(self) -> int:
        days = self.random.choice(
            (20_000, 20_000, 20_100, 3651, 3652, 0, -400, 24_855, 49_710, 50_405)
        )
        second = days * _DAY + self.random.randrange(2 * _DAY)
        return second * 10**9 + self.random.choice((0, 0, 10_000_000, 990_000_000, 999_999_999))

    def _options(self) -> list[str]:
        form = self._iso if self._chance(0.45) else self._fat
        options = [*self._common(), *form()]
        self._extra(options)
        return options

    def _maybe(self, probability: float, *choices: str | Callable[[], str]) -> list[str]:
        """Words of one of the choices, or none."""
        if not self._chance(probability):
            return []
        choice = self.random.choice(choices)
        return (choice if isinstance(choice, str) else choice()).split("|")

    def _common(self) -> list[str]:
        maybe = self._maybe
        return [
            *maybe(0.4, *(f"--symlinks|{word}" for word in _LINKS)),
            *maybe(0.02, "--symlinks|refuse"),
            *maybe(0.15, "--exclude|*.txt", "--exclude|/a*", "--exclude|**/con*"),
            *maybe(0.1, "--exclude|*|--exclude|!read*", "--exclude|[a-n]*|--exclude|!*.c"),
            *maybe(0.3, "-V|SOME LABEL", "-V|x", "-V|grüße", "-V|lower case", "-V|CIDATA"),
            *maybe(0.2, "--local-time", "--utc"),
            *maybe(0.05, "--strict"),
            *maybe(0.1, "--cache-size|64k", "--cache-size|1M"),
        ]  # fmt: skip

    def _fat(self) -> list[str]:
        """A preset or diskette, or options of its own; at times both, which is often refused."""
        preset = self._maybe(0.3, *(f"--for|{name}" for name in _PRESETS), "--floppy|1.2M",
                             "--floppy|160k", "--floppy|720k")  # fmt: skip
        return preset if preset and self._chance(0.8) else [*preset, *self._fat_alone()]

    def _fat_alone(self) -> list[str]:
        maybe = self._maybe
        return [
            *maybe(0.2, "--fat|12", "--fat|16", "--fat|32"),
            *maybe(0.2, "--size|64M", "--size|+10M", "--size|300M", "--size|4M"),
            *maybe(0.15, *(f"--cluster-size|{512 << power}" for power in range(8))),
            *maybe(0.1, "--sector-size|4096"),
            *maybe(0.4, "--partition|gpt", "--partition|none", "--partition|gpt|--esp"),
            *maybe(0.2, "--hide-dotfiles"),
            *maybe(0.2, "--normalize|nfc"),
            *maybe(0.1, "--volume-id|1234-ABCD"),
            *maybe(0.05, lambda: f"--boot-sector|{self._beside('boot', 512)}"),
            *maybe(0.05, lambda: f"--mbr-code|{self._beside('mbr', 440)}"),
        ]  # fmt: skip

    def _iso(self) -> list[str]:
        maybe = self._maybe
        options = [
            "--format", "iso",
            *maybe(0.3, "--iso-level|1", "--iso-level|2"),
            *maybe(0.3, "--no-rock-ridge"),
            *maybe(0.3, "--no-joliet", "--joliet-long"),
            *maybe(0.3, "--preserve"),
            *maybe(0.2, "--no-padding"),
            *maybe(0.2, "--volume-date|2020-02-29T12:34:56Z", "--volume-date|2001-01-01"),
            *maybe(0.2, "--publisher|Somebody", "--application|IT", "--system-id|LINUX"),
            *maybe(0.2, "--volume-set|A SET", "--preparer|by hand"),
        ]  # fmt: skip
        if self._chance(0.2):
            (self.sources[0] / "loader.bin").write_bytes(self.stamp * 700)
            options += ["--boot-bios", "loader.bin"]
            options += maybe(0.3, "--no-boot-info-table", "--boot-load-size|8")
        if self._chance(0.2):
            esp = self.folder / "esp" / "EFI" / "BOOT"
            esp.mkdir(parents=True)
            (esp / "BOOTX64.EFI").write_bytes(self.stamp * self.random.choice((100, 50_000)))
            options += ["--boot-uefi-dir", str(self.folder / "esp")]
        return options + maybe(0.2, "--hybrid")

    def _beside(self, name: str, size: int) -> str:
        """A file beside the sources; 55 AA end it where it is a sector."""
        path = self.folder / name
        path.write_bytes(
            ((self.stamp * 64)[: size - 2] + b"\x55\xaa") if size == 512 else b"x" * size
        )
        return str(path)

    def _extra(self, options: list[str]) -> None:
        if self._chance(0.2):
            self.left = 10
            source = self._source("grafted")
            target = self.random.choice(("grafted", "a/b c/d", "readme/x", "/deep/er", "EFI/BOOT"))
            options += ["--graft", f"{target}={source}"]
        if self._chance(0.1):
            options += ["--graft", f"a file={self._beside('alone', 3000)}"]
        if self._chance(0.1):
            (self.folder / "patterns").write_text("# of a file\n*.c\n!a.c\n/b*/\n\\#\n")
            options += ["--exclude-from", str(self.folder / "patterns")]
