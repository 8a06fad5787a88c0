"""The handshake, sans I/O: a generator that reads like blocking code and agrees on an export.

It yields a number when it needs exactly that many bytes (send them in), bytes when they are to go
out, and UPGRADE when both sides are about to speak TLS. It returns the agreement, or None when the
client ended the talk by NBD_OPT_ABORT.
Doc: "Fixed newstyle negotiation", "Option types", "Metadata querying". Rules kept here:

- Every option is read whole, known or not, so that the stream stays in step.
- Nothing a client sends is stored beyond `MAXIMUM_OPTION_BYTES`, and `MAXIMUM_TALK_BYTES` are read.
- Every refusal carries a sentence for a human.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from itertools import chain
from typing import Literal, NamedTuple, TypeAlias

from ..errors import ProtocolError
from . import wire
from .block_status import CONTEXT_IDS, matching_contexts
from .exports import ExportTable, Offer

MAXIMUM_OPTION_BYTES = 64 << 10
# All that a client may send. Bytes are bounded and not options: somebody who tries things by hand
# sends many, and a byte costs the same in any of them. Time is the caller's to bound.
MAXIMUM_TALK_BYTES = 1 << 20
# On top of them, for each export: a client that lists all may ask four things about each, with a
# name of up to 4 KiB every time.
TALK_BYTES_AN_EXPORT = 20 << 10


class Upgrade:
    """Yielded when TLS is to be set up on the connection before anything else is read."""


UPGRADE = Upgrade()
_WRITABLE = (
    wire.NBD_FLAG_SEND_FUA
    | wire.NBD_FLAG_SEND_TRIM
    | wire.NBD_FLAG_SEND_WRITE_ZEROES
    | wire.NBD_FLAG_SEND_FAST_ZERO
)
Tls: TypeAlias = Literal["off", "on", "require"]
Wish: TypeAlias = int | bytes | Upgrade
Talk: TypeAlias = Generator[Wish, bytes, "Agreement | None"]
Step: TypeAlias = Generator[Wish, bytes, None]


class Agreement(NamedTuple):
    """The export and the features that a client has chosen for the transmission phase.

    `contexts` maps the names of metadata contexts to their ids in replies.
    """

    offer: Offer
    structured: bool
    extended: bool
    contexts: Mapping[str, int]


def transmission_flags(
    structured: bool,
    status_payload: bool = False,
    *,
    multi_conn: bool = True,
    writable: bool = False,
) -> int:
    """Return the transmission flags of an export. Doc: "Transmission flags".

    All connections see the same bytes, and a flush on one is of the writes of all, hence
    CAN_MULTI_CONN; not so without `multi_conn`, where one
    connection at a time is served: a client would wait for its second one for ever.
    """
    flags = (
        wire.NBD_FLAG_HAS_FLAGS
        | wire.NBD_FLAG_SEND_FLUSH
        | wire.NBD_FLAG_SEND_CACHE
        | (_WRITABLE if writable else wire.NBD_FLAG_READ_ONLY)
    )
    if multi_conn:
        flags |= wire.NBD_FLAG_CAN_MULTI_CONN
    if structured:
        flags |= wire.NBD_FLAG_SEND_DF
    return flags | wire.NBD_FLAG_BLOCK_STATUS_PAYLOAD if status_payload else flags


def negotiate(exports: ExportTable, tls: Tls = "off", *, multi_conn: bool = True) -> Talk:
    """Drive the whole handshake, and return the Agreement.

    With `multi_conn`, clients are told that they may connect several times. Raise ProtocolError
    when the connection must be dropped.
    """
    return (yield from _Negotiation(exports, tls, multi_conn).run())


class _Negotiation:
    """The state of one handshake: what the client has chosen so far."""

    def __init__(self, exports: ExportTable, tls: Tls, multi_conn: bool) -> None:
        self._exports = exports
        self._multi_conn = multi_conn
        self._tls = tls
        self._is_secure = False
        self._no_zeroes = False
        self._is_fixed = False
        self._structured = False
        self._extended = False
        self._contexts: dict[str, int] = {}
        self._contexts_of: Offer | None = None  # the export that the contexts were set for
        self._agreed: Agreement | None = None
        self._answers: dict[int, Callable[[int, bytes], Step]] = {
            wire.NBD_OPT_LIST: self._list,
            wire.NBD_OPT_INFO: self._info,
            wire.NBD_OPT_GO: self._info,
            wire.NBD_OPT_STRUCTURED_REPLY: self._structured_reply,
            wire.NBD_OPT_EXTENDED_HEADERS: self._extended_headers,
            wire.NBD_OPT_LIST_META_CONTEXT: self._list_meta_context,
            wire.NBD_OPT_SET_META_CONTEXT: self._set_meta_context,
        }
        if tls != "off":
            self._answers[wire.NBD_OPT_STARTTLS] = self._start_tls

    def run(self) -> Talk:
        """Shake hands, and return the Agreement, or None when the client ends the talk."""
        yield from self._greet()
        most = MAXIMUM_TALK_BYTES + TALK_BYTES_AN_EXPORT * len(self._exports)
        left = most
        while True:
            magic, option, length = wire.OPTION.unpack((yield wire.OPTION.size))
            if magic != wire.IHAVEOPT:
                raise ProtocolError(f"option magic {magic:#x} found, {wire.IHAVEOPT:#x} expected")
            left -= wire.OPTION.size + length
            if left < 0:
                text = f"more than {most} bytes were sent without choosing an export"
                if option != wire.NBD_OPT_EXPORT_NAME:  # which has no reply for it
                    yield _refusal(option, wire.NBD_REP_ERR_TOO_BIG, text)
                raise ProtocolError(text)
            if option == wire.NBD_OPT_EXPORT_NAME:
                yield from self._export_name(length)
            elif option == wire.NBD_OPT_ABORT:
                yield from _skip(length)
                yield wire.pack_option_reply(option, wire.NBD_REP_ACK)
                return None
            else:
                yield from self._answer(option, length)
            if self._agreed is not None:
                return self._agreed

    def _greet(self) -> Step:
        """Send the greeting, and take the client's flags."""
        offered = wire.NBD_FLAG_FIXED_NEWSTYLE | wire.NBD_FLAG_NO_ZEROES
        yield wire.GREETING.pack(wire.NBDMAGIC, wire.IHAVEOPT, offered)
        (flags,) = wire.CLIENT_FLAGS.unpack((yield wire.CLIENT_FLAGS.size))
        if flags & ~(wire.NBD_FLAG_C_FIXED_NEWSTYLE | wire.NBD_FLAG_C_NO_ZEROES):
            raise ProtocolError(f"unknown client flags {flags:#x}")
        self._no_zeroes = bool(flags & wire.NBD_FLAG_C_NO_ZEROES)
        self._is_fixed = bool(flags & wire.NBD_FLAG_C_FIXED_NEWSTYLE)

    def _answer(self, option: int, length: int) -> Step:
        """Answer an option that can be refused with words, by words if it must be."""
        answer = self._answers.get(option)
        if self._needs_tls and option != wire.NBD_OPT_STARTTLS:
            yield from _skip(length)
            text = "this server talks to nobody without TLS; start it first"
            yield _refusal(option, wire.NBD_REP_ERR_TLS_REQD, text)
        elif answer is None:
            yield from _skip(length)
            yield _refusal(option, wire.NBD_REP_ERR_UNSUP, f"option {option} is not supported")
        elif length > MAXIMUM_OPTION_BYTES:
            yield from _skip(length)
            text = f"the option has {length} bytes of data, and {MAXIMUM_OPTION_BYTES} is most"
            yield _refusal(option, wire.NBD_REP_ERR_TOO_BIG, text)
        else:
            data = (yield length) if length else b""
            try:
                yield from answer(option, data)
            except wire.MalformedError as error:
                yield _refusal(option, wire.NBD_REP_ERR_INVALID, str(error))

    @property
    def _needs_tls(self) -> bool:
        """True while nothing but NBD_OPT_STARTTLS is answered."""
        return self._tls == "require" and not self._is_secure

    def _start_tls(self, option: int, data: bytes) -> Step:
        """Start TLS, and forget what was agreed on in the clear: anybody could have said it."""
        if not self._is_fixed:  # a refusal with words is for those who know fixed newstyle
            raise ProtocolError("TLS was asked for without the flag NBD_FLAG_C_FIXED_NEWSTYLE")
        _expect_no_data(data)
        if self._is_secure:
            raise wire.MalformedError("TLS is running already")
        yield wire.pack_option_reply(option, wire.NBD_REP_ACK)
        yield UPGRADE
        self._is_secure = True
        self._structured = self._extended = False
        self._contexts, self._contexts_of = {}, None

    def _contexts_for(self, offer: Offer) -> dict[str, int]:
        """Return the contexts selected for an export: none, if they were for another one."""
        return self._contexts if self._contexts_of is offer else {}

    def _agree(self, offer: Offer) -> None:
        contexts = self._contexts_for(offer)
        self._agreed = Agreement(offer, self._structured, self._extended, contexts)

    def _export_name(self, length: int) -> Step:
        """Answer NBD_OPT_EXPORT_NAME, which has no error reply: an unknown name ends the talk."""
        if self._needs_tls:
            raise ProtocolError("an export was asked for without TLS")
        if length > wire.MAXIMUM_STRING_BYTES:
            raise ProtocolError(f"an export name of {length} bytes was asked for")
        raw = (yield length) if length else b""
        try:
            offer = self._exports.find(wire.unpack_string(raw))
        except wire.MalformedError as error:
            raise ProtocolError(str(error)) from error
        if offer is None:
            raise ProtocolError(f"an unknown export was asked for: {raw[:80]!r}")
        flags = self._flags(wire.NBD_OPT_EXPORT_NAME, offer)
        zeroes = b"" if self._no_zeroes else bytes(124)
        yield wire.EXPORT_NAME_REPLY.pack(offer.export.size, flags) + zeroes
        self._agree(offer)

    def _list(self, option: int, data: bytes) -> Step:
        _expect_no_data(data)
        for offer in self._exports:
            listed = wire.pack_server(offer.name, offer.description)
            yield wire.pack_option_reply(option, wire.NBD_REP_SERVER, listed)
        yield wire.pack_option_reply(option, wire.NBD_REP_ACK)

    def _structured_reply(self, option: int, data: bytes) -> Step:
        _expect_no_data(data)
        if self._extended:
            text = "extended headers were agreed on, and take the place of structured replies"
            yield _refusal(option, wire.NBD_REP_ERR_EXT_HEADER_REQD, text)
            return
        self._structured = True
        yield wire.pack_option_reply(option, wire.NBD_REP_ACK)

    def _extended_headers(self, option: int, data: bytes) -> Step:
        """Agree on extended headers, which include structured replies, asked for or not."""
        _expect_no_data(data)
        if self._extended:
            raise wire.MalformedError("extended headers were agreed on already")
        self._structured = self._extended = True
        yield wire.pack_option_reply(option, wire.NBD_REP_ACK)

    def _flags(self, option: int, offer: Offer) -> int:
        """Return the transmission flags of an export as `option` tells them.

        A payload that chooses among contexts is of no use to a client that has selected none, and
        is not offered to it. NBD_OPT_INFO tells of it all the same, which the document allows for
        that option alone: a client may ask for the server's abilities before it selects any
        (`nbdinfo --can block-status-payload` does).
        """
        chosen = option == wire.NBD_OPT_INFO or bool(self._contexts_for(offer))
        return transmission_flags(
            self._structured,
            self._extended and chosen,
            multi_conn=self._multi_conn,
            writable=offer.export.features.writable,
        )

    def _info(self, option: int, data: bytes) -> Step:
        """Answer NBD_OPT_INFO and NBD_OPT_GO; the second also ends the handshake."""
        request = wire.unpack_info_request(data)
        offer = self._exports.find(request.name)
        if offer is None:
            yield _unknown_export(option, request.name)
            return
        facts = self._facts(option, offer)
        for kind in dict.fromkeys((wire.NBD_INFO_EXPORT, *request.wanted)):
            if kind in facts:
                yield wire.pack_option_reply(option, wire.NBD_REP_INFO, facts[kind])
        yield wire.pack_option_reply(option, wire.NBD_REP_ACK)
        if option == wire.NBD_OPT_GO:
            self._agree(offer)

    def _facts(self, option: int, offer: Offer) -> dict[int, bytes]:
        """Return the data of the information replies by type. Doc: `NBD_REP_INFO`."""
        facts = {
            wire.NBD_INFO_EXPORT: wire.INFO_EXPORT.pack(
                wire.NBD_INFO_EXPORT, offer.export.size, self._flags(option, offer)
            ),
            wire.NBD_INFO_NAME: wire.UINT16.pack(wire.NBD_INFO_NAME) + offer.name.encode(),
            wire.NBD_INFO_BLOCK_SIZE: wire.INFO_BLOCK_SIZE.pack(
                wire.NBD_INFO_BLOCK_SIZE,
                wire.MINIMUM_BLOCK_BYTES,
                wire.PREFERRED_BLOCK_BYTES,
                wire.MAXIMUM_BLOCK_BYTES,
            ),
        }
        if offer.description:
            text = wire.short_text(offer.description)
            facts[wire.NBD_INFO_DESCRIPTION] = wire.UINT16.pack(wire.NBD_INFO_DESCRIPTION) + text
        return facts

    def _list_meta_context(self, option: int, data: bytes) -> Step:
        """List the contexts that queries ask for; without a query, all of them."""
        request = wire.unpack_context_query(data)
        if self._exports.find(request.name) is None:
            yield _unknown_export(option, request.name)
            return
        found = dict.fromkeys(chain.from_iterable(map(matching_contexts, request.queries)))
        for name in found if request.queries else CONTEXT_IDS:
            yield _meta_context(option, name, 0)
        yield wire.pack_option_reply(option, wire.NBD_REP_ACK)

    def _set_meta_context(self, option: int, data: bytes) -> Step:
        """Select contexts by name. Those selected before are forgotten, even when this fails."""
        self._contexts, self._contexts_of = {}, None
        if not self._structured:
            raise wire.MalformedError("metadata contexts need structured replies first")
        request = wire.unpack_context_query(data)
        offer = self._exports.find(request.name)
        if offer is None:
            yield _unknown_export(option, request.name)
            return
        self._contexts_of = offer
        for name, context_id in CONTEXT_IDS.items():
            if name in request.queries:
                self._contexts[name] = context_id
                yield _meta_context(option, name, context_id)
        yield wire.pack_option_reply(option, wire.NBD_REP_ACK)


def _expect_no_data(data: bytes) -> None:
    if data:
        raise wire.MalformedError(f"the option takes no data, and {len(data)} bytes were sent")


def _refusal(option: int, reply: int, text: str) -> bytes:
    return wire.pack_option_reply(option, reply, wire.short_text(text))


def _unknown_export(option: int, name: str) -> bytes:
    return _refusal(option, wire.NBD_REP_ERR_UNKNOWN, f"there is no export named {name[:80]!r}")


def _meta_context(option: int, name: str, context_id: int) -> bytes:
    data = wire.UINT32.pack(context_id) + name.encode()
    return wire.pack_option_reply(option, wire.NBD_REP_META_CONTEXT, data)


def _skip(length: int) -> Step:
    """Read `length` bytes and forget them, a bounded part at a time."""
    while length:
        part = min(length, MAXIMUM_OPTION_BYTES)
        yield part
        length -= part
