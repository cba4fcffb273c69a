"""Live events of a whole server: twenty WebSocket subscribers over a restart, and a stock SCU that is told by N-EVENT-REPORT."""

import json
import tempfile
from collections.abc import Sequence
from typing import Any

from attrs import define, evolve, field
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepWatch,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.websocket import WebSocketClientEndpoint

from dicomd.config import Config, RemoteAE
from dicomd.model.attributes import Attributes, attribute
from dicomd.model.workitem_attributes import GLOBAL_SUBSCRIPTION, UPS_PUSH
from tests.daemon import Daemon, run
from tests.requestor import steady
from tests.workitems import KEY, UID, discontinued, new_item, performed

Seen = tuple[int, str, str]


@define(eq=False)
class Client:
    """A WebSocket client; `seen` are type, item and state of what has come, in order."""

    seen: list[Seen] = field(factory=list)
    socket: Any = None
    _waiting: "tuple[int, Deferred[None]] | None" = None
    _closed: "Deferred[None]" = field(factory=Deferred)

    def buildProtocol(self, url: str) -> "Client":
        return self

    def negotiationStarted(self, transport: Any) -> None:
        self.socket = transport

    def negotiationFinished(self) -> None: ...

    def pongReceived(self, payload: bytes) -> None: ...

    def bytesMessageReceived(self, data: bytes) -> None: ...

    def textMessageReceived(self, message: str) -> None:
        report = json.loads(message)
        state = report.get("00741000", {}).get("Value", [""])[0]
        self.seen.append((report["00001002"]["Value"][0], report["00001000"]["Value"][0], state))
        if self._waiting is not None and len(self.seen) >= self._waiting[0]:
            (_, waiting), self._waiting = self._waiting, None
            waiting.callback(None)

    def connectionLost(self, reason: Any) -> None:
        closed, self._closed = self._closed, Deferred()
        closed.callback(None)

    async def open(self, daemon: Daemon, ae_title: str) -> "Client":
        url = f"{daemon.url.replace('http', 'ws')}/subscribers/{ae_title}"
        await WebSocketClientEndpoint.new(reactor, url).connect(self)
        return self

    def count(self, number: int) -> "Deferred[None]":
        """Resolves when so many have come."""
        waiting: Deferred[None] = Deferred()
        self._waiting = (number, waiting)
        if len(self.seen) >= number:
            self._waiting = None
            waiting.callback(None)
        return waiting

    async def close(self) -> None:
        closed = self._closed
        self.socket.loseConnection()
        await closed

    async def vanish(self) -> None:
        closed = self._closed
        self.socket.transport.abortConnection()
        await closed


class Case(TestCase):
    timeout = 60

    def setUp(self) -> "Deferred[Any]":
        self.folder = tempfile.mkdtemp(dir=".")
        self.daemon = Daemon(self.folder, self.config())
        self.addCleanup(lambda: run(self.daemon.stop()))
        return run(self.daemon.start())

    def config(self) -> Config:
        return Config()

    async def restart(self) -> None:
        await self.daemon.stop()
        self.daemon = await Daemon(self.folder, self.config()).start()

    async def http(self, method: str, path: str, content: Attributes | None = None) -> int:
        body = {"data": json.dumps([content]).encode()} if content is not None else {}
        headers = {"Content-Type": "application/dicom+json"} if content is not None else {}
        response = await self.daemon.http.request(method, f"{self.daemon.url}/workitems{path}", headers=headers, **body)
        await response.content()
        return int(response.code)

    async def live(self, uid: str, final: str) -> list[Seen]:
        """An item from its creation to a final state; what subscribers hear of it."""
        self.assertEqual(await self.http("POST", f"?workitem={uid}", new_item()), 201)
        for state, needed in (("IN PROGRESS", performed() | discontinued()), (final, {})):
            change = {"00741000": attribute("CS", state), "00081195": attribute("UI", KEY)}
            self.assertEqual(await self.http("PUT", f"/{uid}/state", change), 200)
            if needed:
                self.assertEqual(await self.http("POST", f"/{uid}?transaction-uid={KEY}", needed), 200)
        return [(1, uid, "SCHEDULED"), (5, uid, ""), (1, uid, "IN PROGRESS"), (1, uid, final)]


class WebSocketTests(Case):
    def test_twenty_subscribers_over_a_restart(self) -> "Deferred[None]":
        """Each gets every event once and in order: those who stay, those who leave in order, and those who vanish."""

        async def work() -> None:
            titles = [f"SUB{number}" for number in range(20)]
            clients = await gatherResults([run(Client().open(self.daemon, title)) for title in titles])
            for title in titles:
                self.assertEqual(await self.http("POST", f"/{GLOBAL_SUBSCRIPTION}/subscribers/{title}"), 201)
            expected = [seen for number in range(3) for seen in await self.live(f"{UID}.{number}", "COMPLETED")]
            await gatherResults([client.count(len(expected)) for client in clients])
            for number, client in enumerate(clients):
                if number % 3:
                    await (client.close() if number % 3 == 1 else client.vanish())
            expected += await self.live(f"{UID}.3", "CANCELED")
            going_down = len(expected)
            await self.restart()
            expected.append((4, GLOBAL_SUBSCRIPTION, ""))
            expected += await self.live(f"{UID}.4", "COMPLETED")
            await gatherResults([run(client.open(self.daemon, title)) for client, title in zip(clients, titles, strict=True)])
            expected += await self.live(f"{UID}.5", "CANCELED")
            await gatherResults([client.count(len(expected) + (not number % 3)) for number, client in enumerate(clients)])
            for client in clients[::3]:  # those who were there at the stop were told of it
                self.assertEqual(client.seen.pop(going_down), (4, GLOBAL_SUBSCRIPTION, ""))
            self.check(clients, expected)
            for client in clients:
                await client.close()

        return run(work())

    def check(self, clients: Sequence[Client], expected: list[Seen]) -> None:
        for number, client in enumerate(clients):
            if number % 3 == 2:  # vanished: what it had not acknowledged may come a second time
                seen = [seen for place, seen in enumerate(client.seen) if seen not in client.seen[:place]]
            else:
                seen = client.seen
            self.assertEqual(seen, expected, number)


class RemoteTests(Case):
    def config(self) -> Config:
        """A peer that listens for events."""
        if not hasattr(self, "listener"):
            self.heard: list[Seen] = []
            self.wanted: tuple[int, Deferred[None]] | None = None
            receiver = AE("WATCHER")
            receiver.add_supported_context(UnifiedProcedureStepEvent, scu_role=False, scp_role=True)
            handlers = [(evt.EVT_N_EVENT_REPORT, self._event)]
            self.listener = receiver.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
            self.addCleanup(lambda: deferToThread(self.listener.shutdown))
        port = self.listener.socket.getsockname()[1]
        return evolve(Config(), remote_aes=(RemoteAE(host="127.0.0.1", ae_title="WATCHER", port=port),))

    def _event(self, event: Any) -> tuple[int, Dataset | None]:
        """In pynetdicom's thread."""
        request = event.request
        state = event.event_information.get("ProcedureStepState") or event.event_information.get("SCPStatus", "")
        seen = (request.EventTypeID, str(request.AffectedSOPInstanceUID), state)
        reactor.callFromThread(self._saw, seen)
        return 0x0000, None

    def _saw(self, seen: Seen) -> None:
        self.heard.append(seen)
        if self.wanted is not None and len(self.heard) >= self.wanted[0]:
            (_, waiting), self.wanted = self.wanted, None
            waiting.callback(None)

    def count(self, number: int) -> "Deferred[None]":
        waiting: Deferred[None] = Deferred()
        if len(self.heard) >= number:
            waiting.callback(None)
        else:
            self.wanted = (number, waiting)
        return waiting

    def scu(self, port: int, uid: str) -> list[int]:
        """A stock client: create, subscribe, claim, complete; the statuses."""
        client = AE("WATCHER")
        for context in (UnifiedProcedureStepPush, UnifiedProcedureStepWatch, UnifiedProcedureStepPull):
            client.add_requested_context(context)
        association = steady(client.associate("127.0.0.1", port, ae_title="DICOMD"))
        assert association.is_established
        classes: dict[str, Any] = {"class_uid": UPS_PUSH, "instance_uid": uid}
        item = Dataset.from_json(new_item(t00081195=None, t00404034={"vr": "SQ"}))
        statuses = [association.send_n_create(item, **classes)[0].Status]
        subscription, claim = Dataset(), Dataset()
        subscription.ReceivingAE, subscription.DeletionLock = "WATCHER", "TRUE"
        claim.ProcedureStepState, claim.TransactionUID = "IN PROGRESS", KEY
        watch: dict[str, Any] = {"meta_uid": UnifiedProcedureStepWatch, **classes}
        pull: dict[str, Any] = {"meta_uid": UnifiedProcedureStepPull, **classes}
        statuses.append(association.send_n_action(subscription, 3, **watch)[0].Status)
        statuses.append(association.send_n_action(claim, 1, **pull)[0].Status)
        changes = Dataset.from_json(performed())
        changes.TransactionUID = KEY
        statuses.append(association.send_n_set(changes, **pull)[0].Status)
        claim.ProcedureStepState = "COMPLETED"
        statuses.append(association.send_n_action(claim, 1, **pull)[0].Status)
        keys = Dataset()
        keys.ProcedureStepState = "COMPLETED"
        statuses += [status.Status for status, _ in association.send_c_find(keys, UnifiedProcedureStepPull)]
        association.release()
        return statuses

    def test_stock_client(self) -> "Deferred[None]":
        """Its requests succeed, and its configured AE is told, over a restart too."""

        async def work() -> None:
            statuses = await deferToThread(self.scu, self.daemon.port, UID)
            self.assertEqual(statuses, [0, 0, 0, 0, 0, 0xFF00, 0])
            expected: list[Seen] = [(1, UID, "SCHEDULED"), (1, UID, "IN PROGRESS"), (1, UID, "COMPLETED")]
            await self.count(3)
            self.assertEqual(self.heard, expected)
            await self.restart()
            await self.count(5)
            self.assertEqual(self.heard[3:], [(4, GLOBAL_SUBSCRIPTION, state) for state in ("GOING DOWN", "RESTARTED")])

        return run(work())
