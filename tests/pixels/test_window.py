"""Window functions against the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3, and the automatic window."""

import math

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.rendering import Window
from dicomd.pixels.window import Identity, automatic, proportion, spread

VALUES = np.arange(-1100, 3200, 3, dtype=np.float64)


class FunctionTests(SynchronousTestCase):
    def test_as_pydicom(self) -> None:
        """All three functions give what pydicom's gives."""
        for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            for center, width in ((40.0, 400.0), (2048.0, 1.5), (-600.5, 1700.0)):
                dataset = Dataset()
                dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = center, width, function
                dataset.PhotometricInterpretation, dataset.BitsStored, dataset.PixelRepresentation = "MONOCHROME2", 16, 0
                expected = apply_windowing(VALUES, dataset) / 65535
                found = proportion(Window(center, width, function), VALUES)
                np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=f"{function} {center} {width}")

    def test_linear_edges(self) -> None:
        """C.11.2.1.2.1: with center 2048 and width 4096, 0 is black and 4095 white."""
        found = proportion(Window(2048, 4096), np.array([-1.0, 0.0, 4095.0, 4096.0]))
        self.assertEqual(found.tolist(), [0.0, 0.0, 1.0, 1.0])

    def test_width_one(self) -> None:
        """A width of 1 is a threshold."""
        self.assertEqual(proportion(Window(10, 1), np.array([9.0, 9.5, 10.0])).tolist(), [0.0, 0.0, 1.0])

    def test_sigmoid_far_away(self) -> None:
        """Values far from the center saturate without complaint."""
        found = proportion(Window(0, 1, "SIGMOID"), np.array([-1e6, 1e6]))
        self.assertTrue(math.isclose(found[0], 0.0) and math.isclose(found[1], 1.0))


class AutomaticTests(SynchronousTestCase):
    def test_outliers_are_left_out(self) -> None:
        """One hot pixel of ten thousand does not darken the rest."""
        values, counts = np.array([0.0, 100.0, 60000.0]), np.array([5000, 4999, 1])
        self.assertEqual(automatic(values, counts), Identity(0.0, 100.0))

    def test_two_values(self) -> None:
        """Trimming never hides a value that is all there is besides another."""
        self.assertEqual(automatic(np.array([3.0, 9.0]), np.array([99999, 1])), Identity(3.0, 9.0))

    def test_flat(self) -> None:
        """A flat picture is seen against zero."""
        self.assertEqual(spread(7.0, 7.0), Identity(0.0, 7.0))
        self.assertEqual(spread(0.0, 0.0), Identity(0.0, 0.0))
        self.assertEqual(proportion(spread(0.0, 0.0), np.array([0.0])).tolist(), [0.0])
        self.assertEqual(automatic(np.array([]), np.array([], dtype=np.int64)), Identity(0.0, 1.0))
