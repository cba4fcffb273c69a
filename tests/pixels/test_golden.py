"""Golden pictures: small renditions that a person has looked at. To make them anew: DICOMD_MAKE_GOLDEN=1, then look at them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.rendering import Region, RenderingParameters, Viewport, Window
from dicomd.pixels.mosaic import mosaic
from dicomd.pixels.presentation import appearance
from dicomd.pixels.render import render

from .. import data
from . import subjects
from .test_presentation import IMAGE, area, items, state

FOLDER = Path(__file__).parent / "golden"
SMALL = Viewport(96, 96)


def phantom() -> Dataset:
    """A disc with structure on a ramp, 16 bits signed."""
    y, x = np.mgrid[0:120, 0:160]
    disc = np.hypot(y - 60, x - 80) < 45
    pixels = (x * 8 - 1000 + disc * (600 + 200 * np.sin(y / 4))).astype(np.int16)
    return subjects.image(pixels, RescaleIntercept=-24, RescaleSlope=1, WindowCenter=40, WindowWidth=1500)


def presentation() -> Dataset:
    """A presentation state with everything that can be drawn."""
    shapes = (
        ("CIRCLE", [80.0, 60.0, 125.0, 60.0]),
        ("ELLIPSE", [50.0, 60.0, 110.0, 60.0, 80.0, 45.0, 80.0, 75.0]),
        ("INTERPOLATED", [20.0, 100.0, 60.0, 80.0, 100.0, 110.0, 140.0, 90.0]),
        ("POINT", [30.0, 30.0]),
    )
    common = {"GraphicAnnotationUnits": "PIXEL", "GraphicDimensions": 2, "GraphicFilled": "N"}
    graphics = [
        common | {"GraphicType": kind, "NumberOfGraphicPoints": len(points) // 2, "GraphicData": points}
        for kind, points in shapes
    ]
    return state(
        RescaleIntercept=-24,
        RescaleSlope=1,
        SoftcopyVOILUTSequence=items({"WindowCenter": 0, "WindowWidth": 1600}),
        ImageRotation=90,
        ImageHorizontalFlip="N",
        DisplayedAreaSelectionSequence=area(11, 6, 150, 115),
        ShutterShape="CIRCULAR",
        CenterOfCircularShutter=[60, 80],
        RadiusOfCircularShutter=75,
        ShutterPresentationValue=0x4000,
        GraphicLayerSequence=items(
            {"GraphicLayer": "A", "GraphicLayerOrder": 1, "GraphicLayerRecommendedDisplayCIELabValue": [63000, 28000, 60000]}
        ),
        GraphicAnnotationSequence=items({"GraphicLayer": "A", "GraphicObjectSequence": items(*graphics)}),
    )


def annotated() -> Image.Image:
    """The phantom under the presentation state."""
    look = appearance(subjects.header(presentation()), IMAGE, 0)
    return render(subjects.instance(phantom()), 0, RenderingParameters(viewport=Viewport(160, 160)), look)


class GoldenTests(SynchronousTestCase):
    def check(self, name: str, picture: Image.Image) -> None:
        path = FOLDER / f"{name}.png"
        if os.environ.get("DICOMD_MAKE_GOLDEN"):
            FOLDER.mkdir(exist_ok=True)
            picture.save(path, optimize=True)
        golden = Image.open(path)
        self.assertEqual((golden.size, golden.mode), (picture.size, picture.mode), name)
        off = np.abs(np.asarray(golden).astype(int) - np.asarray(picture))
        self.assertLess(off.mean(), 1.5, name)

    def rendered(self, dataset: Dataset, index: int = 0, **parameters: Any) -> Image.Image:
        return render(subjects.instance(dataset), index, RenderingParameters(**({"viewport": SMALL} | parameters)))

    def test_windows(self) -> None:
        """One image under each window function, and mirrored in part."""
        self.check("stored-window", self.rendered(phantom()))
        self.check("sigmoid", self.rendered(phantom(), window=Window(0, 800, "SIGMOID")))
        self.check("region-flipped", self.rendered(phantom(), region=Region(40, 20, -80, -60)))

    def test_presentation_state(self) -> None:
        """Rotation, displayed area, shutter, window, coloured graphics."""
        self.check("presentation-state", annotated())

    def test_pydicom_files(self) -> None:
        """Grayscale without window, palette, colour, supplemental palette, segmentation."""
        for name, index in (
            ("CT_small", 0),
            ("MR_small", 0),
            ("examples_palette", 0),
            ("examples_rgb_color", 0),
            ("liver_1frame", 0),
        ):
            self.check(name, self.rendered(subjects.read(data.pydicom_file(f"{name}.dcm")), index))

    def test_generated_files(self) -> None:
        """Inverse with an overlay, signed, planar colour, float, tomosynthesis."""
        overlay = self.rendered(subjects.read(data.shared("pixel-formats/mono1_12bit_overlay.dcm")), annotation=("overlay",))
        self.check("overlay", overlay)
        for path in (
            "pixel-formats/mono16_signed",
            "pixel-formats/rgb8_planar1",
            "pixel-formats/parametric_map_float_2frames",
            "multiframe/synthetic_breast_tomo",
        ):
            dataset = subjects.read(data.shared(f"{path}.dcm"))
            self.check(path.rpartition("/")[2], self.rendered(dataset))

    def test_slide(self) -> None:
        """Tiles in their places."""
        tiles = np.zeros((6, 8, 8, 3), np.uint8)
        for number in range(6):
            tiles[number, 1:-1, 1:-1] = [number * 50, 120, 255 - number * 50]
        dataset = subjects.image(tiles, SamplesPerPixel=3, PlanarConfiguration=0, NumberOfFrames=6)
        dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = 20, 16
        self.check("slide", mosaic(subjects.instance(dataset), SMALL))
