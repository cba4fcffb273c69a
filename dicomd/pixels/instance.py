"""An instance as rendering sees it: its header, and its frames one at a time."""

from collections.abc import Callable

import numpy as np
from attrs import define, field

from ..model.status import NoSuchInstance
from .decode import Picture, decode, describe
from .functional_groups import frame_count
from .header import Array, Header
from .window import Identity

FrameReader = Callable[[int], bytes]
# Samples of one frame that are decoded unless configured otherwise: 100 million.
SAMPLE_LIMIT = 100_000_000


@define(eq=False)
class Instance:
    """A stored instance. `frame`: encoded bytes of a frame, numbered from 0 here; native frames start at a byte.

    What is found out about all frames (the automatic window) is kept, so an instance that is used again is cheaper.
    """

    header: Header
    transfer_syntax_uid: str
    frame: FrameReader
    sample_limit: int = SAMPLE_LIMIT
    _picture: Picture | None = field(init=False, default=None)
    automatic: Identity | None = field(init=False, default=None)
    automatic_known: bool = field(init=False, default=False)

    @property
    def picture(self) -> Picture:
        """The Image Pixel module; raises `Undecodable` when there is none that makes sense, `TooLarge` above the limit."""
        if self._picture is None:
            self._picture = describe(self.header, self.transfer_syntax_uid, self.sample_limit)
        return self._picture

    @property
    def frames(self) -> int:
        """Number of frames."""
        return frame_count(self.header)

    def samples(self, index: int) -> tuple[Array, str]:
        """Decoded samples of a frame and their Photometric Interpretation."""
        if not 0 <= index < self.frames:
            raise NoSuchInstance(f"frame {index + 1} does not exist, the instance has {self.frames}")
        picture = self.picture
        return decode(picture, self.frame(index))


def aligned(data: bytes, skipped: int, bits: int) -> bytes:
    """A frame of single bits that begins `skipped` bits inside of its first byte (PS3.5 8.1.1), moved to bit 0."""
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[skipped : skipped + bits]
    return np.packbits(unpacked, bitorder="little").tobytes()
