"""Bulk data over HTTP: what metadata refer to can be fetched and is exactly those bytes."""

import io
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array

from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, JPEG_LS_LOSSLESS
from dicomd.web.routes import Route
from dicomd.web.wado_bulk import WadoBulk
from dicomd.web.wado_metadata import WadoMetadata
from tests import data
from tests.archive import ArchiveCase, edited, parts

OCTETS = 'multipart/related; type="application/octet-stream"'


class BulkCase(ArchiveCase):
    def rows(self) -> list[Route]:
        bulk = WadoBulk(self.retrieve, self.bulk, self.frames, self.workers.disk)
        return [*bulk.routes(), *WadoMetadata(self.metadata, self.workers.disk).routes()]

    def put(self, content: bytes) -> str:
        """Store a file; the path of the instance."""
        key = self.store(content).key
        assert key is not None
        return f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"

    def references(self, path: str) -> dict[str, str]:
        """URL (without the service) and VR of everything that the metadata refer to."""
        found: dict[str, str] = {}

        def walk(attributes: dict[str, Any]) -> None:
            for attribute in attributes.values():
                if "BulkDataURI" in attribute:
                    found[attribute["BulkDataURI"].removeprefix("http://dicom.test/dicom-web")] = attribute["vr"]
                for value in attribute.get("Value", ()) if attribute["vr"] == "SQ" else ():
                    walk(value)

        walk(self.get(f"{path}/metadata").json[0])
        return found


def value_at(dataset: Dataset, path: str) -> bytes:
    """The value that the end of a URL names."""
    steps = path.split("/")
    for sequence, number in zip(steps[:-1:2], steps[1::2], strict=False):
        dataset = dataset[int(sequence, 16)].value[int(number)]
    return bytes(dataset[int(steps[-1], 16)].value)


class ItemTests(BulkCase):
    def test_references_can_be_fetched(self) -> None:
        """Every reference, at any depth and in any layout, gives the little endian bytes of its value."""
        count = 0
        for name in ("waveform_ecg.dcm", "examples_palette.dcm", "MR_small.dcm", "CT_small.dcm", "liver_1frame.dcm"):
            content = data.pydicom_file(name).read_bytes()
            path, dataset = self.put(content), dcmread(io.BytesIO(content))
            for url in self.references(path):
                for accept in ("application/octet-stream", "*/*", ""):
                    answer = self.get(url, accept)
                    self.assertEqual(answer.status, 200)
                    self.assertEqual(answer.body, value_at(dataset, url.partition("/bulkdata/")[2]), url)
                ((head, value),) = parts(self.get(url, OCTETS))
                self.assertEqual(value, answer.body)
                self.assertEqual(head["content-location"], f"http://dicom.test/dicom-web{url}")
                count += 1
        self.assertGreater(count, 6)

    def test_other_layouts(self) -> None:
        """Big endian and deflated values are given little endian."""
        for stored, plain in (
            ("explicit-be/MR_small_bigendian.dcm", "explicit-le/MR_small.dcm"),
            ("deflated/image_dfl.dcm", ""),
        ):
            path = self.put(data.shared(f"transfer-syntaxes/{stored}").read_bytes())
            wanted = dcmread(data.shared(f"transfer-syntaxes/{plain or stored}")).PixelData
            self.assertEqual(self.get(f"{path}/bulkdata/7FE00010", "application/octet-stream").body, wanted)
            ((_, value),) = parts(self.get(f"{path}/bulkdata/7FE00010", OCTETS))
            self.assertEqual(value, wanted)

    def test_range(self) -> None:
        """A part of a value, as players and progressive viewers ask for it."""
        content = edited("MR_small.dcm")
        path, pixels = self.put(content), dcmread(io.BytesIO(content)).PixelData
        answer = self.get(f"{path}/bulkdata/7FE00010", "*/*", [("Range", "bytes=10-19")])
        self.assertEqual((answer.status, answer.body), (206, pixels[10:20]))

    def test_document(self) -> None:
        """An encapsulated document comes as what it is, or as bytes."""
        content = data.shared("non-image/encapsulated_pdf.dcm").read_bytes()
        dataset = dcmread(io.BytesIO(content))
        dataset.EncapsulatedDocument = b"%PDF-1.4  " + bytes(4000)
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        path = self.put(buffer.getvalue()) + "/bulkdata/00420011"
        self.assertEqual(self.get(path, "*/*").headers["content-type"], "application/pdf")
        self.assertEqual(self.get(path, "application/pdf").body, dataset.EncapsulatedDocument)
        self.assertEqual(self.get(path, "application/octet-stream").headers["content-type"], "application/octet-stream")
        ((head, _),) = parts(self.get(path, 'multipart/related; type="application/pdf"'))
        self.assertEqual(head["content-type"], "application/pdf")
        self.assertEqual(self.get(path, "image/png").status, 406)

    def test_unknown(self) -> None:
        """404 for a value that is not there."""
        path = self.put(edited("MR_small.dcm"))
        for wrong in ("00100010", "7FE00010/0", "x", "7fe00011"):
            self.assertEqual(self.get(f"{path}/bulkdata/{wrong}").status, 404)
        self.assertEqual(self.get(f"{path}/bulkdata/7fe00010").status, 200)


class CompressedTests(BulkCase):
    NAME = "multiframe/emri_small_jpeg_ls_lossless.dcm"

    def setUp(self) -> None:
        super().setUp()
        self.path = self.put(data.shared(self.NAME).read_bytes())
        self.codes = list(generate_frames(dcmread(data.shared(self.NAME)).PixelData, number_of_frames=10))
        self.pixels = pixel_array(dcmread(data.shared("multiframe/emri_small.dcm"))).tobytes()

    def test_decoded(self) -> None:
        """One value of all frames, with its length."""
        for accept in ("application/octet-stream", "*/*"):
            answer = self.get(f"{self.path}/bulkdata/7FE00010", accept)
            self.assertEqual((answer.body, answer.headers["content-length"]), (self.pixels, str(len(self.pixels))))
        ((head, value),) = parts(self.get(f"{self.path}/bulkdata/7FE00010", OCTETS))
        self.assertEqual(
            (value, head["content-type"]), (self.pixels, f"application/octet-stream; transfer-syntax={EXPLICIT_LITTLE}")
        )

    def test_as_stored(self) -> None:
        """A part for each frame."""
        for accept in (f"{OCTETS}; transfer-syntax=*", 'multipart/related; type="image/jls"'):
            found = parts(self.get(f"{self.path}/bulkdata/7FE00010", accept))
            self.assertEqual([value for _, value in found], self.codes)
            self.assertIn(JPEG_LS_LOSSLESS, found[0][0]["content-type"])
        self.assertEqual(self.get(f"{self.path}/bulkdata/7FE00010", "image/jls").status, 406)

    def test_many_frames(self) -> None:
        """Hundreds of compressed frames: told page by page, of known length."""
        dataset = dcmread(data.pydicom_file("MR_small_RLE.dcm"))
        frames = [bytes([n % 256, n // 256]) * 40 for n in range(1001)]
        dataset.NumberOfFrames, dataset.PixelData = len(frames), encapsulate(frames)
        file = io.BytesIO()
        dataset.save_as(file)
        path = self.put(file.getvalue())
        answer = self.get(f"{path}/bulkdata/7FE00010", f"{OCTETS}; transfer-syntax=*")
        self.assertEqual([content for _, content in parts(answer)], frames)
        self.assertEqual(answer.headers["content-length"], str(len(answer.body)))

    def test_pixeldata(self) -> None:
        """The pixel data of an instance, series or study, the same way."""
        study = self.path.partition("/series")[0]
        for path in (self.path, self.path.partition("/instances")[0], study):
            ((head, value),) = parts(self.get(f"{path}/pixeldata", OCTETS))
            self.assertEqual(value, self.pixels)
            self.assertEqual(head["content-location"], f"http://dicom.test/dicom-web{self.path}/bulkdata/7FE00010")
            self.assertEqual(
                [value for _, value in parts(self.get(f"{path}/pixeldata", f"{OCTETS}; transfer-syntax=*"))], self.codes
            )

    def test_video(self) -> None:
        """A player gets the stream itself, and parts of it."""
        name = sorted(data.shared("video").glob("*.dcm"))[0]
        path = self.put(name.read_bytes())
        answer = self.get(f"{path}/bulkdata/7FE00010", "*/*")
        self.assertTrue(answer.headers["content-type"].startswith("video/"))
        part = self.get(f"{path}/bulkdata/7FE00010", "*/*", [("Range", "bytes=0-99")])
        self.assertEqual((part.status, part.body), (206, answer.body[:100]))

    def test_icon(self) -> None:
        """A compressed icon is the code stream in it."""
        dataset = dcmread(data.pydicom_file("MR_small_RLE.dcm"))
        icon = Dataset()
        icon.Rows, icon.Columns = 8, 8
        icon.add_new(0x7FE00010, "OB", encapsulate([b"code" * 500]))
        icon["PixelData"].is_undefined_length = True
        dataset.IconImageSequence = [icon]
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        path = self.put(buffer.getvalue())
        answer = self.get(f"{path}/bulkdata/00880200/0/7FE00010", "*/*")
        self.assertEqual(answer.body, b"code" * 500)
        self.assertEqual(len(parts(self.get(f"{path}/bulkdata", OCTETS))), 2)
        self.assertEqual(len(parts(self.get(f"{path}/pixeldata", OCTETS))), 1)


class SetTests(BulkCase):
    def test_all_levels(self) -> None:
        """Every value of every instance, each under its own URL."""
        first = self.put(
            edited("MR_small.dcm", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", SOPInstanceUID="1.2.3.4.1")
        )
        second = self.put(edited("waveform_ecg.dcm", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.5"))
        wanted = {f"http://dicom.test/dicom-web{url}" for path in (first, second) for url in self.references(path)}
        self.assertEqual({head["content-location"] for head, _ in parts(self.get("/studies/1.2.3/bulkdata", OCTETS))}, wanted)
        self.assertEqual(len(parts(self.get(f"{first}/bulkdata"))), 1)

    def test_nothing(self) -> None:
        """404 when there is nothing of the kind, 406 for single parts."""
        path = self.put(edited("test-SR.dcm"))
        self.assertEqual(self.get(f"{path}/pixeldata", OCTETS).status, 404)
        self.assertEqual(self.get(f"{path}/bulkdata", OCTETS).status, 404)
        self.assertEqual(self.get(f"{path}/pixeldata", "application/octet-stream").status, 406)
        self.assertEqual(self.get("/studies/1.9/bulkdata", OCTETS).status, 404)
