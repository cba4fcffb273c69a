"""Metadata over HTTP: JSON and XML, at every level, prepared or not yet."""

import gzip
import io
import json
from collections.abc import Sequence
from typing import Any

from lxml import etree
from pydicom import dcmread

from dicomd.services.cache import StudyCache
from dicomd.web.routes import Route
from dicomd.web.wado_metadata import WadoMetadata, _Array, replaced
from tests.archive import ArchiveCase, edited, parts
from tests.web.harness import Answer, Connection, encode

STUDY, SERIES = "1.2.3", "1.2.3.4"
JSON = "application/dicom+json"
XML = 'multipart/related; type="application/dicom+xml"'


class MetadataCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        self.files = {}
        for number in (1, 2, 3):
            self.put(number, SERIES if number < 3 else "1.2.3.5")

    def put(self, number: int, series: str, **changes: Any) -> None:
        sop = f"1.2.3.4.{number}"
        changes |= {"InstanceNumber": number, "SeriesNumber": int(series[-1])}
        self.files[sop] = edited(SOPInstanceUID=sop, StudyInstanceUID=STUDY, SeriesInstanceUID=series, **changes)
        self.outcome = self.store(self.files[sop])

    def rows(self) -> list[Route]:
        return WadoMetadata(self.metadata, self.workers.disk).routes()

    def names(self, answer: Answer) -> list[str]:
        self.assertEqual(answer.status, 200, answer.body[:200])
        return [item["00080018"]["Value"][0] for item in answer.json]


class JsonTests(MetadataCase):
    def test_levels(self) -> None:
        """An array of the instances of the study, of the series, or of one."""
        self.assertEqual(self.names(self.get(f"/studies/{STUDY}/metadata", JSON)), ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"])
        self.assertEqual(self.names(self.get(f"/studies/{STUDY}/series/{SERIES}/metadata")), ["1.2.3.4.1", "1.2.3.4.2"])
        path = f"/studies/{STUDY}/series/1.2.3.5/instances/1.2.3.4.3/metadata"
        answer = self.get(path, "application/dicom+json, application/json")
        self.assertEqual(self.names(answer), ["1.2.3.4.3"])
        self.assertEqual(answer.headers["content-type"], JSON)

    def test_as_pydicom(self) -> None:
        """What pydicom makes of the file, with bulk data as absolute URLs and the transfer syntax it can be had in."""
        (found,) = self.get(f"/studies/{STUDY}/series/1.2.3.5/metadata").json
        dataset = dcmread(io.BytesIO(self.files["1.2.3.4.3"]))
        wanted = dataset.to_json_dict(bulk_data_threshold=1024, bulk_data_element_handler=lambda _: "reference")
        self.assertEqual(found.pop("00083002"), {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]})
        url = f"http://dicom.test/dicom-web/studies/{STUDY}/series/1.2.3.5/instances/1.2.3.4.3/bulkdata/7FE00010"
        self.assertEqual(found.pop("7FE00010"), {"vr": "OW", "BulkDataURI": url})
        self.assertEqual(set(found), set(wanted) - {"7FE00010"})
        for tag in ("00100010", "00080060", "00280030", "00200013"):
            self.assertEqual(found[tag]["vr"], wanted[tag]["vr"])

    def test_unknown(self) -> None:
        """404 for what is not there."""
        for path in ("/studies/1.9", f"/studies/{STUDY}/series/1.9", f"/studies/{STUDY}/series/{SERIES}/instances/1.9"):
            self.assertEqual(self.get(f"{path}/metadata", JSON).status, 404)

    def test_gzip(self) -> None:
        """Compressed for clients that take it, under a tag of its own."""
        path = f"/studies/{STUDY}/metadata"
        plain, packed = self.get(path), self.get(path, headers=[("Accept-Encoding", "gzip, deflate")])
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        self.assertNotEqual(packed.headers["etag"], plain.headers["etag"])
        self.assertIn("Accept-Encoding", plain.headers["vary"])

    def test_conditional(self) -> None:
        """304 until something changes, which is seen at once although answers are kept."""
        path = f"/studies/{STUDY}/metadata"
        tag = self.get(path).headers["etag"]
        self.assertEqual(self.get(path, headers=[("If-None-Match", tag)]).status, 304)
        self.put(9, SERIES)
        answer = self.get(path, headers=[("If-None-Match", tag)])
        self.assertIn("1.2.3.4.9", self.names(answer))
        self.put(9, SERIES, PatientName="Changed^Name")
        self.assertIn(b"Changed^Name", self.get(path).body)

    def test_prepared(self) -> None:
        """The same whether it was prepared before or is made now."""
        path = f"/studies/{STUDY}/metadata"
        first = self.get(path)
        self.metadata._cache.limit = 0
        self.put(9, "1.2.3.6")
        self.assertEqual(self.get(path).json[:3], first.json)

    def test_very_many(self) -> None:
        """Page by page when there are more than fit on one, compressed or not."""
        self.metadata.most = self.metadata.page = 1
        path = f"/studies/{STUDY}/metadata"
        plain = self.get(path)
        self.assertEqual(self.names(plain), ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"])
        packed = self.get(path, headers=[("Accept-Encoding", "gzip")])
        self.assertEqual(json.loads(gzip.decompress(packed.body)), plain.json)

    def test_memory(self) -> None:
        """Too many for one answer are put together in pages, the first as well: memory does not grow with their number."""
        self.metadata.most, self.metadata.page = 2, 1
        together: list[int] = []
        call = _Array.__call__

        def watched(array: _Array, objects: Sequence[bytes], first: bool, last: bool) -> bytes:
            together.append(len(objects))
            return call(array, objects, first, last)

        self.patch(_Array, "__call__", watched)
        names = self.names(self.get(f"/studies/{STUDY}/metadata"))
        self.assertEqual((names, together), (["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"], [1, 1, 1]))

    def test_not_acceptable(self) -> None:
        """Pictures of metadata there are none; what clients mix in their Accept headers is no reason to refuse."""
        path = f"/studies/{STUDY}/metadata"
        self.assertEqual(self.get(path, "image/jpeg").status, 406)
        mixed = "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*"
        self.assertEqual(self.get(path, mixed).status, 200)


class LargeTests(MetadataCase):
    def check(self, accept: str, *headers: tuple[str, str]) -> None:
        """The same answer whether it is put together at once or piece by piece."""
        path = f"/studies/{STUDY}/metadata"
        at_once = self.get(path, accept, list(headers))
        self.metadata.large, self.metadata._cache = 0, StudyCache(1 << 20)
        answer = self.get(path, accept, list(headers))
        self.metadata.large, self.metadata._cache = 1 << 20, StudyCache(1 << 20)
        if ("Accept-Encoding", "gzip") in headers:
            self.assertEqual(gzip.decompress(answer.body), gzip.decompress(at_once.body))
        elif accept == XML:
            self.assertEqual([content for _, content in parts(answer)], [content for _, content in parts(at_once)])
        else:
            self.assertEqual(answer.body, at_once.body)
        self.assertEqual(answer.headers["content-length"], str(len(answer.body)))

    def test_forms(self) -> None:
        """JSON, compressed or not, and XML."""
        self.check(JSON)
        self.check(JSON, ("Accept-Encoding", "gzip"))
        self.check(XML)

    def test_from_a_file(self) -> None:
        """What does not stay in memory."""
        for number in range(4, 64):
            self.put(number, SERIES, ImageComments="x" * 20_000)
        self.check(JSON)
        self.assertGreater(len(self.get(f"/studies/{STUDY}/metadata", JSON).body), 1 << 20)

    def test_wherever_it_is_cut(self) -> None:
        """What stands for the service's URL is found in every place."""
        text = b"@@BASE@@/a@@BASE@@@@BASE@@@BASE@@@@@BASE@@"
        for size in range(1, len(text)):
            pieces = [text[start : start + size] for start in range(0, len(text), size)]
            self.assertEqual(b"".join(replaced(pieces, b"B")), text.replace(b"@@BASE@@", b"B"))


class XmlTests(MetadataCase):
    def test_parts(self) -> None:
        """A document for each instance."""
        answer = self.get(f"/studies/{STUDY}/metadata", XML)
        self.assertEqual(answer.status, 200)
        found = [etree.fromstring(content) for _, content in parts(answer)]
        names = [document.xpath("string(*[@tag='00080018']/*)") for document in found]
        self.assertEqual(names, ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"])
        url = found[0].xpath("string(*[@tag='7FE00010']/*/@uri)")
        self.assertTrue(url.startswith(f"http://dicom.test/dicom-web/studies/{STUDY}/"))

    def test_very_many(self) -> None:
        """Page by page as well."""
        self.metadata.most = self.metadata.page = 2
        self.assertEqual(len(parts(self.get(f"/studies/{STUDY}/metadata", XML))), 3)


class DamageTests(MetadataCase):
    def damage(self) -> None:
        """Let the file of instance 3 hold nonsense."""
        file = self.file_of(self.outcome)
        content = file.read_bytes()
        file.write_bytes(content[:600] + b"\xff" * (len(content) - 600))

    def test_left_out(self) -> None:
        """The others are told, with 206 and a warning; alone it is an error of the server."""
        self.damage()
        with self.assertLogs("dicomd.services.preparation", "WARNING"):
            answer = self.get(f"/studies/{STUDY}/metadata", JSON)
        self.assertEqual(answer.status, 206)
        self.assertEqual([item["00080018"]["Value"][0] for item in answer.json], ["1.2.3.4.1", "1.2.3.4.2"])
        self.assertIn("1 instances", answer.headers["warning"])
        self.assertEqual(self.get(f"/studies/{STUDY}/series/1.2.3.5/metadata", JSON).status, 500)

    def test_long_answer_breaks_off(self) -> None:
        """An answer of unknown length is not closed."""
        self.damage()
        self.metadata.most = self.metadata.page = 1
        connection = Connection(self.door)
        with self.assertLogs("dicomd.services.preparation", "WARNING"):
            connection.send(encode("GET", f"/dicom-web/studies/{STUDY}/metadata", headers=[("Accept", JSON)]))
        self.assertFalse(connection.raw().endswith(b"\r\n0\r\n\r\n"))
