"""The upper layer machine: bytes as PS3.8 gives them, every state, every cut."""

import struct

from pynetdicom import fsm
from twisted.trial.unittest import SynchronousTestCase

from dicomd.wire import pdu
from dicomd.wire.indications import (
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
from dicomd.wire.messages import Command, CommandField, CommandReceived, DataSetChunk, MessageWriter
from dicomd.wire.pdu import AssociateAccept, AssociateRequest, ContextResult, ProposedContext, UserInformation
from dicomd.wire.transitions import TRANSITIONS, Event, State
from dicomd.wire.upper_layer import LocalProtocolError, UpperLayer

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
REQUEST = AssociateRequest("SRV", "CLI", (ProposedContext(1, VERIFICATION, (IMPLICIT,)),), UserInformation(16384, "1.2.3", ""))
ACCEPT = AssociateAccept((ContextResult(1, 0, IMPLICIT),))
RQ = pdu.encode_request(REQUEST)
AC = pdu.encode_accept(ACCEPT)
RJ = bytes.fromhex("03000000000400010107")  # permanent, user, called AE title
RELEASE_RQ = bytes.fromhex("05000000000400000000")
RELEASE_RP = bytes.fromhex("06000000000400000000")
PEER_ABORT = bytes.fromhex("07000000000400000000")
ECHO = Command(CommandField.C_ECHO, message_id=7, affected_sop_class_uid=VERIFICATION)
ECHO_PDU = MessageWriter(16384).message(1, ECHO)
INVALID = bytes.fromhex("0a000000000400000000")  # no PDU has type 0A


def abort(source: int, reason: int) -> Send:
    return Send(bytes((7, 0, 0, 0, 0, 4, 0, 0, source, reason)))


def acceptor() -> UpperLayer:
    machine = UpperLayer(131072)
    machine.transport_connected()
    return machine


def established() -> UpperLayer:
    machine = acceptor()
    machine.receive_data(RQ)
    machine.accept(ACCEPT)
    return machine


def requestor() -> UpperLayer:
    machine = UpperLayer(131072)
    machine.associate(REQUEST)
    return machine


def in_state(state: State) -> UpperLayer:
    """A machine brought to a state by legal steps."""
    if state is State.STA1:
        return UpperLayer(131072)
    if state in (State.STA2, State.STA3, State.STA13):
        machine = acceptor()
        if state is not State.STA2:
            machine.receive_data(RQ)
        if state is State.STA13:
            machine.reject(1, 1, 1)
    elif state in (State.STA10, State.STA12):
        machine = established()
        machine.release()
        machine.receive_data(RELEASE_RQ)
        if state is State.STA12:
            machine.receive_data(RELEASE_RP)
    elif state in (State.STA6, State.STA7, State.STA8):
        machine = established()
        if state is State.STA7:
            machine.release()
        if state is State.STA8:
            machine.receive_data(RELEASE_RQ)
    else:
        machine = requestor()
        if state is not State.STA4:
            machine.transport_connected()
        if state in (State.STA9, State.STA11):
            machine.receive_data(AC)
            machine.release()
            machine.receive_data(RELEASE_RQ)
            if state is State.STA11:
                machine.release_response()
    assert machine.state is state, (machine.state, state)
    return machine


def fire(machine: UpperLayer, event: Event) -> list[Output]:
    """Cause an event from outside."""
    received = {
        Event.AC_PDU: AC,
        Event.RJ_PDU: RJ,
        Event.RQ_PDU: RQ,
        Event.P_DATA_PDU: ECHO_PDU,
        Event.RELEASE_RQ_PDU: RELEASE_RQ,
        Event.RELEASE_RP_PDU: RELEASE_RP,
        Event.ABORT_PDU: PEER_ABORT,
        Event.INVALID_PDU: INVALID,
    }
    if event in received:
        return machine.receive_data(received[event])
    local = {
        Event.ASSOCIATE_REQUEST: lambda: machine.associate(REQUEST),
        Event.TRANSPORT_CONFIRM: machine.transport_connected,
        Event.TRANSPORT_INDICATION: machine.transport_connected,
        Event.ACCEPT: lambda: machine.accept(ACCEPT),
        Event.REJECT: lambda: machine.reject(1, 1, 1),
        Event.P_DATA_REQUEST: lambda: machine.send(ECHO_PDU),
        Event.RELEASE_REQUEST: machine.release,
        Event.RELEASE_RESPONSE: machine.release_response,
        Event.ABORT_REQUEST: machine.abort,
        Event.TRANSPORT_CLOSED: machine.transport_closed,
        Event.ARTIM_EXPIRED: machine.artim_expired,
    }
    return local[event]()


def only(kind: type, outputs: list[Output]) -> Output:
    (found,) = [output for output in outputs if isinstance(output, kind)]
    return found


class TableTests(SynchronousTestCase):
    def test_table_is_the_standards(self) -> None:
        """Table 9-10 as another implementation has it; its ARTIM row knows Sta2 and Sta13, as ours does."""
        theirs = {(int(event[3:]), int(state[3:])): action for (event, state), action in fsm.TRANSITION_TABLE.items()}
        ours = {(int(event), int(state)): action for (event, state), action in TRANSITIONS.items()}
        self.assertEqual(ours, theirs)

    def test_every_cell_leads_to_the_standards_state(self) -> None:
        """Each event in each state ends where the action says."""
        for (event, state), action in TRANSITIONS.items():
            machine = in_state(state)
            fire(machine, event)
            expected = fsm.ACTIONS[action][2]
            allowed = {expected} if isinstance(expected, str) else set(expected)
            self.assertIn(machine.state.name.title(), allowed, (event, state, action))

    def test_cells_without_action_are_our_own_bugs(self) -> None:
        """What the user may not ask for raises; nothing a peer sends does."""
        local = [event for event in Event if event not in (Event.TRANSPORT_CLOSED, Event.ABORT_REQUEST)]
        for event in local:
            for state in State:
                if (event, state) in TRANSITIONS or "PDU" in event.name or event.name.startswith("TRANSPORT"):
                    continue
                self.assertRaises(LocalProtocolError, fire, in_state(state), event)

    def test_abort_and_close_are_always_allowed(self) -> None:
        """Ending what has ended is no error."""
        self.assertEqual(UpperLayer(0).abort(), [])
        self.assertEqual(UpperLayer(0).transport_closed(), [])


class AcceptorTests(SynchronousTestCase):
    def test_an_association_from_begin_to_end(self) -> None:
        """Connect, accept, echo, release."""
        machine = UpperLayer(131072)
        self.assertEqual(machine.transport_connected(), [Order.START_ARTIM])
        self.assertEqual(machine.receive_data(RQ)[0], Order.STOP_ARTIM)
        self.assertEqual(machine.accept(ACCEPT), [Send(AC)])
        self.assertEqual(machine.receive_data(ECHO_PDU), [CommandReceived(1, ECHO)])
        self.assertEqual(machine.receive_data(RELEASE_RQ), [ReleaseRequested()])
        self.assertEqual(machine.release_response(), [Send(RELEASE_RP), Order.START_ARTIM])
        self.assertEqual(machine.transport_closed(), [Order.STOP_ARTIM])

    def test_request_cut_at_every_byte(self) -> None:
        """Where the network cuts makes no difference."""
        for cut in range(1, len(RQ)):
            machine = acceptor()
            outputs = machine.receive_data(RQ[:cut]) + machine.receive_data(RQ[cut:])
            self.assertEqual(only(AssociateRequested, outputs).request.contexts, REQUEST.contexts, cut)

    def test_messages_cut_at_every_byte(self) -> None:
        """A message with a data set, one without, and the release."""
        store = Command(CommandField.C_STORE, message_id=1, affected_sop_class_uid=VERIFICATION, has_data_set=True)
        stream = MessageWriter(40).message(1, store, b"0123456789" * 9) + ECHO_PDU + RELEASE_RQ
        for cut in range(1, len(stream)):
            machine = established()
            self._check(machine.receive_data(stream[:cut]) + machine.receive_data(stream[cut:]), store)
        machine = established()
        self._check([output for byte in stream for output in machine.receive_data(bytes((byte,)))], store)

    def _check(self, outputs: list[Output], store: Command) -> None:
        data = b"".join(output.data for output in outputs if isinstance(output, DataSetChunk))
        commands = [output.command for output in outputs if isinstance(output, CommandReceived)]
        self.assertEqual((data, commands), (b"0123456789" * 9, [store, ECHO]))
        self.assertEqual(outputs[-1], ReleaseRequested())

    def test_last_fragment_may_be_empty(self) -> None:
        """PDV of length 2 (PS3.8 E.1 forbids sending it, some do)."""
        machine = established()
        store = Command(CommandField.C_STORE, message_id=1, has_data_set=True)
        machine.receive_data(MessageWriter(0).command(1, store))
        more = bytes.fromhex("04000000000a 00000006 01 00 41424344")
        last = bytes.fromhex("040000000006 00000002 01 02")
        self.assertEqual(machine.receive_data(more + last), [DataSetChunk(b"ABCD", False), DataSetChunk(b"", True)])

    def test_several_pdvs_in_one_pdu(self) -> None:
        """Command and data set side by side (PS3.8 E.2)."""
        machine = established()
        store = Command(CommandField.C_STORE, message_id=1, has_data_set=True)
        command = MessageWriter(0).command(1, store)[6:]
        data = bytes.fromhex("00000006 01 02 41424344")
        outputs = machine.receive_data(struct.pack(">BBI", 4, 0, len(command + data)) + command + data)
        self.assertEqual(outputs[1], DataSetChunk(b"ABCD", True))

    def test_protocol_version(self) -> None:
        """Only bit 0 counts; without it: rejected by the provider, protocol version not supported."""
        self.assertIn(Send(bytes.fromhex("03000000000400010202")), acceptor().receive_data(RQ[:6] + b"\0\2" + RQ[8:]))
        outputs = acceptor().receive_data(RQ[:6] + b"\0\3" + RQ[8:])
        self.assertIsInstance(outputs[1], AssociateRequested)

    def test_peer_abort(self) -> None:
        """The user learns source and reason; the transport is closed after that."""
        outputs = established().receive_data(bytes.fromhex("07000000000400000206"))
        self.assertEqual(outputs, [Aborted(2, 6, True, ""), Order.CLOSE])

    def test_lost_connection(self) -> None:
        """A-P-ABORT for the user."""
        self.assertIsInstance(established().transport_closed()[0], Aborted)

    def test_release_collision(self) -> None:
        """The acceptor waits for the peer's answer before it gives its own."""
        machine = established()
        machine.release()
        self.assertEqual(machine.receive_data(RELEASE_RQ), [ReleaseRequested()])
        self.assertEqual(machine.receive_data(RELEASE_RP), [ReleaseConfirmed()])
        self.assertEqual(machine.release_response(), [Send(RELEASE_RP), Order.START_ARTIM])

    def test_data_may_still_come_after_our_release_request(self) -> None:
        """AR-6."""
        machine = established()
        machine.release()
        self.assertEqual(machine.receive_data(ECHO_PDU), [CommandReceived(1, ECHO)])

    def test_abort_in_the_midst_of_a_fragment(self) -> None:
        """What was still to come of it is passed over; the peer's abort after it is understood."""
        machine = established()
        machine.receive_data(ECHO_PDU[:20])
        self.assertEqual(machine.abort("test")[0], abort(0, 0))
        self.assertEqual(machine.receive_data(ECHO_PDU[20:]), [])
        self.assertEqual(machine.receive_data(PEER_ABORT), [Order.STOP_ARTIM, Order.CLOSE])


class RequestorTests(SynchronousTestCase):
    def test_accepted(self) -> None:
        """The request goes out when the transport is there."""
        machine = requestor()
        self.assertEqual(machine.transport_connected(), [Send(RQ)])
        accepted = only(AssociateAccepted, machine.receive_data(AC))
        self.assertEqual(accepted.accept.results, ACCEPT.results)
        self.assertEqual(machine.receive_data(ECHO_PDU), [CommandReceived(1, ECHO)])

    def test_contexts_that_were_never_proposed(self) -> None:
        """An acceptor that accepts them is not heard on them."""
        machine = requestor()
        machine.transport_connected()
        machine.receive_data(pdu.encode_accept(AssociateAccept((ContextResult(9, 0, IMPLICIT),))))
        self.assertIn(abort(2, 6), machine.receive_data(MessageWriter(0).message(9, ECHO)))

    def test_rejected(self) -> None:
        """Told, then closed."""
        machine = requestor()
        machine.transport_connected()
        self.assertEqual(machine.receive_data(RJ), [AssociateRejected(1, 1, 7), Order.CLOSE])

    def test_release(self) -> None:
        """The requestor closes once the peer has agreed."""
        machine = requestor()
        machine.transport_connected()
        machine.receive_data(AC)
        self.assertEqual(machine.release(), [Send(RELEASE_RQ)])
        self.assertEqual(machine.receive_data(RELEASE_RP), [ReleaseConfirmed(), Order.CLOSE])


class HostilePeerTests(SynchronousTestCase):
    def refused(self, machine: UpperLayer, data: bytes, reason: int) -> None:
        """One A-ABORT of the provider with the reason; whatever follows is not heard."""
        outputs = machine.receive_data(data)
        self.assertIn(abort(2, reason), outputs)
        self.assertEqual(only(Aborted, outputs).reason, reason)
        self.assertEqual(machine.receive_data(bytes(1000)), [])

    def test_header_limits(self) -> None:
        """Absurd lengths are refused from the header alone."""
        for header in ("0400 00020001", "0400 ffffffff", "0400 00000005", "0700 00000003", "0500 ffffffff"):
            self.refused(established(), bytes.fromhex(header), 6)

    def test_association_request_of_absurd_length(self) -> None:
        """Sta2 answers AA-1, which is an abort of the user."""
        for header in ("0100 00000043", "0100 00100001"):
            machine = acceptor()
            self.assertIn(abort(0, 0), machine.receive_data(bytes.fromhex(header)))
            self.assertEqual(machine.state, State.STA13)

    def test_unknown_type(self) -> None:
        """Reason 1: unrecognised PDU."""
        self.refused(established(), b"GET / HTTP/1.1\r\n", 1)

    def test_pdu_illegal_in_state(self) -> None:
        """Reason 2: unexpected PDU; what follows in Sta13 is ignored."""
        outputs = established().receive_data(AC)
        self.assertEqual(outputs[0], abort(2, 2))

    def test_pdvs_that_do_not_fit(self) -> None:
        """Too short, past the end, leaving a rest no PDV fits in, on a context not accepted."""
        for body in ("00000001 01 03", "00000003 01 03", "00000002 01 03 00", "00000002 03 03"):
            raw = bytes.fromhex(body)
            self.refused(established(), struct.pack(">BBI", 4, 0, max(len(raw), 6)) + raw, 6)

    def test_order_of_fragments(self) -> None:
        """Data without command, command inside data: reason 5."""
        self.refused(established(), bytes.fromhex("040000000006 00000002 01 02"), 5)
        machine = established()
        machine.receive_data(MessageWriter(0).command(1, Command(CommandField.C_STORE, message_id=1, has_data_set=True)))
        self.refused(machine, ECHO_PDU, 5)

    def test_endless_command(self) -> None:
        """A command set has a limit."""
        machine = established()
        piece = struct.pack(">BBIIBB", 4, 0, 32774, 32770, 1, 1) + bytes(32768)
        self.assertEqual(machine.receive_data(piece + piece), [])
        self.refused(machine, piece, 6)

    def test_garbage_command(self) -> None:
        """A command set that cannot be read."""
        self.refused(established(), bytes.fromhex("04000000000a 00000006 01 03 ffffffff"), 0)

    def test_malformed_associate_items(self) -> None:
        """Every truncation and every changed byte of a request is answered, never raised."""
        for position in range(6, len(RQ)):
            for value in (0, 1, 0x7F, 0xFF):
                acceptor().receive_data(RQ[:position] + bytes((value,)) + RQ[position + 1 :])
            acceptor().receive_data(struct.pack(">BBI", 1, 0, position - 6) + RQ[6:position])
