"""Requests: those that an export carries out, and the refusals of the others.

Doc: "Command flags", "Error values", "Block size constraints".
"""

from __future__ import annotations

from typing import TypeAlias

from . import wire

Request: TypeAlias = tuple[int, int, int, int, int, int]  # as in wire.REQUEST

# Which flags a command may carry with structured replies, if the export is read-only; ...
_VALID_FLAGS = {
    wire.NBD_CMD_READ: wire.NBD_CMD_FLAG_DF,
    wire.NBD_CMD_WRITE: 0,
    wire.NBD_CMD_FLUSH: 0,
    wire.NBD_CMD_TRIM: 0,
    wire.NBD_CMD_CACHE: 0,
    wire.NBD_CMD_WRITE_ZEROES: wire.NBD_CMD_FLAG_NO_HOLE,
    wire.NBD_CMD_BLOCK_STATUS: wire.NBD_CMD_FLAG_REQ_ONE,
}
# ... and one that is writable knows these as well, FUA with any command.
_WRITING_FLAGS = {wire.NBD_CMD_WRITE_ZEROES: wire.NBD_CMD_FLAG_FAST_ZERO}
_WITH_PAYLOAD = {wire.NBD_CMD_WRITE, wire.NBD_CMD_BLOCK_STATUS}
_NEED_STRUCTURED = wire.NBD_CMD_FLAG_DF | wire.NBD_CMD_FLAG_REQ_ONE
_WRITES = {wire.NBD_CMD_WRITE, wire.NBD_CMD_TRIM, wire.NBD_CMD_WRITE_ZEROES}
_NO_SPACE = {wire.NBD_CMD_WRITE, wire.NBD_CMD_WRITE_ZEROES}
_BLOCK_BOUND = {wire.NBD_CMD_READ, wire.NBD_CMD_WRITE, wire.NBD_CMD_CACHE}
MOST_STATUS_PAYLOAD_BYTES = 8 + 4 * 64


class RefusedError(Exception):
    """A request that can't be carried out: an NBD error number and a sentence."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


def payload_bytes(request: Request, *, extended: bool) -> int:
    """Return the number of bytes that follow a request, which are its own even if it is refused."""
    _, flags, command, _, _, length = request
    has_payload = extended and flags & wire.NBD_CMD_FLAG_PAYLOAD_LEN
    return length if has_payload or command == wire.NBD_CMD_WRITE else 0


def check(
    request: Request,
    size: int,
    *,
    structured: bool,
    extended: bool = False,
    writable: bool = False,
) -> None:
    """Raise RefusedError unless an export of `size` bytes can carry `request` out."""
    _, flags, command, _, offset, length = request
    if command not in _VALID_FLAGS:
        raise RefusedError(wire.NBD_EINVAL, f"command {command} is unknown")
    valid = _VALID_FLAGS[command]
    if extended and command in _WITH_PAYLOAD:
        valid |= wire.NBD_CMD_FLAG_PAYLOAD_LEN
    if writable:
        valid |= _WRITING_FLAGS.get(command, 0) | wire.NBD_CMD_FLAG_FUA
    wrong = flags & ~(valid if structured else valid & ~_NEED_STRUCTURED)
    if wrong:
        raise RefusedError(
            wire.NBD_EINVAL, f"command {command} does not take the flags {wrong:#x} here"
        )
    if command == wire.NBD_CMD_FLUSH and (offset or length):
        raise RefusedError(wire.NBD_EINVAL, "a flush takes no offset and no length")
    if offset + length > size:
        number = wire.NBD_ENOSPC if command in _NO_SPACE else wire.NBD_EINVAL
        text = f"{length} bytes at offset {offset} go past the end, which is at {size}"
        raise RefusedError(number, text)
    if command in _WRITES and not writable:
        raise RefusedError(wire.NBD_EPERM, "the export is read-only")
    if command in _BLOCK_BOUND and length > wire.MAXIMUM_BLOCK_BYTES:
        text = f"{length} bytes in one request, and {wire.MAXIMUM_BLOCK_BYTES} is most"
        # EOVERFLOW: a smaller one would do, without DF or in parts.
        is_invalid = command != wire.NBD_CMD_CACHE and not flags & wire.NBD_CMD_FLAG_DF
        raise RefusedError(wire.NBD_EINVAL if is_invalid else wire.NBD_EOVERFLOW, text)
