"""Palettes: plain, packed and segmented tables, against pydicom's."""

from typing import Any

import numpy as np
from pydicom.pixels import apply_color_lut
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import Undecodable
from dicomd.pixels import palette
from dicomd.pixels.header import Header

from . import subjects


def header(descriptor: list[int], segmented: bool = False, **tables: list[int]) -> Header:
    attributes: dict[str, dict[str, Any]] = {}
    for number, colour in enumerate(("red", "green", "blue"), 1):
        attributes[f"0028110{number}"] = {"vr": "US", "Value": descriptor}
        attributes[f"0028122{number}" if segmented else f"0028120{number}"] = {"vr": "US", "Value": tables[colour]}
    return Header(attributes)


class PlainTests(SynchronousTestCase):
    def test_sixteen_bits(self) -> None:
        """Entries of 16 bits keep their upper byte; values outside of the table take its ends."""
        found = palette.read(header([2, 10, 16], red=[0xFF00, 0], green=[0x8000, 0x100], blue=[0, 0xFFFF]))
        assert found is not None
        self.assertEqual(
            found.apply(np.array([[0, 10, 11, 99]])).tolist(), [[[255, 128, 0], [255, 128, 0], [0, 1, 255], [0, 1, 255]]]
        )

    def test_eight_bits_in_words(self) -> None:
        """A descriptor of 16 bits over entries up to 255 means 8 bits."""
        found = palette.read(header([2, 0, 16], red=[1, 255], green=[2, 3], blue=[4, 5]))
        assert found is not None
        self.assertEqual(found.colours.tolist(), [[1, 2, 4], [255, 3, 5]])

    def test_packed(self) -> None:
        """Entries of 8 bits may be two to a word."""
        found = palette.read(header([4, 0, 8], red=[0x0201, 0x0403], green=[0, 0], blue=[0, 0]))
        assert found is not None
        self.assertEqual(found.colours[:, 0].tolist(), [1, 2, 3, 4])

    def test_none(self) -> None:
        """No descriptor, no palette; a descriptor without data is an error."""
        self.assertIsNone(palette.read(Header({})))
        self.assertRaises(Undecodable, palette.read, header([2, 0, 8], red=[], green=[], blue=[]))


class SegmentedTests(SynchronousTestCase):
    def test_as_pydicom(self) -> None:
        """Discrete, linear and indirect segments expand as in pydicom."""
        words = [0, 2, 0, 0x1000, 1, 4, 0x8000, 2, 2, 0, 0, 0, 1, 0xFFFF]
        count = 2 + 4 + 6 + 1
        dataset = subjects.image(np.arange(count, dtype=np.uint8).reshape(1, count), PhotometricInterpretation="PALETTE COLOR")
        for colour in ("Red", "Green", "Blue"):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [count, 0, 16])
            setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", np.array(words, "<u2").tobytes())
        expected = apply_color_lut(dataset.pixel_array, dataset) >> 8
        found = palette.read(subjects.header(dataset))
        assert found is not None
        self.assertLessEqual(np.abs(found.colours[None].astype(int) - expected).max(), 1)

    def test_hostile(self) -> None:
        """Segments that refer to themselves or begin with a line end in an error, soon."""
        for words in ([2, 65535, 0, 0], [2, 1, 4, 0, 2, 1, 0, 0], [1, 5, 9], [2, 1, 60000, 0]):
            broken = header([0, 0, 16], segmented=True, red=words, green=words, blue=words)
            self.assertRaises(Undecodable, palette.read, broken)
        endless = [0, 0] * 20000
        self.assertRaises(Undecodable, palette.read, header([0, 0, 16], segmented=True, red=endless, green=endless, blue=endless))
