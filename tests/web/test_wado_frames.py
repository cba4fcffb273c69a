"""Frames over HTTP: as stored, decoded, encoded; what real viewers send."""

import io
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array

from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, HTJ2K_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS
from dicomd.pixels import codecs
from dicomd.pixels.image import ImagePixel
from dicomd.web.routes import Route
from dicomd.web.wado_frames import WadoFrames
from tests import data
from tests.archive import ArchiveCase, edited, parts

OCTETS = 'multipart/related; type="application/octet-stream"'


class FramesCase(ArchiveCase):
    def rows(self) -> list[Route]:
        return WadoFrames(self.frames, self.workers.disk).routes()

    def put(self, name: str) -> str:
        """Store one of pydicom's files; the path of its frames."""
        key = self.store(edited(name)).key
        assert key is not None
        return f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}/frames"

    def put_shared(self, name: str) -> str:
        key = self.store(data.shared(name).read_bytes()).key
        assert key is not None
        return f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}/frames"


class NativeTests(FramesCase):
    def test_single_frame(self) -> None:
        """The pixels of the only frame, a part or alone."""
        path, wanted = self.put("MR_small.dcm"), dcmread(data.pydicom_file("MR_small.dcm")).PixelData
        ((head, content),) = parts(self.get(f"{path}/1", OCTETS))
        self.assertEqual(content, wanted)
        self.assertEqual(head["content-type"], f"application/octet-stream; transfer-syntax={EXPLICIT_LITTLE}")
        self.assertEqual(head["content-location"], f"http://dicom.test/dicom-web{path}/1")
        alone = self.get(f"{path}/1", "application/octet-stream")
        self.assertEqual((alone.status, alone.body), (200, wanted))

    def test_list(self) -> None:
        """Listed frames in the order of the list."""
        path = self.put_shared("multiframe/emri_small.dcm")
        pixels = dcmread(data.shared("multiframe/emri_small.dcm")).PixelData
        size = len(pixels) // 10
        found = parts(self.get(f"{path}/2,10,3", OCTETS))
        self.assertEqual([content for _, content in found], [pixels[(n - 1) * size : n * size] for n in (2, 10, 3)])

    def test_long_list(self) -> None:
        """Hundreds of frames: told page by page, of known length."""
        path = self.put_shared("multiframe/emri_small.dcm")
        pixels = dcmread(data.shared("multiframe/emri_small.dcm")).PixelData
        size, numbers = len(pixels) // 10, [1 + n % 10 for n in range(1234)]
        answer = self.get(f"{path}/{','.join(map(str, numbers))}", OCTETS)
        self.assertEqual([content for _, content in parts(answer)], [pixels[(n - 1) * size : n * size] for n in numbers])
        self.assertEqual(answer.headers["content-length"], str(len(answer.body)))

    def test_which_frames(self) -> None:
        """400 for no frame number, 404 for frames that are not there, 206 when some are."""
        path = self.put_shared("multiframe/emri_small.dcm")
        for wrong in ("0", "x", "1,,2", "-1", "1.0", "%d9%a1"):
            self.assertEqual(self.get(f"{path}/{wrong}", OCTETS).status, 400, wrong)
        self.assertEqual(self.get(f"{path}/11", OCTETS).status, 404)
        some = self.get(f"{path}/10,11", OCTETS)
        self.assertEqual((some.status, len(parts(some))), (206, 1))
        self.assertIn("10 frames", some.headers["warning"])

    def test_no_frames(self) -> None:
        """404 for frames of what has none."""
        self.assertEqual(self.get(f"{self.put('test-SR.dcm')}/1").status, 404)

    def test_range(self) -> None:
        """A part of a frame, alone or inside its multipart body."""
        path, wanted = self.put("MR_small.dcm"), dcmread(data.pydicom_file("MR_small.dcm")).PixelData
        part = self.get(f"{path}/1", "application/octet-stream", [("Range", "bytes=100-199")])
        self.assertEqual((part.status, part.body), (206, wanted[100:200]))
        whole = self.get(f"{path}/1", OCTETS).body
        self.assertEqual(self.get(f"{path}/1", OCTETS, [("Range", "bytes=0-99")]).body, whole[:100])

    def test_conditional(self) -> None:
        """304 while the instance is the same."""
        path = self.put("MR_small.dcm")
        tag = self.get(f"{path}/1", OCTETS).headers["etag"]
        self.assertEqual(self.get(f"{path}/1", OCTETS, [("If-None-Match", tag)]).status, 304)

    def test_replaced(self) -> None:
        """A replaced instance's frames are the new ones at once."""
        first = edited("MR_small.dcm")
        key = self.store(first).key
        assert key is not None
        path = f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}/frames/1"
        self.get(path, OCTETS)
        pixels = bytes(reversed(dcmread(io.BytesIO(first)).PixelData))
        self.store(edited("MR_small.dcm", PixelData=pixels))
        self.assertEqual(parts(self.get(path, OCTETS))[0][1], pixels)

    def test_single_bits(self) -> None:
        """Frames that begin inside a byte, big endian and deflated ones come as frames of their own, little endian."""
        for name in (
            "pixel-formats/liver_nonbyte_aligned.dcm",
            "transfer-syntaxes/explicit-be/SC_rgb_expb_16bit_2frame.dcm",
            "transfer-syntaxes/deflated/image_dfl.dcm",
        ):
            dataset = dcmread(data.shared(name))
            wanted = pixel_array(dataset, raw=True)
            wanted = wanted if int(dataset.get("NumberOfFrames", 1)) > 1 else wanted[np.newaxis]
            path = self.put_shared(name)
            for number in (1, len(wanted)):
                ((head, content),) = parts(self.get(f"{path}/{number}", f"{OCTETS}; transfer-syntax=*"))
                frame = wanted[number - 1]
                if dataset.BitsAllocated == 1:
                    expected = np.packbits(frame.reshape(-1), bitorder="little").tobytes()
                else:
                    expected = frame.astype(frame.dtype.newbyteorder("<")).tobytes()
                self.assertEqual(content, expected, name)
                self.assertIn(EXPLICIT_LITTLE, head["content-type"])


class CompressedTests(FramesCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.put("MR_small_jp2klossless.dcm")
        dataset = dcmread(data.pydicom_file("MR_small_jp2klossless.dcm"))
        self.code = next(generate_frames(dataset.PixelData, number_of_frames=1))
        self.pixels = dcmread(data.pydicom_file("MR_small.dcm")).PixelData

    def frame(self, accept: str) -> tuple[str, bytes]:
        answer = self.get(f"{self.path}/1", accept)
        self.assertEqual(answer.status, 200, (accept, answer.body[:300]))
        if not answer.headers["content-type"].startswith("multipart"):
            return answer.headers["content-type"], answer.body
        ((head, content),) = parts(answer)
        return head["content-type"], content

    def test_as_viewers_ask(self) -> None:
        """Each Accept header that a viewer sends gets the stored code stream or the pixels, labelled as what it is."""
        code = (f"image/jp2; transfer-syntax={JPEG_2000_LOSSLESS}", self.code)
        pixels = (f"application/octet-stream; transfer-syntax={EXPLICIT_LITTLE}", self.pixels)
        for accept, wanted in (
            ("multipart/related; type=application/octet-stream; transfer-syntax=*", code),
            ('multipart/related; type="application/octet-stream"; transfer-syntax="*"', code),
            (f"multipart/related; type=application/octet-stream; transfer-syntax={JPEG_2000_LOSSLESS}; transfer-syntax=*", code),
            ('multipart/related; type="image/jp2"', code),
            (f'multipart/related; type="image/jp2"; transfer-syntax={JPEG_2000_LOSSLESS}', code),
            ("image/jp2", code),
            ("image/*", code),
            ("multipart/related", pixels),
            (OCTETS, pixels),
            ("application/octet-stream", pixels),
            ("*/*", pixels),
            ("", pixels),
            ("image/jpeg, */*", pixels),
            (f'multipart/related; type="image/jls"; q=0.5, {OCTETS}; q=0.9', pixels),
            (f"{OCTETS}; q=0.3, image/jp2; q=0.5", code),
            ("text/html, application/xhtml+xml, application/xml;q=0.9, image/avif, */*;q=0.8", pixels),
        ):
            self.assertEqual(self.frame(accept), wanted, accept)

    def test_encoded(self) -> None:
        """A syntax that can be made is made, without loss."""
        for kind, uid in (
            ("image/jls", JPEG_LS_LOSSLESS),
            ("image/dicom-rle", RLE_LOSSLESS),
            ("image/x-dicom-rle", RLE_LOSSLESS),
            ("image/jphc", HTJ2K_LOSSLESS),
            ("image/jph", HTJ2K_LOSSLESS),
        ):
            label, content = self.frame(f'multipart/related; type="{kind}"')
            self.assertIn(uid, label)
            image = ImagePixel(uid, 64, 64, 1, 16, 16, 1)
            self.assertEqual(codecs.decode(image, content)[0].tobytes(), self.pixels)

    def test_many_made(self) -> None:
        """Several frames that have to be decoded."""
        name = "multiframe/emri_small_jpeg_ls_lossless.dcm"
        path = self.put_shared(name)
        wanted = dcmread(data.shared("multiframe/emri_small.dcm")).PixelData
        found = b"".join(content for _, content in parts(self.get(f"{path}/1,2,3,4,5,6,7,8,9,10", OCTETS)))
        self.assertEqual(found, wanted)

    def test_many_stored(self) -> None:
        """Several frames as they are stored, of known length."""
        name = "multiframe/emri_small_jpeg_ls_lossless.dcm"
        path = self.put_shared(name)
        answer = self.get(f"{path}/1,2,10", f"{OCTETS}; transfer-syntax=*")
        wanted = list(generate_frames(dcmread(data.shared(name)).PixelData, number_of_frames=10))
        self.assertEqual([content for _, content in parts(answer)], [wanted[0], wanted[1], wanted[9]])
        self.assertIn("content-length", answer.headers)

    def test_not_acceptable(self) -> None:
        """406 lists what there is; big endian and implicit never leave."""
        for accept in ("image/png", f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.2", 'multipart/related; type="image/jpeg"'):
            answer = self.get(f"{self.path}/1", accept)
            self.assertEqual(answer.status, 406)
            self.assertIn(f"image/jp2; transfer-syntax={JPEG_2000_LOSSLESS}", answer.json["detail"])

    def test_undecodable(self) -> None:
        """What cannot be decoded comes as it is stored where that is acceptable, else not at all."""
        path = self.put("JPEG2000-embedded-sequence-delimiter.dcm")
        self.assertEqual(self.get(f"{path}/1", OCTETS).status, 406)
        self.assertEqual(self.get(f"{path}/1", f"{OCTETS}; transfer-syntax=*").status, 200)
        self.assertEqual(self.get(f"{path}/1", f"{OCTETS}, image/jp2").status, 200)
        syntax = "; transfer-syntax=1.2.840.10008.1.2.4.91"
        self.assertEqual(self.get(f"{path}/1", f"{OCTETS}, image/jp2{syntax};q=0.1").status, 200)
        self.assertEqual(self.get(f"{path}/1", "*/*").status, 200)

    def test_video(self) -> None:
        """A video is one stream, given as it is."""
        folder = data.shared("video")
        path = Path(next(iter(sorted(folder.glob("*.dcm")))))
        frames = self.put_shared(f"video/{path.name}")
        answer = self.get(f"{frames}/1", f"{OCTETS}; transfer-syntax=*")
        self.assertEqual(answer.status, 200)
        self.assertTrue(parts(answer)[0][0]["content-type"].startswith("video/"))
        self.assertEqual(self.get(f"{frames}/2", OCTETS).status, 404)
