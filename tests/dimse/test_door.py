"""The DIMSE door of a whole server, with other people's clients: DCMTK's tools, and pynetdicom in a thread."""

import os
import random
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pydicom
from attrs import evolve
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import MRImageStorage, StudyRootQueryRetrieveInformationModelGet, Verification
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from dicomd.config import Config, RemoteAE
from dicomd.wire.elements import file_meta
from dicomd.wire.messages import Command, CommandField, MessageWriter
from dicomd.wire.pdu import AssociateRequest, ProposedContext, encode_request
from tests.daemon import Daemon, run
from tests.data import pydicom_file, shared
from tests.requestor import steady


async def tool(name: str, *arguments: object) -> str:
    """Run one of DCMTK's tools; it must succeed. What it says."""
    if shutil.which(name) is None:
        raise SkipTest(f"{name} of DCMTK is not installed")
    environment = os.environ | {"TCP_NODELAY": "1"}
    out, err, code = await getProcessOutputAndValue(name, [str(argument) for argument in arguments], env=environment)
    if code:
        raise AssertionError(f"{name} ended with {code}: {(out + err).decode(errors='replace')}")
    return str((out + err).decode(errors="replace"))


def data_set(path: Path) -> bytes:
    content = path.read_bytes()
    return content[file_meta(content).dataset_offset :]


def uids(paths: Any) -> dict[str, bytes]:
    return {file_meta(path.read_bytes()).sop_instance_uid: data_set(path) for path in paths}


class DoorCase(TestCase):
    timeout = 60

    def daemon(self, config: Config | None = None) -> "Deferred[Daemon]":
        daemon = Daemon(tempfile.mkdtemp(dir="."), config)
        self.addCleanup(lambda: run(daemon.stop()))
        return run(daemon.start())

    def real_files(self) -> list[Path]:
        """A real series, or what pydicom ships."""
        try:
            found = sorted(
                path for path in shared("series").rglob("*.dcm") if b"1.2.840.10008.1.2.1\0" in path.read_bytes()[:600]
            )
            return found[:20] or [pydicom_file("MR_small.dcm")]
        except SkipTest:
            return [pydicom_file("MR_small.dcm"), pydicom_file("CT_small.dcm")]


class DcmtkTests(DoorCase):
    def test_echo(self) -> "Deferred[None]":
        """C-ECHO."""

        async def scenario() -> None:
            daemon = await self.daemon()
            self.assertIn("Success", await tool("echoscu", "-v", "127.0.0.1", daemon.port))

        return run(scenario())

    def test_store_and_get_back(self) -> "Deferred[None]":
        """What storescu sent (it encodes anew) comes back by getscu, byte for byte as it was kept."""

        async def scenario() -> None:
            daemon, files = await self.daemon(), self.real_files()
            await tool("storescu", "127.0.0.1", daemon.port, *files)
            kept = uids(path for path in daemon.files() if path.suffix == ".dcm")
            self.assertEqual(set(kept), set(uids(files)))
            studies = {str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID) for path in files}
            folder = Path(tempfile.mkdtemp(dir="."))
            for study in studies:
                keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
                await tool("getscu", "-S", "+B", *keys, "-od", folder, "127.0.0.1", daemon.port)
            self.assertEqual(uids(folder.iterdir()), kept)

        return run(scenario())

    def test_move(self) -> "Deferred[None]":
        """From one server to another."""

        async def scenario() -> None:
            far, files = await self.daemon(), self.real_files()
            near = await self.daemon(evolve(Config(), remote_aes=(RemoteAE("127.0.0.1", "FAR", far.port),)))
            await tool("storescu", "127.0.0.1", near.port, *files)
            study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
            keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
            said = await tool("movescu", "-v", "-S", "-aem", "FAR", *keys, "127.0.0.1", near.port)
            self.assertIn("Received Final Move Response (Success)", said)
            expected = uids(near.store.glob(f"studies/{study}/**/*.dcm"))
            self.assertEqual(uids(far.store.glob("studies/**/*.dcm")), expected)

        return run(scenario())


class PynetdicomTests(DoorCase):
    def test_store_get_and_release(self) -> "Deferred[None]":
        """Association, C-ECHO, C-STORE, C-GET with role selection."""
        dataset = pydicom.dcmread(pydicom_file("MR_small.dcm"))

        def client(port: int) -> list[str]:
            received: list[str] = []

            def on_store(event: Any) -> int:
                received.append(event.dataset.SOPInstanceUID)
                return 0

            ae = AE("CLIENT")
            ae.add_requested_context(Verification)
            ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
            ae.add_requested_context(MRImageStorage, dataset.file_meta.TransferSyntaxUID)
            role = build_role(MRImageStorage, scu_role=True, scp_role=True)
            handlers = [(evt.EVT_C_STORE, on_store)]
            association = steady(ae.associate("127.0.0.1", port, ext_neg=[role], evt_handlers=handlers))
            assert association.is_established
            assert association.send_c_echo().Status == 0
            assert association.send_c_store(dataset).Status == 0
            query = pydicom.Dataset()
            query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", dataset.StudyInstanceUID
            statuses = [status.Status for status, _ in association.send_c_get(query, StudyRootQueryRetrieveInformationModelGet)]
            association.release()
            assert statuses == [0xFF00, 0], statuses
            return received

        async def scenario() -> None:
            daemon = await self.daemon()
            self.assertEqual(await deferToThread(client, daemon.port), [dataset.SOPInstanceUID])

        return run(scenario())


class HostilePeersTests(DoorCase):
    def test_random_bytes(self) -> "Deferred[None]":
        """The server answers or hangs up, logs no traceback, and serves the next one."""
        numbers = random.Random(7)
        start = bytes.fromhex("01000000")

        def attack(port: int) -> None:
            for round_ in range(60):
                with socket.create_connection(("127.0.0.1", port), 5) as peer:
                    garbage = numbers.randbytes(numbers.choice((1, 6, 80, 5000)))
                    peer.sendall((b"", start, b"\x04\0", b"\x07\0\0\0\0\4")[round_ % 4] + garbage)

        async def scenario() -> None:
            daemon = await self.daemon()
            await deferToThread(attack, daemon.port)
            self.assertIn("Success", await tool("echoscu", "-v", "127.0.0.1", daemon.port))
            self.assertEqual(self.flushLoggedErrors(), [])

        return run(scenario())

    def test_vanishes_while_storing(self) -> "Deferred[None]":
        """Nothing of half an instance stays."""

        async def scenario() -> None:
            daemon, path = await self.daemon(), pydicom_file("MR_small.dcm")
            await tool("storescu", "127.0.0.1", daemon.port, path)
            kept = len(daemon.files())

            def half(port: int) -> None:
                meta = file_meta(path.read_bytes())
                offer = ProposedContext(1, meta.sop_class_uid, (meta.transfer_syntax_uid,))
                with socket.create_connection(("127.0.0.1", port), 5) as peer:
                    peer.sendall(encode_request(AssociateRequest("DICOMD", "HALF", (offer,))))
                    peer.recv(1000)
                    store = Command(
                        CommandField.C_STORE,
                        message_id=1,
                        affected_sop_class_uid=meta.sop_class_uid,
                        affected_sop_instance_uid="1.2.3",
                        has_data_set=True,
                    )
                    writer = MessageWriter(16384)
                    peer.sendall(writer.command(1, store) + writer.data_set(1, bytes(3_000_000), False))

            await deferToThread(half, daemon.port)
            while daemon.server.dimse.connections or len(daemon.files()) != kept:
                waiting: Deferred[None] = Deferred()
                reactor.callLater(0.01, waiting.callback, None)
                await waiting

        return run(scenario())
