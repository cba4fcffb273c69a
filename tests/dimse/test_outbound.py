"""Associations that we open: how they begin and end, and what the core sends over them."""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from dicomd.dimse.composite import Verification
from dicomd.dimse.normalized import Invocation, Outcome, normalized
from dicomd.dimse.outbound import Connector, DimseSender, PeerUnavailable, known_status
from dicomd.dimse.service import Service
from dicomd.model.identifiers import Peer
from dicomd.model.status import ServiceError, Status
from dicomd.wire.messages import CommandField

from .peer import listening
from .wire import Endpoint

PEER = Peer("DICOMD", "192.0.2.1", 104)
MPPS = "1.2.840.10008.3.1.2.3.3"
UPS_PUSH, UPS_EVENT = "1.2.840.10008.5.1.4.34.6.1", "1.2.840.10008.5.1.4.34.6.4"
NAME = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}}


class Recorder:
    """Takes part in N-services as a peer's server would."""

    def __init__(self) -> None:
        self.seen: list[Invocation] = []
        self.outcome: Outcome | ServiceError = Outcome()
        self.hold: Deferred[None] | None = None

    def services(self) -> list[Service]:
        operations = (CommandField.N_CREATE, CommandField.N_SET, CommandField.N_EVENT_REPORT)
        commands = normalized(dict.fromkeys(operations, self.take))
        return [
            Service((MPPS,), commands),
            Service((UPS_EVENT,), commands, requestor_scp=True, command_classes=(UPS_PUSH,)),
        ]

    async def take(self, invocation: Invocation) -> Outcome:
        self.seen.append(invocation)
        if self.hold is not None:
            await self.hold
        if isinstance(self.outcome, ServiceError):
            raise self.outcome
        return self.outcome


class OutboundCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.recorder = Recorder()
        self.listener, self.clock = listening(*Verification().services(), *self.recorder.services(), ae_title="DICOMD")
        self.endpoint = Endpoint(self.listener)
        self.connector = Connector("US", self.clock, endpoint=lambda peer: self.endpoint, limit=1)
        self.sender = DimseSender(self.connector)

    def now(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(ensureDeferred(work))

    def refused(self, work: Coroutine[Any, Any, Any]) -> str:
        return str(self.failureResultOf(ensureDeferred(work), PeerUnavailable).value)


class ConnectorTests(OutboundCase):
    def test_echo(self) -> None:
        """Connect, ask, release; nothing is left on either side."""
        self.assertEqual(self.now(self.sender.echo(PEER)), Status.SUCCESS)
        self.assertEqual((self.listener.connections, self.clock.getDelayedCalls()), (set(), []))

    def test_unreachable(self) -> None:
        """And the turn is given back."""
        self.endpoint.listener = None
        for _ in range(2):
            self.assertIn("cannot be reached", self.refused(self.sender.echo(PEER)))

    def test_rejected(self) -> None:
        """Source and reason are told."""
        self.listener.settings = type(self.listener.settings)(ae_title="OTHER", require_called_ae_title=True)
        self.assertIn("service user, reason 7", self.refused(self.sender.echo(PEER)))

    def test_not_supported(self) -> None:
        """Accepted, but not for what is asked."""
        self.assertIn("does not support 1.2.3", self.refused(self.sender.n_set(PEER, "1.2.3", "1.2.4", NAME)))
        self.assertEqual(self.listener.connections, set())

    def test_silence(self) -> None:
        """A peer that accepts the connection and says nothing."""
        listener, _ = listening()
        listener.decide = None  # never reached
        self.endpoint = Endpoint(listener)
        listener.buildProtocol = lambda addr: Silent()
        waiting = ensureDeferred(self.sender.echo(PEER))
        self.clock.advance(30)
        self.failureResultOf(waiting, PeerUnavailable)

    def test_no_answer_to_a_request(self) -> None:
        """The association is aborted, the caller told."""
        self.recorder.hold = Deferred()
        waiting = ensureDeferred(self.sender.n_create(PEER, MPPS, "1.2.3", NAME))
        self.clock.pump([30] * 4)
        self.failureResultOf(waiting, PeerUnavailable)

    def test_limit(self) -> None:
        """More wait for their turn."""
        self.recorder.hold = Deferred()
        first = ensureDeferred(self.sender.n_create(PEER, MPPS, "1.2.3", NAME))
        second = ensureDeferred(self.sender.echo(PEER))
        self.assertNoResult(second)
        self.recorder.hold.callback(None)
        self.assertEqual([self.successResultOf(first), self.successResultOf(second)], [Status.SUCCESS] * 2)

    def test_abort_all(self) -> None:
        """When the server stops."""
        self.recorder.hold = Deferred()
        waiting = ensureDeferred(self.sender.n_create(PEER, MPPS, "1.2.3", NAME))
        self.connector.abort_all()
        self.failureResultOf(waiting, PeerUnavailable)


class Silent:
    def makeConnection(self, transport: object) -> None: ...

    def dataReceived(self, data: bytes) -> None: ...

    def connectionLost(self, reason: object) -> None: ...


class SenderTests(OutboundCase):
    def test_n_create(self) -> None:
        """Affected class and instance, and the attributes."""
        self.assertEqual(self.now(self.sender.n_create(PEER, MPPS, "1.2.3", NAME)), Status.SUCCESS)
        (seen,) = self.recorder.seen
        self.assertEqual((seen.operation, seen.sop_class_uid, seen.sop_instance_uid), (CommandField.N_CREATE, MPPS, "1.2.3"))
        self.assertEqual((seen.attributes, seen.peer_ae_title), (NAME, "US"))

    def test_n_set(self) -> None:
        """A refusal is a status."""
        self.recorder.outcome = ServiceError("no", Status.NO_SUCH_SOP_INSTANCE)
        self.assertEqual(self.now(self.sender.n_set(PEER, MPPS, "1.2.3", NAME)), Status.NO_SUCH_SOP_INSTANCE)

    def test_event_report(self) -> None:
        """This side is SCP; UPS events are negotiated as UPS Event and name UPS Push."""
        self.assertEqual(self.now(self.sender.event_report(PEER, UPS_PUSH, "1.2.3", 1, NAME)), Status.SUCCESS)
        (seen,) = self.recorder.seen
        self.assertEqual((seen.sop_class_uid, seen.type_id, seen.attributes), (UPS_PUSH, 1, NAME))
        self.assertEqual((seen.context.requestor_scu, seen.context.requestor_scp), (False, True))

    def test_event_reports(self) -> None:
        """Several over one association, which ends with them, and with a peer that goes away."""

        async def work() -> None:
            async with self.sender.reporting(PEER, UPS_PUSH) as send:
                for number in range(3):
                    await send(f"1.2.3.{number}", 1, NAME)
                self.assertEqual(len({id(seen.association) for seen in self.recorder.seen}), 1)
                self.connector.abort_all()
                await send("1.2.3.4", 1, NAME)

        self.refused(work())
        self.assertEqual((len(self.recorder.seen), self.listener.connections), (3, set()))

    def test_statuses_of_the_peer(self) -> None:
        """What no table has is a warning or a failure still."""
        self.assertEqual(known_status(0xB123), Status.COERCED)
        self.assertEqual(known_status(0xC999), Status.PROCESSING_FAILURE)
        self.assertEqual(known_status(0x0112), Status.NO_SUCH_SOP_INSTANCE)
