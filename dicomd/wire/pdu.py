"""A-ASSOCIATE PDUs as values, and their bytes (PS3.8 9.3.2-9.3.4, Annex D; PS3.7 Annex D.3).

Reading is lenient: unknown items and sub-items are skipped, AE titles lose NULs and spaces, reserved bytes are not tested.
Writing is exact. P-DATA-TF is not here: its fast path is in `upper_layer` (in) and `messages` (out).
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from attrs import Factory, field, frozen

from ..model.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

T = TypeVar("T")

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
# What a peer that announces no maximum length is sent at most (PS3.8 D.1 requires the item; some leave it out).
UNSTATED_MAXIMUM_LENGTH = 16384

# PS3.8 Table 9-18: Result/Reason of a presentation context
ACCEPTANCE, USER_REJECTION, NO_REASON, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = range(5)

_HEADER = struct.Struct(">BBI")
_ITEM = struct.Struct(">BBH")
_FIXED = struct.Struct(">HH64s")


class InvalidPdu(Exception):
    """The bytes contradict PS3.8 9.3."""


@frozen
class ProposedContext:
    """Presentation Context Item of an A-ASSOCIATE-RQ (PS3.8 9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@frozen
class ContextResult:
    """Presentation Context Item of an A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""

    id: int
    result: int
    transfer_syntax: str


@frozen
class Role:
    """SCP/SCU Role Selection (PS3.7 D.3.3.4): the roles of the association requestor."""

    sop_class_uid: str
    scu: bool
    scp: bool


@frozen
class ExtendedNegotiation:
    """SOP Class Extended Negotiation (PS3.7 D.3.3.5)."""

    sop_class_uid: str
    information: bytes


@frozen
class CommonExtendedNegotiation:
    """SOP Class Common Extended Negotiation (PS3.7 D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related_general_sop_class_uids: tuple[str, ...] = ()


@frozen
class UserIdentity:
    """User Identity Negotiation of a request (PS3.7 D.3.3.7); its fields never enter a log."""

    type: int
    response_requested: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)


@frozen
class UserInformation:
    """User Information Item (PS3.8 Annex D, PS3.7 D.3.3): what both sides tell about themselves."""

    maximum_length: int = UNSTATED_MAXIMUM_LENGTH
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID
    implementation_version_name: str = IMPLEMENTATION_VERSION_NAME
    asynchronous_window: tuple[int, int] | None = None
    roles: tuple[Role, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    identity: UserIdentity | None = None
    identity_response: bytes | None = None


@frozen
class AssociateRequest:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). `titles` are bytes 11-74 as they came, to be echoed."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation = Factory(UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    titles: bytes = b""


@frozen
class AssociateAccept:
    """A-ASSOCIATE-AC (PS3.8 9.3.3)."""

    results: tuple[ContextResult, ...]
    user: UserInformation = Factory(UserInformation)
    titles: bytes = bytes(64)


# Reading


def decode_request(body: bytes) -> AssociateRequest:
    """The A-ASSOCIATE-RQ whose PDU header is already off; raises `InvalidPdu`."""
    return _guarded(_decode_request, body)


def decode_accept(body: bytes) -> AssociateAccept:
    """The A-ASSOCIATE-AC whose PDU header is already off; raises `InvalidPdu`."""
    return _guarded(_decode_accept, body)


def _guarded(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except (struct.error, IndexError) as error:
        raise InvalidPdu(f"an item ends early ({error})") from None


def _decode_request(body: bytes) -> AssociateRequest:
    version, _, titles = _FIXED.unpack_from(body)
    application_context, user, contexts = "", UserInformation(), []
    for kind, payload in _items(body, 68):
        if kind == 0x10:
            application_context = _text(payload)
        elif kind == 0x20:
            contexts.append(_proposed(payload))
        elif kind == 0x50:
            user = _decode_user(payload)
    ids = [context.id for context in contexts]
    if len(set(ids)) != len(ids):
        raise InvalidPdu("two presentation contexts have the same ID")
    called, calling = _ae_title(titles[:16]), _ae_title(titles[16:32])
    return AssociateRequest(called, calling, tuple(contexts), user, application_context, version, titles)


def _decode_accept(body: bytes) -> AssociateAccept:
    _, _, titles = _FIXED.unpack_from(body)
    user, results = UserInformation(), []
    for kind, payload in _items(body, 68):
        if kind == 0x21:
            syntax = next((_text(name) for sub, name in _items(payload, 4) if sub == 0x40), "")
            results.append(ContextResult(payload[0], payload[2], syntax))
        elif kind == 0x50:
            user = _decode_user(payload)
    return AssociateAccept(tuple(results), user, titles)


def _items(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each item; unknown types are the caller's to ignore."""
    position, end = start, len(data)
    while position < end:
        kind, _, length = _ITEM.unpack_from(data, position)
        position += 4
        if position + length > end:
            raise InvalidPdu(f"item {kind:02X} is longer than what holds it")
        yield kind, data[position : position + length]
        position += length


def _proposed(payload: bytes) -> ProposedContext:
    identifier, abstract, syntaxes = payload[0], "", []
    if identifier % 2 == 0:
        raise InvalidPdu("a presentation context ID is even")
    for kind, name in _items(payload, 4):
        if kind == 0x30:
            abstract = _text(name)
        elif kind == 0x40:
            syntaxes.append(_text(name))
    if not abstract or not syntaxes:
        raise InvalidPdu("a presentation context lacks its abstract or transfer syntax")
    return ProposedContext(identifier, abstract, tuple(syntaxes))


def _decode_user(payload: bytes) -> UserInformation:
    single: dict[str, Any] = {"implementation_class_uid": "", "implementation_version_name": ""}
    several: dict[str, list[Any]] = {"roles": [], "extended": [], "common_extended": []}
    for kind, value in _items(payload, 0):
        if kind in _USER_ITEMS:
            name, read = _USER_ITEMS[kind]
            if name in several:
                several[name].append(read(value))
            else:
                single[name] = read(value)
    return UserInformation(**single | {name: tuple(values) for name, values in several.items()})


def _identity(value: bytes) -> UserIdentity:
    primary, after = _prefixed(value, 2)
    secondary = _prefixed(value, after)[0] if after < len(value) else b""
    return UserIdentity(value[0], value[1] == 1, primary, secondary)


def _role(value: bytes) -> Role:
    uid, after = _prefixed(value, 0)
    return Role(_text(uid), value[after] == 1, value[after + 1] == 1)


def _extended(value: bytes) -> ExtendedNegotiation:
    uid, after = _prefixed(value, 0)
    return ExtendedNegotiation(_text(uid), value[after:])


def _common_extended(value: bytes) -> CommonExtendedNegotiation:
    uid, after = _prefixed(value, 0)
    service, after = _prefixed(value, after)
    listed, _ = _prefixed(value, after)
    related, position = [], 0
    while position < len(listed):
        name, position = _prefixed(listed, position)
        related.append(_text(name))
    return CommonExtendedNegotiation(_text(uid), _text(service), tuple(related))


_USER_ITEMS: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    0x51: ("maximum_length", lambda value: struct.unpack(">I", value)[0]),
    0x52: ("implementation_class_uid", lambda value: _text(value)),
    0x53: ("asynchronous_window", lambda value: struct.unpack(">HH", value)),
    0x54: ("roles", _role),
    0x55: ("implementation_version_name", lambda value: _text(value)),
    0x56: ("extended", _extended),
    0x57: ("common_extended", _common_extended),
    0x58: ("identity", _identity),
    0x59: ("identity_response", lambda value: _prefixed(value, 0)[0]),
}


def _prefixed(data: bytes, position: int) -> tuple[bytes, int]:
    """The value after a two-byte length, and where it ends."""
    (length,) = struct.unpack_from(">H", data, position)
    end = position + 2 + length
    if end > len(data):
        raise InvalidPdu("a sub-item field is longer than its sub-item")
    return data[position + 2 : end], end


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace").strip("\0 ")


def _ae_title(raw: bytes) -> str:
    """Leading and trailing spaces are not significant (PS3.8 9.3.2); some peers pad with NUL."""
    return _text(raw).split("\0", 1)[0].strip()


# Writing


def encode_request(request: AssociateRequest) -> bytes:
    """The whole A-ASSOCIATE-RQ PDU."""
    titles = request.called_ae_title.encode().ljust(16)[:16] + request.calling_ae_title.encode().ljust(16)[:16]
    items = [_item(0x10, request.application_context.encode())]
    for context in request.contexts:
        names = [_item(0x30, context.abstract_syntax.encode())]
        names += [_item(0x40, syntax.encode()) for syntax in context.transfer_syntaxes]
        items.append(_item(0x20, bytes((context.id, 0, 0, 0)) + b"".join(names)))
    items.append(_item(0x50, _encode_user(request.user)))
    return _pdu(ASSOCIATE_RQ, _FIXED.pack(request.protocol_version, 0, titles) + b"".join(items))


def encode_accept(accept: AssociateAccept) -> bytes:
    """The whole A-ASSOCIATE-AC PDU."""
    items = [_item(0x10, APPLICATION_CONTEXT.encode())]
    for result in accept.results:
        syntax = _item(0x40, result.transfer_syntax.encode())
        items.append(_item(0x21, bytes((result.id, 0, result.result, 0)) + syntax))
    items.append(_item(0x50, _encode_user(accept.user)))
    return _pdu(ASSOCIATE_AC, _FIXED.pack(1, 0, accept.titles) + b"".join(items))


def encode_reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return _pdu(ASSOCIATE_RJ, bytes((0, result, source, reason)))


def encode_abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 9.3.8)."""
    return _pdu(ABORT, bytes((0, 0, source, reason)))


RELEASE_RQ_PDU = bytes((RELEASE_RQ, 0, 0, 0, 0, 4, 0, 0, 0, 0))
RELEASE_RP_PDU = bytes((RELEASE_RP, 0, 0, 0, 0, 4, 0, 0, 0, 0))


def _pdu(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(kind, 0, len(body)) + body


def _item(kind: int, payload: bytes) -> bytes:
    return _ITEM.pack(kind, 0, len(payload)) + payload


def _field(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _encode_user(user: UserInformation) -> bytes:
    """Sub-items in the order of their types, as PS3.7 D.3.3 lists them."""
    return b"".join(_item(kind, value) for kind, value in sorted(_user_items(user), key=lambda item: item[0]))


def _user_items(user: UserInformation) -> Iterable[tuple[int, bytes]]:
    yield 0x51, struct.pack(">I", user.maximum_length)
    yield 0x52, user.implementation_class_uid.encode()
    if user.implementation_version_name:
        yield 0x55, user.implementation_version_name.encode()
    if user.asynchronous_window is not None:
        yield 0x53, struct.pack(">HH", *user.asynchronous_window)
    for role in user.roles:
        yield 0x54, _field(role.sop_class_uid.encode()) + bytes((role.scu, role.scp))
    for extended in user.extended:
        yield 0x56, _field(extended.sop_class_uid.encode()) + extended.information
    for common in user.common_extended:
        related = b"".join(_field(uid.encode()) for uid in common.related_general_sop_class_uids)
        names = _field(common.sop_class_uid.encode()) + _field(common.service_class_uid.encode())
        yield 0x57, names + _field(related)
    if user.identity is not None:
        head = bytes((user.identity.type, user.identity.response_requested))
        yield 0x58, head + _field(user.identity.primary) + _field(user.identity.secondary)
    if user.identity_response is not None:
        yield 0x59, _field(user.identity_response)
