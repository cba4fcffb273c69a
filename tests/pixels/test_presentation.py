"""Presentation states: transformation, displayed area, shutters, layers and annotation, on made images and on real ones."""

from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.sequence import Sequence
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.rendering import Region, RenderingParameters, Viewport
from dicomd.model.status import InvalidRequest, NotAcceptable, TooLarge
from dicomd.pixels.presentation import COLOUR, GRAYSCALE, PSEUDO_COLOUR, appearance, references
from dicomd.pixels.render import render

from .. import data
from . import subjects

IMAGE = "1.2.3.4"


def items(*attributes: dict[str, Any]) -> Sequence:
    made = []
    for given in attributes:
        item = Dataset()
        for keyword, value in given.items():
            setattr(item, keyword, value)
        made.append(item)
    return Sequence(made)


def reference(uid: str = IMAGE, frames: list[int] | None = None) -> Sequence:
    given: dict[str, Any] = {"ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "ReferencedSOPInstanceUID": uid}
    return items(given | ({"ReferencedFrameNumber": frames} if frames else {}))


def state(**attributes: Any) -> Dataset:
    """A grayscale presentation state of the image, identity unless told otherwise."""
    dataset = Dataset()
    dataset.SOPClassUID = GRAYSCALE
    dataset.ReferencedSeriesSequence = items({"SeriesInstanceUID": "1.2.3.5", "ReferencedImageSequence": reference()})
    dataset.PresentationLUTShape = "IDENTITY"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def area(left: int, top: int, right: int, bottom: int, mode: str = "SCALE TO FIT", **more: Any) -> Sequence:
    corners = {
        "DisplayedAreaTopLeftHandCorner": [left, top],
        "DisplayedAreaBottomRightHandCorner": [right, bottom],
        "PresentationSizeMode": mode,
        "PresentationPixelAspectRatio": [1, 1],
    }
    return items(corners | more)


class AppearanceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
        self.image = subjects.image(self.pixels, BitsAllocated=8)

    def shown(
        self,
        presentation: Dataset,
        *,
        region: Region | None = None,
        viewport: Viewport | None = None,
        image: Dataset | None = None,
    ) -> "np.ndarray[Any, Any]":
        look = appearance(subjects.header(presentation), IMAGE, 0)
        parameters = RenderingParameters(viewport=viewport, region=region)
        return np.asarray(render(subjects.instance(image or self.image), 0, parameters, look))

    def test_identity(self) -> None:
        """Nothing said is identity; neither window nor MONOCHROME1 of the image count (PS3.4 N.2)."""
        image = subjects.image(self.pixels, WindowCenter=10, WindowWidth=5, PhotometricInterpretation="MONOCHROME1")
        self.assertTrue((self.shown(state(), image=image) == self.pixels).all())
        self.assertTrue((self.shown(state(PresentationLUTShape="INVERSE"), image=image) == 255 - self.pixels).all())

    def test_softcopy_voi(self) -> None:
        """The window of the item that names the image, after the state's own rescale."""
        presentation = state(
            RescaleSlope=2,
            RescaleIntercept=-10,
            SoftcopyVOILUTSequence=items(
                {"ReferencedImageSequence": reference("1.2.9"), "WindowCenter": 1, "WindowWidth": 1},
                {"ReferencedImageSequence": reference(), "WindowCenter": 40.5, "WindowWidth": 41},
            ),
        )
        expected = np.clip((self.pixels * 2.0 - 10 - 20) / 40, 0, 1) * 255
        self.assertLessEqual(np.abs(self.shown(presentation) - expected).max(), 0.51)

    def test_frames(self) -> None:
        """An item may be about some frames only."""
        look = state(
            SoftcopyVOILUTSequence=items({"ReferencedImageSequence": reference(frames=[2]), "WindowCenter": 1, "WindowWidth": 1})
        )
        self.assertTrue((self.shown(look) == self.pixels).all())

    def test_rotation_then_flip(self) -> None:
        """Rotated clockwise first, mirrored then (C.10.6)."""
        for degrees in (0, 90, 180, 270):
            turned = np.rot90(self.pixels, -degrees // 90)
            self.assertTrue((self.shown(state(ImageRotation=degrees, ImageHorizontalFlip="N")) == turned).all(), degrees)
            mirrored = self.shown(state(ImageRotation=degrees, ImageHorizontalFlip="Y"))
            self.assertTrue((mirrored == turned[:, ::-1]).all(), degrees)

    def test_displayed_area(self) -> None:
        """Corners are pixels from 1, in the orientation of the image, whichever is which (C.10.4)."""
        part = self.pixels[1:4, 2:6]
        self.assertTrue((self.shown(state(DisplayedAreaSelectionSequence=area(3, 2, 6, 4))) == part).all())
        swapped = state(DisplayedAreaSelectionSequence=area(6, 2, 3, 4), ImageRotation=0, ImageHorizontalFlip="Y")
        self.assertTrue((self.shown(swapped) == part[:, ::-1]).all())

    def test_displayed_area_beyond_the_image(self) -> None:
        """What lies beyond the image is black."""
        found = self.shown(state(DisplayedAreaSelectionSequence=area(-1, 1, 8, 6)))
        self.assertEqual(found.shape, (6, 10))
        self.assertTrue((found[:, :2] == 0).all() and (found[:, 2:] == self.pixels).all())
        huge = state(DisplayedAreaSelectionSequence=area(-(2**31), -(2**31), 2**31 - 1, 2**31 - 1))
        self.assertRaises(TooLarge, self.shown, huge)

    def test_magnified(self) -> None:
        """MAGNIFY gives the size where the query does not."""
        look = state(DisplayedAreaSelectionSequence=area(1, 1, 8, 6, "MAGNIFY", PresentationPixelMagnificationRatio=2.0))
        self.assertEqual(self.shown(look).shape, (12, 16))
        self.assertEqual(self.shown(look, viewport=Viewport(8, 8)).shape, (6, 8))

    def test_regions(self) -> None:
        """A region in pixels is refused; WADO-URI's fractions are those of the displayed picture."""
        self.assertRaises(InvalidRequest, self.shown, state(), region=Region(1, 1))
        for degrees in (0, 90, 180, 270):
            for flip in ("N", "Y"):
                look = state(ImageRotation=degrees, ImageHorizontalFlip=flip)
                whole = self.shown(look)
                rows, columns = whole.shape
                found = self.shown(look, region=Region(0.5, 0, 0.5, 0.5, relative=True))
                self.assertTrue((found == whole[: rows // 2, columns // 2 :]).all(), (degrees, flip))

    def test_shutters(self) -> None:
        """Each shape hides what is outside, in the presentation value (C.7.6.11)."""
        look = state(
            ShutterShape=["RECTANGULAR", "CIRCULAR"],
            ShutterLeftVerticalEdge=1,
            ShutterRightVerticalEdge=8,
            ShutterUpperHorizontalEdge=1,
            ShutterLowerHorizontalEdge=6,
            CenterOfCircularShutter=[3, 4],
            RadiusOfCircularShutter=1,
            ShutterPresentationValue=0xFF00,
        )
        found = self.shown(look)
        seen = np.zeros((6, 8), bool)
        seen[2, 2:5] = seen[1:4, 3] = True
        self.assertTrue((found[seen] == self.pixels[seen]).all() and (found[~seen] == 255).all())

    def test_polygonal_shutter(self) -> None:
        """Vertices are row\\column."""
        found = self.shown(state(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[2, 2, 2, 5, 4, 5, 4, 2]))
        self.assertTrue((found[1:4, 1:5] == self.pixels[1:4, 1:5]).all())
        self.assertEqual(int(found[4:].max()), 0)

    def test_annotation(self) -> None:
        """Graphics and text are drawn, in the colour of their layer, in pixels or in the displayed area."""
        image = subjects.image(np.zeros((100, 200), np.uint8))
        line = {"GraphicAnnotationUnits": "PIXEL", "GraphicDimensions": 2, "NumberOfGraphicPoints": 2, "GraphicFilled": "N"}
        graphics = [
            line | {"GraphicType": "POLYLINE", "GraphicData": [0.0, 10.5, 200.0, 10.5]},
            line | {"GraphicType": "POLYLINE", "GraphicData": [0.0, 0.5, 1.0, 0.5], "GraphicAnnotationUnits": "DISPLAY"},
            line | {"GraphicType": "CIRCLE", "GraphicData": [150.0, 75.0, 160.0, 75.0], "GraphicFilled": "Y"},
        ]
        text = {
            "UnformattedTextValue": "Text",
            "BoundingBoxAnnotationUnits": "PIXEL",
            "BoundingBoxTopLeftHandCorner": [10.0, 60.0],
            "BoundingBoxBottomRightHandCorner": [90.0, 90.0],
        }
        look = state(
            GraphicLayerSequence=items(
                {"GraphicLayer": "A", "GraphicLayerOrder": 1, "GraphicLayerRecommendedDisplayCIELabValue": [34855, 53485, 50171]}
            ),
            GraphicAnnotationSequence=items(
                {"GraphicLayer": "A", "GraphicObjectSequence": items(*graphics), "TextObjectSequence": items(text)}
            ),
        )
        found = self.shown(look, image=image)
        for row, column in ((10, 100), (50, 20), (75, 150)):
            red, green, blue = (int(value) for value in found[row, column])
            self.assertTrue(red > 150 and green < 90 and blue < 90, (row, column, red, green, blue))
        self.assertGreater(int(found[60:90, 10:90].max()), 100)
        self.assertEqual(int(found[25:40].max()), 0)

    def test_pseudo_colour(self) -> None:
        """A palette of the state colours the gray values."""
        look = state(SOPClassUID=PSEUDO_COLOUR)
        for colour, last in (("Red", 0xFF00), ("Green", 0), ("Blue", 0)):
            setattr(look, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            entries = [last * n // 255 for n in range(256)]
            setattr(look, f"{colour}PaletteColorLookupTableData", np.array(entries, "<u2").tobytes())
        found = self.shown(look)
        self.assertTrue((found[:, :, 1:] == 0).all() and np.abs(found[:, :, 0].astype(int) - self.pixels).max() <= 1)

    def test_colour(self) -> None:
        """A colour state moves and annotates, and leaves colours alone."""
        colours = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        image = subjects.image(colours, SamplesPerPixel=3, PlanarConfiguration=0)
        found = self.shown(state(SOPClassUID=COLOUR, ImageRotation=90, ImageHorizontalFlip="N"), image=image)
        self.assertTrue((found == np.rot90(colours, -1)).all())

    def test_refused(self) -> None:
        """States of other classes, and images that the state does not refer to."""
        blending = subjects.header(state(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.4"))
        self.assertRaises(NotAcceptable, appearance, blending, IMAGE, 0)
        self.assertRaises(NotAcceptable, appearance, subjects.header(state()), "1.2.9", 0)


class RealStateTests(SynchronousTestCase):
    def test_modality_lut(self) -> None:
        """A state with a Modality LUT over its image, as pydicom applies that table."""
        presentation = subjects.read(data.shared("non-image/prLUTs.dcm"))
        image = subjects.read(data.shared("non-image/imageForPrLUTs.dcm"))
        header = subjects.header(presentation)
        uid = references(header)[0].sop_instance_uid
        look = appearance(header, uid, 0)
        found = np.asarray(render(subjects.instance(image), 0, RenderingParameters(), look)).astype(int)
        values = apply_modality_lut(image.pixel_array, presentation)
        self.assertEqual(found.shape[:2], values.shape)
        # Whatever the VOI transformation is, it must not disorder or merge what the first table separates.
        gray = found if found.ndim == 2 else found[:, :, 0]
        low, high = np.percentile(values, [10, 90])
        self.assertNotEqual(float(gray[values <= low].mean()), float(gray[values >= high].mean()))
