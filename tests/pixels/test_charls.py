"""The JPEG-LS encoder: exact, for every width and shape, the same by both ways."""

import imagecodecs
import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from dicomd.pixels import charls


class EncodeTests(SynchronousTestCase):
    def test_exact(self) -> None:
        """What is read again is what was written, noise and single pixels too; the stream states the bits."""
        random = np.random.default_rng(1)
        for shape in ((1, 1), (2, 3), (61, 40), (20, 30, 3)):
            for bits in (2, 7, 10, 12, 15):
                samples = random.integers(0, 1 << bits, shape).astype("u1" if bits < 8 else "<u2")
                data = charls.encode(samples, bits)
                self.assertEqual(data[data.index(b"\xff\xf7") + 4], bits)
                self.assertTrue((imagecodecs.jpegls_decode(data) == samples).all(), (shape, bits))

    def test_both_ways(self) -> None:
        """Without the library's C interface the stream is the same."""
        samples = (np.mgrid[:64, :64].sum(axis=0) * 7).astype("<u2")
        colour = np.stack([samples, samples // 2, samples // 3], axis=2)
        made = [charls.encode(each, 12) for each in (samples, colour)]
        self.assertIsNotNone(charls._library())
        self.patch(charls, "_library", lambda: None)
        self.assertEqual([charls.encode(each, 12) for each in (samples, colour)], made)

    def test_impossible(self) -> None:
        """What cannot be encoded raises."""
        self.assertRaises(RuntimeError, charls.encode, np.zeros((4, 4), "<u2"), 17)
