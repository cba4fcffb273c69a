"""The DICOM upper layer protocol as a machine without sockets, threads or clock (PS3.8 section 9).

One `UpperLayer` is one association, for the acceptor as for the requestor. Every input returns the outputs that it causes, in
order: orders to whoever owns the transport (`Send`, `StartArtim`, ...) and indications to the user of the association
(`AssociateRequested`, `CommandReceived`, ...). The protocol itself is the table in `transitions`.

Received P-DATA is not collected: fragments pass on as their bytes arrive, after their headers were checked.
"""

import struct
from collections.abc import Callable
from typing import Final

from . import pdu
from .indications import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    AssociateRequested,
    Order,
    Output,
    ReleaseConfirmed,
    ReleaseRequested,
    Send,
)
from .messages import MessageError, MessageReader
from .negotiation import agreed
from .pdu import ASSOCIATE_AC, ASSOCIATE_RJ, ASSOCIATE_RQ, P_DATA_TF, RELEASE_RP, RELEASE_RQ, AssociateAccept, AssociateRequest
from .transitions import TRANSITIONS, Event, State

LARGEST_ASSOCIATE: Final = 1 << 20


class LocalProtocolError(Exception):
    """The user asked for something that the state of the association does not allow: a bug of ours."""


_HEADER = struct.Struct(">BBI")
_PDV_HEADER = struct.Struct(">IBB")
_BOTH_HEADERS = struct.Struct(">BBIIBB")
_PDU_EVENTS: dict[int, Event] = {
    ASSOCIATE_RQ: Event.RQ_PDU,
    ASSOCIATE_AC: Event.AC_PDU,
    ASSOCIATE_RJ: Event.RJ_PDU,
    P_DATA_TF: Event.P_DATA_PDU,
    RELEASE_RQ: Event.RELEASE_RQ_PDU,
    RELEASE_RP: Event.RELEASE_RP_PDU,
    pdu.ABORT: Event.ABORT_PDU,
}
# Actions that need nothing of the PDU's body: it is passed over as it comes.
_WITHOUT_BODY = frozenset({"AA-1", "AA-6", "AA-7", "AA-8"})

# A-ABORT, source 2 (PS3.8 9.3.8)
UNRECOGNISED_PDU, UNEXPECTED_PDU, UNEXPECTED_PARAMETER, INVALID_PARAMETER = 1, 2, 5, 6


class UpperLayer:
    """The protocol machine of one association. `maximum_length` is what this side announces and enforces; 0: no limit."""

    def __init__(self, maximum_length: int) -> None:
        self.state = State.STA1
        self.maximum_length = maximum_length
        self.messages = MessageReader()
        self._requestor = False
        self._request: AssociateRequest | None = None
        self._contexts: frozenset[int] = frozenset()
        self._outputs: list[Output] = []
        self._partial = bytearray()
        self._skip = 0  # bytes of a PDU that nobody wants
        self._body_left = 0  # bytes of P-DATA-TF after the current PDV
        self._fragment_left = 0
        self._fragment = (0, False, False)  # context ID, is command, is last
        self._wanted: tuple[int, int] | None = None  # type and length of the PDU whose body is being collected
        self._deaf = False  # the framing is lost: nothing more can be understood
        self._cause, self._reason = "", 0

    # Inputs

    def associate(self, request: AssociateRequest) -> list[Output]:
        """Become requestor of `request`."""
        self._requestor, self._request = True, request
        return self._local(Event.ASSOCIATE_REQUEST)

    def transport_connected(self) -> list[Output]:
        """The transport is open: the one asked for, or one that a peer opened."""
        return self._local(Event.TRANSPORT_CONFIRM if self._requestor else Event.TRANSPORT_INDICATION)

    def accept(self, accept: AssociateAccept) -> list[Output]:
        """Answer the request; the titles are echoed (PS3.8 Table 9-17)."""
        self._contexts = frozenset(result.id for result in accept.results if result.result == pdu.ACCEPTANCE)
        outputs = self._local(Event.ACCEPT)
        outputs.append(Send(pdu.encode_accept(accept)))
        return outputs

    def reject(self, result: int, source: int, reason: int) -> list[Output]:
        """Refuse the request."""
        outputs = self._local(Event.REJECT)
        outputs.insert(0, Send(pdu.encode_reject(result, source, reason)))
        return outputs

    def send(self, pdus: bytes) -> list[Output]:
        """Send P-DATA-TF PDUs, as `messages.MessageWriter` makes them (DT-1 and AR-7: the state stays)."""
        if (Event.P_DATA_REQUEST, self.state) not in TRANSITIONS:
            raise LocalProtocolError(f"{Event.P_DATA_REQUEST.name} in {self.state.name}")
        return [Send(pdus)]

    def release(self) -> list[Output]:
        """Ask for an orderly end."""
        return self._local(Event.RELEASE_REQUEST)

    def release_response(self) -> list[Output]:
        """Agree to the peer's release."""
        return self._local(Event.RELEASE_RESPONSE)

    def abort(self, cause: str = "") -> list[Output]:
        """End at once, as service user. Where there is nothing left to abort, nothing happens."""
        if (Event.ABORT_REQUEST, self.state) not in TRANSITIONS:
            return []
        self._cause = cause
        self._skip, self._fragment_left, self._body_left = self._skip + self._fragment_left + self._body_left, 0, 0
        return self._local(Event.ABORT_REQUEST)

    def transport_closed(self) -> list[Output]:
        """The transport is gone, whoever closed it."""
        if self.state is State.STA1:
            return []
        return self._local(Event.TRANSPORT_CLOSED)

    def artim_expired(self) -> list[Output]:
        """The ARTIM timer ran out."""
        return self._local(Event.ARTIM_EXPIRED)

    def receive_data(self, data: bytes) -> list[Output]:
        """Take bytes from the peer, cut anywhere."""
        self._outputs = []
        position, end = 0, len(data)
        while position < end and not self._deaf and self.state is not State.STA1:
            if self._fragment_left:
                position = self._pass_fragment(data, position, end)
            elif self._skip:
                taken = min(self._skip, end - position)
                self._skip -= taken
                position += taken
            elif not self._begins_fragment(data, position, end):
                position = self._collect(data, position, end)
            else:
                position += 12
        return self._outputs

    # Framing

    def _begins_fragment(self, data: bytes, position: int, end: int) -> bool:
        """The usual case in one step: both headers of a P-DATA-TF with one PDV are at hand, and nothing is wrong with them."""
        if self._body_left or self._partial or self._wanted or end - position < 12 or self.state is not State.STA6:
            return False
        kind, _, length, size, context_id, control = _BOTH_HEADERS.unpack_from(data, position)
        if kind != P_DATA_TF or size != length - 4 or size <= 2 or context_id not in self._contexts:
            return False
        if self.maximum_length and length > self.maximum_length:
            return False
        self._fragment_left = size - 2
        self._fragment = (context_id, control & 1 == 1, control & 2 == 2)
        return True

    def _pass_fragment(self, data: bytes, position: int, end: int) -> int:
        taken = min(self._fragment_left, end - position)
        self._fragment_left -= taken
        self._deliver(data if taken == len(data) else data[position : position + taken])
        return position + taken

    def _deliver(self, piece: bytes) -> None:
        context_id, is_command, last = self._fragment
        try:
            indication = self.messages.fragment(context_id, is_command, piece, last and not self._fragment_left)
        except MessageError as error:
            self._malformed(str(error), error.reason)
            return
        if indication is not None:
            self._outputs.append(indication)

    def _collect(self, data: bytes, position: int, end: int) -> int:
        """Gather a header or a small PDU; what is complete in `data` is not copied first."""
        needed = self._wanted[1] if self._wanted else 6
        missing = needed - len(self._partial)
        taken = min(missing, end - position)
        piece = data[position : position + taken]
        if self._partial or taken < missing:
            self._partial += piece
            if taken < missing:
                return position + taken
            piece = bytes(self._partial)
            self._partial.clear()
        if self._wanted:
            kind, self._wanted = self._wanted[0], None
            self._pdu(kind, piece)
        elif self._body_left:
            self._pdv_header(piece)
        else:
            self._pdu_header(piece)
        return position + taken

    def _pdu_header(self, header: bytes) -> None:
        kind, _, length = _HEADER.unpack(header)
        event = _PDU_EVENTS.get(kind)
        if event is None:
            self._malformed(f"PDU of unknown type {kind:02X}", UNRECOGNISED_PDU)
        elif TRANSITIONS.get((event, self.state), "AA-8") in _WITHOUT_BODY:
            self._skip = length
            self._cause, self._reason = f"{event.name} is not expected in {self.state.name}", UNEXPECTED_PDU
            self._fire(event)
        elif event is Event.P_DATA_PDU:
            if length < 6 or (self.maximum_length and length > self.maximum_length):
                self._malformed(f"P-DATA-TF of {length} bytes", INVALID_PARAMETER)
            self._body_left = length
        elif not self._plausible(event, length):
            self._malformed(f"{event.name} of {length} bytes", INVALID_PARAMETER)
        else:
            self._wanted = (kind, length)

    @staticmethod
    def _plausible(event: Event, length: int) -> bool:
        if event in (Event.RQ_PDU, Event.AC_PDU):
            return 68 <= length <= LARGEST_ASSOCIATE
        return length == 4

    def _pdv_header(self, header: bytes) -> None:
        length, context_id, control = _PDV_HEADER.unpack(header)
        self._body_left -= length + 4
        if length < 2 or self._body_left < 0 or 0 < self._body_left < 6:
            self._malformed(f"PDV of {length} bytes does not fit its PDU", INVALID_PARAMETER)
        elif context_id not in self._contexts:
            self._malformed(f"PDV on presentation context {context_id}, which was not accepted", INVALID_PARAMETER)
        else:
            self._fragment_left = length - 2
            self._fragment = (context_id, control & 1 == 1, control & 2 == 2)
            if length == 2:
                self._deliver(b"")

    def _pdu(self, kind: int, body: bytes) -> None:
        event = _PDU_EVENTS[kind]
        if TRANSITIONS[event, self.state] in _WITHOUT_BODY:
            self._fire(event)
            return
        try:
            indication = self._read(event, body)
        except pdu.InvalidPdu as error:
            self._malformed(f"{event.name}: {error}", INVALID_PARAMETER)
            return
        if isinstance(indication, AssociateRequested) and not indication.request.protocol_version & 1:
            self._outputs += [Order.STOP_ARTIM, Send(pdu.encode_reject(1, 2, 2)), Order.START_ARTIM]
            self.state = State.STA13
            return
        self._fire(event)
        if indication is not None:
            self._indicate(indication)

    def _read(self, event: Event, body: bytes) -> Output | None:
        if event is Event.RQ_PDU:
            return AssociateRequested(pdu.decode_request(body))
        if event is Event.AC_PDU:
            accept = pdu.decode_accept(body)
            if self._request is not None:
                self._contexts = frozenset(context.id for context in agreed(self._request, accept))
            return AssociateAccepted(accept)
        if event is Event.RJ_PDU:
            return AssociateRejected(body[1], body[2], body[3])
        if event is Event.ABORT_PDU and self.state not in (State.STA2, State.STA13):
            return Aborted(body[2], body[3], True, "")
        return None

    def _indicate(self, indication: Output) -> None:
        """An indication that carries the PDU's content; an end of the transport is ordered after it."""
        if self._outputs and self._outputs[-1] is Order.CLOSE:
            self._outputs.insert(-1, indication)
        else:
            self._outputs.append(indication)

    def _malformed(self, cause: str, reason: int) -> None:
        self._deaf, self._cause, self._reason = True, cause, reason
        self._fire(Event.INVALID_PDU)

    # The table

    def _local(self, event: Event) -> list[Output]:
        self._outputs = []
        if (event, self.state) not in TRANSITIONS:
            raise LocalProtocolError(f"{event.name} in {self.state.name}")
        self._fire(event)
        return self._outputs

    def _fire(self, event: Event) -> None:
        action = TRANSITIONS.get((event, self.state), "AA-8")
        self.state = _ACTIONS[action](self, self._outputs)

    def _ae_1(self, outputs: list[Output]) -> State:
        outputs.append(Order.CONNECT)
        return State.STA4

    def _ae_2(self, outputs: list[Output]) -> State:
        if self._request is None:
            raise LocalProtocolError("no request to send")
        outputs.append(Send(pdu.encode_request(self._request)))
        return State.STA5

    def _ae_3(self, outputs: list[Output]) -> State:
        return State.STA6

    def _ae_4(self, outputs: list[Output]) -> State:
        outputs.append(Order.CLOSE)
        return State.STA1

    def _ae_5(self, outputs: list[Output]) -> State:
        outputs.append(Order.START_ARTIM)
        return State.STA2

    def _ae_6(self, outputs: list[Output]) -> State:
        outputs.append(Order.STOP_ARTIM)
        return State.STA3

    def _ae_7(self, outputs: list[Output]) -> State:
        return State.STA6

    def _ae_8(self, outputs: list[Output]) -> State:
        outputs.append(Order.START_ARTIM)
        return State.STA13

    def _dt_1(self, outputs: list[Output]) -> State:
        return State.STA6

    def _dt_2(self, outputs: list[Output]) -> State:
        return State.STA6

    def _ar_1(self, outputs: list[Output]) -> State:
        outputs.append(Send(pdu.RELEASE_RQ_PDU))
        return State.STA7

    def _ar_2(self, outputs: list[Output]) -> State:
        outputs.append(ReleaseRequested())
        return State.STA8

    def _ar_3(self, outputs: list[Output]) -> State:
        outputs += [ReleaseConfirmed(), Order.CLOSE]
        return State.STA1

    def _ar_4(self, outputs: list[Output]) -> State:
        outputs += [Send(pdu.RELEASE_RP_PDU), Order.START_ARTIM]
        return State.STA13

    def _ar_5(self, outputs: list[Output]) -> State:
        outputs.append(Order.STOP_ARTIM)
        return State.STA1

    def _ar_6(self, outputs: list[Output]) -> State:
        return State.STA7

    def _ar_7(self, outputs: list[Output]) -> State:
        return State.STA8

    def _ar_8(self, outputs: list[Output]) -> State:
        outputs.append(ReleaseRequested())
        return State.STA9 if self._requestor else State.STA10

    def _ar_9(self, outputs: list[Output]) -> State:
        outputs.append(Send(pdu.RELEASE_RP_PDU))
        return State.STA11

    def _ar_10(self, outputs: list[Output]) -> State:
        outputs.append(ReleaseConfirmed())
        return State.STA12

    def _aa_1(self, outputs: list[Output]) -> State:
        outputs.append(Send(pdu.encode_abort(0, 0)))
        outputs += [Aborted(0, 0, False, self._cause), Order.START_ARTIM]
        return State.STA13

    def _aa_2(self, outputs: list[Output]) -> State:
        outputs += [Order.STOP_ARTIM, Order.CLOSE]
        return State.STA1

    def _aa_3(self, outputs: list[Output]) -> State:
        outputs.append(Order.CLOSE)
        return State.STA1

    def _aa_4(self, outputs: list[Output]) -> State:
        outputs.append(Aborted(2, 0, False, "the connection was lost"))
        return State.STA1

    def _aa_5(self, outputs: list[Output]) -> State:
        outputs.append(Order.STOP_ARTIM)
        return State.STA1

    def _aa_6(self, outputs: list[Output]) -> State:
        return State.STA13

    def _aa_7(self, outputs: list[Output]) -> State:
        outputs.append(Send(pdu.encode_abort(2, self._reason)))
        return State.STA13

    def _aa_8(self, outputs: list[Output]) -> State:
        outputs.append(Send(pdu.encode_abort(2, self._reason)))
        outputs += [Aborted(2, self._reason, False, self._cause), Order.START_ARTIM]
        return State.STA13


_ACTIONS: dict[str, Callable[[UpperLayer, list[Output]], State]] = {
    name: getattr(UpperLayer, "_" + name.lower().replace("-", "_")) for name in set(TRANSITIONS.values())
}
