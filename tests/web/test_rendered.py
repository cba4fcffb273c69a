"""Rendered resources and thumbnails over the door: negotiation, parts, parameters, caches, documents."""

import io
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import generate_fragments
from pydicom.uid import generate_uid
from twisted.internet.defer import ensureDeferred

from dicomd.services.rendering import Rendering
from dicomd.services.storage import Source
from dicomd.services.thumbnails import Thumbnails
from dicomd.store import opened as opened_instances
from dicomd.store.thumbnail_files import ThumbnailFiles
from dicomd.web.rendered import Rendered
from dicomd.web.routes import Route

from .. import data
from ..archive import ArchiveCase, edited, parts
from ..data import pydicom_file
from ..pixels import subjects
from .harness import Answer

JPEG_PARTS = 'multipart/related; type="image/jpeg"'


def file_bytes(dataset: pydicom.Dataset) -> bytes:
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def opened(answer: Answer) -> Image.Image:
    return Image.open(io.BytesIO(answer.body))


class RenderedCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        self.rendering = Rendering(self.workers, self.archive.folder)
        files = ThumbnailFiles(str(self.root / "thumbnails"), 1 << 20)
        self.thumbnails = Thumbnails(self.workers, self.archive.folder, files)
        self.rendering.subscribe(self.hub)
        self.thumbnails.subscribe(self.hub)

    def rows(self) -> list[Route]:
        return Rendered(self.rendering, self.thumbnails, self.workers.disk).routes()

    def put(self, data: bytes) -> str:
        """Store, and the path of the instance."""
        key = self.store(data).key
        assert key is not None
        return f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"

    def put_file(self, path: str) -> str:
        return self.put(data.shared(path).read_bytes())

    def made(self, pixels: "np.ndarray[Any, Any]", **attributes: Any) -> str:
        uids = {"SOPInstanceUID": generate_uid(), "PatientID": "X", "PatientName": "Doe^Jane"}
        return self.put(file_bytes(subjects.image(pixels, **(uids | attributes))))

    def refused(self, path: str, status: int, word: str, accept: str = "") -> None:
        answer = self.get(path, accept)
        self.assertEqual(answer.status, status, answer.body[:300])
        self.assertIn(word, answer.json["detail"])


class SingleFrameTests(RenderedCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.put(edited())

    def test_default_is_jpeg(self) -> None:
        """No Accept header, a wildcard and what a browser sends give a picture."""
        for accept in ("", "*/*", "image/*", "image/jpeg", "application/dicom+json, image/jpeg;q=0.5"):
            answer = self.get(f"{self.path}/rendered", accept)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "image/jpeg"), accept)
            self.assertEqual(opened(answer).size, (64, 64))

    def test_other_types(self) -> None:
        """Each media type that is asked for."""
        for kind in ("image/png", "image/gif", "image/jp2", "image/webp"):
            answer = self.get(f"{self.path}/rendered", kind)
            self.assertEqual(answer.headers["content-type"], kind)
            self.assertEqual(opened(answer).get_format_mimetype(), kind)
        self.assertEqual(self.get(f"{self.path}/rendered", "image/jxl").body[:2], b"\xff\x0a")

    def test_accept_parameter(self) -> None:
        """The `accept` parameter stands above the header."""
        self.assertEqual(self.get(f"{self.path}/rendered?accept=image/png", "*/*").headers["content-type"], "image/png")

    def test_not_acceptable(self) -> None:
        """406 lists what there is."""
        for accept in ("application/dicom", "text/html", "video/mp4"):
            self.refused(f"{self.path}/rendered", 406, "image/png", accept)

    def test_multipart(self) -> None:
        """One part, when only multipart is taken."""
        answer = self.get(f"{self.path}/rendered", JPEG_PARTS)
        ((head, content),) = parts(answer)
        self.assertEqual(head["content-type"], "image/jpeg")
        self.assertTrue(head["content-location"].endswith(f"{self.path}/frames/1/rendered"))
        self.assertEqual(Image.open(io.BytesIO(content)).size, (64, 64))

    def test_parameters(self) -> None:
        """The picture is as the query says."""
        self.assertEqual(opened(self.get(f"{self.path}/rendered?viewport=32,32")).size, (32, 32))
        dark = opened(self.get(f"{self.path}/rendered?window=100000,10,linear", "image/png"))
        self.assertEqual(dark.getextrema(), (0, 0))
        plain = self.get(f"{self.path}/rendered", "image/png").body
        self.assertNotEqual(self.get(f"{self.path}/rendered?annotation=patient", "image/png").body, plain)
        self.assertIn("icc_profile", opened(self.get(f"{self.path}/rendered?iccprofile=srgb")).info)
        small, large = (len(self.get(f"{self.path}/rendered?quality={quality}").body) for quality in (5, 95))
        self.assertLess(small, large)

    def test_wrong_parameters(self) -> None:
        """400 names the parameter."""
        for query in ("quality=0", "viewport=a", "window=1,2", "iccprofile=x", "annotation=", "presentationUID=x", "quality="):
            self.refused(f"{self.path}/rendered?{query}", 400, query.partition("=")[0])
        self.refused(f"{self.path}/rendered?viewport=1000000000,1000000000", 400, "viewport")
        self.refused(f"{self.path}/rendered?viewport=5,5,100,100", 400, "viewport")
        self.refused(f"{self.path}/rendered?presentationUID=1.2.3", 400, "presentationUID")
        self.refused(f"{self.path}/rendered?iccprofile=yes", 400, "iccprofile", "image/gif")

    def test_unsupported_annotation(self) -> None:
        """Unknown keywords are ignored, with the warning of 8.3.5.1.1."""
        answer = self.get(f"{self.path}/rendered?annotation=patient,weather")
        self.assertEqual(answer.status, 200)
        self.assertIn("The following annotation values are not supported: weather", answer.headers["warning"])

    def test_frames(self) -> None:
        """Frame 1 is the image; others do not exist; nonsense is refused."""
        self.assertEqual(self.get(f"{self.path}/frames/1/rendered").status, 200)
        self.refused(f"{self.path}/frames/2/rendered", 404, "frame 2")
        for frames in ("0", "a", "1,", "-1"):
            self.refused(f"{self.path}/frames/{frames}/rendered", 400, "frames")

    def test_conditional(self) -> None:
        """The entity tag answers 304; it changes with query and Accept."""
        first = self.get(f"{self.path}/rendered")
        tag = first.headers["etag"]
        again = self.get(f"{self.path}/rendered", headers=[("If-None-Match", tag)])
        self.assertEqual((again.status, again.body), (304, b""))
        asked = [(query, accept) for query in ("?quality=5", "") for accept in ("image/png", "")]
        others = {self.get(f"{self.path}/rendered{query}", accept).headers["etag"] for query, accept in asked}
        self.assertEqual(len(others), 4)
        self.assertIn(tag, others)

    def test_series_and_study_of_one(self) -> None:
        """Where there is one image, the series and the study answer as it does."""
        for path in (self.path.partition("/instances")[0], self.path.partition("/series")[0]):
            answer = self.get(f"{path}/rendered")
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "image/jpeg"))

    def test_unknown(self) -> None:
        """404 for what is not there."""
        for path in ("/studies/1.2.3", "/studies/1.2.3/series/1", "/studies/1.2.3/series/1/instances/1"):
            for resource in ("rendered", "thumbnail"):
                self.assertEqual(self.get(f"{path}/{resource}").status, 404)

    def test_cached(self) -> None:
        """A picture is made once; a replaced instance is not shown any more."""
        first = self.get(f"{self.path}/rendered").body
        made: list[Any] = []
        original = self.workers.pixels
        self.workers.pixels = lambda *job: (made.append(job), original(*job))[1]
        self.assertEqual(self.get(f"{self.path}/rendered").body, first)
        self.assertEqual(made, [])
        self.store(edited(WindowCenter=5000, WindowWidth=10))
        self.assertNotEqual(self.get(f"{self.path}/rendered").body, first)


class MultiFrameTests(RenderedCase):
    def setUp(self) -> None:
        super().setUp()
        self.pixels = np.zeros((5, 16, 16), np.uint8)
        for number in range(5):
            self.pixels[number, :, number * 3 : number * 3 + 3] = 250
        self.path = self.made(self.pixels, NumberOfFrames=5, FrameTime=100)

    def test_parts(self) -> None:
        """Every frame is a part, in order, with its place."""
        for accept in ("", "*/*", JPEG_PARTS, "multipart/related", 'multipart/related; type="image/png"'):
            answer = self.get(f"{self.path}/rendered", accept)
            self.assertTrue(answer.headers["content-type"].startswith("multipart/related"), accept)
            found = parts(answer)
            self.assertEqual(len(found), 5)
            for number, (head, content) in enumerate(found):
                self.assertTrue(head["content-location"].endswith(f"/frames/{number + 1}/rendered"))
                self.assertEqual(int(head["content-length"]), len(content))
                picture = np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)
                self.assertLess(np.abs(picture - self.pixels[number]).max(), 20)

    def test_moving(self) -> None:
        """GIF and WebP hold all frames; a browser gets one of them."""
        browser = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
        for accept in ("image/gif", "image/webp", browser):
            answer = self.get(f"{self.path}/rendered", accept)
            self.assertEqual(getattr(opened(answer), "n_frames", 1), 5, accept)

    def test_single(self) -> None:
        """A client that takes one still picture only gets the middle frame, and is told which it is."""
        answer = self.get(f"{self.path}/rendered", "image/png")
        self.assertTrue((np.asarray(opened(answer)) == self.pixels[2]).all())
        self.assertTrue(answer.headers["content-location"].endswith("/frames/3/rendered"))
        self.assertIn("multipart/related", answer.headers["warning"])

    def test_some_frames(self) -> None:
        """A list of frames gives these frames."""
        self.assertEqual(len(parts(self.get(f"{self.path}/frames/1,4/rendered"))), 2)
        one = self.get(f"{self.path}/frames/4/rendered", "image/png")
        self.assertTrue((np.asarray(opened(one)) == self.pixels[3]).all())
        self.assertEqual(getattr(opened(self.get(f"{self.path}/frames/1,3,5/rendered", "image/gif")), "n_frames", 1), 3)
        self.refused(f"{self.path}/frames/1,6/rendered", 404, "frame 6")

    def test_thumbnail(self) -> None:
        """The middle frame, or the frame that is asked for."""
        picture = np.asarray(opened(self.get(f"{self.path}/thumbnail", "image/png")))
        self.assertEqual(picture.shape, (200, 200))
        self.assertGreater(int(picture[:, 90].mean()), 200)
        picture = np.asarray(opened(self.get(f"{self.path}/frames/1/thumbnail", "image/png")))
        self.assertGreater(int(picture[:, 10].mean()), 200)
        self.refused(f"{self.path}/frames/9/thumbnail", 404, "frame 9")

    def test_absurd_number_of_frames(self) -> None:
        """More frames than the file can hold are refused before anything is made for each; in a series they are one part."""
        uids = {"StudyInstanceUID": "1.2.4", "SeriesInstanceUID": "1.2.4.5"}
        path = self.made(self.pixels, NumberOfFrames=2_147_483_647, **uids)
        for accept in ("", "image/jpeg", "image/gif", JPEG_PARTS):
            self.refused(f"{path}/rendered", 406, "Number of Frames", accept)
        self.refused(f"{path}/frames/1,2/rendered", 406, "Number of Frames", "image/gif")
        self.assertEqual(self.get(f"{path}/thumbnail").status, 200)
        self.made(self.pixels, NumberOfFrames=5, **uids)
        self.assertEqual(len(parts(self.get("/studies/1.2.4/rendered"))), 6)


class ManyInstancesTests(RenderedCase):
    def setUp(self) -> None:
        super().setUp()
        self.shades = [20, 60, 100, 140, 180]
        for number, shade in enumerate(self.shades, 1):
            pixels = np.full((8, 8), shade, np.uint8)
            self.made(pixels, InstanceNumber=number, SeriesNumber=2, Modality="OT", SeriesInstanceUID="1.2.3.5")
        self.report = data.shared("non-image/reportsi.dcm").read_bytes()

    def test_parts(self) -> None:
        """All instances, in order of their number; other objects of the study are left out."""
        report = pydicom.dcmread(io.BytesIO(self.report))
        report.StudyInstanceUID = "1.2.3"
        self.put(file_bytes(report))
        for path in ("/studies/1.2.3", "/studies/1.2.3/series/1.2.3.5"):
            found = parts(self.get(f"{path}/rendered"))
            shades = [Image.open(io.BytesIO(content)).getpixel((4, 4)) for _, content in found]
            self.assertEqual(shades, self.shades)

    def test_single(self) -> None:
        """A client that takes one picture only gets the middle instance."""
        answer = self.get("/studies/1.2.3/rendered", "image/png")
        self.assertEqual(opened(answer).getpixel((0, 0)), 100)
        self.assertIn("/instances/", answer.headers["content-location"])

    def test_broken_among_others(self) -> None:
        """What cannot be shown is a part that says so."""
        self.made(np.zeros((8, 8), np.uint8), InstanceNumber=9, SeriesInstanceUID="1.2.3.5", Rows=64)
        found = parts(self.get("/studies/1.2.3/rendered"))
        self.assertEqual(len(found), 6)
        self.assertEqual(Image.open(io.BytesIO(found[-1][1])).size, (200, 200))

    def test_thumbnail(self) -> None:
        """The middle instance of the first series with images."""
        report = pydicom.dcmread(io.BytesIO(self.report))
        report.StudyInstanceUID, report.SeriesNumber = "1.2.3", 1
        self.put(file_bytes(report))
        for path in ("/studies/1.2.3", "/studies/1.2.3/series/1.2.3.5"):
            answer = self.get(f"{path}/thumbnail")
            self.assertEqual(answer.headers["content-type"], "image/jpeg")
            self.assertEqual(opened(answer).getpixel((50, 50)), 100)
        answer = self.get(f"/studies/1.2.3/series/{report.SeriesInstanceUID}/thumbnail")
        self.assertEqual(opened(answer).mode, "RGB")

    def test_conditional(self) -> None:
        """A study or series has an entity tag that answers 304 until an instance is added, and names the boundary."""
        for path in ("/studies/1.2.3", "/studies/1.2.3/series/1.2.3.5"):
            for accept in ("", "image/png"):
                first = self.get(f"{path}/rendered", accept)
                tag = first.headers["etag"]
                self.assertEqual(first.body, self.get(f"{path}/rendered", accept).body)
                again = self.get(f"{path}/rendered", accept, headers=[("If-None-Match", tag)])
                self.assertEqual((again.status, again.body, again.headers["etag"]), (304, b"", tag))
        self.assertNotEqual(self.get("/studies/1.2.3/rendered").headers["etag"], tag)
        self.made(np.zeros((8, 8), np.uint8), InstanceNumber=9, SeriesInstanceUID="1.2.3.5")
        more = self.get("/studies/1.2.3/series/1.2.3.5/rendered", headers=[("If-None-Match", tag)])
        self.assertEqual((more.status, len(parts(more))), (200, 6))


class PreparedTests(RenderedCase):
    FILES = (
        "transfer-syntaxes/explicit-le/CT1_UNC.explicit_little_endian.dcm",
        "non-image/sr_document.dcm",
        "video/mpeg4_avc_high41_102.dcm",
    )

    def test_as_from_the_file(self) -> None:
        """What was prepared of an instance gives the same answer as its file, which is then read for its pixels only."""
        paths = [self.put_file(path) for path in self.FILES]
        paths += [self.put(pydicom_file(name).read_bytes()) for name in ("MR_small_RLE.dcm", "examples_palette.dcm")]
        before, small = ([self.get(f"{path}/{kind}").body for path in paths] for kind in ("rendered", "thumbnail"))
        for path in paths:
            _, study, _, series, _, instance = path.strip("/").split("/")
            stored = self.successResultOf(ensureDeferred(self.rendering.find(study, series, instance)))
            self.assertEqual(self.successResultOf(ensureDeferred(self.preparation.one(stored))).problem, "")
        self.patch(opened_instances, "describe", None)
        self.rendering = Rendering(self.workers, self.archive.folder)
        self.assertEqual([self.get(f"{path}/rendered").body for path in paths], before)
        files = ThumbnailFiles(str(self.root / "others"), 1 << 20)
        self.thumbnails = Thumbnails(self.workers, self.archive.folder, files)
        self.assertEqual([self.get(f"{path}/thumbnail").body for path in paths], small)


class ThumbnailTests(RenderedCase):
    def test_size(self) -> None:
        """At most 200 pixels, or the viewport."""
        path = self.put_file("transfer-syntaxes/explicit-le/CT1_UNC.explicit_little_endian.dcm")
        self.assertEqual(opened(self.get(f"{path}/thumbnail")).size, (200, 200))
        self.assertEqual(opened(self.get(f"{path}/thumbnail?viewport=64,32")).size, (32, 32))
        self.refused(f"{path}/thumbnail?viewport=64,32,1,1", 400, "viewport")
        self.refused(f"{path}/thumbnail?viewport=999999999,999999999", 400, "viewport")
        self.refused(f"{path}/thumbnail", 406, "image/jpeg", "text/html")

    def test_kept_on_disk(self) -> None:
        """Made once, also for the next run of the server; deleting the folder does no harm."""
        path = self.put(edited())
        first = self.get(f"{path}/thumbnail")
        self.assertEqual(len(list((self.root / "thumbnails").glob("*/*"))), 1)
        files = ThumbnailFiles(str(self.root / "thumbnails"), 1 << 20)
        self.thumbnails = Thumbnails(self.workers, self.archive.folder, files)
        original, self.workers.pixels = self.workers.pixels, None
        self.assertEqual(self.get(f"{path}/thumbnail").body, first.body)
        tag = first.headers["etag"]
        self.assertEqual(self.get(f"{path}/thumbnail", headers=[("If-None-Match", tag)]).status, 304)
        self.workers.pixels = original

    def test_no_patient(self) -> None:
        """Two patients' equal pixels give equal thumbnails; a slide's label gives none."""
        pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
        bodies = {self.get(f"{self.made(pixels, PatientName=name)}/thumbnail?annotation=patient").body for name in ("A", "B")}
        self.assertEqual(len(bodies), 1)
        label = self.get(f"{self.made(pixels, ImageType=['ORIGINAL', 'PRIMARY', 'LABEL', 'NONE'])}/thumbnail")
        self.assertNotIn(label.body, bodies)
        self.assertEqual(opened(label).mode, "RGB")

    def test_burned_in_text_stays_illegible(self) -> None:
        """An image with text in its pixels is shown very small, whatever viewport is asked for."""
        path = self.made(np.zeros((600, 800), np.uint8), BurnedInAnnotation="YES")
        self.assertEqual(opened(self.get(f"{path}/thumbnail?viewport=800,800")).size, (128, 96))

    def test_placeholders(self) -> None:
        """Objects without pictures, videos, and pixels that cannot be decoded have a sheet with their modality."""
        for path in ("non-image/rt_structure_set.dcm", "video/mpeg4_avc_high41_102.dcm", "non-image/encapsulated_pdf.dcm"):
            self.assertEqual(opened(self.get(f"{self.put_file(path)}/thumbnail")).size, (200, 200))
        broken = self.made(np.zeros((8, 8), np.uint8), Rows=64)
        self.assertEqual(self.get(f"{broken}/thumbnail").status, 200)
        self.refused(f"{broken}/rendered", 406, "cannot be rendered: the pixel data end before frame 1")


class DocumentTests(RenderedCase):
    def test_report(self) -> None:
        """A report as a page (default), as text, as PDF; not as a picture."""
        path = self.put_file("non-image/sr_document.dcm")
        for accept, kind, word in (
            ("", "text/html; charset=utf-8", b"<h1>Imaging Measurement Report</h1>"),
            ("text/plain", "text/plain; charset=utf-8", b"Spinal cord"),
            ("application/pdf", "application/pdf", b"%PDF-"),
        ):
            answer = self.get(f"{path}/rendered", accept)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, kind))
            self.assertIn(word, answer.body)
            self.assertNotIn(b"@@BASE@@", answer.body)
        self.refused(f"{path}/rendered", 406, "text/html", "image/jpeg")
        self.refused(f"{path}/frames/1/rendered", 406, "report")

    def test_page_is_harmless(self) -> None:
        """A page of stored texts may run nothing."""
        answer = self.get(f"{self.put_file('non-image/key_object_selection.dcm')}/rendered")
        self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
        self.assertIn(b"/dicom-web/studies/", answer.body)

    def test_encapsulated(self) -> None:
        """Documents as they are, without padding."""
        for path, kind in (("pdf", "application/pdf"), ("cda", "text/xml"), ("stl", "model/stl")):
            dataset = pydicom.dcmread(data.shared(f"non-image/encapsulated_{path}.dcm"))
            answer = self.get(f"{self.put_file(f'non-image/encapsulated_{path}.dcm')}/rendered")
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, kind))
            self.assertEqual(answer.body, dataset.EncapsulatedDocument[: dataset.get("EncapsulatedDocumentLength")])
            self.assertEqual("content-security-policy" in answer.headers, path != "pdf")

    def test_video(self) -> None:
        """A video as stored, and parts of it (a browser asks for ranges)."""
        path = self.put_file("video/mpeg4_avc_high41_fragmentable_102.1.dcm")
        answer = self.get(f"{path}/rendered")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "video/mp4"))
        dataset = pydicom.dcmread(data.shared("video/mpeg4_avc_high41_fragmentable_102.1.dcm"))
        self.assertEqual(answer.body, b"".join([*generate_fragments(dataset.PixelData)][1:]))
        part = self.get(f"{path}/rendered", headers=[("Range", "bytes=4-7")])
        self.assertEqual((part.status, part.body), (206, answer.body[4:8]))
        self.refused(f"{path}/rendered", 406, "video/mp4", "image/jpeg")

    def test_nothing_to_see(self) -> None:
        """Objects without a rendered form."""
        self.refused(f"{self.put_file('non-image/raw_data_private.dcm')}/rendered", 406, "no rendered form")


class PresentationStateTests(RenderedCase):
    def setUp(self) -> None:
        super().setUp()
        self.image = self.put_file("non-image/imageForPrLUTs.dcm")
        self.state = self.put_file("non-image/prLUTs.dcm")
        self.uid = self.state.rpartition("/")[2]

    def test_as_parameter(self) -> None:
        """An image under a state; not with a window."""
        plain = self.get(f"{self.image}/rendered", "image/png")
        shown = self.get(f"{self.image}/rendered?presentationUID={self.uid}", "image/png")
        self.assertEqual(shown.status, 200, shown.body[:300])
        self.assertNotEqual(plain.body, shown.body)
        self.refused(f"{self.image}/rendered?presentationUID={self.uid}&window=1,2,linear", 400, "window")
        image = self.image.rpartition("/")[2]
        self.refused(f"{self.image}/rendered?presentationUID={image}", 400, "presentationUID")

    def test_as_target(self) -> None:
        """The state itself shows the images it refers to."""
        shown = self.get(f"{self.state}/rendered", "image/png")
        under = self.get(f"{self.image}/rendered?presentationUID={self.uid}", "image/png")
        self.assertEqual(shown.body, under.body)
        self.refused(f"{self.state}/rendered?window=1,2,linear", 400, "window")
        self.refused(f"{self.state}/frames/1/rendered", 400, "frames")
        self.refused(f"{self.state}/rendered?viewport=10,10,1,1", 400, "viewport")

    def test_without_images(self) -> None:
        """A state whose images are not held."""
        other = self.put_file("non-image/presentation_state_grayscale.dcm")
        self.refused(f"{other}/rendered", 406, "none of the images")


class CollectionTests(RenderedCase):
    def test_every_file(self) -> None:
        """Whatever the archive takes, its thumbnail and its rendered form are an answer and no failure of the server."""
        rows = [*data.manifest("non-image"), *data.manifest("malformed"), *data.manifest("pixel-formats"), *data.manifest("wsi")]
        for row in rows:
            reception = self.storage.begin(Source("HTTP"))
            reception.write((data.SHARED / row["path"]).read_bytes())
            outcome = self.successResultOf(ensureDeferred(self.storage.store(reception)))
            if outcome.key is None or int(outcome.status) not in (0, 0xB000, 0xB007) or not outcome.key.study_instance_uid:
                continue
            key = outcome.key
            path = f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"
            for resource in ("rendered", "thumbnail"):
                answer = self.get(f"{path}/{resource}")
                self.assertIn(answer.status, (200, 400, 404, 406, 413), (row["path"], resource, answer.body[:200]))
