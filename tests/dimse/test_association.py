"""Associations: dispatch, refusals every service shares, streamed data sets, cancel, requests of our own."""

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from dicomd.dimse.association import Association, AssociationEnded
from dicomd.dimse.service import Message, Service
from dicomd.model.status import Busy, ServiceError, Status
from dicomd.wire.indications import Aborted
from dicomd.wire.messages import Command, CommandField
from dicomd.wire.pdu import Role

from .peer import CT, VERIFICATION, Peer, listening, proposal


def store(message_id: int = 1, **elements: Any) -> Command:
    return Command(CommandField.C_STORE, message_id=message_id, **{"affected_sop_class_uid": CT} | elements)


class Sink:
    """A sink that can be full and can break."""

    def __init__(self) -> None:
        self.data, self.abandoned = b"", False
        self.room: Deferred[None] | None = None
        self.error: ServiceError | None = None

    def write(self, data: bytes) -> bool:
        if self.error is not None:
            raise self.error
        self.data += data
        return self.room is None

    def ready(self) -> "Deferred[None]":
        assert self.room is not None
        return self.room

    def abandon(self) -> None:
        self.abandoned = True


class Recorder:
    """A service that stores; handlers wait when `hold` is set."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.messages: list[Message] = []
        self.associations: list[Association] = []
        self.hold: Deferred[None] | None = None
        self.error: Exception | None = None
        self.prepare = Sink

    def services(self) -> list[Service]:
        commands = {CommandField.C_STORE: self.handle, CommandField.C_FIND: self.handle}
        return [Service((CT,), commands, requestor_scp=True, sinks={CommandField.C_STORE: self.begin})]

    def begin(self, association: Association, message: Message) -> Sink:
        self.sinks.append(self.prepare())
        return self.sinks[-1]

    async def handle(self, association: Association, message: Message) -> None:
        self.messages.append(message)
        self.associations.append(association)
        if self.error is not None:
            raise self.error
        if self.hold is not None:
            await self.hold
        status = Status.CANCEL if association.is_cancelled(message) else Status.SUCCESS
        await association.respond(message, status)


class AssociationCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.recorder = Recorder()
        self.listener, self.clock = listening(*self.recorder.services())
        self.peer = Peer(self.listener).associate(proposal(CT, CT, roles=(Role(CT, True, True),)))

    def status(self) -> int | None:
        return self.peer.responses[-1].status


class DispatchTests(AssociationCase):
    def test_response_repeats_what_it_must(self) -> None:
        """Message ID, SOP class and instance of the request."""
        self.peer.request(1, store(9, affected_sop_instance_uid="1.2.3"), b"abcd")
        (response,) = self.peer.responses
        expected = Command(
            0x8001,
            message_id_being_responded_to=9,
            affected_sop_class_uid=CT,
            affected_sop_instance_uid="1.2.3",
            status=0,
        )
        self.assertEqual(response, expected)
        self.assertEqual(self.recorder.sinks[0].data, b"abcd")

    def test_refusals(self) -> None:
        """Operation not defined, class not negotiated; a data set that comes along is passed over."""
        self.peer.request(1, Command(CommandField.C_MOVE, message_id=1, affected_sop_class_uid=CT), b"data")
        self.assertEqual(self.status(), Status.UNRECOGNISED_OPERATION)
        self.peer.request(1, store(affected_sop_class_uid=VERIFICATION), b"data")
        self.assertEqual(self.status(), Status.SOP_CLASS_NOT_SUPPORTED)
        self.peer.request(1, Command(CommandField.N_SET, message_id=1, requested_sop_class_uid=CT))
        self.assertEqual(self.status(), Status.UNRECOGNISED_OPERATION)
        self.assertEqual(self.recorder.messages, [])

    def test_role(self) -> None:
        """Who proposed to be SCP only may not invoke."""
        peer = Peer(self.listener).associate(proposal(CT, roles=(Role(CT, False, True),)))
        peer.request(1, store(), b"data")
        self.assertEqual(peer.responses[-1].status, Status.SOP_CLASS_NOT_SUPPORTED)

    def test_unknown_command_field(self) -> None:
        """Not even a response can be made: aborted."""
        self.peer.request(1, Command(0x0777, message_id=1))
        self.assertIsInstance(self.peer.hear()[-1], Aborted)

    def test_service_error(self) -> None:
        """Becomes status, comment of one value and 64 characters, offending elements."""
        self.recorder.error = ServiceError("a\\b é " + "x" * 100, Status.CANNOT_UNDERSTAND, offending=(0x0020000D,))
        self.peer.request(1, store(), b"data")
        response = self.peer.responses[-1]
        self.assertEqual((response.status, response.offending_elements), (0xC000, (0x0020000D,)))
        self.assertEqual(response.error_comment, "a/b ? " + "x" * 58)

    def test_bug(self) -> None:
        """Is answered and logged."""
        self.recorder.error = ZeroDivisionError()
        self.peer.request(1, store(), b"data")
        self.assertEqual(self.status(), Status.CANNOT_UNDERSTAND)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_after_the_other(self) -> None:
        """A peer that pipelines is served in order; the same Message ID twice is refused; there is a limit."""
        self.recorder.hold = Deferred()
        for message_id in (1, 2, 2, 3):
            self.peer.request(1, store(message_id), b"data")
        self.assertEqual(self.peer.responses, [])
        hold, self.recorder.hold = self.recorder.hold, None
        hold.callback(None)
        answered = [(r.message_id_being_responded_to, r.status) for r in self.peer.responses]
        self.assertEqual(answered, [(1, 0), (2, 0), (2, Status.DUPLICATE_INVOCATION), (3, 0)])
        self.recorder.hold = Deferred()
        for message_id in range(40):
            self.peer.request(1, store(message_id), b"data")
            if isinstance(self.peer.heard[-1], Aborted):
                break
        self.assertLess(message_id, 39)

    def test_cancel(self) -> None:
        """C-CANCEL marks the operation; of unknown ones it is ignored."""
        self.recorder.hold = Deferred()
        self.peer.request(1, Command(CommandField.C_FIND, message_id=5, affected_sop_class_uid=CT), b"data")
        self.peer.request(1, Command(CommandField.C_CANCEL, message_id_being_responded_to=4))
        self.assertFalse(self.recorder.messages[0].is_cancelled)
        self.peer.request(1, Command(CommandField.C_CANCEL, message_id_being_responded_to=5))
        self.recorder.hold.callback(None)
        self.assertEqual(self.status(), Status.CANCEL)


class SinkTests(AssociationCase):
    def test_back_pressure(self) -> None:
        """A sink that is full stops the reading from the peer, until it is ready."""
        room: Deferred[None] = Deferred()

        def full() -> Sink:
            sink = Sink()
            sink.room = room
            return sink

        self.recorder.prepare = full
        self.peer.send(self.peer.writer.command(1, store(has_data_set=True)))
        self.peer.send(self.peer.writer.data_set(1, b"0123", False))
        self.assertEqual(self.peer.transport.producerState, "paused")
        self.clock.advance(1000)
        room.callback(None)
        self.assertEqual(self.peer.transport.producerState, "producing")
        self.peer.send(self.peer.writer.data_set(1, b"45", True))
        self.assertEqual(self.recorder.sinks[0].data, b"012345")

    def test_refused_in_the_midst(self) -> None:
        """The rest is dropped, the status is the sink's."""
        self.peer.send(self.peer.writer.command(1, store(has_data_set=True)))
        self.recorder.sinks[0].error = Busy("full")
        self.peer.send(self.peer.writer.data_set(1, b"0123", False))
        self.peer.send(self.peer.writer.data_set(1, b"0123", False))
        self.assertEqual(self.peer.responses, [])
        self.peer.send(self.peer.writer.data_set(1, b"0123", True))
        self.assertEqual(self.status(), Status.OUT_OF_RESOURCES)
        self.assertTrue(self.recorder.sinks[0].abandoned)

    def test_refused_at_once(self) -> None:
        """When the command already says that it cannot be."""

        def refuse() -> Sink:
            raise ServiceError("no", Status.INVALID_SOP_INSTANCE)

        self.recorder.prepare = refuse
        self.peer.request(1, store(), b"data")
        self.assertEqual((self.status(), self.recorder.messages), (Status.INVALID_SOP_INSTANCE, []))

    def test_peer_vanishes(self) -> None:
        """What had not arrived in full is abandoned, what waits for its turn too."""
        self.recorder.hold = Deferred()
        self.peer.request(1, store(1), b"data")
        self.peer.request(1, store(2), b"data")
        self.peer.send(self.peer.writer.command(1, store(3, has_data_set=True)))
        self.peer.lose()
        self.assertEqual([sink.abandoned for sink in self.recorder.sinks], [False, True, True])
        self.recorder.hold.callback(None)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_collected_data_set_has_a_limit(self) -> None:
        """Without a sink the data set is in memory, up to a limit."""
        (row,) = self.recorder.services()
        object.__setattr__(row, "largest_dataset", 8)
        listener, _ = listening(row)
        peer = Peer(listener).associate(proposal(CT))
        find = {"command_field": CommandField.C_FIND, "message_id": 1, "affected_sop_class_uid": CT}
        peer.request(1, Command(**find), b"12345678")
        self.assertEqual(self.recorder.messages[-1].dataset, b"12345678")
        peer.request(1, Command(**find), b"1234567890")
        self.assertEqual(peer.responses[-1].status, Status.OUT_OF_RESOURCES)


class RequestTests(AssociationCase):
    def setUp(self) -> None:
        super().setUp()
        self.recorder.hold = Deferred()
        self.peer.request(1, Command(CommandField.C_FIND, message_id=5, affected_sop_class_uid=CT), b"data")
        self.association = self.recorder.associations[0]

    def test_sub_operation(self) -> None:
        """A request of ours on the peer's association, while its own operation goes on."""
        context = self.association.context_for(CT)
        assert context is not None
        answer = ensureDeferred(self.association.request(context, store(None), b"abcd"))
        request = self.peer.responses[-1]
        self.assertEqual((request.command_field, request.message_id, self.peer.data), (CommandField.C_STORE, 1, b"abcd"))
        self.peer.request(1, Command(0x8001, message_id_being_responded_to=1, status=0))
        self.assertEqual(self.successResultOf(answer)[0].status, 0)

    def test_streamed(self) -> None:
        """Chunk by chunk, only the last one marked as last."""

        async def chunks() -> Any:
            for chunk in (b"ab", b"cd", b"e"):
                yield chunk

        ensureDeferred(self.association.request(self.association.contexts[1], store(None), chunks()))
        self.assertEqual(self.peer.data, b"abcde")
        self.assertFalse(self.peer.machine.messages.is_mid_message)

    def test_peer_takes_no_more(self) -> None:
        """Back-pressure: nothing is read ahead for a peer that does not read."""
        taken: list[bytes] = []

        async def chunks() -> Any:
            for chunk in (b"ab", b"cd", b"ef", b"gh"):
                taken.append(chunk)
                yield chunk

        self.peer.protocol._outgoing.pauseProducing()
        ensureDeferred(self.association.request(self.association.contexts[1], store(None), chunks()))
        self.assertEqual(taken, [b"ab"])
        self.peer.protocol._outgoing.resumeProducing()
        self.assertEqual(taken, [b"ab", b"cd", b"ef", b"gh"])

    def test_lost(self) -> None:
        """Everybody who waits is told."""
        answer = ensureDeferred(self.association.request(self.association.contexts[1], store(None), b""))
        self.peer.lose()
        self.failureResultOf(answer, AssociationEnded)
        self.assertRaises(AssociationEnded, self.association.respond, self.recorder.messages[0], 0)

    def test_no_answer(self) -> None:
        """A peer that owes a response is not waited for for ever."""
        answer = ensureDeferred(self.association.request(self.association.contexts[1], store(None), b""))
        self.clock.pump([30] * 5)
        self.failureResultOf(answer, AssociationEnded)

    def test_long_data_set(self) -> None:
        """While a data set is sent that takes long to make, the peer owes nothing; once it is sent, a response."""
        pieces: list[Deferred[bytes]] = [Deferred() for _ in range(6)]

        async def chunks() -> Any:
            for piece in pieces:
                yield await piece

        answer = ensureDeferred(self.association.request(self.association.contexts[1], store(None), chunks()))
        for piece in pieces:
            self.clock.pump([15] * 7)
            self.assertFalse(self.association.ended)
            piece.callback(b"ab")
        self.clock.advance(50)
        self.assertFalse(self.association.ended)
        self.clock.pump([15] * 5)
        self.failureResultOf(answer, AssociationEnded)

    def test_unknown_response(self) -> None:
        """To a request that was never made: aborted."""
        self.peer.request(1, Command(0x8001, message_id_being_responded_to=77, status=0))
        self.assertIsInstance(self.peer.hear()[-1], Aborted)

    def test_response_without_status(self) -> None:
        """Is no success."""
        answer = ensureDeferred(self.association.request(self.association.contexts[1], store(None), b""))
        self.peer.request(1, Command(0x8001, message_id_being_responded_to=1))
        self.failureResultOf(answer, AssociationEnded)
