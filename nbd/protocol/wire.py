"""The NBD protocol's numbers and structs, in the names of its document (doc/proto.md).

Declarations, and pure functions that pack and unpack one message each. Everything is big-endian.
"""

from __future__ import annotations

import errno
import struct
from typing import Final, NamedTuple, TypeAlias

# "Handshake phase", "Newstyle negotiation"
NBDMAGIC: Final = 0x4E42444D41474943
IHAVEOPT: Final = 0x49484156454F5054
NBD_REP_MAGIC: Final = 0x0003E889045565A9

# "Transmission phase"
NBD_REQUEST_MAGIC: Final = 0x25609513
NBD_SIMPLE_REPLY_MAGIC: Final = 0x67446698
NBD_STRUCTURED_REPLY_MAGIC: Final = 0x668E33EF
NBD_EXTENDED_REQUEST_MAGIC: Final = 0x21E41C71
NBD_EXTENDED_REPLY_MAGIC: Final = 0x6E8A278C

# "Handshake flags" and "Client flags"
NBD_FLAG_FIXED_NEWSTYLE: Final = 1 << 0
NBD_FLAG_NO_ZEROES: Final = 1 << 1
NBD_FLAG_C_FIXED_NEWSTYLE: Final = 1 << 0
NBD_FLAG_C_NO_ZEROES: Final = 1 << 1

# "Transmission flags"
NBD_FLAG_HAS_FLAGS: Final = 1 << 0
NBD_FLAG_READ_ONLY: Final = 1 << 1
NBD_FLAG_SEND_FLUSH: Final = 1 << 2
NBD_FLAG_SEND_FUA: Final = 1 << 3
NBD_FLAG_SEND_TRIM: Final = 1 << 5
NBD_FLAG_SEND_WRITE_ZEROES: Final = 1 << 6
NBD_FLAG_SEND_DF: Final = 1 << 7
NBD_FLAG_CAN_MULTI_CONN: Final = 1 << 8
NBD_FLAG_SEND_CACHE: Final = 1 << 10
NBD_FLAG_SEND_FAST_ZERO: Final = 1 << 11
NBD_FLAG_BLOCK_STATUS_PAYLOAD: Final = 1 << 12

# "Option types"
NBD_OPT_EXPORT_NAME: Final = 1
NBD_OPT_ABORT: Final = 2
NBD_OPT_LIST: Final = 3
NBD_OPT_STARTTLS: Final = 5
NBD_OPT_INFO: Final = 6
NBD_OPT_GO: Final = 7
NBD_OPT_STRUCTURED_REPLY: Final = 8
NBD_OPT_LIST_META_CONTEXT: Final = 9
NBD_OPT_SET_META_CONTEXT: Final = 10
NBD_OPT_EXTENDED_HEADERS: Final = 11

# "Option reply types"
NBD_REP_ACK: Final = 1
NBD_REP_SERVER: Final = 2
NBD_REP_INFO: Final = 3
NBD_REP_META_CONTEXT: Final = 4
NBD_REP_ERR_UNSUP: Final = 1 << 31 | 1
NBD_REP_ERR_POLICY: Final = 1 << 31 | 2
NBD_REP_ERR_INVALID: Final = 1 << 31 | 3
NBD_REP_ERR_TLS_REQD: Final = 1 << 31 | 5
NBD_REP_ERR_UNKNOWN: Final = 1 << 31 | 6
NBD_REP_ERR_TOO_BIG: Final = 1 << 31 | 9
NBD_REP_ERR_EXT_HEADER_REQD: Final = 1 << 31 | 10

# `NBD_REP_INFO`
NBD_INFO_EXPORT: Final = 0
NBD_INFO_NAME: Final = 1
NBD_INFO_DESCRIPTION: Final = 2
NBD_INFO_BLOCK_SIZE: Final = 3

# "Request types" and "Command flags"
NBD_CMD_READ: Final = 0
NBD_CMD_WRITE: Final = 1
NBD_CMD_DISC: Final = 2
NBD_CMD_FLUSH: Final = 3
NBD_CMD_TRIM: Final = 4
NBD_CMD_CACHE: Final = 5
NBD_CMD_WRITE_ZEROES: Final = 6
NBD_CMD_BLOCK_STATUS: Final = 7
NBD_CMD_FLAG_FUA: Final = 1 << 0
NBD_CMD_FLAG_NO_HOLE: Final = 1 << 1
NBD_CMD_FLAG_DF: Final = 1 << 2
NBD_CMD_FLAG_REQ_ONE: Final = 1 << 3
NBD_CMD_FLAG_FAST_ZERO: Final = 1 << 4
NBD_CMD_FLAG_PAYLOAD_LEN: Final = 1 << 5

# "Structured reply flags" and "Structured reply types"
NBD_REPLY_FLAG_DONE: Final = 1 << 0
NBD_REPLY_TYPE_NONE: Final = 0
NBD_REPLY_TYPE_OFFSET_DATA: Final = 1
NBD_REPLY_TYPE_OFFSET_HOLE: Final = 2
NBD_REPLY_TYPE_BLOCK_STATUS: Final = 5
NBD_REPLY_TYPE_BLOCK_STATUS_EXT: Final = 6
NBD_REPLY_TYPE_ERROR: Final = 1 << 15 | 1
NBD_REPLY_TYPE_ERROR_OFFSET: Final = 1 << 15 | 2

# "The `base:allocation` metadata context"
BASE_ALLOCATION: Final = "base:allocation"
NBD_STATE_HOLE: Final = 1 << 0
NBD_STATE_ZERO: Final = 1 << 1

# "Error values"
NBD_EPERM: Final = 1
NBD_EIO: Final = 5
NBD_ENOMEM: Final = 12
NBD_EINVAL: Final = 22
NBD_ENOSPC: Final = 28
NBD_EOVERFLOW: Final = 75
NBD_ENOTSUP: Final = 95
NBD_ESHUTDOWN: Final = 108

# "Block size constraints": what a client may take for granted; nothing stricter is demanded.
MINIMUM_BLOCK_BYTES: Final = 1
PREFERRED_BLOCK_BYTES: Final = 4096
MAXIMUM_BLOCK_BYTES: Final = 32 << 20

MAXIMUM_STRING_BYTES: Final = 4096  # "Protocol phases": no string is longer
NBD_DEFAULT_PORT: Final = 10809

GREETING: Final = struct.Struct(">QQH")  # NBDMAGIC, IHAVEOPT, handshake flags
CLIENT_FLAGS: Final = struct.Struct(">I")
OPTION: Final = struct.Struct(">QII")  # IHAVEOPT, option, length of data
OPTION_REPLY: Final = struct.Struct(">QIII")  # NBD_REP_MAGIC, option, reply type, length of data
EXPORT_NAME_REPLY: Final = struct.Struct(">QH")  # size, transmission flags; then 124 zeros
INFO_EXPORT: Final = struct.Struct(">HQH")  # NBD_INFO_EXPORT, size, transmission flags
INFO_BLOCK_SIZE: Final = struct.Struct(">HIII")  # NBD_INFO_BLOCK_SIZE, minimum, preferred, maximum
UINT16: Final = struct.Struct(">H")
UINT32: Final = struct.Struct(">I")

REQUEST: Final = struct.Struct(">IHHQQI")  # magic, flags, type, cookie, offset, length
# The same, for many at a time: magic, flags and type as one number.
HEADED_REQUEST: Final = struct.Struct(">QQQI")  # head, cookie, offset, length
READ_HEAD: Final = NBD_REQUEST_MAGIC << 32 | NBD_CMD_READ
WRITE_HEAD: Final = NBD_REQUEST_MAGIC << 32 | NBD_CMD_WRITE
HEADED_DATA: Final = struct.Struct(">QQIQ")  # head, cookie, length, offset; then the data
DATA_HEAD: Final = (
    NBD_STRUCTURED_REPLY_MAGIC << 32 | NBD_REPLY_FLAG_DONE << 16 | NBD_REPLY_TYPE_OFFSET_DATA
)
# "Extended request message" and "Extended reply chunk message"; offset: that of the request.
EXTENDED_REQUEST: Final = struct.Struct(">QQQQ")  # head, cookie, offset, length
EXTENDED_READ_HEAD: Final = NBD_EXTENDED_REQUEST_MAGIC << 32 | NBD_CMD_READ
EXTENDED_WRITE_HEAD: Final = (
    NBD_EXTENDED_REQUEST_MAGIC << 32 | NBD_CMD_FLAG_PAYLOAD_LEN << 16 | NBD_CMD_WRITE
)
EXTENDED_DATA: Final = struct.Struct(">QQQQQ")  # head, cookie, offset, length, offset; then data
EXTENDED_CHUNK: Final = struct.Struct(">IHHQQQ")  # magic, flags, type, cookie, offset, length
SIMPLE_REPLY: Final = struct.Struct(">IIQ")  # magic, error, cookie
CHUNK: Final = struct.Struct(">IHHQI")  # magic, flags, type, cookie, length of payload
HOLE: Final = struct.Struct(">QI")  # the payload of an offset hole: offset, hole size
ERROR: Final = struct.Struct(">IH")  # error, message length; then the message
DESCRIPTOR: Final = struct.Struct(">II")  # extent length, status flags
EXTENDED_STATUS: Final = struct.Struct(">II")  # context id, number of descriptors
EXTENDED_DESCRIPTOR: Final = struct.Struct(">QQ")  # extent length, status flags
STATUS_PAYLOAD: Final = struct.Struct(">Q")  # effect length; then 32-bit context ids

assert REQUEST.size == HEADED_REQUEST.size == 28
assert SIMPLE_REPLY.size == 16
assert CHUNK.size == 20
assert HEADED_DATA.size == CHUNK.size + 8
assert EXTENDED_REQUEST.size == EXTENDED_CHUNK.size == 32
assert EXTENDED_DATA.size == EXTENDED_CHUNK.size + 8
assert OPTION.size == 16
assert OPTION_REPLY.size == 20
assert INFO_EXPORT.size == 12
assert INFO_BLOCK_SIZE.size == 14

# `struct` calls of the host's errno; any other number becomes NBD_EIO ("Error values").
_ERRNO_TO_NBD: Final = {
    errno.EPERM: NBD_EPERM,
    errno.EROFS: NBD_EPERM,
    errno.ENOMEM: NBD_ENOMEM,
    errno.EINVAL: NBD_EINVAL,
    errno.ENOSPC: NBD_ENOSPC,
    errno.EDQUOT: NBD_ENOSPC,
    errno.EFBIG: NBD_ENOSPC,
    errno.ESHUTDOWN: NBD_ESHUTDOWN,
}


Headed: TypeAlias = tuple[int, int, int, int]  # as in HEADED_REQUEST


class MalformedError(ValueError):
    """Data of an option that doesn't follow its layout; the message says what was found."""


class InfoRequest(NamedTuple):
    """The data of `NBD_OPT_INFO` and `NBD_OPT_GO`."""

    name: str
    wanted: tuple[int, ...]


class ContextQuery(NamedTuple):
    """The data of `NBD_OPT_LIST_META_CONTEXT` and `NBD_OPT_SET_META_CONTEXT`."""

    name: str
    queries: tuple[str, ...]


def error_number(error: OSError) -> int:
    """Return the protocol's number for a read or write that failed."""
    return _ERRNO_TO_NBD.get(error.errno or 0, NBD_EIO)


def short_text(text: str) -> bytes:
    """Return `text` in UTF-8, cut between characters to the protocol's longest string."""
    raw = text.encode("utf-8", "backslashreplace")
    return raw[:MAXIMUM_STRING_BYTES].decode("utf-8", "ignore").encode()


def pack_option_reply(option: int, reply: int, data: bytes = b"") -> bytes:
    """Return a reply to an option of the handshake."""
    return OPTION_REPLY.pack(NBD_REP_MAGIC, option, reply, len(data)) + data


def pack_server(name: str, description: str) -> bytes:
    """Return the data of `NBD_REP_SERVER`."""
    raw = name.encode()
    return UINT32.pack(len(raw)) + raw + short_text(description)


def unpack_string(raw: bytes) -> str:
    """Return a name or query as text. Raise MalformedError.

    It must be UTF-8 of at most 4096 bytes, without NUL.
    """
    if len(raw) > MAXIMUM_STRING_BYTES:
        raise MalformedError(f"a string has {len(raw)} bytes, and {MAXIMUM_STRING_BYTES} is most")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise MalformedError(f"a string is not UTF-8: {raw[:40]!r}") from None
    if "\0" in text:
        raise MalformedError("a string contains a NUL character")
    return text


def unpack_info_request(data: bytes) -> InfoRequest:
    """Unpack the data of `NBD_OPT_INFO` and `NBD_OPT_GO`. Raise MalformedError."""
    name, rest = _take_string(data)
    if len(rest) < UINT16.size:
        raise MalformedError("the data ends before the number of information requests")
    (count,) = UINT16.unpack_from(rest)
    listed = rest[UINT16.size :]
    if len(listed) != count * UINT16.size:
        raise MalformedError(f"{count} information requests announced, {len(listed)} bytes found")
    return InfoRequest(name, tuple(wanted for (wanted,) in UINT16.iter_unpack(listed)))


def unpack_context_query(data: bytes) -> ContextQuery:
    """Unpack the data of the options for metadata contexts. Raise MalformedError."""
    name, rest = _take_string(data)
    if len(rest) < UINT32.size:
        raise MalformedError("the data ends before the number of queries")
    (count,) = UINT32.unpack_from(rest)
    rest = rest[UINT32.size :]
    queries = []
    for _ in range(count):  # a lying count ends in MalformedError at the end of the data
        query, rest = _take_string(rest)
        queries.append(query)
    if rest:
        raise MalformedError(f"{len(rest)} bytes follow the last of {count} queries")
    return ContextQuery(name, tuple(queries))


def unpack_status_payload(data: bytes) -> tuple[int, tuple[int, ...]]:
    """Return effect length and context ids of a block status with payload. Raise MalformedError."""
    if len(data) < STATUS_PAYLOAD.size or (len(data) - STATUS_PAYLOAD.size) % UINT32.size:
        raise MalformedError(f"a block status payload of {len(data)} bytes")
    (length,) = STATUS_PAYLOAD.unpack_from(data)
    return length, tuple(each for (each,) in UINT32.iter_unpack(data[STATUS_PAYLOAD.size :]))


def _take_string(data: bytes) -> tuple[str, bytes]:
    if len(data) < UINT32.size:
        raise MalformedError("the data ends inside the length of a string")
    (length,) = UINT32.unpack_from(data)
    end = UINT32.size + length
    if len(data) < end:
        raise MalformedError(f"a string of {length} bytes does not fit in {len(data)} bytes")
    return unpack_string(data[UINT32.size : end]), data[end:]
