"""How much of a body to have at hand: much for a receiver that takes it at once, little for one that takes its time.

And the less the more receivers there are, for each may stop reading at any moment.
"""

import time
from collections.abc import Callable
from typing import ClassVar
from weakref import WeakSet

from attrs import define, field

LEAST = 64 * 1024
# What all receivers share.
SHARED = 8 << 20
# Whoever comes back for more within this time is fast.
_FAST_SECONDS = 0.1


@define(eq=False)
class Pace:
    """The size of the next piece, at most `most`: twice as much for who comes back soon, else the least. One a receiver."""

    most: int
    clock: Callable[[], float] = time.monotonic
    _size: int = field(init=False, default=LEAST)
    _last: float | None = field(init=False, default=None)
    _all: ClassVar[WeakSet["Pace"]] = WeakSet()

    def __attrs_post_init__(self) -> None:
        self._all.add(self)

    @property
    def is_ample(self) -> bool:
        """Whether there is room for more than one piece."""
        return self._size >= 4 * LEAST

    def next(self) -> int:
        """To be asked when a piece is wanted."""
        now = self.clock()
        is_late = self._last is not None and now - self._last > _FAST_SECONDS
        self._size, self._last = LEAST if is_late else min(2 * self._size, self.most), now
        while self._size > LEAST and self._size * len(self._all) > SHARED:
            self._size //= 2
        return self._size
