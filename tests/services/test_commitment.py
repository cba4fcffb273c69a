"""Storage commitment: what is checked, what is remembered, who is told; through both doors and crosswise."""

from typing import Any

import orjson
from attrs import define, field
from sqlalchemy import select
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from dicomd.dimse.commitment import CommitmentProvider
from dicomd.model.attributes import Attributes, attribute
from dicomd.model.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from dicomd.model.identifiers import Peer as Remote
from dicomd.model.status import ServiceError, Status
from dicomd.services.commitment import StorageCommitment
from dicomd.services.hub import KnownPeers
from dicomd.services.outbox import Outbox
from dicomd.store import schema
from dicomd.web.commitment import Commitment
from dicomd.wire import datasets, native_model
from dicomd.wire.messages import Command, CommandField, CommandReceived
from tests.dimse.peer import IMPLICIT, Peer, listening, proposal
from tests.model.test_commitment import MR, flat, nested
from tests.services.test_storage import StorageCase, edited
from tests.web.harness import Answer, Connection, ask, encode, make_door

JSON = [("Content-Type", "application/dicom+json"), ("Accept", "application/dicom+json")]
XML = [("Content-Type", "application/dicom+xml"), ("Accept", "application/dicom+xml")]
STUDY, SERIES = "1.3.6.1.4.1.5962.1.2.4.20040826185059.5457", "1.3.6.1.4.1.5962.1.3.4.1.20040826185059.5457"


@define
class Messenger:
    """What goes out on associations of our own; `down` until told otherwise."""

    down: bool = False
    sent: list[tuple[str, int, Attributes]] = field(factory=list)

    async def event_report(self, peer: Remote, sop_class: str, instance: str, kind: int, information: Attributes) -> Status:
        if self.down:
            raise ServiceError("cannot be reached")
        self.sent.append((peer.ae_title, kind, information))
        return Status.SUCCESS


class CommitmentCase(StorageCase):
    def setUp(self) -> None:
        super().setUp()
        self.store(edited(SOPInstanceUID="1.1"))
        self.store(edited(SOPInstanceUID="1.2"))

    def start(self) -> None:
        super().start()
        self.clock, self.messenger = Clock(), Messenger()
        peers = KnownPeers([Remote("PEER", "192.0.2.1", 104)])
        messenger: Any = self.messenger
        self.outbox = Outbox(self.workers, peers, messenger, self.clock, ensureDeferred)
        self.commitment = StorageCommitment(self.workers, self.archive.folder, self.clock, self.outbox.wake)
        self.commitment.start()
        self.outbox.wake()

    def post(self, uid: str, body: bytes, headers: Any = JSON) -> Answer:
        return ask(self.door, "POST", f"/dicom-web/commitment-requests/{uid}", body, headers)

    def get(self, uid: str, headers: Any = JSON) -> Answer:
        return ask(self.door, "GET", f"/dicom-web/commitment-requests/{uid}", headers=headers)

    @property
    def door(self) -> Any:
        return make_door(Commitment(self.commitment).routes())

    def failures(self, result: Attributes) -> dict[str, int]:
        failed = result.get("00081198", {}).get("Value", [])
        return {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in failed}

    def committed(self, result: Attributes) -> list[str]:
        return [item["00081155"]["Value"][0] for item in result.get("00081199", {}).get("Value", [])]

    def damage(self, uid: str) -> None:
        path = next(self.root.rglob(f"{uid}.dcm"))
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data)


class WebTests(CommitmentCase):
    def test_committed(self) -> None:
        """200 with one object at once, and again for whoever asks later."""
        answer = self.post("1.9", orjson.dumps([flat("1.1", "1.2")]))
        self.assertEqual((answer.status, self.committed(answer.json)), (200, ["1.1", "1.2"]))
        self.assertEqual(self.get("1.9").json, answer.json)

    def test_each_reason(self) -> None:
        """0112, 0119, 0110 and 0122, each for its instance; the rest is committed."""
        self.damage("1.2")
        self.store(edited(SOPInstanceUID="1.3"))
        request = flat("1.1", "1.2", "1.7")
        request["00081199"]["Value"] += flat("1.3", sop_class="1.2.840.10008.5.1.4.1.1.2")["00081199"]["Value"]
        request["00081199"]["Value"] += flat("1.8", sop_class="1.2.840.10008.5.1.4.31")["00081199"]["Value"]
        result = self.post("1.9", orjson.dumps(request)).json
        self.assertEqual(self.committed(result), ["1.1"])
        self.assertEqual(self.failures(result), {"1.2": 0x0110, "1.7": 0x0112, "1.3": 0x0119, "1.8": 0x0122})

    def test_a_missing_file(self) -> None:
        """The row alone commits nothing."""
        next(self.root.rglob("1.1.dcm")).unlink()
        result = self.post("1.9", orjson.dumps([flat("1.1")])).json
        self.assertEqual(self.failures(result), {"1.1": 0x0110})

    def test_classes_not_taken(self) -> None:
        """0122 for a class that the configuration excludes."""
        self.commitment.sop_classes = frozenset({MR})
        result = self.post("1.9", orjson.dumps([flat("1.7", sop_class="1.2.840.10008.5.1.4.1.1.2")])).json
        self.assertEqual(self.failures(result), {"1.7": 0x0122})

    def test_hierarchical(self) -> None:
        """The other form of request is answered in its own form; another study is not where the instance is."""
        answer = self.post("1.9", orjson.dumps([nested(STUDY, SERIES, "1.1", "1.2")]))
        self.assertEqual(answer.json, nested(STUDY, SERIES, "1.1", "1.2"))
        answer = self.post("1.10", orjson.dumps([nested("1", "1.8", "1.1")]))
        self.assertEqual(set(answer.json), {"0008119B"})

    def test_xml(self) -> None:
        """In and out."""
        answer = self.post("1.9", native_model.to_xml(flat("1.1")), XML)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/dicom+xml"))
        self.assertEqual(self.committed(native_model.from_xml(answer.body)), ["1.1"])

    def test_a_transaction_uid_is_used_once(self) -> None:
        """409 while it is in use."""
        self.post("1.9", orjson.dumps([flat("1.1")]))
        self.assertEqual(self.post("1.9", orjson.dumps([flat("1.2")])).status, 409)

    def test_refused(self) -> None:
        """400 for what is no request, 415 for another type, 406 for another answer, 404 for what was never asked."""
        self.assertEqual(self.post("1.9", b"[{}]").status, 400)
        self.assertEqual(self.post("hello", orjson.dumps([flat("1.1")])).status, 400)
        self.assertEqual(self.post("1.9", b"", [("Content-Type", "text/plain"), ("Accept", "*/*")]).status, 415)
        self.assertEqual(self.get("1.9", [("Accept", "image/png")]).status, 406)
        self.assertEqual(self.get("1.9").status, 404)

    def test_expired(self) -> None:
        """410 when the result is no longer kept, 404 when the request is forgotten too."""
        self.post("1.9", orjson.dumps([flat("1.1")]))
        for days, status in ((29, 200), (2, 410), (260, 410), (20, 404)):
            self.clock.advance(days * 86400)
            self.successResultOf(ensureDeferred(self.commitment.expire()))
            self.assertEqual(self.get("1.9").status, status, days)


class PendingTests(CommitmentCase):
    """While the check goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.held: list[Deferred[Any]] = []
        self.prepare = self.workers.prepare
        self.workers.prepare = self.hold

    def hold(self, function: Any, *arguments: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        done.addCallback(lambda _: function(*arguments))
        self.held.append(done)
        return done

    def test_202_then_200(self) -> None:
        """Nobody waits long; Retry-After tells when to ask."""
        connection = Connection(self.door)
        connection.send(encode("POST", "/dicom-web/commitment-requests/1.9", orjson.dumps([flat("1.1")]), JSON))
        self.assertEqual(connection.answers(), [])
        self.clock.advance(1)
        (answer,) = connection.answers()
        self.assertEqual((answer.status, answer.body, answer.headers["retry-after"]), (202, b"", "5"))
        self.assertEqual(self.get("1.9").status, 202)
        self.held.pop().callback(None)
        self.assertEqual(self.get("1.9").status, 200)

    def test_a_restart_goes_on(self) -> None:
        """A request that was not checked when the server stopped is checked after its next start."""
        self.successResultOf(ensureDeferred(self.commitment.remember("1.9", [flat("1.1")])))
        self.restart()
        self.assertEqual(self.committed(self.get("1.9").json), ["1.1"])


class DimseTests(CommitmentCase):
    def start(self) -> None:
        super().start()
        listener, _ = listening(*CommitmentProvider(self.commitment).services())
        self.peer = Peer(listener).associate(proposal(PUSH_MODEL))

    def act(self, attributes: Attributes, *, instance: str = PUSH_MODEL_INSTANCE, action: int = 1) -> int:
        command = Command(
            CommandField.N_ACTION,
            message_id=len(self.peer.responses) + 1,
            requested_sop_class_uid=PUSH_MODEL,
            requested_sop_instance_uid=instance,
            action_type_id=action,
        )
        self.peer.request(1, command, datasets.encode(attributes, IMPLICIT) if attributes else None)
        commands = [one.command for one in self.peer.hear() if isinstance(one, CommandReceived)]
        return next(one.status or 0 for one in reversed(commands) if one.command_field == CommandField.N_ACTION | 0x8000)

    def request(self, uid: str, *uids: str) -> Attributes:
        return {"00081195": attribute("UI", uid), **flat(*uids)}

    def event(self) -> tuple[Command, Attributes]:
        """The event report that came on the association, which is answered."""
        commands = [one.command for one in self.peer.hear() if isinstance(one, CommandReceived)]
        (command,) = [one for one in commands if one.command_field == CommandField.N_EVENT_REPORT]
        information = datasets.decode(self.peer.data, IMPLICIT)
        answer = Command(
            CommandField.N_EVENT_REPORT | 0x8000,
            message_id_being_responded_to=command.message_id,
            affected_sop_class_uid=PUSH_MODEL,
            affected_sop_instance_uid=PUSH_MODEL_INSTANCE,
            status=0,
        )
        self.peer.request(1, answer)
        return command, information

    def test_all_committed(self) -> None:
        """The response first, then event type 1 on the same association."""
        self.assertEqual(self.act(self.request("1.9", "1.1", "1.2")), 0)
        command, information = self.event()
        self.assertEqual((command.event_type_id, command.affected_sop_instance_uid), (1, PUSH_MODEL_INSTANCE))
        self.assertEqual(self.committed(information), ["1.1", "1.2"])
        self.assertEqual(information["00081195"]["Value"], ["1.9"])
        self.assertEqual(self.messenger.sent, [])

    def test_failures(self) -> None:
        """Event type 2 tells each reason."""
        self.damage("1.2")
        self.act(self.request("1.9", "1.1", "1.2", "1.7"))
        command, information = self.event()
        self.assertEqual((command.event_type_id, self.failures(information)), (2, {"1.2": 0x0110, "1.7": 0x0112}))

    def test_asked_for_over_http(self) -> None:
        """The result of a request that came over DIMSE can be read over HTTP."""
        self.act(self.request("1.9", "1.1"))
        self.event()
        self.assertEqual(self.committed(self.get("1.9").json), ["1.1"])

    def test_used_over_http(self) -> None:
        """A transaction UID is one and the same through both doors."""
        self.post("1.9", orjson.dumps([flat("1.1")]))
        self.assertEqual(self.act(self.request("1.9", "1.1")), 0x0131)

    def test_refused(self) -> None:
        """Another instance, another action, no transaction UID, no references."""
        self.assertEqual(self.act(self.request("1.9", "1.1"), instance="1.2.3"), 0x0112)
        self.assertEqual(self.act(self.request("1.9", "1.1"), action=2), 0x0123)
        self.assertEqual(self.act(flat("1.1")), 0x0115)
        self.assertEqual(self.act({"00081195": attribute("UI", "1.9")}), 0x0115)
        self.assertEqual(self.get("1.9").status, 404)

    def test_the_peer_has_left(self) -> None:
        """Without its association the report goes out on one of our own."""
        self.workers.prepare, work = self.hold, self.workers.prepare
        self.act(self.request("1.9", "1.1"))
        self.peer.lose()
        self.workers.prepare = work
        self.held.callback(None)
        ((ae_title, kind, information),) = self.messenger.sent
        self.assertEqual((ae_title, kind, self.committed(information)), ("PEER", 1, ["1.1"]))

    def hold(self, function: Any, *arguments: Any) -> "Deferred[Any]":
        self.held: Deferred[Any] = Deferred()
        return self.held.addCallback(lambda _: function(*arguments))

    def test_retried_over_restarts(self) -> None:
        """An event report that cannot be delivered waits in the index, and is tried again after the next start."""
        self.messenger.down = True
        self.successResultOf(ensureDeferred(self.commitment.remember("1.9", [flat("1.1")], "PEER")))
        self.restart()
        self.assertEqual(len(self.messenger.sent), 1)
        self.assertEqual(len(self.rows_of(schema.outbox)), 0)

    def test_tried_again(self) -> None:
        """With growing pauses, until it is taken."""
        self.messenger.down = True
        request = self.successResultOf(ensureDeferred(self.commitment.remember("1.9", [flat("1.1")], "PEER")))
        self.commitment.begin(request)
        self.assertEqual(len(self.rows_of(schema.outbox)), 1)
        self.messenger.down = False
        self.clock.pump([5, 5, 5])
        self.assertEqual((len(self.messenger.sent), self.rows_of(schema.outbox)), (1, []))

    def rows_of(self, table: Any) -> list[Any]:
        with self.archive.index.reader() as connection:
            return list(connection.execute(select(table)))
