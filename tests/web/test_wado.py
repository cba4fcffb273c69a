"""Retrieve instances: as stored, byte for byte, at every level."""

import io
import zipfile

from pydicom import dcmread
from pydicom.pixels import pixel_array
from twisted.internet.defer import ensureDeferred

from dicomd.model.transfer_syntaxes import (
    DEFLATED,
    EXPLICIT_LITTLE,
    HTJ2K_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from dicomd.web.routes import Route
from dicomd.web.wado import Wado
from dicomd.web.wado_bulk import WadoBulk
from tests import data
from tests.archive import ArchiveCase, edited, parts
from tests.web.harness import Answer, Connection, encode

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
        bulk = WadoBulk(self.retrieve, self.bulk, self.frames, self.workers.disk)
        return Wado(self.retrieve, self.transcoder, self.workers.disk, bulk.bulkdata).routes()


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
        """What does not fit on one page is sent page by page; its length is told all the same, and the same as ever."""
        whole = self.get(f"/studies/{STUDY}", ANY)
        for page in (1, 2):
            self.retrieve.page = page
            answer = self.get(f"/studies/{STUDY}", ANY)
            self.assertEqual(parts(answer), parts(whole))
            self.assertEqual(answer.headers["content-length"], str(len(answer.body)))
            self.assertEqual(len(answer.body), len(whole.body))

    def test_very_many_of_several_kinds(self) -> None:
        """Where an instance on a later page is not sent as it is stored, the length is not known."""
        content = dcmread(data.pydicom_file("MR_small_RLE.dcm"))
        content.StudyInstanceUID, content.SeriesInstanceUID, content.SeriesNumber = STUDY, "1.2.3.6", 6
        content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.6"
        file = io.BytesIO()
        content.save_as(file)
        self.store(file.getvalue())
        self.retrieve.page, path = 2, f"/studies/{STUDY}"
        self.assertNotIn("content-length", self.get(path, 'multipart/related; type="application/dicom"').headers)
        answer = self.get(path, ANY)
        self.assertEqual(answer.headers["content-length"], str(len(answer.body)))
        self.assertEqual([content for _, content in parts(answer)][3][128:], file.getvalue()[128:])

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


class TranscodeTests(WadoCase):
    """An instance of each kind of syntax, in a study of their own."""

    def setUp(self) -> None:
        super().setUp()
        self.stored = {}
        for number, name in enumerate(
            ("MR_small.dcm", "MR_small_jp2klossless.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm")
        ):
            sop = f"1.2.4.4.{number}"
            changes = {"StudyInstanceUID": "1.2.4", "SeriesInstanceUID": "1.2.4.4", "InstanceNumber": number}
            self.stored[sop] = edited(name, SOPInstanceUID=sop, **changes)
            self.store(self.stored[sop])
        self.pixels = dcmread(data.pydicom_file("MR_small.dcm")).PixelData

    def syntaxes(self, answer: Answer) -> list[str]:
        self.assertEqual(answer.status, 200, answer.body[:200])
        found = parts(answer)
        for head, content in found:
            dataset = dcmread(io.BytesIO(content))
            self.assertIn(dataset.file_meta.TransferSyntaxUID, head["content-type"])
            self.assertEqual(pixel_array(dataset).astype("<i2").tobytes(), self.pixels)
        return [head["content-type"].partition("transfer-syntax=")[2] for head, _ in found]

    def test_explicit_little_by_default(self) -> None:
        """A client that names no transfer syntax gets Explicit VR Little Endian."""
        for accept in ('multipart/related; type="application/dicom"', "multipart/related; type=application/dicom", "*/*", ""):
            self.assertEqual(self.syntaxes(self.get("/studies/1.2.4", accept)), [EXPLICIT_LITTLE] * 4)

    def test_as_stored(self) -> None:
        """The one that takes any gets each as it is stored."""
        found = parts(self.get("/studies/1.2.4", ANY))
        self.assertEqual([content for _, content in found], list(self.stored.values()))

    def test_made(self) -> None:
        """A lossless syntax is made of all of them."""
        for uid in (RLE_LOSSLESS, JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, DEFLATED):
            accept = f'multipart/related; type="application/dicom"; transfer-syntax={uid}'
            self.assertEqual(self.syntaxes(self.get("/studies/1.2.4", accept)), [uid] * 4)

    def test_preferences(self) -> None:
        """Several ranges: the one of the highest quality that can be had."""
        kind = 'multipart/related; type="application/dicom"; transfer-syntax='
        accept = f"{kind}1.2.840.10008.1.2.4.50, {kind}{RLE_LOSSLESS};q=0.5, {kind}{JPEG_LS_LOSSLESS};q=0.7"
        self.assertEqual(self.syntaxes(self.get("/studies/1.2.4", accept)), [JPEG_LS_LOSSLESS] * 4)

    def test_single(self) -> None:
        """One instance, as a part or as it is, with its length."""
        path = "/studies/1.2.4/series/1.2.4.4/instances/1.2.4.4.1"
        answer = self.get(path, "application/dicom")
        self.assertEqual(answer.headers["content-type"], f"application/dicom; transfer-syntax={EXPLICIT_LITTLE}")
        self.assertEqual(dcmread(io.BytesIO(answer.body)).PixelData, self.pixels)
        again = self.get(path, 'multipart/related; type="application/dicom"')
        self.assertEqual(parts(again)[0][1], answer.body)
        self.assertIn("content-length", again.headers)
        self.assertNotEqual(again.headers["etag"], self.get(path, ANY).headers["etag"])

    def test_large(self) -> None:
        """What is made in several pieces is sent as it comes into being."""
        outcome = self.store(data.shared("multiframe/US-PAL-8-10x-echo.dcm").read_bytes())
        assert outcome.key is not None
        key = outcome.key
        path = f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"
        for accept in ("application/dicom", 'multipart/related; type="application/dicom"'):
            answer = self.get(path, accept)
            self.assertNotIn("content-length", answer.headers)
            content = parts(answer)[0][1] if "multipart" in accept else answer.body
            self.assertEqual(len(dcmread(io.BytesIO(content)).PixelData), 430 * 600 * 10)

    def test_undecodable(self) -> None:
        """What cannot be decoded comes as it is stored when nothing else was asked for, else 406."""
        key = self.store(edited("JPEG2000-embedded-sequence-delimiter.dcm")).key
        assert key is not None
        path = f"/studies/{key.study_instance_uid}"
        ((head, _),) = parts(self.get(path, 'multipart/related; type="application/dicom"'))
        self.assertIn("1.2.840.10008.1.2.4.91", head["content-type"])
        path += f"/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"
        answer = self.get(path, f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT_LITTLE}')
        self.assertEqual(answer.status, 406)
        self.assertIn("1.2.840.10008.1.2.4.91", answer.json["detail"])

    def test_partly(self) -> None:
        """Of a study of which only some can be had, those, with 206."""
        sop = {"StudyInstanceUID": "1.2.4", "SeriesInstanceUID": "1.2.4.5", "SOPInstanceUID": "1.2.4.5.1"}
        path = sorted(data.shared("video").glob("*.dcm"))[0]
        dataset = dcmread(path)
        for keyword, value in sop.items():
            setattr(dataset, keyword, value)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        self.store(buffer.getvalue())
        answer = self.get("/studies/1.2.4", f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT_LITTLE}')
        self.assertEqual((answer.status, len(parts(answer))), (206, 4))
        self.assertEqual(len(parts(self.get("/studies/1.2.4", 'multipart/related; type="application/dicom"'))), 5)

    def test_zip(self) -> None:
        """An archive of the files, as stored or transcoded."""
        answer = self.get("/studies/1.2.4", "application/zip")
        self.assertEqual(answer.headers["content-type"], "application/zip")
        with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
            self.assertIsNone(archive.testzip())
            self.assertEqual(
                {name: archive.read(name) for name in archive.namelist()},
                {f"1.2.4/1.2.4.4/{sop}.dcm": content for sop, content in self.stored.items()},
            )
        made = self.get("/studies/1.2.4", f"application/zip; transfer-syntax={EXPLICIT_LITTLE}")
        with zipfile.ZipFile(io.BytesIO(made.body)) as archive:
            for name in archive.namelist():
                self.assertEqual(dcmread(io.BytesIO(archive.read(name))).PixelData, self.pixels)


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
        """In a long answer the others are sent, and the connection ends before the length that was told."""
        self.retrieve.page = 1
        self.file_of(self.outcome).unlink()
        connection = Connection(self.door)
        with self.assertLogs("dicomd.services.retrieve", "ERROR"):
            connection.send(encode("GET", f"/dicom-web/studies/{STUDY}", headers=[("Accept", ANY)]))
        self.assertIn(self.files["1.2.3.4.3"], connection.raw())
        self.assertNotIn(b"Transfer-Encoding", connection.raw())
        self.assertIn(b"Content-Length", connection.raw())
        self.assertTrue(connection.transport.disconnecting or not connection.transport.connected)


class SelectTests(WadoCase):
    def test_pages(self) -> None:
        """Every instance is on exactly one page."""
        self.retrieve.page = 2
        selection = self.successResultOf(ensureDeferred(self.retrieve.select(STUDY)))
        self.assertEqual([found.key.sop_instance_uid for found in selection.page], ["1.2.3.4.1", "1.2.3.4.2"])
        self.assertEqual(len(selection.following), 1)
