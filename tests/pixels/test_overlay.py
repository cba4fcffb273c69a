"""Overlay planes: where they lie over a frame."""

import base64
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from dicomd.pixels.header import Header
from dicomd.pixels.overlay import painted, planes


def header(rows: int, columns: int, bits: bytes, **more: Any) -> Header:
    attributes: dict[str, dict[str, Any]] = {
        "60000010": {"vr": "US", "Value": [rows]},
        "60000011": {"vr": "US", "Value": [columns]},
        "60000100": {"vr": "US", "Value": [1]},
        "60003000": {"vr": "OW", "InlineBinary": base64.b64encode(bits).decode()},
    }
    attributes |= {f"6000{tag[1:]}": {"vr": "US", "Value": value} for tag, value in more.items()}
    return Header(attributes)


class PlaneTests(SynchronousTestCase):
    def mask(self, source: Header, index: int = 0, words: "np.ndarray[Any, Any] | None" = None) -> list[list[int]]:
        found = list(planes(source, index, 3, 4, words))
        return found[0].mask.astype(int).tolist() if found else []

    def test_bit_order(self) -> None:
        """The lowest bit of the first byte is the first pixel (PS3.5 8.1.2)."""
        self.assertEqual(self.mask(header(3, 4, b"\x21\x08")), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])

    def test_origin(self) -> None:
        """Origin is row\\column from 1 and may lie outside (C.9.2.1.2)."""
        self.assertEqual(self.mask(header(1, 2, b"\x03", t0050=[3, 4])), [[0] * 4, [0] * 4, [0, 0, 0, 1]])
        self.assertEqual(self.mask(header(2, 2, b"\x0f", t0050=[0, 0])), [[1, 0, 0, 0], [0] * 4, [0] * 4])

    def test_frames(self) -> None:
        """Overlay frames begin at the image frame that Image Frame Origin names (C.9.3)."""
        source = header(1, 8, b"\x01\x80", t0015=[2], t0051=[2])
        self.assertEqual(self.mask(source, 0), [])
        self.assertEqual(self.mask(source, 1)[0], [1, 0, 0, 0])
        self.assertEqual(self.mask(source, 3), [])

    def test_unused_bits(self) -> None:
        """A plane may hide in a bit of the pixel words."""
        source = Header(
            {
                "60000010": {"vr": "US", "Value": [3]},
                "60000011": {"vr": "US", "Value": [4]},
                "60000100": {"vr": "US", "Value": [16]},
                "60000102": {"vr": "US", "Value": [12]},
            }
        )
        words = np.zeros((3, 4), np.uint16)
        words[1, 2] = 0x1FFF
        words[0, 0] = 0x0FFF
        self.assertEqual(self.mask(source, 0, words), [[0] * 4, [0, 0, 1, 0], [0] * 4])
        self.assertEqual(self.mask(source), [])

    def test_cut_off(self) -> None:
        """A plane with too few bits is left out."""
        self.assertEqual(self.mask(header(100, 100, b"\xff")), [])

    def test_painted(self) -> None:
        """Gray on gray stays gray, a colour makes colours; the original is untouched."""
        pixels, mask = np.zeros((1, 2), np.uint8), np.array([[True, False]])
        self.assertEqual(painted(pixels, mask).tolist(), [[255, 0]])
        self.assertEqual(painted(pixels, mask, (255, 0, 9)).tolist(), [[[255, 0, 9], [0, 0, 0]]])
        self.assertEqual(int(pixels.max()), 0)
