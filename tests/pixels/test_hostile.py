"""Headers with any nonsense in them: a picture, or a refusal that says why; nothing else."""

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.rendering import RenderingParameters, Viewport
from dicomd.model.status import ServiceError
from dicomd.pixels import document_formats, documents, encode
from dicomd.pixels.header import Header
from dicomd.pixels.instance import Instance
from dicomd.pixels.presentation import appearance
from dicomd.pixels.render import render

from .. import data
from . import subjects
from .test_documents import content, report
from .test_golden import phantom, presentation
from .test_presentation import IMAGE

NONSENSE: list[Any] = [None, "abc", "", -1, 0, 1, 2, 255, 65535, 65536, -32768, 1e300, 1e-300, 1.5, 10**30]
NONSENSE += [{}, {"Alphabetic": 5}, [], True, "GRAY", "LABELMAP", "FRACTIONAL", "SIGMOID", "MONOCHROME1", "RGB", "YBR_FULL_422"]
NONSENSE += ["POLYGONAL", "CIRCULAR", "ELLIPSE"]
PIXELS = ("7FE00010", "7FE00008", "7FE00009")
SMALL = Viewport(48, 48)
ASKED = RenderingParameters(annotation=("patient", "technique", "overlay"), viewport=SMALL)
IMAGES = ["CT_small", "examples_overlay", "examples_palette", "liver_1frame", "SC_ybr_full_422_uncompressed", "rtdose"]
IMAGES += ["SC_rgb_rle_16bit"]
FURTHER = ["multiframe/eCT_Supplemental", "pixel-formats/vlut_04", "pixel-formats/mlut_18"]
FURTHER += ["pixel-formats/parametric_map_float_2frames"]


class Mutator:
    """Changes one to three values anywhere in a data set."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def changed(self, attributes: Any, depth: int = 0) -> dict[str, Any]:
        out = dict(attributes)
        keys = [key for key in out if key not in PIXELS]
        for key in self.random.choices(keys, k=self.random.choice([1, 1, 2, 3])):
            out[key] = self.element(out[key], depth) if key in out else {}
        return out

    def element(self, element: dict[str, Any], depth: int) -> dict[str, Any]:
        values, choose = element.get("Value"), self.random.random()
        if element.get("vr") == "SQ" and values and isinstance(values[0], dict) and values[0] and depth < 4 and choose < 0.9:
            return {**element, "Value": [self.changed(values[0], depth + 1), *values[1:]]}
        if choose < 0.15:
            return {}
        if choose < 0.3:
            return {"vr": "OB", "InlineBinary": self.random.choice(["AAAA", "!!", "", None, "AAECAwQF"])}
        return {**element, "Value": self.random.choices(NONSENSE, k=self.random.choice([1, 1, 2, 3, 4]))}


class HostileTests(SynchronousTestCase):
    def test_images(self) -> None:
        """Images of every kind."""
        paths = [data.pydicom_file(f"{name}.dcm") for name in IMAGES]
        paths += [data.SHARED / f"{name}.dcm" for name in FURTHER if (data.SHARED / f"{name}.dcm").exists()]
        for seed, path in enumerate(paths):
            whole, mutator = subjects.instance(subjects.read(path)), Mutator(seed)
            for _ in range(40):
                header = Header(mutator.changed(whole.header.attributes))
                instance = Instance(header, whole.transfer_syntax_uid, whole.frame, 5_000_000)
                try:
                    picture = render(instance, 0, ASKED)
                    encode.encoded(picture, header, encode.JPEG, None, "srgb")
                    self.assertEqual(len(encode.durations(header, 3, (1, 2, 3))), 3)
                except ServiceError as error:
                    self.assertNotEqual(error.comment, "")

    def test_presentation_states(self) -> None:
        """Presentation states with everything that can be drawn."""
        image, state, mutator = subjects.instance(phantom()), subjects.header(presentation()), Mutator(5)
        for _ in range(400):
            try:
                look = appearance(Header(mutator.changed(state.attributes)), IMAGE, 0)
                render(image, 0, RenderingParameters(viewport=SMALL), look)
            except ServiceError as error:
                self.assertNotEqual(error.comment, "")

    def test_reports(self) -> None:
        """Reports in every format."""
        parts = [content("NUM", "Size"), content("IMAGE", "Key")]
        nested = content("CONTAINER", "Section", t0040A730={"vr": "SQ", "Value": parts})
        finding = content("TEXT", "Finding", t0040A160={"vr": "UT", "Value": ["x"]})
        whole, mutator = report(nested, finding), Mutator(9)
        for number in range(300):
            outline = documents.outline(Header(mutator.changed(whole.attributes)))
            for media_type, write in document_formats.WRITERS.items():
                if media_type != document_formats.PDF or number < 20:
                    self.assertGreater(len(write(outline)), 0)
