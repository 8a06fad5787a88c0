"""A new file takes the place of another when it is complete, and never before.

It has no name while it is written, where the file system can do that, so that not even a killed
process leaves it behind; else one that nobody can guess and that must be new.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

_FLAGS = os.O_RDWR | os.O_CLOEXEC
_NEW = _FLAGS | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Replacement:
    """A new file, open for writing, that is to be `name` in an open directory.

    While it is written, and then, nobody may read it who may not read what it replaces. Raises
    OSError where no file can be made. End it by `commit` or `discard`.
    """

    def __init__(self, folder: int, name: str | bytes) -> None:
        self._folder = folder
        self._name = name
        self._temporary = f".vfloppy-{os.urandom(8).hex()}.part"
        mode = 0o666 if self._old() is None else 0o600
        self.descriptor, self._is_nameless = self._create(mode)

    def _create(self, mode: int) -> tuple[int, bool]:
        """Return the file, and whether it has no name yet."""
        with suppress(OSError, AttributeError):  # not every file system has such files, nor macOS
            if os.path.exists("/proc/self/fd"):
                flags = _FLAGS | os.O_TMPFILE
                return os.open(".", flags, mode, dir_fd=self._folder), True
        return os.open(self._temporary, _NEW, mode, dir_fd=self._folder), False

    def commit(self, *, sync: bool) -> None:
        """Have it take its place, with the owner and mode of what was there, and close it.

        With `sync` it is on the disk by then. Raise OSError; then `discard`.
        """
        folder = self._folder
        old = self._old()
        if old is not None:
            self._keep_owner_and_mode(old)
        if sync:
            os.fsync(self.descriptor)
        if self._is_nameless:
            # With a directory's descriptor os.link follows the link.
            own = f"/proc/self/fd/{self.descriptor}"
            os.link(own, self._temporary, src_dir_fd=folder, dst_dir_fd=folder)
        os.replace(self._temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)
        self._close()
        if sync:
            self._sync_folder()

    def discard(self) -> None:
        """Close it, and remove it if it did not take its place. May be called after `commit`."""
        self._close()
        with suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._folder)

    def _close(self) -> None:
        closing, self.descriptor = self.descriptor, -1
        if closing >= 0:
            os.close(closing)

    def _old(self) -> os.stat_result | None:
        """Return the status of the regular file that is there."""
        try:
            status = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _keep_owner_and_mode(self, old: os.stat_result) -> None:
        """Give it owner and mode of the file before it as far as may be, but never set-user-ID."""
        with suppress(PermissionError):
            os.fchown(self.descriptor, old.st_uid, old.st_gid)
        os.fchmod(self.descriptor, old.st_mode & 0o777)

    def _sync_folder(self) -> None:
        """Make the rename last; some directories can't be synced, and that is no failure."""
        with suppress(OSError):
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def remove_own(folder: int, name: str | bytes, opened: int) -> None:
    """Remove what is `name` in an open directory if it is the file that is open; else nothing."""
    with suppress(OSError):
        if os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(opened)):
            os.unlink(name, dir_fd=folder)
