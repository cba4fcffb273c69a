"""Lookup tables: how descriptors read, and the table that stands for a whole transformation."""

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.rendering import Window
from dicomd.model.status import Undecodable
from dicomd.pixels.header import Header
from dicomd.pixels.lut import Grayscale, Lut, Modality, Stored, display_table, read
from dicomd.pixels.window import Identity


def item(descriptor: list[int], data: list[int]) -> Header:
    return Header({"00283002": {"vr": "US", "Value": descriptor}, "00283006": {"vr": "US", "Value": data}})


class ReadTests(SynchronousTestCase):
    def test_ends(self) -> None:
        """Inputs below and above take the first and the last entry (C.11.1.1.1)."""
        lut = read(item([3, 10, 8], [5, 6, 7]), signed=False)
        self.assertEqual(lut.apply(np.array([-4.0, 10.0, 11.0, 12.0, 900.0])).tolist(), [5, 5, 6, 7, 7])

    def test_first_is_signed_as_the_input(self) -> None:
        """65534 is -2 where inputs can be negative, whatever VR it was read with."""
        self.assertEqual(read(item([2, 65534, 8], [1, 2]), signed=True).first, -2)
        self.assertEqual(read(item([2, -2, 8], [1, 2]), signed=True).first, -2)
        self.assertEqual(read(item([2, 65534, 8], [1, 2]), signed=False).first, 65534)

    def test_zero_entries_mean_65536(self) -> None:
        """C.11.1.1: 0 in the descriptor stands for 2^16."""
        lut = read(item([0, 0, 16], list(range(65536))), signed=False)
        self.assertEqual(len(lut.entries), 65536)

    def test_packed_bytes(self) -> None:
        """Entries of 8 bits may be two to a word."""
        lut = read(item([4, 0, 8], [0x0201, 0x0403]), signed=False)
        self.assertEqual(lut.entries.tolist(), [1, 2, 3, 4])

    def test_width_from_values(self) -> None:
        """A stated width that cannot hold the values is corrected."""
        self.assertEqual(read(item([2, 0, 8], [0, 4095]), signed=False).bits, 12)
        self.assertEqual(read(item([2, 0, 0], [0, 4095]), signed=False).bits, 12)

    def test_nonsense(self) -> None:
        """No data, or no descriptor, is an error and not a crash."""
        self.assertRaises(Undecodable, read, item([2, 0, 8], []), signed=False)
        self.assertRaises(Undecodable, read, item([2], [1, 2]), signed=False)


class StoredTests(SynchronousTestCase):
    def test_high_bit(self) -> None:
        """Values may lie anywhere in the word; the rest of it does not count (PS3.5 8.1.1)."""
        stored = Stored(16, 12, 13, signed=False)
        self.assertEqual(stored.extract(np.array([0b11_1111_1111_1101_11])).tolist(), [(0b11_1111_1111_1101_11 >> 2) & 0xFFF])

    def test_sign(self) -> None:
        """The top stored bit is the sign."""
        stored = Stored(16, 12, 11, signed=True)
        self.assertEqual(stored.extract(np.array([0x0FFF, 0x0800, 0x07FF, 0xF7FF])).tolist(), [-1, -2048, 2047, 2047])
        self.assertEqual(stored.range, (-2048, 2047))


class GrayscaleTests(SynchronousTestCase):
    def test_table_is_value_by_value(self) -> None:
        """The table holds for every word what the transformation gives for its value."""
        stored = Stored(16, 16, 15, signed=True)
        grayscale = Grayscale(Modality(2.0, -1024.0), Window(40, 400), inverse=True)
        words = np.array([0, 1, 500, 512, 0x7FFF, 0x8000, 0xFFFF])
        table = display_table(stored, grayscale)
        self.assertEqual(table[words].tolist(), grayscale.display(stored.extract(words).astype(np.float64)).tolist())
        self.assertEqual(table[0x8000], 255)

    def test_presentation_lut(self) -> None:
        """The output of the VOI transformation is spread over the Presentation LUT (C.11.4)."""
        curve = Lut(0, 8, np.array([0, 255, 0], "<u2").tobytes())
        grayscale = Grayscale(Modality(), Identity(0, 100), presentation=curve)
        self.assertEqual(grayscale.display(np.array([0.0, 50.0, 100.0])).tolist(), [0, 255, 0])

    def test_not_a_number(self) -> None:
        """NaN is black."""
        self.assertEqual(Grayscale(Modality(), Identity(0, 1)).display(np.array([np.nan, 1.0])).tolist(), [0, 255])
