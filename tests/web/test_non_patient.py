"""PS3.18 chapter 12: every resource in every form: stored, found, retrieved, and nothing that does not belong there."""

import json
from typing import Any

from dicomd.model.attributes import text
from dicomd.model.non_patient import MODELS, RESOURCES, Model
from dicomd.services.bulk import BulkStore
from dicomd.services.non_patient import NonPatientInstances
from dicomd.web.app import Door
from dicomd.web.non_patient import NonPatient
from dicomd.web.routes import Route
from dicomd.web.stow import Stow
from dicomd.web.wado import Wado
from dicomd.web.wado_bulk import WadoBulk
from dicomd.wire import datasets, json_model, native_model
from dicomd.wire.elements import file_meta
from tests.archive import ArchiveCase, edited
from tests.non_patient import NAMES, instance, palettes, read, uid_of
from tests.web.harness import Answer, ask, at_once, make_door

DICOM = "application/dicom"
JSON, XML = "application/dicom+json", "application/dicom+xml"
# Explicit VR Little Endian, deflated, big endian, implicit.
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2")


class NonPatientCase(ArchiveCase):
    def rows(self) -> list[Route]:
        stow = Stow(self.storage, BulkStore(self.workers, self.archive.folder))
        instances = NonPatientInstances(self.workers, self.archive.folder, self.preparation)
        bulk = WadoBulk(self.retrieve, self.bulk, self.frames, at_once)
        wado = Wado(self.retrieve, self.transcoder, at_once, bulk.bulkdata)
        return [*stow.routes(), *NonPatient(instances, stow, wado, bulk, at_once, 3).routes()]

    def setUp(self) -> None:
        super().setUp()
        self._door = make_door(self.rows())

    @property
    def door(self) -> Door:
        return self._door

    def post(self, path: str, body: bytes, content_type: str = DICOM) -> Answer:
        return ask(self.door, "POST", f"/dicom-web{path}", body, [("Content-Type", content_type)])

    def load_palettes(self) -> None:
        for path in palettes():
            self.assertEqual(self.post("/color-palettes", path.read_bytes()).status, 200, path.name)


class StoreTests(NonPatientCase):
    def test_each_class_in_each_form(self) -> None:
        """DICOM, JSON and XML, with and without the UID in the path; the data set comes back as it was."""
        for model in MODELS:
            for sop_class in model.storage:
                data = instance(model, sop_class)
                meta = file_meta(data)
                attributes = datasets.decode(data[meta.dataset_offset :], meta.transfer_syntax_uid)
                for form, body in (
                    (DICOM, data),
                    (JSON, json_model.to_json([attributes])),
                    (XML, native_model.to_xml(attributes)),
                ):
                    for path in (f"/{model.resource}", f"/{model.resource}/{uid_of(model)}"):
                        answer = self.post(path, body, form)
                        self.assertEqual(answer.status, 200, (model.name, form, answer.body))
                        self.assertIn(f"/dicom-web/{model.resource}/{uid_of(model)}", answer.headers["location"])
                self.check(model, data)

    def check(self, model: Model, data: bytes) -> None:
        path = f"/{model.resource}/{uid_of(model)}"
        got = self.get(path, DICOM)
        self.assertEqual((got.status, read(got.body)), (200, read(data)))
        [attributes] = self.get(path, JSON).json
        keyword, value = NAMES[model.name]
        self.assertEqual(str(read(data)[keyword].value), value)
        self.assertIn(value, json.dumps(attributes))
        self.assertIn(b"<NativeDicomModel", self.get(path, f'multipart/related; type="{XML}"').body)

    def test_class_of_another_resource(self) -> None:
        """404 when nothing belongs here, with the reason for each instance; what is elsewhere is not there."""
        palette = palettes()[0].read_bytes()
        for resource in RESOURCES:
            if resource != "color-palettes":
                answer = self.post(f"/{resource}", palette)
                self.assertEqual(answer.status, 404)
                self.assertEqual(answer.json["00081198"]["Value"][0]["00081197"]["Value"], [0x0122])
        self.assertEqual(self.post("/color-palettes", edited()).status, 404)
        self.assertEqual(self.get("/color-palettes", JSON).status, 204)

    def test_some_belong(self) -> None:
        parts = [palettes()[0].read_bytes(), edited()]
        body = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
        answer = self.post("/color-palettes", body, f'multipart/related; type="{DICOM}"; boundary=b')
        self.assertEqual(answer.status, 200)
        self.assertEqual(len(answer.json["00081198"]["Value"]), 1)

    def test_uid_of_the_path(self) -> None:
        self.assertEqual(self.post("/color-palettes/1.2.3", palettes()[0].read_bytes()).status, 409)
        self.assertEqual(self.post("/color-palettes/x", palettes()[0].read_bytes()).status, 400)

    def test_bad_bodies(self) -> None:
        self.assertEqual(self.post("/color-palettes", b"nonsense").status, 409)
        self.assertEqual(self.post("/color-palettes", b"{", JSON).status, 400)
        self.assertEqual(self.post("/color-palettes", b"x", "text/plain").status, 415)


class SearchTests(NonPatientCase):
    def found(self, query: str = "") -> list[dict[str, Any]]:
        answer = self.get(f"/color-palettes{query}", JSON)
        return answer.json if answer.status == 200 else []

    def labels(self, query: str) -> set[str]:
        return {text(match, "00700080") for match in self.found(query)}

    def test_palettes(self) -> None:
        """The well-known palettes are found by label; wildcard, class, UID."""
        self.load_palettes()
        self.assertEqual(self.labels("?ContentLabel=SPRING%20LUT"), {"SPRING LUT"})
        self.assertEqual(self.labels("?ContentLabel=*OT*"), {"HOT_IRON", "HOT_METAL_BLUE"})
        self.assertEqual(self.labels("?SOPClassUID=1.2.3"), set())
        uid = text(self.found("?ContentLabel=FALL%20LUT")[0], "00080018")
        self.assertEqual(self.labels(f"?SOPInstanceUID={uid}"), {"FALL LUT"})

    def test_pages(self) -> None:
        """The server's maximum, the Warning with what remains, and pages that neither overlap nor skip."""
        self.load_palettes()
        first = self.get("/color-palettes", JSON)
        self.assertEqual(len(first.json), 3)
        self.assertIn(f"There are {len(palettes()) - 3} additional results", first.headers["warning"])
        seen = [text(match, "00080018") for start in range(0, 12, 3) for match in self.found(f"?offset={start}")]
        self.assertEqual(seen, sorted(str(read(path.read_bytes()).SOPInstanceUID) for path in palettes()))

    def test_returned_attributes(self) -> None:
        self.load_palettes()
        [match] = self.found("?ContentLabel=SPRING%20LUT")
        self.assertLessEqual({"00080016", "00080018", "00700080", "00700081", "00700084"}, set(match))
        self.assertNotIn("00281201", match)
        [match] = self.found("?ContentLabel=SPRING%20LUT&includefield=RedPaletteColorLookupTableDescriptor")
        self.assertIn("00281101", match)

    def test_every_resource(self) -> None:
        """Each model's name is found in its resource and only there."""
        for model in MODELS:
            self.post(f"/{model.resource}", instance(model))
        for model in MODELS:
            keyword, value = NAMES[model.name]
            for resource in RESOURCES:
                answer = self.get(f"/{resource}?{keyword}={value.replace(' ', '%20')}", JSON)
                uids = [text(match, "00080018") for match in answer.json] if answer.status == 200 else []
                self.assertEqual(uids, [uid_of(model)] if resource == model.resource else [], (model.name, resource))

    def test_never_among_studies(self) -> None:
        self.load_palettes()
        self.assertEqual(list((self.root / "studies").glob("*")), [])
        self.assertEqual(len(list((self.root / "non-patient").glob("*.dcm"))), len(palettes()))

    def test_refusals(self) -> None:
        self.load_palettes()
        self.assertEqual(self.get("/color-palettes?limit=-1", JSON).status, 400)
        self.assertEqual(self.get("/color-palettes", "image/png").status, 406)


class RetrieveTests(NonPatientCase):
    def test_as_received(self) -> None:
        """Byte for byte but for the preamble; conditional and in part."""
        data = palettes()[0].read_bytes()
        self.post("/color-palettes", data)
        path = f"/color-palettes/{read(data).SOPInstanceUID}"
        got = self.get(path, DICOM)
        self.assertEqual(got.body[128:], data[128:])
        self.assertEqual(self.get(path, DICOM, [("If-None-Match", got.headers["etag"])]).status, 304)
        self.assertEqual(self.get(path, DICOM, [("Range", "bytes=128-131")]).body, b"DICM")
        self.assertEqual(self.get(path).headers["content-type"].split(";")[0], JSON)

    def test_each_transfer_syntax(self) -> None:
        """As for instances of patients: any that the server can make, else the next thing that the client takes, else 406."""
        model = MODELS[2]
        path = f"/implant-templates/{uid_of(model)}"
        for stored in SYNTAXES:
            data = instance(model, transfer_syntax=stored, ICCProfile=bytes(range(256)) * 16)
            self.assertEqual(self.post("/implant-templates", data).status, 200)
            for wanted in SYNTAXES[:2]:
                got = self.get(path, f"{DICOM}; transfer-syntax={wanted}")
                self.assertEqual(read(got.body).file_meta.TransferSyntaxUID, wanted)
                self.assertEqual(list(read(got.body)), list(read(data)))
            self.assertEqual(self.get(path, f"{DICOM}; transfer-syntax=*").body[128:], data[128:])
            self.assertEqual(self.get(path, f"{DICOM}; transfer-syntax=1.2.3").status, 406)
            got = self.get(path, f"{DICOM}; transfer-syntax=1.2.3, {JSON}; q=0.5")
            self.assertEqual(got.headers["content-type"], JSON)
            self.assertEqual(self.get(f"{path}/bulkdata/00282000").body, bytes(range(256)) * 16)

    def test_as_a_part(self) -> None:
        """Multipart is always allowed for one item (PS3.18 8.7.3.5.2); each part tells what it is."""
        data = palettes()[0].read_bytes()
        self.post("/color-palettes", data)
        path = f"/color-palettes/{read(data).SOPInstanceUID}"
        got = self.get(path, f'multipart/related; type="{DICOM}"')
        self.assertIn(f"Content-Location: http://dicom.test/dicom-web{path}\r\n".encode(), got.body)
        self.assertIn(data[128:], got.body)
        got = self.get(path, f'multipart/related; type="{XML}"')
        self.assertIn(f"Content-Location: http://dicom.test/dicom-web{path}\r\n".encode(), got.body)

    def test_bulk_data(self) -> None:
        """A large value is a URL in the metadata, which answers exactly its bytes."""
        model, value = MODELS[2], bytes(range(256)) * 16
        self.post("/implant-templates", instance(model, ICCProfile=value))
        [attributes] = self.get(f"/implant-templates/{uid_of(model)}", JSON).json
        url = attributes["00282000"]["BulkDataURI"]
        self.assertTrue(url.startswith(f"http://dicom.test/dicom-web/implant-templates/{uid_of(model)}/bulkdata/"), url)
        path = url.removeprefix("http://dicom.test/dicom-web")
        self.assertEqual(self.get(path).body, value)
        self.assertEqual(self.get(path, headers=[("Range", "bytes=10-19")]).body, value[10:20])
        self.assertEqual(self.get(path.replace("00282000", "00282001")).status, 404)

    def test_unknown(self) -> None:
        data = palettes()[0].read_bytes()
        self.post("/color-palettes", data)
        self.assertEqual(self.get("/color-palettes/1.2.3.4", DICOM).status, 404)
        self.assertEqual(self.get(f"/hanging-protocols/{read(data).SOPInstanceUID}", DICOM).status, 404)
        self.assertEqual(self.get(f"/color-palettes/{read(data).SOPInstanceUID}", "image/jpeg").status, 406)
