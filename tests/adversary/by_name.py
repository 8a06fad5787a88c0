"""Changes of what stands under a file's name, or under its directory's, and mounts on them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tools import output

from . import in_place, kernel
from .victim import Victim


def rename_over(victim: Victim) -> None:
    victim.spare().rename(victim.path)


def rename_over_same_time(victim: Victim) -> None:
    """Replace it as cp -p and rsync do."""
    before, other = victim.path.stat(), victim.spare()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(victim.path)


def exchange(victim: Victim) -> None:
    kernel.exchange(victim.spare(), victim.path)


def exchange_and_back(victim: Victim) -> Iterator[None]:
    other = victim.spare()
    kernel.exchange(other, victim.path)
    yield
    kernel.exchange(other, victim.path)


def away_and_back(victim: Victim) -> Iterator[None]:
    away = victim.path.rename(victim.directory / "away")
    yield
    away.rename(victim.path)


def unlink(victim: Victim) -> None:
    victim.path.unlink()


def make_anew(victim: Victim) -> Iterator[None]:
    """Make another file, which on ext4 has the old one's inode number."""
    victim.path.unlink()
    yield
    victim.path.write_bytes(victim.next_bytes())


def make_anew_at_once(victim: Victim) -> None:
    victim.path.unlink()
    victim.path.write_bytes(victim.next_bytes())


def make_anew_longer(victim: Victim) -> None:
    victim.path.unlink()
    victim.path.write_bytes(victim.next_bytes(victim.size + victim.random.randint(1, victim.size)))


def make_anew_same_time(victim: Victim) -> None:
    before = victim.path.stat()
    make_anew_at_once(victim)
    os.utime(victim.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def become_link(victim: Victim) -> None:
    other = victim.spare()
    victim.path.unlink()
    victim.path.symlink_to(other)


def become_fifo(victim: Victim) -> None:
    victim.path.unlink()
    os.mkfifo(victim.path)


def become_socket(victim: Victim) -> None:
    victim.path.unlink()
    os.mknod(victim.path, stat.S_IFSOCK | 0o666)


def become_device(victim: Victim) -> None:
    victim.path.unlink()
    os.mknod(victim.path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero


def become_directory(victim: Victim) -> None:
    victim.path.unlink()
    victim.path.mkdir()


def rename_directory(victim: Victim) -> None:
    victim.directory.rename(victim.place.spare_name())


def link_directory(victim: Victim) -> None:
    """Leave a link to the directory, which has moved: its bytes are still there."""
    moved = victim.directory.rename(victim.place.spare_name())
    victim.directory.symlink_to(moved)


def replace_directory(victim: Victim) -> Iterator[None]:
    other = _other_directory(victim)
    victim.directory.rename(victim.place.spare_name())
    yield
    other.rename(victim.directory)


def exchange_directories(victim: Victim) -> None:
    kernel.exchange(_other_directory(victim), victim.directory)


def link_to_other_directory(victim: Victim) -> None:
    other = _other_directory(victim)
    victim.directory.rename(victim.place.spare_name())
    victim.directory.symlink_to(other)


def get_neighbour(victim: Victim) -> None:
    """Put a file beside it that the scan did not see."""
    (victim.directory / "neighbour").write_bytes(victim.next_bytes())


def bind_over_directory(victim: Victim) -> None:
    _bind(victim, _other_directory(victim), victim.directory)


def bind_over_file(victim: Victim) -> None:
    _bind(victim, victim.spare(), victim.path)


def mount_over_directory(victim: Victim) -> Iterator[None]:
    """Mount another file system, and make a file of the same name and length there."""
    output("mount", "-t", "tmpfs", "-o", "size=2m", "none", str(victim.directory))
    victim.kept.callback(output, "umount", "-l", str(victim.directory))
    yield
    victim.path.write_bytes(victim.next_bytes())


def write_through_bind(victim: Victim) -> None:
    """Write by another path, and another mount of the same file system."""
    target = victim.place.spare_name()
    target.mkdir()
    _bind(victim, victim.directory, target)
    in_place.write(victim, target / "file")


def replace_in_layer(victim: Victim) -> None:
    """Replace it by rename, behind the back of what is mounted."""
    other = victim.in_layer().with_name("other")
    other.write_bytes(victim.next_bytes())
    other.rename(victim.in_layer())


def _other_directory(victim: Victim) -> Path:
    """Return a new directory with a file of the same name and length."""
    other = victim.place.spare_name()
    other.mkdir()
    (other / "file").write_bytes(victim.next_bytes())
    return other


def _bind(victim: Victim, source: Path, target: Path) -> None:
    output("mount", "--bind", str(source), str(target))
    victim.kept.callback(output, "umount", "-l", str(target))
