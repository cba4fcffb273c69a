"""Every encoding to samples and back: against pydicom's decoders, and against hostile bytes."""

import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.pixels import get_decoder
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import NotAcceptable, Undecodable
from dicomd.model.transfer_syntaxes import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from dicomd.pixels import codecs, codestream
from dicomd.pixels.image import ImagePixel
from tests import data
from tests.pixels import samples

# Larger frames say nothing more and take long.
_LARGEST = 70_000


def encapsulated() -> Iterator[tuple[Path, samples.Pixels, bytes]]:
    """Each sample file with compressed pixels, and its first frame."""
    for path in samples.files():
        found = samples.pixels(path)
        if found is None or found.length != 0xFFFFFFFF or found.image.syntax.stream or not found.image.syntax.encapsulated:
            continue
        if found.image.rows * found.image.columns <= _LARGEST:
            yield path, found, b"".join(found.data[o : o + n] for o, n in found.table().ranges(1))


def gradient(image: ImagePixel) -> np.ndarray:
    """Samples that use the whole range of the description."""
    shape = (image.rows, image.columns, image.samples_per_pixel)[: 2 if image.samples_per_pixel == 1 else 3]
    values = (np.arange(int(np.prod(shape)), dtype=np.int64) * 7919 + (np.arange(int(np.prod(shape))) % 5)) % (
        1 << image.bits_stored
    )
    if image.pixel_representation:
        values -= 1 << (image.bits_stored - 1)
    return values.reshape(shape).astype(f"{'i' if image.pixel_representation else 'u'}{image.bits_allocated // 8}")


class DecodeTests(SynchronousTestCase):
    def test_as_pydicom_decodes(self) -> None:
        """Every frame that pydicom can decode decodes to the same samples and the same colour space."""
        count = 0
        for path, found, frame in encapsulated():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    decoder = get_decoder(found.image.transfer_syntax_uid)
                    wanted, properties = decoder.as_array(samples.dataset(path), index=0, raw=False)
            except (RuntimeError, NotImplementedError):
                continue
            array, described = codecs.decode(found.image, frame)
            self.assertEqual((array.shape, array.dtype), (wanted.shape, wanted.dtype), path)
            # Decoders differ in how they interpolate subsampled chrominance.
            allowed = 1 if found.image.syntax.media_type == "image/jpeg" and not found.image.syntax.lossless else 0
            self.assertLessEqual(np.abs(array.astype(np.int64) - wanted).max(), allowed, path)
            self.assertEqual(described.photometric_interpretation, properties["photometric_interpretation"], path)
            count += 1
        self.assertGreater(count, 25)

    def test_more_than_pydicom(self) -> None:
        """Twelve bit JPEG, JPEG XL, deflated, run-length encoded and JPEG 2000 single bits decode as well."""
        for name in (
            "jpeg-extended/JPGExtended.dcm",
            "jpeg-progressive/CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm",
            "jpeg-xl/rgb8_lossless_110.dcm",
            "jpeg-xl/will-jxl.dcm",
            "encapsulated-uncompressed/mono12.dcm",
        ):
            found = samples.pixels(data.shared(f"transfer-syntaxes/{name}"))
            assert found is not None
            frame = b"".join(found.data[o : o + n] for o, n in found.table().ranges(1))
            array, _described = codecs.decode(found.image, frame)
            self.assertGreater(int(array.max()), int(array.min()))

    def test_single_bits(self) -> None:
        """The same segmentation in four encodings of single bits is the same."""
        plain = samples.pixels(data.shared("pixel-formats/liver.dcm"))
        assert plain is not None
        for name in ("deflated-frame/liver_deflate.dcm", "rle/liver_rle.dcm", "j2k-lossless/liver_j2k.dcm"):
            found = samples.pixels(data.shared(f"transfer-syntaxes/{name}"))
            assert found is not None
            for number in (1, 2, 3):
                arrays = [
                    codecs.decode(each.image, b"".join(each.data[o : o + n] for o, n in each.table().ranges(number)))[0]
                    for each in (plain, found)
                ]
                self.assertTrue(np.array_equal(*arrays), (name, number))

    def test_big_endian(self) -> None:
        """Big endian words of samples, and of pairs of bytes in OW, are turned; bytes in OB are not."""
        words = ImagePixel(EXPLICIT_BIG, 1, 2, bits_allocated=16)
        self.assertEqual(codecs.native(words, b"\1\2\3\4").tolist(), [[0x0102, 0x0304]])
        small = ImagePixel(EXPLICIT_BIG, 2, 2)
        self.assertEqual(codecs.native(small, b"\1\2\3\4", "OW").tolist(), [[2, 1], [4, 3]])
        self.assertEqual(codecs.native(small, b"\1\2\3\4", "OB").tolist(), [[1, 2], [3, 4]])

    def test_colour_by_plane(self) -> None:
        """Planar Configuration 1 comes out pixel by pixel."""
        image = ImagePixel(EXPLICIT_LITTLE, 1, 2, 3, planar_configuration=1, photometric_interpretation="RGB")
        self.assertEqual(codecs.native(image, bytes([1, 2, 3, 4, 5, 6])).tolist(), [[[1, 3, 5], [2, 4, 6]]])

    def test_video_is_not_decoded(self) -> None:
        """A video stream is refused."""
        self.assertRaises(Undecodable, codecs.decode, ImagePixel("1.2.840.10008.1.2.4.102", 8, 8), b"")


class HostileTests(SynchronousTestCase):
    def frames(self) -> Iterator[tuple[ImagePixel, bytes]]:
        image = ImagePixel(EXPLICIT_LITTLE, 40, 30, bits_allocated=16, bits_stored=12)
        for syntax in codecs.ENCODED:
            data, described = codecs.encode(gradient(image), image, syntax)
            yield described, data

    def test_truncated(self) -> None:
        """A frame that is cut off raises `Undecodable`; it is not filled up."""
        for image, frame in self.frames():
            for length in (0, 1, 3, 20, 70, len(frame) // 2, len(frame) * 9 // 10):
                self.assertRaises(Undecodable, codecs.decode, image, frame[:length])

    def test_truncated_jpeg(self) -> None:
        """So does a JPEG whose end is missing."""
        found = samples.pixels(data.pydicom_file("SC_jpeg_no_color_transform.dcm"))
        assert found is not None
        frame = b"".join(found.data[o : o + n] for o, n in found.table().ranges(1))
        self.assertRaises(Undecodable, codecs.decode, found.image, frame[: len(frame) * 9 // 10])

    def test_altered(self) -> None:
        """Whatever bytes stand in a frame: an array of the right shape, or `Undecodable`."""
        chance = random.Random(1)
        for image, frame in self.frames():
            for _ in range(25):
                altered = bytearray(frame)
                altered[chance.randrange(chance.choice((20, 70, len(frame))))] = chance.randrange(256)
                try:
                    array, _described = codecs.decode(image, bytes(altered))
                except Undecodable:
                    continue
                self.assertEqual(array.shape, (40, 30))

    def test_size_contradicts(self) -> None:
        """A stream of another size than the description is not decoded, however small it is: no bomb goes off."""
        for image, frame in self.frames():
            for other in (image.but(rows=41), image.but(columns=4000), image.but(samples_per_pixel=3)):
                self.assertRaises(Undecodable, codecs.decode, other, frame)

    def test_absurd_size(self) -> None:
        """A frame that nobody could hold is refused before anything is read."""
        self.assertRaises(Undecodable, codecs.decode, ImagePixel(RLE_LOSSLESS, 65535, 65535), b"")

    def test_no_stream(self) -> None:
        """Bytes that begin like no code stream are refused."""
        self.assertRaises(Undecodable, codestream.size, b"\0" * 100)
        self.assertRaises(Undecodable, codestream.size, b"\xff\xd8\xff\xe0\0\x10")


class EncodeTests(SynchronousTestCase):
    def test_exact(self) -> None:
        """Every lossless syntax gives back exactly the samples, for signed and unsigned ones of any number of bits."""
        for allocated, stored in ((8, 8), (8, 5), (16, 16), (16, 12), (16, 9), (16, 8)):
            for signed in (0, 1):
                for samples_per_pixel, colour in ((1, "MONOCHROME2"), (3, "RGB"), (3, "YBR_FULL")):
                    image = ImagePixel(EXPLICIT_LITTLE, 33, 47, samples_per_pixel, allocated, stored, signed, 0, colour)
                    for syntax in codecs.ENCODED:
                        self.check(image, syntax)

    def check(self, image: ImagePixel, syntax: str) -> None:
        array = gradient(image)
        data, described = codecs.encode(array, image, syntax)
        self.assertEqual(len(data) % 2, 0)
        back, again = codecs.decode(described, data)
        self.assertTrue(np.array_equal(array, back), (image, syntax))
        self.assertEqual((back.dtype, again), (array.dtype, image))
        if syntax != RLE_LOSSLESS:
            self.assertEqual(codestream.size(data).bits, image.bits_stored, (image, syntax))

    def test_noise(self) -> None:
        """Samples that cannot be compressed are encoded all the same."""
        noise = np.random.default_rng(1)
        for bits, colour in ((16, 1), (8, 1), (8, 3), (12, 1)):
            image = ImagePixel(EXPLICIT_LITTLE, 64, 64, colour, 16 if bits > 8 else 8, bits)
            image = image.but(photometric_interpretation="RGB") if colour == 3 else image
            shape = (64, 64) if colour == 1 else (64, 64, 3)
            array = noise.integers(0, 1 << bits, shape).astype("u2" if bits > 8 else "u1")
            for syntax in codecs.ENCODED:
                data, described = codecs.encode(array, image, syntax)
                self.assertTrue(np.array_equal(codecs.decode(described, data)[0], array), (bits, syntax))

    def test_pydicom_agrees(self) -> None:
        """pydicom's decoders read what was encoded."""
        for syntax in codecs.ENCODED:
            for signed in (0, 1):
                image = ImagePixel(EXPLICIT_LITTLE, 33, 47, 1, 16, 12, signed)
                array = gradient(image)
                data, _described = codecs.encode(array, image, syntax)
                self.assertTrue(np.array_equal(samples.decoded_by_pydicom(image, syntax, data), array), (syntax, signed))

    def test_component_transform(self) -> None:
        """RGB in JPEG 2000 is labelled YBR_RCT (PS3.5 8.2.4), in RLE and JPEG-LS RGB."""
        image = ImagePixel(EXPLICIT_LITTLE, 8, 8, 3, photometric_interpretation="RGB")
        for syntax in codecs.ENCODED:
            _data, described = codecs.encode(gradient(image), image, syntax)
            wanted = "RGB" if syntax in (RLE_LOSSLESS, JPEG_LS_LOSSLESS) else "YBR_RCT"
            self.assertEqual(described.photometric_interpretation, wanted)

    def test_bits_above_bits_stored(self) -> None:
        """Old overlays in unused bits are kept."""
        image = ImagePixel(EXPLICIT_LITTLE, 16, 16, 1, 16, 12)
        array = gradient(image.but(bits_stored=16))
        for syntax in codecs.ENCODED:
            data, described = codecs.encode(array, image, syntax)
            self.assertTrue(np.array_equal(codecs.decode(described, data)[0], array), syntax)

    def test_progressive(self) -> None:
        """HTJ2K RPCL has its progression order and tile-part lengths (PS3.5 A.4.7)."""
        image = ImagePixel(EXPLICIT_LITTLE, 300, 200)
        data, _described = codecs.encode(gradient(image), image, HTJ2K_LOSSLESS_RPCL)
        self.assertIn(b"\xff\x55", data)
        self.assertEqual(data[data.index(b"\xff\x52") + 5], 2)

    def test_refused(self) -> None:
        """What a syntax cannot hold is refused."""
        for image in (ImagePixel(EXPLICIT_LITTLE, 8, 8, bits_allocated=32), ImagePixel(EXPLICIT_LITTLE, 8, 8, bits_allocated=1)):
            for syntax in (JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS):
                self.assertRaises(NotAcceptable, codecs.encode, np.zeros((8, 8), "u4"), image, syntax)
        self.assertRaises(NotAcceptable, codecs.encode, np.zeros((8, 8), "u1"), ImagePixel(EXPLICIT_LITTLE, 8, 8), EXPLICIT_BIG)
