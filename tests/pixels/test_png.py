"""The PNG writer: exact, for every shape, with a profile."""

import io

import numpy as np
from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from dicomd.pixels import icc, png


class PngTests(SynchronousTestCase):
    def test_exact(self) -> None:
        """What is read again is what was written, also of one column or row."""
        random = np.random.default_rng(1)
        for shape in ((1, 1), (1, 7), (7, 1), (33, 40), (5, 6, 3), (1, 1, 3), (300, 200, 3)):
            pixels = random.integers(0, 256, shape).astype(np.uint8)
            image = Image.open(io.BytesIO(png.encode(pixels)))
            image.verify()
            found = np.asarray(Image.open(io.BytesIO(png.encode(pixels))))
            self.assertTrue((found == pixels).all(), shape)

    def test_profile(self) -> None:
        """A profile comes back as it was."""
        data = png.encode(np.zeros((4, 4, 3), np.uint8), icc.profile("srgb"))
        self.assertEqual(Image.open(io.BytesIO(data)).info["icc_profile"], icc.profile("srgb"))
