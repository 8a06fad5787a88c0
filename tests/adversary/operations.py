"""The table of what an adversary does to files: by what, where, and what is promised then.

`keeps` says that nobody may be refused the file's bytes for it. Where an operation is left out for
a window in which nothing is promised, the sentence of docs/promises.md is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import by_name, in_place
from .promises import Effect
from .victim import Victim

_NONE: frozenset[str] = frozenset()
_REWRITES, _SHRINKS = Effect.REWRITES, Effect.REWRITES | Effect.SHRINKS
_CLONING = frozenset({"xfs", "btrfs", "bcachefs"})
_SHIFTING = frozenset({"ext4", "xfs", "overlay", "f2fs"})
# bindfs passes on no flag of a rename, and no fallocate.
_NOT_FUSE = frozenset({"fuse"})
LAYERED = frozenset({"overlay", "fuse"})
# "A process that has mapped a file for writing leaves no new time as long as the page is dirty; on
# tmpfs it leaves none at all. What it writes then is served." FUSE hears of the page when it is
# written back.
_MAPPED_UNSEEN = frozenset({"tmpfs", "fuse"})
# "On tmpfs, holes that are punched read as zeros before the time says so."
_PUNCHED_BEFORE = frozenset({"tmpfs"})
# "A file that was rewritten and is longer now looks like one that grew, and is served: nothing in
# its status tells the two apart." Nor do births, which FUSE does not tell of.
_NO_BIRTHS = frozenset({"fuse"})
_EVERYWHERE = frozenset(
    {"ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuse", "f2fs", "jfs", "bcachefs", "here"}
)


class Operation(NamedTuple):
    """One kind of change of a file."""

    name: str
    act: Callable[[Victim], Iterator[None] | None]
    effect: Effect
    promise: str
    """The row of docs/promises.md that tells what readers get, or the part of the text."""
    only: frozenset[str] = _EVERYWHERE
    """The file systems that can."""
    keeps: bool = False
    whole: bool = False
    """True if the file must have its length still."""
    unread: bool = False
    """True if nobody should have the file open: only then its number goes to the next one."""
    cuts: bool = False
    """True if a connection may end for it whose reply is half sent."""
    unpromised: frozenset[str] = _NONE
    """File systems where nothing is promised then."""
    unpromised_at_once: frozenset[str] = _NONE
    """File systems where nothing is promised while it is under way."""


_IN_PLACE = "is rewritten in place"
_SHRUNK = "shrinks"
_REPLACED = "is replaced by rename"
_TOUCHED = "time of modification was put back"
_LABELLED = "A file whose mode or number of links changes keeps its bytes"
_DROPPED = Effect.DROPS
_GONE = Effect.DROPS | Effect.ENDS
_LINK = "is in a directory that becomes a link"
_MOVED = "is in a directory that is renamed"

OPERATIONS = (
    Operation("write", in_place.write, _REWRITES, _IN_PLACE),
    Operation("write twice by one descriptor", in_place.write_twice, _REWRITES, _IN_PLACE),
    Operation("write O_DIRECT", in_place.write_direct, _REWRITES, _IN_PLACE),
    Operation("splice", in_place.splice, _REWRITES, _IN_PLACE),
    Operation("sendfile", in_place.sendfile, _REWRITES, _IN_PLACE),
    Operation("copy_file_range", in_place.copy_range, _REWRITES, _IN_PLACE),
    Operation("FICLONE", in_place.clone, _REWRITES, _IN_PLACE, only=_CLONING),
    Operation("FICLONERANGE", in_place.clone_range, _REWRITES, _IN_PLACE, only=_CLONING),
    Operation("write by mmap, descriptor open", in_place.map_open, _REWRITES, _IN_PLACE,
              whole=True, unpromised=_MAPPED_UNSEEN),
    Operation("write by mmap, descriptor closed", in_place.map_closed, _REWRITES, _IN_PLACE,
              whole=True, unpromised=_MAPPED_UNSEEN),
    Operation("write by mmap in a layer", in_place.map_in_layer, _REWRITES, _IN_PLACE,
              only=LAYERED, whole=True),
    Operation("write in a layer", in_place.write_in_layer, _REWRITES, _IN_PLACE, only=LAYERED),
    Operation("truncate in a layer", in_place.shrink_in_layer, _SHRINKS, _SHRUNK, only=LAYERED),
    Operation("write, and put mtime back", in_place.write_and_put_back,
              _REWRITES | Effect.PUTS_BACK, _TOUCHED),
    Operation("write by a bind mount", by_name.write_through_bind, _REWRITES, _IN_PLACE,
              only=_EVERYWHERE - {"here"}),
    Operation("O_WRONLY|O_TRUNC, and write", in_place.empty_and_write, _REWRITES, _IN_PLACE),
    # "What is read often is sent from a mapping of the file." When its pages vanish in the middle
    # of a reply, "no error can be told any more: the connection ends".
    Operation("O_RDONLY|O_TRUNC", in_place.empty_by_reading, _SHRINKS, _SHRUNK, cuts=True),
    Operation("truncate", in_place.shrink, _SHRINKS, _SHRUNK),
    Operation("truncate, and back", in_place.shrink_and_grow, _REWRITES, _IN_PLACE),
    Operation("truncate to more", in_place.grow, Effect.LENGTHENS, "grows", keeps=True),
    Operation("append", in_place.append, Effect.LENGTHENS, "grows", keeps=True),
    Operation("fallocate more", in_place.allocate_more, Effect.LENGTHENS, "grows",
              only=_EVERYWHERE - _NOT_FUSE),
    Operation("punch hole", in_place.punch, _REWRITES, _IN_PLACE, only=_EVERYWHERE - _NOT_FUSE,
              unpromised_at_once=_PUNCHED_BEFORE),
    Operation("zero range", in_place.zero, _REWRITES, _IN_PLACE,
              only=_EVERYWHERE - {"tmpfs", "fuse", "here"}),
    Operation("collapse range", in_place.collapse, _SHRINKS, _SHRUNK, only=_SHIFTING, whole=True),
    # "A file that was rewritten and is longer now looks like one that grew": so it is cut to its
    # length before anybody reads.
    Operation("insert range, cut", in_place.insert, _REWRITES, _IN_PLACE, only=_SHIFTING,
              whole=True, unpromised_at_once=_EVERYWHERE),
    Operation("touch", in_place.touch, Effect.NONE, _TOUCHED),
    Operation("chmod", in_place.change_mode, Effect.RELABELS, _LABELLED, keeps=True),
    Operation("link", in_place.link, Effect.RELABELS, _LABELLED, keeps=True),
    Operation("chown", in_place.change_owner, Effect.NONE, _TOUCHED, only=_EVERYWHERE - {"here"}),
    Operation("setxattr", in_place.set_attribute, Effect.NONE, _TOUCHED),
    Operation("new neighbour", by_name.get_neighbour, Effect.NONE, "gets a new neighbour",
              keeps=True),
    Operation("rename over", by_name.rename_over, _DROPPED, _REPLACED),
    Operation("rename over, same mtime", by_name.rename_over_same_time, _DROPPED, _REPLACED),
    Operation("RENAME_EXCHANGE", by_name.exchange, Effect.NONE, _REPLACED,
              only=_EVERYWHERE - _NOT_FUSE),
    Operation("RENAME_EXCHANGE, and back", by_name.exchange_and_back, Effect.NONE, _REPLACED,
              only=_EVERYWHERE - _NOT_FUSE),
    Operation("rename away, and back", by_name.away_and_back, Effect.NONE, _TOUCHED),
    Operation("unlink", by_name.unlink, _GONE, "is deleted"),
    Operation("unlink, make anew", by_name.make_anew, _DROPPED | _REWRITES, "is deleted",
              unread=True),
    Operation("unlink and make anew", by_name.make_anew_at_once, _DROPPED | _REWRITES,
              "is deleted", unread=True),
    Operation("unlink and make anew, longer", by_name.make_anew_longer, _DROPPED | _REWRITES,
              "is deleted", unread=True, unpromised=_NO_BIRTHS),
    Operation("unlink and make anew, same mtime", by_name.make_anew_same_time,
              _REWRITES | Effect.PUTS_BACK | _DROPPED, "is deleted", unread=True),
    Operation("becomes a link", by_name.become_link, _GONE, "becomes a symbolic link"),
    Operation("becomes a fifo", by_name.become_fifo, _GONE, "becomes a fifo"),
    Operation("becomes a socket", by_name.become_socket, _GONE, "becomes a fifo"),
    Operation("becomes a device", by_name.become_device, _GONE, "becomes a device",
              only=_EVERYWHERE - {"here"}),
    Operation("becomes a directory", by_name.become_directory, _GONE, "becomes a device"),
    Operation("directory renamed", by_name.rename_directory, Effect.ENDS, _MOVED),
    Operation("directory becomes a link to itself", by_name.link_directory, Effect.ENDS, _LINK),
    Operation("directory becomes a link elsewhere", by_name.link_to_other_directory, Effect.ENDS,
              _LINK),
    Operation("directory replaced", by_name.replace_directory, Effect.ENDS, _MOVED),
    Operation("directories exchanged", by_name.exchange_directories, Effect.ENDS, _MOVED,
              only=_EVERYWHERE - _NOT_FUSE),
    Operation("bind mount over the directory", by_name.bind_over_directory, Effect.ENDS, _REPLACED,
              only=_EVERYWHERE - {"here"}),
    Operation("bind mount over the file", by_name.bind_over_file, Effect.ENDS, _REPLACED,
              only=_EVERYWHERE - {"here"}),
    Operation("mount over the directory", by_name.mount_over_directory, Effect.ENDS, _REPLACED,
              only=_EVERYWHERE - {"here"}),
    Operation("rename over in a layer", by_name.replace_in_layer, Effect.ENDS, _REPLACED,
              only=LAYERED),
)  # fmt: skip
BY_NAME = {each.name: each for each in OPERATIONS}


def of(file_system: str) -> list[Operation]:
    """Return the operations that can be made there, and of which something is promised."""
    return [
        each
        for each in OPERATIONS
        if file_system in each.only and file_system not in each.unpromised
    ]
