"""Retrieve instances: as stored, byte for byte, at every level."""

from twisted.internet.defer import ensureDeferred

from dicomd.web.routes import Route
from dicomd.web.wado import Wado
from tests.archive import ArchiveCase, edited, parts
from tests.web.harness import Connection, encode

ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
STUDY, SERIES = "1.2.3", "1.2.3.4"
SYNTAX = "1.2.840.10008.1.2.1"


class WadoCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        self.files = {}
        for number in (3, 1, 2):
            sop = f"1.2.3.4.{number}"
            series = SERIES if number < 3 else "1.2.3.5"
            changes = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": series, "SeriesNumber": int(series[-1])}
            self.files[sop] = edited(SOPInstanceUID=sop, InstanceNumber=number, **changes)
            self.outcome = self.store(self.files[sop])

    def rows(self) -> list[Route]:
        return Wado(self.retrieve, self.workers.disk).routes()


class LevelTests(WadoCase):
    def test_study(self) -> None:
        """All instances of the study, by series number and instance number, each a part as it was stored."""
        answer = self.get(f"/studies/{STUDY}", ANY)
        self.assertEqual(answer.status, 200)
        self.assertEqual([content for _, content in parts(answer)], [self.files[f"1.2.3.4.{n}"] for n in (1, 2, 3)])
        self.assertEqual(
            parts(answer)[0][0],
            {
                "content-type": f"application/dicom; transfer-syntax={SYNTAX}",
                "content-location": f"http://dicom.test/dicom-web/studies/{STUDY}/series/{SERIES}/instances/1.2.3.4.1",
                "content-length": str(len(self.files["1.2.3.4.1"])),
            },
        )

    def test_series(self) -> None:
        """Only the instances of the series."""
        answer = self.get(f"/studies/{STUDY}/series/{SERIES}", ANY)
        self.assertEqual([content for _, content in parts(answer)], [self.files[f"1.2.3.4.{n}"] for n in (1, 2)])

    def test_instance(self) -> None:
        """One instance, as multipart or as it is."""
        path = f"/studies/{STUDY}/series/{SERIES}/instances/1.2.3.4.2"
        self.assertEqual([content for _, content in parts(self.get(path, ANY))], [self.files["1.2.3.4.2"]])
        single = self.get(path, "application/dicom; transfer-syntax=*")
        self.assertEqual(single.body, self.files["1.2.3.4.2"])
        self.assertEqual(single.headers["content-type"], f"application/dicom; transfer-syntax={SYNTAX}")
        self.assertEqual(single.headers["content-location"], f"http://dicom.test/dicom-web{path}")

    def test_large_instance(self) -> None:
        """A file that is not read at once is sent from the disk."""
        self.retrieve.small = 100
        path = f"/studies/{STUDY}/series/{SERIES}/instances/1.2.3.4.2"
        self.assertEqual(self.get(path, "application/dicom").body, self.files["1.2.3.4.2"])
        self.assertEqual([content for _, content in parts(self.get(path))], [self.files["1.2.3.4.2"]])

    def test_very_many(self) -> None:
        """What does not fit on one page is sent page by page, of unknown length."""
        self.retrieve.page = 1
        answer = self.get(f"/studies/{STUDY}", ANY)
        self.assertEqual([content for _, content in parts(answer)], [self.files[f"1.2.3.4.{n}"] for n in (1, 2, 3)])
        self.assertNotIn("content-length", answer.headers)

    def test_unknown(self) -> None:
        """404 for what is not there, also for an instance under another series than its own."""
        for path in (
            "/studies/1.2.9",
            f"/studies/{STUDY}/series/1.2.9",
            f"/studies/{STUDY}/series/1.2.3.5/instances/1.2.3.4.1",
            f"/studies/1.2.9/series/{SERIES}/instances/1.2.3.4.1",
        ):
            self.assertEqual(self.get(path, ANY).status, 404, path)

    def test_head(self) -> None:
        """HEAD tells the length of what GET would send."""
        path = f"/studies/{STUDY}"
        head, answer = self.get(path, ANY, method="HEAD"), self.get(path, ANY)
        self.assertEqual(head.headers["content-length"], str(len(answer.body)))
        self.assertEqual(head.body, b"")

    def test_conditional(self) -> None:
        """304 while nothing has changed; another tag as soon as something has."""
        tag = self.get(f"/studies/{STUDY}", ANY).headers["etag"]
        self.assertEqual(self.get(f"/studies/{STUDY}", ANY, [("If-None-Match", tag)]).status, 304)
        self.store(edited(SOPInstanceUID="1.2.3.4.9", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES))
        self.assertEqual(self.get(f"/studies/{STUDY}", ANY, [("If-None-Match", tag)]).status, 200)

    def test_range(self) -> None:
        """A part of an instance, and 416 outside of it."""
        path, whole = f"/studies/{STUDY}/series/{SERIES}/instances/1.2.3.4.2", self.files["1.2.3.4.2"]
        part = self.get(path, "application/dicom", [("Range", "bytes=128-131")])
        self.assertEqual((part.status, part.body), (206, b"DICM"))
        self.assertEqual(part.headers["content-range"], f"bytes 128-131/{len(whole)}")
        outside = self.get(path, "application/dicom", [("Range", f"bytes={len(whole)}-")])
        self.assertEqual((outside.status, outside.headers["content-range"]), (416, f"bytes */{len(whole)}"))
        whole_answer = self.get(path, ANY)
        self.assertEqual(self.get(path, ANY, [("Range", "bytes=5-")]).body, whole_answer.body[5:])

    def test_not_acceptable(self) -> None:
        """406 that says what can be had."""
        answer = self.get(f"/studies/{STUDY}", "application/dicom")
        self.assertEqual(answer.status, 406)
        self.assertIn("multipart/related", answer.json["detail"])


class DamageTests(WadoCase):
    def test_missing_file(self) -> None:
        """The others are delivered, with 206 and a warning; alone it is an error of the server. The log names it."""
        self.file_of(self.outcome).unlink()
        with self.assertLogs("dicomd.services.retrieve", "ERROR") as logged:
            answer = self.get(f"/studies/{STUDY}", ANY)
        self.assertIn("1.2.3.4.2", logged.output[0])
        self.assertEqual(answer.status, 206)
        self.assertEqual([content for _, content in parts(answer)], [self.files[f"1.2.3.4.{n}"] for n in (1, 3)])
        self.assertIn("1 instances", answer.headers["warning"])
        with self.assertLogs("dicomd.services.retrieve", "ERROR"):
            alone = self.get(f"/studies/{STUDY}/series/{SERIES}/instances/1.2.3.4.2", ANY)
        self.assertEqual(alone.status, 500)

    def test_cut_off_file(self) -> None:
        """A file that is shorter than it was is not sent."""
        file = self.file_of(self.outcome)
        file.write_bytes(file.read_bytes()[:-1])
        with self.assertLogs("dicomd.services.retrieve", "ERROR"):
            self.assertEqual(self.get(f"/studies/{STUDY}/series/{SERIES}/instances/1.2.3.4.2", ANY).status, 500)

    def test_long_answer_breaks_off(self) -> None:
        """In an answer of unknown length the others are sent, and the connection ends without the last chunk."""
        self.retrieve.page = 1
        self.file_of(self.outcome).unlink()
        connection = Connection(self.door)
        with self.assertLogs("dicomd.services.retrieve", "ERROR"):
            connection.send(encode("GET", f"/dicom-web/studies/{STUDY}", headers=[("Accept", ANY)]))
        self.assertIn(self.files["1.2.3.4.3"], connection.raw())
        self.assertFalse(connection.raw().endswith(b"\r\n0\r\n\r\n"))
        self.assertTrue(connection.transport.disconnecting or not connection.transport.connected)


class SelectTests(WadoCase):
    def test_pages(self) -> None:
        """Every instance is on exactly one page."""
        self.retrieve.page = 2
        selection = self.successResultOf(ensureDeferred(self.retrieve.select(STUDY)))
        self.assertEqual([found.key.sop_instance_uid for found in selection.page], ["1.2.3.4.1", "1.2.3.4.2"])
        self.assertEqual(len(selection.following), 1)
