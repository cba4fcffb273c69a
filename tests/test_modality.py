"""Modality worklist and performed procedure steps of a whole server: DCMTK, pynetdicom, HTTP and HL7 senders against it."""

import json
import shutil
import socket
import tempfile
from pathlib import Path
from queue import Queue
from typing import Any

import pydicom
from attrs import evolve
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (
    CTImageStorage,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepNotification,
    ModalityPerformedProcedureStepRetrieve,
    ModalityWorklistInformationFind,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from dicomd.config import Config, MppsConfig, RemoteAE, WorklistConfig
from dicomd.model.attributes import Attributes, attribute, items, text
from tests.daemon import Daemon, run
from tests.data import pydicom_file, shared
from tests.dimse.test_door import tool
from tests.model.test_performed_steps import FINAL, creation
from tests.process import Twistd
from tests.requestor import steady
from tests.services.test_worklist import order

LOOPBACK = "tcp:0:interface=127.0.0.1"
STEPS, PERFORMED = "/modality-scheduled-procedure-steps", "/modality-performed-procedure-steps"
JSON = {"Content-Type": "application/dicom+json", "Accept": "application/dicom+json"}
ORDER = (
    "MSH|^~\\&|RIS|H|PACS|H|20300101||OMI^O23^OMI_O23|{control}|P|2.5.1||||||8859/1\r"
    "PID|||EX-1^^^ISS||Größe^Jörg||19700203|M\r"
    "ORC|{control}|PL1|FI1\r"
    "TQ1|||||||203001021030||R\r"
    "OBR|1|||CT1^CT Head^LOCAL^P1^Head routine^LOCAL\r"
    "IPC|EX-ACC|EX-RP|1.2.826.0.1.3680043.8.498.1|EX-SPS|CT||||CT_EX\r"
)


def dataset(attributes: Attributes) -> Dataset:
    return Dataset.from_json(json.dumps(attributes))


def order_by_hl7(port: int, message: str) -> str:
    """The acknowledgement code of an order sent by MLLP."""
    with socket.create_connection(("127.0.0.1", port), 20) as sender:
        sender.sendall(b"\x0b" + message.encode("latin-1") + b"\x1c\r")
        received = b""
        while not received.endswith(b"\x1c\r"):
            received += sender.recv(4096)
    return received.decode("latin-1").split("\r")[1].split("|")[1]


def worklist_query(**keys: str) -> Dataset:
    query, step = Dataset(), Dataset()
    query.PatientName = query.PatientID = query.StudyInstanceUID = query.AccessionNumber = ""
    for keyword, value in {"Modality": "", "ScheduledStationAETitle": "", **keys}.items():
        setattr(query if keyword.startswith("Patient") else step, keyword, value)
    query.ScheduledProcedureStepSequence = [step]
    return query


def associate(port: int, *classes: str, **options: Any) -> Any:
    ae = AE("CT_EX")
    for uid in classes:
        ae.add_requested_context(uid)
    association = ae.associate("127.0.0.1", port, **options)
    assert association.is_established
    return steady(association)


def found(association: Any, query: Dataset) -> list[Dataset]:
    """The matches of a query that ends with success."""
    answers = list(association.send_c_find(query, ModalityWorklistInformationFind))
    assert answers[-1][0].Status == 0, answers[-1]
    return [match for status, match in answers if status.Status == 0xFF00]


class ModalityCase(TestCase):
    timeout = 120

    async def daemon(self, **config: Any) -> Daemon:
        daemon = await Daemon(tempfile.mkdtemp(dir="."), evolve(Config(), **config)).start()
        self.addCleanup(lambda: run(daemon.stop()))
        return daemon

    async def get(self, daemon: Daemon, path: str) -> Any:
        """The JSON of a resource; None for 204."""
        response = await daemon.http.get(daemon.url + path, headers={"Accept": JSON["Accept"] + ", application/json"})
        self.assertIn(response.code, (200, 204), path)
        return await response.json() if response.code == 200 else None

    async def post(self, daemon: Daemon, path: str, *attributes: Attributes) -> int:
        response = await daemon.http.post(daemon.url + path, json.dumps(attributes).encode(), headers=JSON)
        await response.content()
        return int(response.code)


class ExaminationTests(ModalityCase):
    def test_from_order_to_completed_step(self) -> "Deferred[None]":
        """Order by HL7, worklist and MPPS by DIMSE, instances stored, MPPS completed by HTTP: worklist empty, all linked."""
        uid = "1.2.826.0.1.3680043.8.498.2"

        def begin(port: int) -> str:
            """What the modality does: the answer to its query goes into the performed step and the images."""
            association = associate(port, ModalityWorklistInformationFind, ModalityPerformedProcedureStep)
            [entry] = found(
                association, worklist_query(ScheduledStationAETitle="CT_EX", ScheduledProcedureStepStartDate="20300102")
            )
            assert str(entry.PatientName) == "Größe^Jörg", entry.PatientName
            step = dataset(creation())
            scheduled = step.ScheduledStepAttributesSequence[0]
            scheduled.AccessionNumber, scheduled.StudyInstanceUID = entry.AccessionNumber, entry.StudyInstanceUID
            scheduled.ScheduledProcedureStepID = entry.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID
            step.PerformedSeriesSequence = []
            status, _ = association.send_n_create(step, ModalityPerformedProcedureStep, uid)
            association.release()
            assert status.Status == 0, status
            return str(entry.StudyInstanceUID)

        def store(port: int, study: str) -> Dataset:
            image = pydicom.dcmread(pydicom_file("CT_small.dcm"))
            image.StudyInstanceUID, image.AccessionNumber, image.PatientID = study, "EX-ACC", "EX-1"
            association = associate(port, CTImageStorage)
            assert association.send_c_store(image).Status == 0
            association.release()
            return image

        async def scenario() -> None:
            daemon = await self.daemon(worklist=WorklistConfig(mllp_endpoint=LOOPBACK))
            mllp = daemon.server.ports["mllp"].getHost().port
            self.assertEqual(await deferToThread(order_by_hl7, mllp, ORDER.format(control="NW")), "AA")
            study = await deferToThread(begin, daemon.port)
            [entry] = await self.get(daemon, STEPS + "?AccessionNumber=EX-ACC")
            [seen] = await self.get(daemon, STEPS + "?ScheduledProcedureStepSequence.ScheduledProcedureStepStatus=IN%20PROGRESS")
            self.assertEqual(text(seen, "00100020"), text(entry, "00100020"))
            image = await deferToThread(store, daemon.port, study)
            series = creation()["00400340"]["Value"][0] | {
                "0020000E": attribute("UI", str(image.SeriesInstanceUID)),
                "00400220": {"vr": "SQ"},
                "00081140": attribute(
                    "SQ",
                    {
                        "00081150": attribute("UI", str(image.SOPClassUID)),
                        "00081155": attribute("UI", str(image.SOPInstanceUID)),
                    },
                ),
            }
            finished = {**FINAL, "00400340": attribute("SQ", series)}
            self.assertEqual(await self.post(daemon, f"{PERFORMED}/{uid}?update", finished), 200)
            self.assertIsNone(await self.get(daemon, STEPS))
            self.assertEqual(await deferToThread(self.ask_again, daemon.port, uid), ([], "COMPLETED", 0x0110))
            links = await self.get(daemon, f"{PERFORMED}/{uid}/links")
            self.assertEqual(links["instances"], [{"SOPInstanceUID": str(image.SOPInstanceUID), "stored": True}])
            [scheduled] = links["scheduled"]
            self.assertEqual((scheduled["AccessionNumber"], scheduled["StudyInstanceUID"]), ("EX-ACC", study))
            entry_path = scheduled["url"].removeprefix(daemon.url)
            [kept] = await self.get(daemon, entry_path)
            self.assertEqual(text(items(kept, "00400100")[0], "00400020"), "COMPLETED")
            self.assertEqual(await self.get(daemon, entry_path + "/performed"), [f"{daemon.url}{PERFORMED}/{uid}"])
            self.assertEqual(await self.post(daemon, f"{PERFORMED}/{uid}?update", {"00400280": attribute("ST", "late")}), 409)

        return run(scenario())

    def ask_again(self, port: int, uid: str) -> tuple[list[Dataset], str, int]:
        """The worklist, the step's status by N-GET, and what a late N-SET is told."""
        classes = (
            ModalityWorklistInformationFind,
            ModalityPerformedProcedureStepRetrieve,
            ModalityPerformedProcedureStep,
        )
        association = associate(port, *classes)
        matches = found(association, worklist_query(ScheduledStationAETitle="CT_EX"))
        _, step = association.send_n_get([0x00400252], ModalityPerformedProcedureStepRetrieve, uid)
        late, _ = association.send_n_set(dataset({"00400280": attribute("ST", "late")}), ModalityPerformedProcedureStep, uid)
        association.release()
        return matches, str(step.PerformedProcedureStepStatus), late.Status


class FindscuTests(ModalityCase):
    """The real worklist in the watched folder, asked by `findscu -W`."""

    async def ask(self, daemon: Daemon, *keys: str) -> str:
        options = [part for key in keys for part in ("-k", key)]
        return await tool("findscu", "-W", *options, "127.0.0.1", daemon.port)

    async def watching(self) -> Daemon:
        """A server that has taken in the worklist files."""
        files = sorted(shared("worklists").glob("*.wl"))
        folder = Path(tempfile.mkdtemp(dir="."))
        for path in files:
            shutil.copy(path, folder)
        daemon = await self.daemon(worklist=WorklistConfig(path=str(folder)))
        while len(await self.get(daemon, STEPS) or ()) < len(files):
            await deferLater(reactor, 0.02)
        return daemon

    def test_dump_file(self) -> "Deferred[None]":
        """A query as modalities send it, made by dump2dcm: Latin-1, two days, an empty station."""
        dump = (
            "(0008,0005) CS [ISO_IR 100]\n(0010,0010) PN\n(0010,0020) LO\n(0040,0100) SQ\n(fffe,e000) na\n(0008,0060) CS [CT]\n"
            "(0040,0001) AE\n(0040,0002) DA [20300105-20300108]\n(fffe,e00d) na\n(fffe,e0dd) na\n"
        )

        async def scenario() -> None:
            folder = Path(tempfile.mkdtemp(dir="."))
            (folder / "query.dump").write_text(dump)
            await tool("dump2dcm", folder / "query.dump", folder / "query.dcm")
            daemon = await self.watching()
            await tool("findscu", "-W", "-X", "-od", folder, "127.0.0.1", daemon.port, folder / "query.dcm")
            answers = [pydicom.dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]
            self.assertEqual([str(answer.PatientName) for answer in answers], ["WORKLIST^ADA", "Übung^Jörg"])
            self.assertEqual({answer.SpecificCharacterSet for answer in answers}, {"ISO_IR 100"})

        return run(scenario())

    def test_keys_of_every_entry(self) -> "Deferred[None]":
        """Each of the entries is found by its own station and start, and no entry by another's."""

        async def scenario() -> None:
            daemon = await self.watching()
            for path in sorted(shared("worklists").glob("*.json")):
                content = json.loads(path.read_text())
                entry = content[0] if isinstance(content, list) else content
                for step in items(entry, "00400100"):
                    title, day, hour = (text(step, tag) for tag in ("00400001", "00400002", "00400003"))
                    keys = ("ScheduledStationAETitle", title), ("ScheduledProcedureStepStartDate", day)
                    sequence = [f"(0040,0100)[0].{keyword}={value}" for keyword, value in keys]
                    said = await self.ask(daemon, *sequence, f"(0040,0100)[0].ScheduledProcedureStepStartTime={hour}")
                    self.assertIn(f"[{text(entry, '00100020')}", said, path.name)
                    elsewhere = await self.ask(daemon, *sequence, "(0040,0100)[0].Modality=ES")
                    self.assertNotIn("PatientID", elsewhere, path.name)

        return run(scenario())

    def test_names_in_their_scripts(self) -> "Deferred[None]":
        async def scenario() -> None:
            daemon = await self.watching()
            for keys, patient in (
                (("PatientName=übung*", "SpecificCharacterSet=ISO_IR 192"), "DEVWL-09"),
                (("PatientName=試験*", "SpecificCharacterSet=ISO_IR 192"), "DEVWL-10"),
                (("PatientName=übung*",), "DEVWL-09"),
                (("PatientName=worklist^gus", "(0040,0100)[0].ScheduledProcedureStepStartTime=2359-"), "DEVWL-07"),
            ):
                said = await self.ask(daemon, *keys, "PatientID")
                self.assertEqual(said.count("(0010,0020)"), 1, keys)
                self.assertIn(patient, said)

        return run(scenario())


class PynetdicomTests(ModalityCase):
    def test_cancelled_in_the_middle(self) -> "Deferred[None]":
        """C-CANCEL ends a long answer with FE00; the association goes on."""

        def client(port: int) -> tuple[int, int]:
            association = associate(port, ModalityWorklistInformationFind)
            answers = association.send_c_find(worklist_query(), ModalityWorklistInformationFind, msg_id=7)
            count = 0
            for status, _ in answers:
                count += status.Status == 0xFF00
                if count == 3:
                    association.send_c_cancel(7, None, ModalityWorklistInformationFind)
            assert len(found(association, worklist_query(Modality="MR"))) == 1
            association.release()
            return status.Status, count

        async def scenario() -> None:
            daemon = await self.daemon()
            orders = [order(number) for number in range(2000)]
            self.assertEqual(await self.post(daemon, STEPS, *orders, order(2000, modality="MR")), 201)
            status, count = await deferToThread(client, daemon.port)
            self.assertEqual(status, 0xFE00)
            self.assertLess(count, 2001)

        return run(scenario())

    def test_fuzzy_names_are_negotiated(self) -> "Deferred[None]":
        """PS3.4 K.5.1.1: without the offer names match literally."""

        def client(port: int) -> list[int]:
            offer = SOPClassExtendedNegotiation()
            offer.sop_class_uid = ModalityWorklistInformationFind
            offer.service_class_application_information = b"\1\1\1"
            counts = []
            for offers in ([], [offer]):
                association = associate(port, ModalityWorklistInformationFind, ext_neg=offers)
                counts.append(len(found(association, worklist_query(PatientName="Jane Dow"))))
                association.release()
            return counts

        async def scenario() -> None:
            daemon = await self.daemon()
            await self.post(daemon, STEPS, order(1, name="DOE^JANE"), order(2, name="ROE^RICHARD"))
            self.assertEqual(await deferToThread(client, daemon.port), [0, 1])

        return run(scenario())


class ForwardingTests(ModalityCase):
    """Other systems are told: N-CREATE and N-SET forwarded, N-EVENT-REPORTs, in order, also over a crash."""

    def setUp(self) -> None:
        self.told: Queue[tuple[str, Any]] = Queue()
        self.uid = "1.2.826.0.1.3680043.8.498.3"

    def other_system(self, port: int = 0) -> Any:
        """Puts down what it is told."""

        def created(event: Any) -> tuple[int, Dataset]:
            self.told.put(("N-CREATE", str(event.attribute_list.PatientName)))
            return 0, event.attribute_list

        def changed(event: Any) -> tuple[int, Dataset]:
            self.told.put(("N-SET", event.modification_list.get("PerformedProcedureStepStatus", "")))
            return 0, event.modification_list

        def reported(event: Any) -> tuple[int, None]:
            self.told.put(("N-EVENT-REPORT", event.request.EventTypeID))
            return 0, None

        ae = AE("OTHER")
        ae.add_supported_context(ModalityPerformedProcedureStep)
        ae.add_supported_context(ModalityPerformedProcedureStepNotification, scu_role=False, scp_role=True)
        handlers = [(evt.EVT_N_CREATE, created), (evt.EVT_N_SET, changed), (evt.EVT_N_EVENT_REPORT, reported)]
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        assert server is not None
        self.addCleanup(lambda: deferToThread(server.shutdown))
        return server

    def receive(self, count: int) -> dict[str, list[Any]]:
        """So many messages, by operation in the order of their arrival; steps together."""
        messages = [self.told.get(timeout=60) for _ in range(count)]
        events = [said for operation, said in messages if operation == "N-EVENT-REPORT"]
        return {"steps": [message for message in messages if message[0] != "N-EVENT-REPORT"], "events": events}

    def test_told_in_order(self) -> "Deferred[None]":
        async def scenario() -> None:
            port = self.other_system().server_address[1]
            mpps = MppsConfig(forward_to=("OTHER",), notify=("OTHER",))
            daemon = await self.daemon(mpps=mpps, remote_aes=(RemoteAE("127.0.0.1", "OTHER", port),))
            path = f"{PERFORMED}/{self.uid}"
            self.assertEqual(await self.post(daemon, path, creation()), 201)
            self.assertEqual(await self.post(daemon, path + "?update", {"00400280": attribute("ST", "fine")}), 200)
            self.assertEqual(await self.post(daemon, path + "?update", FINAL), 200)
            told = await deferToThread(self.receive, 6)
            self.assertEqual(told["steps"], [("N-CREATE", "DOE^JANE"), ("N-SET", ""), ("N-SET", "COMPLETED")])
            self.assertEqual(told["events"], [1, 4, 2])

        return run(scenario())

    def test_killed_before_delivery(self) -> "Deferred[None]":
        """SIGKILL while the other system is away: the next server delivers everything, in order."""

        async def scenario() -> None:
            with socket.create_server(("127.0.0.1", 0)) as nobody:
                port = nobody.getsockname()[1]
            folder = tempfile.mkdtemp(dir=".")
            toml = (
                '[mpps]\nforward_to = ["OTHER"]\nnotify = ["OTHER"]\n'
                f'[[remote_aes]]\nae_title = "OTHER"\nhost = "127.0.0.1"\nport = {port}\n'
            )
            first = await self.server(folder, toml)
            await deferToThread(self.perform, first.ports["dimse"])
            self.assertEqual(await first.signal("KILL"), -9)
            self.other_system(port)
            second = await self.server(folder, toml)
            told = await deferToThread(self.receive, 4)
            self.assertEqual(told, {"steps": [("N-CREATE", "DOE^JANE"), ("N-SET", "COMPLETED")], "events": [1, 2]})
            self.assertNotIn("DOE", first.log + second.log)
            self.assertEqual(await second.signal("TERM"), 0)

        return run(scenario())

    async def server(self, folder: str, toml: str) -> Twistd:
        server = Twistd(folder, toml)
        self.addCleanup(lambda: server.ended if server.ended.called else server.signal("KILL"))
        return await server.start()

    def perform(self, port: int) -> None:
        association = associate(port, ModalityPerformedProcedureStep)
        created, _ = association.send_n_create(dataset(creation()), ModalityPerformedProcedureStep, self.uid)
        changed, _ = association.send_n_set(dataset(FINAL), ModalityPerformedProcedureStep, self.uid)
        association.abort()
        assert (created.Status, changed.Status) == (0, 0)
