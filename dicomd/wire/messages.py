"""DIMSE messages: command sets <-> `Command`, PDVs <-> messages (PS3.7 6.3, 9.3, 10.3; PS3.8 Annex E).

A data set is never held here: its fragments pass through as they come. Writing cuts messages into P-DATA-TF PDUs.
"""

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

from attrs import define

from .pdu import P_DATA_TF

# Upper bound of a command set; a legal one has a few hundred bytes.
LARGEST_COMMAND_SET: Final = 65536
# (0000,0800) Command Data Set Type: this value says that no data set follows (PS3.7 E.1).
NO_DATA_SET: Final = 0x0101
# Where a sender's message has no length limit, PDUs stay handy all the same.
UNLIMITED_PDU: Final = 131072

_COMMAND, _LAST = 1, 2


class CommandField(IntEnum):
    """(0000,0100) Command Field of requests; responses have bit 15 set (PS3.7 E.1)."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_GET = 0x0110
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140
    N_DELETE = 0x0150
    C_CANCEL = 0x0FFF


RESPONSE: Final = 0x8000
REQUESTS: Final = frozenset(int(field) for field in CommandField)


class MessageError(Exception):
    """The peer's PDVs or command set break PS3.7 or PS3.8; `reason` is for the A-ABORT (PS3.8 9.3.8)."""

    def __init__(self, text: str, reason: int = 0) -> None:
        super().__init__(text)
        self.reason = reason


@define
class Command:
    """A command set: the elements of PS3.7 Tables 9.3 and 10.3, `None` or empty where absent."""

    command_field: int
    message_id: int | None = None
    message_id_being_responded_to: int | None = None
    affected_sop_class_uid: str = ""
    requested_sop_class_uid: str = ""
    affected_sop_instance_uid: str = ""
    requested_sop_instance_uid: str = ""
    has_data_set: bool = False
    priority: int | None = None
    status: int | None = None
    move_destination: str = ""
    move_originator_ae_title: str = ""
    move_originator_message_id: int | None = None
    offending_elements: tuple[int, ...] = ()
    error_comment: str = ""
    error_id: int | None = None
    event_type_id: int | None = None
    action_type_id: int | None = None
    attribute_identifier_list: tuple[int, ...] = ()
    remaining_suboperations: int | None = None
    completed_suboperations: int | None = None
    failed_suboperations: int | None = None
    warning_suboperations: int | None = None

    @property
    def is_response(self) -> bool:
        """Bit 15 of the command field."""
        return self.command_field & RESPONSE != 0

    @property
    def sop_class_uid(self) -> str:
        """Affected or Requested SOP Class UID, whichever the message has."""
        return self.affected_sop_class_uid or self.requested_sop_class_uid

    @property
    def sop_instance_uid(self) -> str:
        """Affected or Requested SOP Instance UID, whichever the message has."""
        return self.affected_sop_instance_uid or self.requested_sop_instance_uid


# Elements of group 0000 in ascending order (PS3.7 E.1)
_ELEMENTS: tuple[tuple[int, str, str], ...] = (
    (0x0002, "UI", "affected_sop_class_uid"),
    (0x0003, "UI", "requested_sop_class_uid"),
    (0x0100, "US", "command_field"),
    (0x0110, "US", "message_id"),
    (0x0120, "US", "message_id_being_responded_to"),
    (0x0600, "AE", "move_destination"),
    (0x0700, "US", "priority"),
    (0x0800, "DS", "has_data_set"),
    (0x0900, "US", "status"),
    (0x0901, "AT", "offending_elements"),
    (0x0902, "LO", "error_comment"),
    (0x0903, "US", "error_id"),
    (0x1000, "UI", "affected_sop_instance_uid"),
    (0x1001, "UI", "requested_sop_instance_uid"),
    (0x1002, "US", "event_type_id"),
    (0x1005, "AT", "attribute_identifier_list"),
    (0x1008, "US", "action_type_id"),
    (0x1020, "US", "remaining_suboperations"),
    (0x1021, "US", "completed_suboperations"),
    (0x1022, "US", "failed_suboperations"),
    (0x1023, "US", "warning_suboperations"),
    (0x1030, "AE", "move_originator_ae_title"),
    (0x1031, "US", "move_originator_message_id"),
)

_ELEMENT = struct.Struct("<HHL")
_US = struct.Struct("<H")
_SHORT = struct.Struct("<HHLH")


def _read_text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")


def _read_short(value: bytes) -> int:
    return int(_US.unpack_from(value)[0])


def _read_tags(value: bytes) -> tuple[int, ...]:
    shorts = struct.unpack(f"<{len(value) // 2}H", value)
    return tuple(group << 16 | element for group, element in zip(shorts[::2], shorts[1::2], strict=True))


def _read_data_set_type(value: bytes) -> bool:
    return _read_short(value) != NO_DATA_SET


_READ: dict[str, Callable[[bytes], Any]] = {
    "UI": _read_text,
    "AE": _read_text,
    "LO": _read_text,
    "US": _read_short,
    "AT": _read_tags,
    "DS": _read_data_set_type,
}
_READERS = {element: (name, _READ[vr]) for element, vr, name in _ELEMENTS}


def decode_command(data: bytes) -> Command:
    """The command set, which is always Implicit VR Little Endian (PS3.7 6.3.1); raises `MessageError`.

    Retired and unknown elements of group 0000 are passed over.
    """
    found: dict[str, Any] = {}
    position, end = 0, len(data)
    try:
        while position < end:
            group, element, length = _ELEMENT.unpack_from(data, position)
            start, position = position + 8, position + 8 + length
            if group or position > end:
                raise MessageError(f"command set: element {group:04X},{element:04X} does not belong or ends too late")
            if length and element in _READERS:
                name, read = _READERS[element]
                found[name] = read(data[start:position])
    except (struct.error, ValueError) as error:
        raise MessageError(f"command set: {error}") from None
    if "command_field" not in found or "has_data_set" not in found:
        raise MessageError("command set without Command Field or Command Data Set Type")
    return Command(**found)


def _uid_bytes(value: str) -> bytes:
    return (value + "\0" if len(value) % 2 else value).encode("ascii", "replace")


def _text_bytes(value: str) -> bytes:
    return (value + " " if len(value) % 2 else value).encode("ascii", "replace")


def _tags_bytes(value: tuple[int, ...]) -> bytes:
    return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)


_WRITE: dict[str, Callable[[Any], bytes]] = {"UI": _uid_bytes, "AE": _text_bytes, "LO": _text_bytes, "AT": _tags_bytes}
_Rows = tuple[Callable[[Command], tuple[Any, ...]], tuple[tuple[int, Callable[[Any], bytes] | None], ...]]


def _rows(elements: Iterable[tuple[int, str, str]]) -> _Rows:
    """What reads the values of these elements, all at once, and what writes them."""
    chosen = tuple(elements)
    return attrgetter(*[name for _, _, name in chosen]), tuple((element, _WRITE.get(vr)) for element, vr, _ in chosen)


_BEFORE_TYPE = _rows(row for row in _ELEMENTS if row[0] < 0x0800)
_AFTER_TYPE = _rows(row for row in _ELEMENTS if row[0] > 0x0800)


def encode_command(command: Command) -> bytes:
    """The bytes of the command set, group length first."""
    pieces: list[bytes] = [b""]
    _write(pieces, command, _BEFORE_TYPE)
    pieces.append(_SHORT.pack(0, 0x0800, 2, 0x0001 if command.has_data_set else NO_DATA_SET))
    _write(pieces, command, _AFTER_TYPE)
    pieces[0] = struct.pack("<HHLL", 0, 0, 4, sum(map(len, pieces)))
    return b"".join(pieces)


@lru_cache(1024)
def _response_parts(command_field: int, sop_class_uid: str, has_data_set: bool, status: int) -> tuple[bytes, bytes]:
    """What stands before and after the Message ID of a response that tells nothing else."""
    command = Command(command_field, None, 0, sop_class_uid, has_data_set=has_data_set, status=status)
    whole = encode_command(command)
    at = whole.index(_SHORT.pack(0, 0x0120, 2, 0)) + 8
    return whole[:at], whole[at + 2 :]


def encode_response(command_field: int, message_id: int, sop_class_uid: str, has_data_set: bool, status: int) -> bytes:
    """The command set of a response without further elements, as thousands a second go out."""
    before, after = _response_parts(command_field, sop_class_uid, has_data_set, status)
    return before + _US.pack(message_id) + after


def _write(pieces: list[bytes], command: Command, rows: _Rows) -> None:
    values, writers = rows
    for value, (element, write) in zip(values(command), writers, strict=True):
        if not value and (value is None or value == "" or value == ()):
            continue
        if write is None:
            pieces.append(_SHORT.pack(0, element, 2, value))
        else:
            raw = write(value)
            pieces.append(_ELEMENT.pack(0, element, len(raw)) + raw)


class CommandReceived(NamedTuple):
    """A whole command set; when it says that a data set follows, `DataSetChunk`s come next."""

    context_id: int
    command: Command


class DataSetChunk(NamedTuple):
    """Some bytes of the message's data set, at least one chunk a message; the last one may be empty."""

    data: bytes
    last: bool


class MessageReader:
    """PDV fragments in, commands and data set chunks out; the order is checked (PS3.7 6.3, PS3.8 Annex E)."""

    def __init__(self) -> None:
        self._command = bytearray()
        self._context_id = 0
        self._in_data_set = False

    @property
    def is_mid_message(self) -> bool:
        """Whether a message has begun and its end is still to come."""
        return self._in_data_set or self._context_id != 0

    def fragment(self, context_id: int, is_command: bool, data: bytes, last: bool) -> CommandReceived | DataSetChunk | None:
        """Take one fragment, or a piece of one with `last` False; raises `MessageError`."""
        if is_command is self._in_data_set:
            raise MessageError("command and data set fragments out of order", 5)
        if self._context_id != context_id:
            if self._context_id:
                raise MessageError("fragments of one message on two presentation contexts", 5)
            self._context_id = context_id
        if self._in_data_set:
            if last:
                self._in_data_set, self._context_id = False, 0
            return DataSetChunk(data, last)
        return self._command_fragment(data, last)

    def _command_fragment(self, data: bytes, last: bool) -> CommandReceived | None:
        if len(self._command) + len(data) > LARGEST_COMMAND_SET:
            raise MessageError("command set too long", 6)
        if not last or self._command:
            self._command += data
            if not last:
                return None
            data = bytes(self._command)
            self._command.clear()
        command, context_id = decode_command(data), self._context_id
        self._in_data_set = command.has_data_set
        if not command.has_data_set:
            self._context_id = 0
        return CommandReceived(context_id, command)


_PDV_HEADER = struct.Struct(">BBIIBB")


class MessageWriter:
    """Cuts messages into P-DATA-TF PDUs no longer than the peer's maximum (PS3.8 D.1), one PDV each.

    Fragments have an even length, which some peers need though the standard asks it of the whole only.
    """

    def __init__(self, maximum_length: int) -> None:
        limit = maximum_length if 0 < maximum_length < UNLIMITED_PDU else UNLIMITED_PDU
        self._largest = max((limit - 6) & ~1, 2)

    def message(self, context_id: int, command: Command | bytes, data_set: bytes | None = None) -> bytes:
        """A whole message, its command encoded or not, whose data set is at hand."""
        encoded = command if isinstance(command, bytes) else encode_command(command)
        pieces = self._cut(context_id, _COMMAND, encoded, True)
        if data_set is not None:
            pieces += self._cut(context_id, 0, data_set, True)
        return b"".join(pieces)

    def messages(self, context_id: int, command: Command | bytes, data_sets: Iterable[bytes]) -> bytes:
        """A message with this command for each of the data sets."""
        encoded = command if isinstance(command, bytes) else encode_command(command)
        first = self._cut(context_id, _COMMAND, encoded, True)
        pieces: list[bytes | memoryview] = []
        for data_set in data_sets:
            pieces += first
            pieces += self._cut(context_id, 0, data_set, True)
        return b"".join(pieces)

    def command(self, context_id: int, command: Command) -> bytes:
        """The command; its data set follows by `data_set`."""
        return b"".join(self._cut(context_id, _COMMAND, encode_command(command), True))

    def data_set(self, context_id: int, chunk: bytes, last: bool) -> bytes:
        """The next bytes of the data set; all chunks but the last must have an even length."""
        return b"".join(self._cut(context_id, 0, chunk, last))

    def _cut(self, context_id: int, control: int, data: bytes, last: bool) -> list[bytes | memoryview]:
        largest, total = self._largest, len(data)
        if total <= largest:
            return [_PDV_HEADER.pack(P_DATA_TF, 0, total + 6, total + 2, context_id, control | (_LAST if last else 0)), data]
        view = memoryview(data)
        pieces: list[bytes | memoryview] = []
        for start in range(0, total, largest):
            size = min(largest, total - start)
            final = _LAST if last and start + size == total else 0
            pieces.append(_PDV_HEADER.pack(P_DATA_TF, 0, size + 6, size + 2, context_id, control | final))
            pieces.append(view[start : start + size])
        return pieces
