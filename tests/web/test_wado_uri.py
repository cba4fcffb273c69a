"""WADO-URI: the file of one instance at every root; what is rendered is handed on; DELETE."""

import io
from typing import Any
from urllib.parse import quote

from pydicom import dcmread

from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, RLE_LOSSLESS
from dicomd.services.removal import Removal
from dicomd.web.delete import Delete
from dicomd.web.responses import Response
from dicomd.web.routes import Route
from dicomd.web.wado import Wado
from dicomd.web.wado_bulk import WadoBulk
from dicomd.web.wado_uri import WadoUri
from dicomd.wire import media
from tests.archive import ArchiveCase, edited
from tests.web.harness import Answer, ask

UIDS = {"studyUID": "1.2.3", "seriesUID": "1.2.3.4", "objectUID": "1.2.3.4.5"}


class UriCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "SOPInstanceUID": "1.2.3.4.5"}
        self.content = edited("MR_small_jp2klossless.dcm", **uids)
        self.outcome = self.store(self.content)
        self.rendered: list[tuple[str, ...]] = []

    async def render(self, request: Any, study: str, series: str, instance: str, accept: media.Accept) -> Response:
        self.rendered.append((study, series, instance, accept.choose(("image/jpeg", "image/png", "text/html")) or ""))
        return Response(200, b"picture", "image/jpeg")

    def rows(self) -> list[Route]:
        bulk = WadoBulk(self.retrieve, self.bulk, self.frames, self.workers.disk)
        wado = Wado(self.retrieve, self.transcoder, self.workers.disk, bulk.bulkdata)
        return [
            *wado.routes(),
            *WadoUri(wado, self.render).routes(),
            *Delete(Removal(self.workers, self.archive.folder, self.hub)).routes(),
        ]

    def uri(self, root: str = "/dicom-web", accept: str = "", **parameters: str) -> Answer:
        query = "&".join(f"{name}={quote(value)}" for name, value in ({"requestType": "WADO"} | UIDS | parameters).items())
        headers = [("Accept", accept)] if accept else []
        return ask(self.door, "GET", f"{root}?{query}", None, headers)


class FileTests(UriCase):
    def test_every_root(self) -> None:
        """Explicit VR Little Endian by default, under every root, with and without a trailing slash."""
        for root in ("/dicom-web", "/dicom-web/", "/wado", "/wado/"):
            answer = self.uri(root, contentType="application/dicom")
            self.assertEqual((answer.status, answer.headers["content-type"].split(";")[0]), (200, "application/dicom"))
            self.assertEqual(dcmread(io.BytesIO(answer.body)).file_meta.TransferSyntaxUID, EXPLICIT_LITTLE)
        self.assertTrue(answer.headers["content-location"].endswith("/instances/1.2.3.4.5"))

    def test_transfer_syntax(self) -> None:
        """The one asked for, stored or made; 406 for one that cannot be had."""
        stored = self.uri(contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.4.90")
        self.assertEqual(stored.body, self.content)
        made = self.uri(contentType="application/dicom", transferSyntax=RLE_LOSSLESS)
        self.assertEqual(dcmread(io.BytesIO(made.body)).file_meta.TransferSyntaxUID, RLE_LOSSLESS)
        self.assertEqual(self.uri(contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.4.50").status, 406)

    def test_accept_header(self) -> None:
        """Without contentType the Accept header says that a file is wanted."""
        self.assertEqual(self.uri(accept="application/dicom").headers["content-type"].split(";")[0], "application/dicom")

    def test_unknown(self) -> None:
        """404 for an instance that is not there."""
        self.assertEqual(self.uri(contentType="application/dicom", objectUID="1.9").status, 404)

    def test_malformed(self) -> None:
        """400 that names the parameter."""
        for name, value in (
            ("requestType", "wado"),
            ("studyUID", "../etc"),
            ("seriesUID", ""),
            ("objectUID", "x"),
            ("transferSyntax", "JPEG"),
            ("anonymize", "no"),
            ("windowCenter", "40"),
            ("contentType", "application/dicom; transfer-syntax=1.2"),
            ("contentType", "application/dicom, image/jpeg"),
            ("contentType", "nonsense"),
        ):
            answer = self.uri(**({"contentType": "application/dicom"} | {name: value}))
            self.assertEqual(answer.status, 400, (name, value))
            self.assertIn(name, answer.json["detail"])
        twice = ask(self.door, "GET", "/wado?requestType=WADO&requestType=WADO")
        self.assertEqual(twice.status, 400)
        self.assertEqual(ask(self.door, "GET", "/wado?requestType=WADO&studyUID=1.2").status, 400)

    def test_anonymize(self) -> None:
        """Anonymised files are not made here, and not pretended."""
        self.assertEqual(self.uri(contentType="application/dicom", anonymize="yes").status, 501)

    def test_no_query(self) -> None:
        """A person is shown the way."""
        answer = ask(self.door, "GET", "/dicom-web")
        self.assertEqual((answer.status, answer.headers["location"]), (303, "http://dicom.test/dicom-web/conformance"))


class RenderedTests(UriCase):
    def test_handed_on(self) -> None:
        """Everything that is no file is rendered, with the types that the client takes."""
        self.assertEqual(self.uri().body, b"picture")
        self.uri(contentType="image/png")
        self.uri(accept="text/html, */*;q=0.1")
        wanted = [("1.2.3", "1.2.3.4", "1.2.3.4.5", kind) for kind in ("image/jpeg", "image/png", "text/html")]
        self.assertEqual(self.rendered, wanted)


class DeleteTests(UriCase):
    def test_levels(self) -> None:
        """What was deleted is gone, and its files with it."""
        for path in ("/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5", "/studies/1.2.3/series/1.2.3.4", "/studies/1.2.3"):
            self.store(self.content)
            self.assertEqual(self.get(path, "*/*").status, 200)
            self.assertEqual(self.get(path, method="DELETE").status, 204)
            self.assertEqual(self.get(path, "*/*").status, 410)
            self.assertEqual(list(self.root.glob("studies/*/*/*.dcm")), [])
            self.assertEqual(self.get(path, method="DELETE").status, 404)

    def test_gone(self) -> None:
        """What went with its study is gone too; what was never there is unknown; what is stored again is there."""
        path = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5"
        self.get("/studies/1.2.3", method="DELETE")
        self.assertEqual(self.get(path, "*/*").status, 410)
        self.assertEqual(self.get("/studies/1.2.9", "*/*").status, 404)
        self.store(self.content)
        self.assertEqual(self.get(path, "*/*").status, 200)
        self.assertEqual(self.get("/studies/1.2.3/series/1.2.3.4/instances/1.9", "*/*").status, 404)
