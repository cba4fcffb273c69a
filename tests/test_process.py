"""The process: how it starts, how it ends in order, and what is left when it is killed while it stores."""

import http.client
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import treq
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from dicomd.wire.elements import file_meta
from dicomd.wire.messages import Command, CommandField, MessageWriter, decode_command
from dicomd.wire.pdu import P_DATA_TF, AssociateRequest, ProposedContext, encode_request
from tests.daemon import run
from tests.data import pydicom_file
from tests.process import Twistd

SAMPLE = pydicom_file("MR_small.dcm").read_bytes()
META = file_meta(SAMPLE)


def renamed(number: int) -> tuple[str, bytes]:
    """The sample under a SOP Instance UID of its own, and that UID."""
    uid = f"{META.sop_instance_uid[:-9]}.{number + 10**7}"
    assert len(uid) == len(META.sop_instance_uid)
    return uid, SAMPLE.replace(META.sop_instance_uid.encode(), uid.encode())


@define
class Acknowledged:
    """What clients were told is stored: the bytes of each data set by SOP Instance UID."""

    data: dict[str, bytes] = field(factory=dict)
    changed: threading.Event = field(factory=threading.Event)

    def add(self, uid: str, content: bytes) -> None:
        self.data[uid] = content[META.dataset_offset :]
        self.changed.set()

    def wait_for(self, count: int) -> None:
        while len(self.data) < count:
            self.changed.clear()
            if not self.changed.wait(60):
                raise AssertionError(f"only {len(self.data)} acknowledged")


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = peer.recv(count - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data


def _pdu(peer: socket.socket) -> tuple[int, bytes]:
    kind, _, length = struct.unpack(">BBI", _exactly(peer, 6))
    return kind, _exactly(peer, length)


def send_by_dimse(port: int, first: int, acknowledged: Acknowledged) -> None:
    """C-STORE one instance after the other until the server is gone."""
    writer = MessageWriter(16384)
    offer = ProposedContext(1, META.sop_class_uid, (META.transfer_syntax_uid,))
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as peer:
            peer.sendall(encode_request(AssociateRequest("DICOMD", "SENDER", (offer,))))
            _pdu(peer)
            for number in range(first, first + 100_000):
                uid, content = renamed(number)
                command = Command(
                    CommandField.C_STORE,
                    message_id=number % 65535,
                    priority=0,
                    affected_sop_class_uid=META.sop_class_uid,
                    affected_sop_instance_uid=uid,
                    has_data_set=True,
                )
                peer.sendall(writer.message(1, command, content[META.dataset_offset :]))
                kind, body = _pdu(peer)
                if kind != P_DATA_TF:
                    return
                if decode_command(body[6:]).status == 0:
                    acknowledged.add(uid, content)
    except OSError:
        return


def send_by_web(port: int, first: int, acknowledged: Acknowledged) -> None:
    """STOW-RS of two instances a request until the server is gone."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    try:
        for number in range(first, first + 100_000, 2):
            pair = [renamed(number), renamed(number + 1)]
            parts = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n" for _, content in pair)
            client.request("POST", "/dicom-web/studies", parts + b"--b--\r\n", headers)
            response = client.getresponse()
            response.read()
            if response.status != 200:
                return
            for uid, content in pair:
                acknowledged.add(uid, content)
    except (OSError, http.client.HTTPException):
        return


class ProcessCase(TestCase):
    timeout = 120

    async def server(self, folder: str, toml: str = "") -> Twistd:
        server = Twistd(folder, toml)
        self.addCleanup(self._end, server)
        return await server.start()

    def _end(self, server: Twistd) -> Any:
        if not server.ended.called:
            server.signal("KILL")
        return server.ended

    def senders(self, server: Twistd, acknowledged: Acknowledged) -> "Deferred[Any]":
        """Two of each kind."""
        kinds = ((send_by_dimse, server.ports["dimse"]), (send_by_web, server.ports["http"]))
        return DeferredList(
            [deferToThread(send, port, number * 1_000_000, acknowledged) for number, (send, port) in enumerate((*kinds, *kinds))],
            fireOnOneErrback=True,
        )

    async def check(self, server: Twistd, acknowledged: Acknowledged) -> None:
        """Every acknowledged instance is found and has its bytes; nothing else is left but whole, indexed instances."""
        response = await treq.get(server.url("/qido/instances?limit=100000"), persistent=False)
        found = {one["00080018"]["Value"][0] for one in await response.json()}
        self.assertEqual(set(acknowledged.data) - found, set())
        held = {path.name.removesuffix(".dcm"): path for path in server.store.glob("studies/**/*.dcm")}
        self.assertEqual(set(held), found)
        for uid, content in acknowledged.data.items():
            self.assertTrue(held[uid].read_bytes().endswith(content), uid)
        self.assertEqual(list((server.store / "spool").iterdir()), [])
        uid, content = next(iter(acknowledged.data.items()))
        url = await self.url_of(server, uid)
        response = await treq.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, persistent=False)
        self.assertTrue((await response.content()).endswith(content))

    async def url_of(self, server: Twistd, uid: str) -> str:
        response = await treq.get(server.url(f"/qido/instances?SOPInstanceUID={uid}"), persistent=False)
        (one,) = await response.json()
        return str(one["00081190"]["Value"][0])


class KilledTests(ProcessCase):
    def test_acknowledged_survives(self) -> "Deferred[None]":
        """SIGKILL while two associations and two connections store, twice over one store."""

        async def scenario() -> None:
            folder, acknowledged = tempfile.mkdtemp(dir="."), Acknowledged()
            for more in (60, 90):
                server = await self.server(folder)
                sending = self.senders(server, acknowledged) if more == 60 else self.others(server, acknowledged)
                await deferToThread(acknowledged.wait_for, len(acknowledged.data) + more)
                self.assertEqual(await server.signal("KILL"), -9)
                await sending
                self.assertNotIn("Traceback", server.log)
            await self.check(await self.server(folder), acknowledged)

        return run(scenario())

    def others(self, server: Twistd, acknowledged: Acknowledged) -> "Deferred[Any]":
        """Further instances, over one association."""
        return deferToThread(send_by_dimse, server.ports["dimse"], 9_000_000, acknowledged)


class StoppedTests(ProcessCase):
    def test_stores_in_flight(self) -> "Deferred[None]":
        """SIGTERM while instances arrive: exit status 0 within five seconds, and every acknowledged instance is there."""

        async def scenario() -> None:
            folder, acknowledged = tempfile.mkdtemp(dir="."), Acknowledged()
            server = await self.server(folder)
            sending = self.senders(server, acknowledged)
            await deferToThread(acknowledged.wait_for, 60)
            began = time.monotonic()
            self.assertEqual(await server.signal("TERM"), 0, server.log)
            self.assertLess(time.monotonic() - began, 5)
            await sending
            self.assertNotIn("Traceback", server.log)
            self.assertEqual(list((server.store / "spool").iterdir()), [])
            self.assertFalse((server.store / "index.sqlite-wal").exists(), "the index was not closed")
            await self.check(await self.server(folder), acknowledged)

        return run(scenario())

    def test_idle_peers(self) -> "Deferred[None]":
        """Peers that say nothing do not hold the server up."""

        async def scenario() -> None:
            server = await self.server(tempfile.mkdtemp(dir="."))
            offer = ProposedContext(1, META.sop_class_uid, (META.transfer_syntax_uid,))
            peers = [
                socket.create_connection(("127.0.0.1", port), 10) for port in (*server.ports.values(), server.ports["dimse"])
            ]
            for peer in peers:
                self.addCleanup(peer.close)
            peers[-1].sendall(encode_request(AssociateRequest("DICOMD", "IDLE", (offer,))))
            await deferToThread(_pdu, peers[-1])
            peers[0].sendall(
                b"POST /stow/studies HTTP/1.1\r\nHost: h\r\nContent-Type: application/dicom\r\nContent-Length: 9999\r\n\r\n"
            )
            await deferLater(reactor, 0.1, lambda: None)
            began = time.monotonic()
            self.assertEqual(await server.signal("TERM"), 0, server.log)
            self.assertLess(time.monotonic() - began, 5)
            self.assertNotIn("Traceback", server.log)

        return run(scenario())


class RefusedStartTests(ProcessCase):
    async def refused(self, folder: str, toml: str) -> str:
        server = Twistd(folder, toml).spawn()
        self.assertEqual(await server.ended, 1, server.log)
        self.assertNotIn("Traceback", server.log)
        return server.log

    def test_one_line(self) -> "Deferred[None]":
        """A wrong value ends the start with one line that names the file, the key and what was expected."""

        async def scenario() -> None:
            said = await self.refused(tempfile.mkdtemp(dir="."), "[mpps]\nkeep_hours = -1")
            self.assertEqual(said, "dicomd: dicomd.toml: mpps.keep_hours: expected a whole number of at least 1\n")
            said = await self.refused(tempfile.mkdtemp(dir="."), '[worklist]\nmllp_endpoint = "tpc:0"')
            self.assertIn("dicomd.toml: worklist.mllp_endpoint: expected a Twisted server endpoint string", said)
            self.assertEqual(said.count("\n"), 1)

        return run(scenario())

    def test_taken(self) -> "Deferred[None]":
        """A port, or a store, that another process has."""

        async def scenario() -> None:
            folder = tempfile.mkdtemp(dir=".")
            server = await self.server(folder)
            self.assertIn("the store is in use by another process", await self.refused(folder, ""))
            mllp = f'[worklist]\nmllp_endpoint = "tcp:{server.ports["http"]}:interface=127.0.0.1"'
            self.assertIn("Couldn't listen on 127.0.0.1", await self.refused(tempfile.mkdtemp(dir="."), mllp))

        return run(scenario())

    def test_no_folder(self) -> "Deferred[None]":
        """A file stands where the store should be."""

        async def scenario() -> None:
            folder = tempfile.mkdtemp(dir=".")
            (Path(folder) / "store").write_bytes(b"")
            self.assertIn("could not start: store.path", await self.refused(folder, ""))

        return run(scenario())
