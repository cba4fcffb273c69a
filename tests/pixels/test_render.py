"""Rendered pixels of real files against an independent computation with pydicom, and of made ones against known values."""

import warnings
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.sequence import Sequence
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.rendering import Region, RenderingParameters, Viewport, Window
from dicomd.model.status import InvalidRequest, NoSuchInstance, NotAcceptable, ServiceError, TooLarge, Undecodable
from dicomd.pixels.render import render

from .. import data
from . import subjects

PLAIN = RenderingParameters()
Array = np.ndarray[Any, Any]

# Real files with a stored window or VOI LUT, or 8 bits; the first frame is compared.
GRAYSCALE = [
    "images/dx_chest_cropped.dcm",
    "images/mg_GH133.dcm",
    "images/pet_acrin_flt.dcm",
    "images/rf_KarstenHilbertRF.dcm",
    "multiframe/HasFragmentSequence.dcm",
    "multiframe/NM-MONO2-16-13x-heart.dcm",
    "non-image/imageForPrLUTs.dcm",
    "pixel-formats/J2K_pixelrep_mismatch.dcm",
    "pixel-formats/vlut_04.dcm",
    "series/ct-3slice/01.dcm",
    "series/ct-localizer-and-axial-cptac/1001.dcm",
    "series/synthetic-ct-regular/0001.dcm",
    "transfer-syntaxes/explicit-le/MR1_UNC.dcm",
    "transfer-syntaxes/explicit-be/MR_small_bigendian.dcm",
    "transfer-syntaxes/jpeg-lossless-sv1/MR1_JPLL.dcm",
    "transfer-syntaxes/jpeg-ls-lossless/MR1_JLSL.dcm",
    "transfer-syntaxes/j2k-lossless/MR1_J2KR.dcm",
    "transfer-syntaxes/htj2k/MR1_JPH.dcm",
    "transfer-syntaxes/rle/MR1_RLE.dcm",
]
# 8-bit colour and wider, palettes, planar configurations, YBR; with how far the colour conversions may differ.
COLOUR = [
    ("images/examples_palette.dcm", 0),
    ("images/examples_rgb_color.dcm", 0),
    ("images/synthetic_vl_photographic.dcm", 0),
    ("pixel-formats/SC_rgb_16bit.dcm", 0),
    ("pixel-formats/SC_rgb_32bit.dcm", 0),
    ("pixel-formats/SC_rgb_small_odd.dcm", 0),
    ("pixel-formats/SC_ybr_full_422_uncompressed.dcm", 1),
    ("pixel-formats/SC_ybr_full_uncompressed.dcm", 1),
    ("pixel-formats/TestPattern_Palette.dcm", 0),
    ("pixel-formats/TestPattern_Palette_16.dcm", 0),
    ("pixel-formats/rgb8_planar1.dcm", 0),
    ("multiframe/OBXXXX1A_2frame.dcm", 0),
    ("multiframe/OBXXXX1A_rle_2frame.dcm", 0),
    ("multiframe/US-PAL-8-10x-echo.dcm", 0),
    ("multiframe/examples_ybr_color.dcm", 2),
    ("multiframe/jpeg-ls-Palette.dcm", 0),
    ("transfer-syntaxes/rle/SC_rgb_rle_16bit.dcm", 0),
    ("transfer-syntaxes/j2k-lossless/US1_J2KR.dcm", 0),
    ("transfer-syntaxes/explicit-be/SC_rgb_expb_16bit_2frame.dcm", 0),
    ("wsi/sm_image.dcm", 0),
]


def expected_grayscale(dataset: Dataset) -> Array:
    """Modality and VOI transformation by pydicom, brought to 8 bits."""
    stored = pixel_array(dataset, index=0)
    values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset).astype(np.float64)
    if "VOILUTSequence" in dataset:
        low, high = 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    else:
        low, high = _pydicom_range(dataset)
    gray = np.clip((values - low) / (high - low), 0, 1) * 255
    return 255 - gray if dataset.PhotometricInterpretation == "MONOCHROME1" else gray


def _pydicom_range(dataset: Dataset) -> tuple[float, float]:
    """The output range that pydicom gives a windowed image: that of the modality values of Bits Stored."""
    if "ModalityLUTSequence" in dataset:
        return 0.0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    bits = dataset.BitsStored
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0.0, 2.0**bits - 1)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def rendered(dataset: Dataset, index: int = 0, parameters: RenderingParameters = PLAIN) -> Array:
    return np.asarray(render(subjects.instance(dataset), index, parameters))


class RealFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        warnings.simplefilter("ignore")
        self.patch(config.settings, "reading_validation_mode", config.IGNORE)

    def test_grayscale(self) -> None:
        """Stored windows and LUTs give what pydicom computes, to the rounding."""
        for path in GRAYSCALE:
            dataset = subjects.read(data.shared(path))
            off = np.abs(rendered(dataset) - expected_grayscale(dataset)).max()
            self.assertLessEqual(off, 0.51, path)

    def test_colour(self) -> None:
        """Palettes, RGB, YBR, any planar configuration and width."""
        for path, tolerance in COLOUR:
            dataset = subjects.read(data.shared(path))
            expected = pixel_array(dataset, index=0)
            if dataset.PhotometricInterpretation == "PALETTE COLOR":
                expected = apply_color_lut(expected, dataset)
            expected = expected >> (8 * expected.dtype.itemsize - 8)
            off = np.abs(rendered(dataset).astype(int) - expected.astype(int)).max()
            self.assertLessEqual(off, tolerance, path)

    def test_automatic_window(self) -> None:
        """Without a stored window the values that occur fill the range from black to white."""
        for path in ("transfer-syntaxes/explicit-le/CT_small.dcm", "multiframe/rtdose.dcm", "pixel-formats/mono16_signed.dcm"):
            found = rendered(subjects.read(data.shared(path)))
            self.assertEqual((int(found.min()), int(found.max())), (0, 255), path)

    def test_padding_is_no_value(self) -> None:
        """Pixel Padding Value does not take part in the automatic window (C.7.5.1.1.2)."""
        dataset = subjects.read(data.shared("transfer-syntaxes/explicit-le/CT1_UNC.explicit_little_endian.dcm"))
        stored = dataset.pixel_array
        inside = rendered(dataset)[stored != dataset.PixelPaddingValue]
        self.assertGreater(float(np.median(inside)), 60.0)

    def test_functional_groups(self) -> None:
        """A frame gets its own rescale and window (C.7.6.16.2.9, C.7.6.16.2.10)."""
        for path in ("multiframe/BRMULTI.dcm", "multiframe/BRTUM001.dcm"):
            dataset = subjects.read(data.shared(path))
            for index in (0, 7):
                frame = dataset.PerFrameFunctionalGroupsSequence[index]
                shared = dataset.SharedFunctionalGroupsSequence[0]
                voi = (frame if "FrameVOILUTSequence" in frame else shared).FrameVOILUTSequence[0]
                change = (frame if "PixelValueTransformationSequence" in frame else shared).PixelValueTransformationSequence[0]
                values = pixel_array(dataset, index=index) * float(change.RescaleSlope) + float(change.RescaleIntercept)
                low = float(voi.WindowCenter) - 0.5 - (float(voi.WindowWidth) - 1) / 2
                expected = np.clip((values - low) / (float(voi.WindowWidth) - 1), 0, 1) * 255
                self.assertLessEqual(np.abs(rendered(dataset, index) - expected).max(), 0.51, path)

    def test_supplemental_palette(self) -> None:
        """Values from the palette's first on are coloured (C.7.6.23)."""
        dataset = subjects.read(data.shared("multiframe/eCT_Supplemental.dcm"))
        found = rendered(dataset)
        first = dataset.RedPaletteColorLookupTableDescriptor[1]
        coloured = pixel_array(dataset, index=0) >= first
        gray = found[~coloured]
        self.assertTrue((gray[:, 0] == gray[:, 1]).all() and (gray[:, 0] == gray[:, 2]).all())
        self.assertTrue((found[coloured].max(axis=1) > found[coloured].min(axis=1)).any())

    def test_segmentation(self) -> None:
        """A pixel is painted where the segment is, in the colour recommended for it."""
        for path, index in (("pixel-formats/liver_nonbyte_aligned.dcm", 1), ("non-image/seg.dcm", 3)):
            dataset = subjects.read(data.shared(path))
            found = rendered(dataset, index)
            self.assertTrue(((found.max(axis=2) > 0) == (pixel_array(dataset, index=index) > 0)).all(), path)

    def test_label_map(self) -> None:
        """Labels get colours, the background none."""
        dataset = subjects.read(data.shared("wsi/seg_image_sm_control_labelmap.dcm"))
        for index in range(int(dataset.NumberOfFrames)):
            painted = rendered(dataset, index).max(axis=2) > 0
            self.assertTrue((painted == (pixel_array(dataset, index=index) > 0)).all())

    def test_parametric_map(self) -> None:
        """Float pixels spread over their window."""
        for path in ("pixel-formats/parametric_map_float.dcm", "pixel-formats/parametric_map_double_float.dcm"):
            dataset = subjects.read(data.shared(path))
            values = np.frombuffer(
                dataset[("Float" if "FloatPixelData" in dataset else "DoubleFloat") + "PixelData"].value,
                "<f4" if "FloatPixelData" in dataset else "<f8",
            ).reshape(dataset.Rows, dataset.Columns)
            self.assertLessEqual(np.abs(rendered(dataset) - np.clip(values, 0, 1) * 255).max(), 0.51, path)

    def test_every_valid_file(self) -> None:
        """Every well formed image of the collection and of pydicom gives a picture, or says clearly why not."""
        refused = []
        for path in [*data.shared_files(validity=("valid",)), *data.pydicom_files()]:
            dataset = subjects.read(path)
            if not subjects.has_pixels(dataset) or "ct-head" in str(path):
                continue
            try:
                picture = render(subjects.instance(dataset), 0, PLAIN)
                self.assertIn(picture.mode, ("L", "RGB"))
            except NotAcceptable:
                self.assertIn("video", str(path))
            except ServiceError as error:
                refused.append((path.name, str(error)))
        self.assertLess(len(refused), 8, refused)


class GrayscaleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ramp = np.arange(-1000, 1000, 20, dtype=np.int16).reshape(10, 10)

    def test_asked_window(self) -> None:
        """The window of the query stands above all that is stored."""
        dataset = subjects.image(self.ramp, WindowCenter=0, WindowWidth=10)
        found = rendered(dataset, 0, RenderingParameters(window=Window(0, 2001)))
        expected = np.clip((self.ramp + 1000.5) / 2000, 0, 1) * 255
        self.assertLessEqual(np.abs(found - expected).max(), 0.51)

    def test_first_of_several_windows(self) -> None:
        """Several windows: the first counts."""
        several = subjects.image(self.ramp, WindowCenter=[100, 900], WindowWidth=[500, 10])
        one = subjects.image(self.ramp, WindowCenter=100, WindowWidth=500)
        self.assertTrue((rendered(several) == rendered(one)).all())

    def test_monochrome1(self) -> None:
        """MONOCHROME1 and Presentation LUT Shape INVERSE turn the picture, together only once."""
        plain = rendered(subjects.image(self.ramp))
        for attributes in (
            {"PhotometricInterpretation": "MONOCHROME1"},
            {"PresentationLUTShape": "INVERSE"},
            {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        ):
            inverse = rendered(subjects.image(self.ramp, **attributes))
            self.assertLessEqual(np.abs(255 - plain.astype(int) - inverse).max(), 1)

    def test_unused_bits_do_not_count(self) -> None:
        """Bits above Bits Stored (old overlays) are no part of the value."""
        low = np.arange(0, 4000, 40, dtype=np.uint16).reshape(10, 10)
        clean = subjects.image(low, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
        dirty = subjects.image(low | 0xF000, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
        self.assertTrue((rendered(clean) == rendered(dirty)).all())

    def test_all_widths(self) -> None:
        """8, 16 and 32 bits, signed or not, from black to white."""
        for kind in (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32):
            limits = np.iinfo(kind)
            pixels = np.linspace(limits.min, limits.max, 64).astype(kind).reshape(8, 8)
            found = rendered(subjects.image(pixels))
            self.assertEqual((int(found[0, 0]), int(found[-1, -1])), (0, 255), kind)
            self.assertTrue((np.diff(found.ravel().astype(int)) >= 0).all(), kind)

    def test_frames_share_the_automatic_window(self) -> None:
        """A dim frame of a moving picture stays dim."""
        frames = np.stack([self.ramp // 4, self.ramp, self.ramp // 2]).astype(np.int16)
        dataset = subjects.image(frames, NumberOfFrames=3)
        self.assertLess(int(rendered(dataset, 0).max()), 200)
        self.assertEqual(int(rendered(dataset, 1).max()), 255)

    def test_overlays_only_when_asked(self) -> None:
        """Overlay planes are drawn for `overlay` and `technique`."""
        dataset = subjects.image(np.zeros((8, 8), np.uint8))
        dataset.add_new(0x60000010, "US", 8)
        dataset.add_new(0x60000011, "US", 8)
        dataset.add_new(0x60000040, "CS", "G")
        dataset.add_new(0x60000050, "SS", [1, 1])
        dataset.add_new(0x60000100, "US", 1)
        dataset.add_new(0x60000102, "US", 0)
        dataset.add_new(0x60003000, "OW", bytes([0, 0xFF, 0, 0, 0, 0, 0, 0]))
        self.assertEqual(int(rendered(dataset).max()), 0)
        found = rendered(dataset, 0, RenderingParameters(annotation=("overlay",)))
        self.assertEqual(found[1].tolist(), [255] * 8)
        self.assertEqual(int(found[2:].max()), 0)


class GeometryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pixels = np.zeros((40, 60), np.uint8)
        self.pixels[:10, :20] = 255

    def picture(self, region: Region | None = None, viewport: Viewport | None = None, **attributes: Any) -> Array:
        parameters = RenderingParameters(viewport=viewport, region=region)
        return rendered(subjects.image(self.pixels, **attributes), 0, parameters)

    def test_viewport_keeps_the_aspect_ratio(self) -> None:
        """As large as fits, larger or smaller than the source (8.3.5.1.3)."""
        self.assertEqual(self.picture(viewport=Viewport(30, 30)).shape, (20, 30))
        self.assertEqual(self.picture(viewport=Viewport(600, 600)).shape, (400, 600))
        self.assertEqual(self.picture(viewport=Viewport(None, 20)).shape, (20, 30))

    def test_region(self) -> None:
        """The source region is cut out before it is scaled."""
        found = self.picture(Region(10, 0, 10, 10), Viewport(10, 10))
        self.assertEqual((found.shape, int(found.min())), ((10, 10), 255))
        self.assertEqual(self.picture(Region(50, 30), Viewport(10, 10)).shape, (10, 10))

    def test_flips(self) -> None:
        """Negative width and height mirror the region."""
        whole = self.picture()
        self.assertTrue((self.picture(Region(0, 0, -60, 40), Viewport(60, 40)) == whole[:, ::-1]).all())
        self.assertTrue((self.picture(Region(0, 0, 60, -40), Viewport(60, 40)) == whole[::-1]).all())

    def test_relative_region(self) -> None:
        """WADO-URI gives fractions."""
        found = self.picture(Region(0, 0, 1 / 3, 0.25, relative=True))
        self.assertEqual((found.shape, int(found.min())), ((10, 20), 255))

    def test_region_outside(self) -> None:
        """A region without any pixel is refused by name."""
        error = self.assertRaises(InvalidRequest, self.picture, Region(60, 0), Viewport(10, 10))
        self.assertIn("viewport", error.comment)

    def test_pixel_aspect_ratio(self) -> None:
        """Pixels are made square: by ratio (vertical\\horizontal) or by spacing (row\\column)."""
        self.assertEqual(self.picture(PixelAspectRatio=[2, 1]).shape, (80, 60))
        self.assertEqual(self.picture(PixelAspectRatio=[1, 2]).shape, (40, 120))
        self.assertEqual(self.picture(PixelSpacing=[0.5, 0.25]).shape, (80, 60))
        self.assertEqual(self.picture(PixelSpacing=[0.5, 0.5], PixelAspectRatio=[2, 1]).shape, (40, 60))
        self.assertEqual(self.picture(PixelAspectRatio=[1000, 1]).shape, (40, 60))


class BadInputTests(SynchronousTestCase):
    def refused(self, kind: type[ServiceError], index: int = 0, limit: int = 1_000_000, **attributes: Any) -> ServiceError:
        pixels = attributes.pop("pixels", None)
        dataset = subjects.image(np.zeros((8, 8), np.uint8), **attributes)
        if pixels is not None:
            dataset.PixelData = pixels
        error: ServiceError = self.assertRaises(kind, render, subjects.instance(dataset, limit), index, PLAIN)
        return error

    def test_no_rows(self) -> None:
        """Zero rows make no picture."""
        self.refused(Undecodable, Rows=0)

    def test_absurd_size(self) -> None:
        """A frame above the limit is refused before anything is read or decoded."""
        self.refused(TooLarge, Rows=65535, Columns=65535)
        self.refused(TooLarge, limit=63)

    def test_too_few_pixels(self) -> None:
        """Pixel data shorter than described are said to be."""
        self.refused(Undecodable, pixels=b"\0" * 60)

    def test_impossible_description(self) -> None:
        """Attributes that contradict each other."""
        self.refused(Undecodable, BitsStored=16)
        self.refused(Undecodable, BitsAllocated=7)
        self.refused(Undecodable, PhotometricInterpretation="YBR_FULL_422", BitsAllocated=16)

    def test_no_such_frame(self) -> None:
        """A frame beyond the last."""
        self.refused(NoSuchInstance, index=1)

    def test_large_result(self) -> None:
        """A picture above the limit is not made either."""
        dataset = subjects.image(np.zeros((8, 8), np.uint8))
        parameters = RenderingParameters(viewport=Viewport(100_000, 100_000))
        self.assertRaises(TooLarge, render, subjects.instance(dataset, 1_000_000), 0, parameters)

    def test_malformed_files(self) -> None:
        """Nothing in the folder of broken files does worse than a clear refusal."""
        for path in data.shared_files("malformed", validity=("malformed", "extreme", "minor", "valid")):
            try:
                dataset = subjects.read(path)
                if "PixelData" not in dataset or "TransferSyntaxUID" not in dataset.file_meta:
                    continue
                instance = subjects.instance(dataset)
            except Exception:
                continue
            try:
                render(instance, 0, PLAIN)
            except ServiceError as error:
                self.assertNotEqual(str(error), "", path)


def lut_item(first: int, bits: int, entries: list[int]) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = entries
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return item


class LutTests(SynchronousTestCase):
    def test_modality_and_voi_lut(self) -> None:
        """Both tables one after the other, as pydicom applies them."""
        pixels = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
        dataset = subjects.image(pixels)
        dataset.ModalityLUTSequence = Sequence([lut_item(16, 16, [n * 20 for n in range(200)])])
        dataset.VOILUTSequence = Sequence([lut_item(100, 16, [n * 65535 // 2999 for n in range(3000)])])
        values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset)
        self.assertLessEqual(np.abs(rendered(dataset) - values / 65535 * 255).max(), 0.51)
