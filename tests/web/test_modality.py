"""PS3.18 chapters 14 and 15 over HTTP: statuses, headers, JSON and XML."""

import orjson
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.services.hub import EventHub
from dicomd.services.performed_steps import PerformedSteps
from dicomd.services.worklist import Worklist
from dicomd.web.modality import PERFORMED, STEPS, ModalityWorklist, PerformedProcedureSteps
from dicomd.wire import json_model, native_model
from tests.model.test_performed_steps import FINAL, creation
from tests.services.test_worklist import order
from tests.web.harness import Answer, ask, make_door
from tests.workers import ImmediateWorkers, new_index

JSON = [("Content-Type", "application/dicom+json")]
XML = [("Content-Type", "application/dicom+xml")]


class ModalityTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        workers, clock = ImmediateWorkers(index), Clock()
        self.steps = PerformedSteps(workers, EventHub(), clock, lambda: None)
        rows = [
            *ModalityWorklist(Worklist(workers, clock), max_results=3).routes(),
            *PerformedProcedureSteps(self.steps).routes(),
        ]
        self.door = make_door(rows)

    def get(self, path: str, accept: str = "*/*") -> Answer:
        return ask(self.door, "GET", "/dicom-web" + path, headers=[("Accept", accept)])

    def post(self, path: str, *data_sets: Attributes) -> Answer:
        return ask(self.door, "POST", "/dicom-web" + path, json_model.to_json(data_sets), JSON)


class WorklistTests(ModalityTestCase):
    def test_enter_one(self) -> None:
        answer = self.post(STEPS, order())
        self.assertEqual(answer.status, 201)
        location = answer.headers["location"]
        self.assertTrue(location.startswith("http://dicom.test/dicom-web" + STEPS), location)
        entry = self.get(location.removeprefix("http://dicom.test/dicom-web")).json[0]
        self.assertEqual(text(entry, "00080050"), "ACC1")

    def test_enter_many_and_again(self) -> None:
        self.assertEqual(self.post(STEPS, order(1), order(2)).status, 201)
        again = self.post(STEPS, order(1), order(2))
        self.assertEqual((again.status, [entry["created"] for entry in again.json]), (200, [False, False]))

    def test_enter_xml(self) -> None:
        answer = ask(self.door, "POST", "/dicom-web" + STEPS, native_model.to_xml(order()), XML)
        self.assertEqual(answer.status, 201)

    def test_enter_multipart(self) -> None:
        body = b"".join(
            b"--b\r\nContent-Type: application/dicom+xml\r\n\r\n" + native_model.to_xml(order(number)) + b"\r\n"
            for number in (1, 2)
        )
        kind = [("Content-Type", 'multipart/related; type="application/dicom+xml"; boundary=b')]
        self.assertEqual(ask(self.door, "POST", "/dicom-web" + STEPS, body + b"--b--\r\n", kind).status, 201)
        self.assertEqual(len(self.get(STEPS).json), 2)

    def test_search(self) -> None:
        self.post(STEPS, order(1), order(2, modality="MR"))
        found = self.get(STEPS + "?ScheduledProcedureStepSequence.Modality=MR&includefield=00402016")
        self.assertEqual([text(match, "00080050") for match in found.json], ["ACC2"])
        self.assertIn("00380010", found.json[0])
        self.assertEqual(found.headers["content-type"], "application/dicom+json")

    def test_nothing_found(self) -> None:
        self.assertEqual(self.get(STEPS + "?PatientID=NOBODY").status, 204)

    def test_more_than_the_server_returns(self) -> None:
        self.post(STEPS, *(order(number) for number in range(1, 6)))
        found = self.get(STEPS)
        self.assertEqual(len(found.json), 3)
        self.assertIn("There are 2 additional results that can be requested", found.headers["warning"])
        rest = self.get(STEPS + "?offset=3")
        self.assertEqual((len(rest.json), "warning" in rest.headers), (2, False))

    def test_xml_out(self) -> None:
        self.post(STEPS, order())
        answer = self.get(STEPS, 'multipart/related; type="application/dicom+xml"')
        self.assertTrue(answer.headers["content-type"].startswith("multipart/related"))
        self.assertIn(b"<NativeDicomModel", answer.body)

    def test_not_acceptable(self) -> None:
        self.post(STEPS, order())
        answer = self.get(STEPS, "image/jpeg")
        self.assertEqual(answer.status, 406)
        self.assertIn("application/dicom+json", answer.json["detail"])

    def test_remove(self) -> None:
        path = self.post(STEPS, order()).headers["location"].removeprefix("http://dicom.test")
        self.assertEqual([ask(self.door, "DELETE", path).status for _ in range(2)], [204, 410])
        self.assertEqual(self.get(path.removeprefix("/dicom-web")).status, 410)
        self.assertEqual(self.get(STEPS + "/2").status, 404)
        self.assertEqual(self.get(STEPS + "/x").status, 404)

    def test_bad_bodies(self) -> None:
        for body, headers, status in (
            (b"{", JSON, 400),
            (b"[]", JSON, 400),
            (b"<a/>", XML, 400),
            (b"x", [("Content-Type", "text/plain")], 415),
            (b"x", [], 415),
            (b"x", [("Content-Type", 'multipart/related; type="application/dicom+json"')], 400),
            (json_model.to_json([{"00100010": attribute("PN", "A")}]), JSON, 400),
        ):
            self.assertEqual(ask(self.door, "POST", "/dicom-web" + STEPS, body, headers).status, status, body)
        self.assertEqual(self.get(STEPS).status, 204)

    def test_bad_query(self) -> None:
        self.assertEqual(self.get(STEPS + "?limit=-1").status, 400)
        self.assertEqual(self.get(STEPS + "?ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate=soon").status, 400)


class PerformedTests(ModalityTestCase):
    def test_life(self) -> None:
        created = self.post(PERFORMED + "/1.2.3", creation())
        self.assertEqual((created.status, created.body), (201, b""))
        self.assertEqual(created.headers["location"], "http://dicom.test/dicom-web" + PERFORMED + "/1.2.3")
        updated = self.post(PERFORMED + "/1.2.3?update", FINAL)
        self.assertEqual((updated.status, updated.body), (200, b""))
        [step] = self.get(PERFORMED + "/1.2.3").json
        self.assertEqual(text(step, "00400252"), "COMPLETED")
        self.assertEqual(self.get(PERFORMED + "/1.2.3", "application/dicom+xml").headers["content-type"], "application/dicom+xml")

    def test_includefield(self) -> None:
        self.post(PERFORMED + "/1.2.3", creation())
        [step] = self.get(PERFORMED + "/1.2.3?includefield=Modality,00100020").json
        self.assertEqual(set(step) - {"00080005"}, {"00080060", "00100020"})
        self.assertEqual(self.get(PERFORMED + "/1.2.3?includefield=all,Modality").status, 400)
        self.assertEqual(self.get(PERFORMED + "/1.2.3?includefield=Nonsense").status, 400)

    def test_links(self) -> None:
        self.post(PERFORMED + "/1.2.3", creation())
        self.assertEqual(
            self.get(PERFORMED + "/1.2.3/links").json["scheduled"],
            [{"AccessionNumber": "A1", "StudyInstanceUID": "1.2.3", "ScheduledProcedureStepID": "SPS1", "url": None}],
        )

    def test_refusals(self) -> None:
        """The HTTP counterparts of 0111, 0112, 0106, 0120, 0121, 0117 and of 0110 with A710."""
        self.post(PERFORMED + "/1.2.3", creation())
        missing, empty = creation(), creation()
        del missing["00400253"]
        empty["00400253"] = {"vr": "SH"}
        for path, data_set, status in (
            ("/1.2.3", creation(), 409),
            ("/1.2.4?update", FINAL, 404),
            ("/1.2.3?update", {"00100020": attribute("LO", "X")}, 400),
            ("/1.2.4", {**creation(), "00400252": attribute("CS", "COMPLETED")}, 400),
            ("/1.2.4", missing, 400),
            ("/1.2.4", empty, 400),
            ("/not-a-uid", creation(), 400),
            ("/1.2.4", {**creation(), "00080018": attribute("UI", "1.2.5")}, 400),
        ):
            self.assertEqual(self.post(PERFORMED + path, data_set).status, status, path)
        self.post(PERFORMED + "/1.2.3?update", FINAL)
        late = self.post(PERFORMED + "/1.2.3?update", {"00400280": attribute("ST", "late")})
        self.assertEqual((late.status, "may no longer be updated" in late.json["detail"]), (409, True))
        self.assertEqual(self.get(PERFORMED + "/1.2.4").status, 404)

    def test_names_the_attribute(self) -> None:
        missing = creation()
        del missing["00400253"]
        self.assertIn("(0040,0253)", self.post(PERFORMED + "/1.2.3", missing).json["detail"])
        self.assertEqual(orjson.loads(self.get(PERFORMED + "/1.2.3").body)["status"], 404)
