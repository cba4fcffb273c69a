"""Media types: each decodes to the picture that was given; profiles, moving pictures, durations."""

import io

import imagecodecs
import numpy as np
from PIL import Image, ImageCms, ImageSequence
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import InvalidRequest, NotAcceptable, TooLarge
from dicomd.pixels import encode, icc
from dicomd.pixels.header import Header


def picture(mode: str = "L") -> Image.Image:
    y, x = np.mgrid[0:48, 0:64]
    gray = ((np.sin(x / 9) + np.cos(y / 7)) * 60 + 128).astype(np.uint8)
    return Image.fromarray(gray if mode == "L" else np.stack([gray, 255 - gray, gray // 2], axis=2))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


class StillTests(SynchronousTestCase):
    def test_all(self) -> None:
        """Every media type keeps size and, nearly, values, gray and in colour."""
        for media_type in encode.STILL:
            for mode in ("L", "RGB"):
                data = encode.still(picture(mode), media_type)
                if media_type == encode.JXL:
                    found = Image.fromarray(imagecodecs.jpegxl_decode(data).squeeze())
                else:
                    found = opened(data)
                    self.assertEqual(found.get_format_mimetype(), media_type)
                off = np.abs(np.asarray(found.convert("RGB")).astype(int) - np.asarray(picture(mode).convert("RGB")))
                self.assertLess(off.mean(), 3, (media_type, mode))

    def test_lossless(self) -> None:
        """PNG is exact; JPEG 2000 and XL are when the quality is 100."""
        for media_type, quality in ((encode.PNG, None), (encode.JP2, 100)):
            found = opened(encode.still(picture("RGB"), media_type, quality))
            self.assertTrue((np.asarray(found) == np.asarray(picture("RGB"))).all(), media_type)

    def test_jpeg_is_baseline(self) -> None:
        """PS3.18 8.7.4: 8 bits, baseline, Huffman: the frame header is SOF0."""
        for mode in ("L", "RGB"):
            data = encode.still(picture(mode), encode.JPEG)
            self.assertIn(b"\xff\xc0", data)
            self.assertNotIn(b"\xff\xc2", data)

    def test_quality(self) -> None:
        """Less quality, fewer bytes."""
        for media_type in encode.LOSSY:
            sizes = [len(encode.still(picture("RGB"), media_type, quality)) for quality in (1, 50, 99)]
            self.assertEqual(sizes, sorted(sizes), media_type)
            self.assertLess(sizes[0], sizes[-1], media_type)

    def test_unknown(self) -> None:
        self.assertRaises(NotAcceptable, encode.still, picture(), "image/tiff")


class AnimatedTests(SynchronousTestCase):
    def test_frames(self) -> None:
        """All frames in order, each as long as asked."""
        frames = [picture("RGB").rotate(90 * n) for n in range(3)]
        for media_type in encode.ANIMATED:
            found = opened(encode.animated(iter(frames), [40, 60, 80], media_type))
            self.assertEqual(getattr(found, "n_frames", 1), 3, media_type)
            if media_type == encode.GIF:
                self.assertEqual([frame.info["duration"] for frame in ImageSequence.Iterator(found)], [40, 60, 80])

    def test_durations(self) -> None:
        """From Frame Time Vector, Frame Time or a rate; within what browsers show."""
        header = Header({"00181063": {"vr": "DS", "Value": ["33.3"]}})
        self.assertEqual(encode.durations(header, 3, (1, 2, 3)), [33, 33, 33])
        vector = Header({"00181065": {"vr": "DS", "Value": [0, 50, 70]}})
        self.assertEqual(encode.durations(vector, 3, (1, 2, 3)), [50, 70, 70])
        self.assertEqual(encode.durations(vector, 3, (3, 1)), [70, 50])
        self.assertEqual(encode.durations(Header({"00180040": {"vr": "IS", "Value": [25]}}), 2, (1, 2)), [40, 40])
        self.assertEqual(encode.durations(Header({"00181063": {"vr": "DS", "Value": [1e-9]}}), 1, (1,)), [20])
        self.assertEqual(encode.durations(Header({}), 1, (1,)), [100])

    def test_largest_side(self) -> None:
        """What a format cannot hold is refused with its bound; the others hold it."""
        for kind, side in ((encode.JPEG, 65_500), (encode.GIF, 65_535), (encode.WEBP, 16_383)):
            for shape in ((2, side + 1), (side + 1, 2)):
                pixels = np.zeros(shape, np.uint8)
                for picture in (pixels, Image.fromarray(pixels)):
                    error = self.assertRaises(TooLarge, encode.still, picture, kind)
                    self.assertIn(str(side), error.comment)
            self.assertTrue(encode.still(np.zeros((2, side), np.uint8), kind))
        self.assertTrue(encode.still(np.zeros((2, 70_000), np.uint8), encode.PNG))
        wide = [Image.new("L", (16_384, 2))] * 2
        self.assertRaises(TooLarge, encode.animated, wide, [100, 100], encode.WEBP)


class ProfileTests(SynchronousTestCase):
    def embedded(self, choice: str, mode: str = "RGB", media_type: str = encode.JPEG) -> Image.Image:
        return opened(encode.encoded(picture(mode), Header({}), media_type, None, choice))

    def test_none(self) -> None:
        """`no` embeds nothing."""
        self.assertNotIn("icc_profile", self.embedded("no").info)

    def test_named(self) -> None:
        """A named space is embedded, and the values are converted to it."""
        for choice, name in (("srgb", "sRGB"), ("adobergb", "Adobe"), ("rommrgb", "ROMM")):
            for media_type in (encode.JPEG, encode.PNG):
                found = self.embedded(choice, media_type=media_type)
                profile = ImageCms.ImageCmsProfile(io.BytesIO(found.info["icc_profile"]))
                self.assertIn(name, ImageCms.getProfileName(profile))
        plain, adobe = (np.asarray(self.embedded(choice, media_type=encode.PNG)).astype(int) for choice in ("srgb", "adobergb"))
        self.assertGreater(np.abs(plain - adobe).max(), 5)

    def test_conversion_is_that_of_the_standard_profile(self) -> None:
        """Our sRGB profile means what the library's own sRGB profile means."""
        image = picture("RGB")
        ours = ImageCms.ImageCmsProfile(io.BytesIO(icc.profile("srgb")))
        found = ImageCms.profileToProfile(image, ours, ImageCms.createProfile("sRGB"))
        assert found is not None
        self.assertLessEqual(np.abs(np.asarray(found).astype(int) - np.asarray(image)).max(), 1)

    def test_gray(self) -> None:
        """A grayscale picture gets a grayscale profile."""
        found = self.embedded("yes", "L")
        profile = ImageCms.ImageCmsProfile(io.BytesIO(found.info["icc_profile"]))
        self.assertEqual(profile.profile.xcolor_space.strip(), "GRAY")

    def test_types_without_profile(self) -> None:
        """A profile asked of a media type that has none is refused by name (8.3.5.1.5)."""
        for media_type in (encode.GIF, encode.JP2, encode.JXL):
            error = self.assertRaises(InvalidRequest, self.embedded, "srgb", "RGB", media_type)
            self.assertIn("iccprofile", error.comment)
            encode.encoded(picture(), Header({}), media_type, None, "no")
