"""The listener: who is let in, what is agreed on, when associations end."""

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.dimse.composite import Verification
from dicomd.dimse.listener import Refusal
from dicomd.dimse.service import Service, Services
from dicomd.wire.indications import Aborted, AssociateRejected, ReleaseConfirmed
from dicomd.wire.messages import Command, CommandField
from dicomd.wire.pdu import UserIdentity
from dicomd.wire.transitions import State

from .peer import CT, VERIFICATION, Peer, listening, proposal

ECHO = {"command_field": CommandField.C_ECHO, "message_id": 7, "affected_sop_class_uid": VERIFICATION}


def batched_bytes(data: bytes, size: int = 5000) -> Iterator[bytes]:
    """The data in pieces."""
    return (data[start : start + size] for start in range(0, len(data), size))


class AdmissionTests(SynchronousTestCase):
    def rejected(self, peer: Peer, *expected: int) -> None:
        self.assertEqual(peer.heard, [AssociateRejected(*expected)])

    def test_accepted(self) -> None:
        """The maximum length is announced, and Nagle's algorithm is off."""
        listener, _ = listening(*Verification().services())
        peer = Peer(listener).associate(proposal(VERIFICATION, CT))
        self.assertEqual([result.result for result in peer.accept.results], [0, 3])
        self.assertEqual(peer.accept.user.maximum_length, 131072)
        self.assertTrue(peer.transport.no_delay)

    def test_application_context(self) -> None:
        """Another one: rejected, permanent, user, 2."""
        listener, _ = listening()
        request = proposal(VERIFICATION)
        object.__setattr__(request, "application_context", "1.2.3")
        self.rejected(Peer(listener).associate(request), 1, 1, 2)

    def test_called_ae_title(self) -> None:
        """Only when the configuration asks for it."""
        for required, ok in ((False, True), (True, False)):
            listener, _ = listening(require_called_ae_title=required)
            peer = Peer(listener).associate(proposal(VERIFICATION, called="OTHER"))
            if ok:
                self.assertEqual(peer.accept.titles[:16], b"OTHER".ljust(16))
            else:
                self.rejected(peer, 1, 1, 7)

    def test_calling_ae_title_must_be_one(self) -> None:
        """Blank is none."""
        listener, _ = listening()
        request = proposal(VERIFICATION)
        object.__setattr__(request, "calling_ae_title", " ")
        self.rejected(Peer(listener).associate(request), 1, 1, 3)

    def test_too_many(self) -> None:
        """The limit is told; a flood is not even heard; when one ends there is room again."""
        listener, _ = listening(max_associations=1)
        first = Peer(listener).associate(proposal(VERIFICATION))
        self.rejected(Peer(listener).associate(proposal(VERIFICATION)), 2, 3, 2)
        self.assertIsNone(listener.buildProtocol(object()))
        first.lose()
        Peer(listener).associate(proposal(VERIFICATION)).accept  # noqa: B018

    def test_user_identity(self) -> None:
        """Answered when a response is asked for; whoever decides may refuse."""
        listener, _ = listening()
        for asked, answer in ((True, b""), (False, None)):
            peer = Peer(listener).associate(proposal(VERIFICATION, identity=UserIdentity(1, asked, b"user")))
            self.assertEqual(peer.accept.user.identity_response, answer)

        def refuse(request: object, host: str) -> str:
            raise Refusal.IDENTITY.error

        listener.admit = refuse
        self.rejected(Peer(listener).associate(proposal(VERIFICATION)), 1, 2, 1)

    def test_two_services_for_a_class(self) -> None:
        """Is a mistake of ours that shows at start."""
        rows = Verification().services()
        self.assertRaises(ValueError, Services, rows + rows)


class EndTests(SynchronousTestCase):
    def test_release(self) -> None:
        """The server answers; the peer closes; when it does not, ARTIM does."""
        listener, clock = listening(*Verification().services())
        peer = Peer(listener).associate(proposal(VERIFICATION))
        peer.release()
        self.assertIn(ReleaseConfirmed(), peer.heard)
        self.assertFalse(peer.transport.disconnecting)
        clock.advance(30)
        self.assertTrue(peer.transport.disconnecting)
        clock.advance(2)
        self.assertTrue(peer.transport.aborted)

    def test_silence_before_the_request(self) -> None:
        """ARTIM covers Sta2."""
        listener, clock = listening()
        peer = Peer(listener)
        clock.advance(30)
        self.assertTrue(peer.transport.disconnecting)
        peer.lose()
        self.assertEqual((clock.getDelayedCalls(), listener.connections), ([], set()))

    def test_idle(self) -> None:
        """No operation for too long."""
        listener, clock = listening(*Verification().services(), idle_timeout=100.0, response_timeout=50.0)
        peer = Peer(listener).associate(proposal(VERIFICATION))
        clock.pump([30] * 3)
        peer.request(1, Command(**ECHO))
        clock.pump([30] * 3)
        self.assertEqual(peer.machine.state, State.STA6)
        clock.pump([30] * 2)
        self.assertIsInstance(peer.hear()[-1], Aborted)

    def test_half_a_message(self) -> None:
        """A message that has begun must go on."""
        listener, clock = listening(*Verification().services(), idle_timeout=1000.0, response_timeout=50.0)
        peer = Peer(listener).associate(proposal(VERIFICATION))
        peer.send(peer.writer.message(1, Command(**ECHO))[:30])
        clock.pump([25] * 4)
        self.assertIsInstance(peer.hear()[-1], Aborted)

    def storing(self) -> tuple[Peer, Clock, Iterator[bytes]]:
        """A peer that has begun to store, after it was idle for a while; what it sends on, byte by byte."""
        listener, clock = listening(Service((CT,), {CommandField.C_STORE: lambda *_: Deferred()}), response_timeout=50.0)
        peer = Peer(listener).associate(proposal(CT))
        clock.pump([30] * 10)
        store = Command(CommandField.C_STORE, message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3")
        store.has_data_set = True
        peer.send(peer.writer.command(1, store))
        return peer, clock, batched_bytes(peer.writer.data_set(1, bytes(1 << 20), True))

    def test_dribbling(self) -> None:
        """A byte now and then does not keep an association."""
        peer, clock, sent = self.storing()
        for _ in range(4):
            clock.advance(10)
            peer.send(next(sent)[:1])
            self.assertEqual(peer.machine.state, State.STA6)
        clock.pump([10] * 6)
        self.assertIsInstance(peer.hear()[-1], Aborted)

    def test_slow_but_steady(self) -> None:
        """Some kilobytes in the same time do."""
        peer, clock, sent = self.storing()
        for piece in sent:
            clock.advance(10)
            peer.send(piece)
        self.assertEqual(peer.machine.state, State.STA6)

    def test_hard_work_is_not_idleness(self) -> None:
        """An operation of ours may take its time."""
        listener, clock = listening(Service((CT,), {CommandField.C_FIND: lambda *_: Deferred()}), idle_timeout=10.0)
        peer = Peer(listener).associate(proposal(CT))
        peer.request(1, Command(CommandField.C_FIND, message_id=1, affected_sop_class_uid=CT))
        clock.pump([60] * 100)
        self.assertEqual(peer.machine.state, State.STA6)

    def test_garbage(self) -> None:
        """Aborted with the reason, logged once, no traceback."""
        listener, _ = listening(*Verification().services())
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" * 10, bytes(100), b"\xff" * 100):
            peer = Peer(listener)
            peer.send(garbage)
            self.assertEqual(peer.transport.value() or b"\x07", b"\x07")
            peer.lose()
            peer = Peer(listener).associate(proposal(VERIFICATION))
            peer.send(garbage)
            self.assertEqual(peer.hear()[-1].source, 2)
            peer.lose()
        self.assertEqual(self.flushLoggedErrors(), [])


class DrainTests(SynchronousTestCase):
    def test_idle_associations_end_at_once(self) -> None:
        """And whoever is in the midst of connecting."""
        listener, _ = listening(*Verification().services())
        idle, connecting = Peer(listener).associate(proposal(VERIFICATION)), Peer(listener)
        done = Deferred.fromCoroutine(self._wait(listener.drain(3)))
        self.assertIsInstance(idle.hear()[-1], Aborted)
        self.assertTrue(connecting.transport.aborted)
        for peer in (idle, connecting):
            self.assertNoResult(done)
            peer.lose()
        self.successResultOf(done)

    async def _wait(self, awaitable: "Deferred[None]") -> None:
        await awaitable

    def test_operations_in_flight_are_answered(self) -> None:
        """Then the association is aborted; new ones are refused."""
        work: Deferred[None] = Deferred()

        async def find(association: object, message: object) -> None:
            await work
            association.respond(message, 0)

        listener, clock = listening(Service((CT,), {CommandField.C_FIND: find}))
        peer = Peer(listener).associate(proposal(CT))
        late = Peer(listener)
        peer.request(1, Command(CommandField.C_FIND, message_id=1, affected_sop_class_uid=CT))
        done = Deferred.fromCoroutine(self._wait(listener.drain(3)))
        self.assertEqual(len(peer.heard), 1)
        late.lose()
        work.callback(None)
        self.assertEqual(peer.responses[0].status, 0)
        self.assertIsInstance(peer.heard[-1], Aborted)
        peer.lose()
        self.successResultOf(done)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_who_does_not_end_is_ended(self) -> None:
        """After the time given."""
        listener, clock = listening(Service((CT,), {CommandField.C_FIND: lambda *_: Deferred()}))
        peer = Peer(listener).associate(proposal(CT))
        peer.request(1, Command(CommandField.C_FIND, message_id=1, affected_sop_class_uid=CT))
        Deferred.fromCoroutine(self._wait(listener.drain(3)))
        clock.advance(3)
        self.assertIsInstance(peer.hear()[-1], Aborted)
        clock.advance(0.5)
        self.assertTrue(peer.transport.aborted)
