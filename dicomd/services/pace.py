"""How much of a body to have at hand: much for a receiver that takes it at once, little for one that takes its time."""

import time
from collections.abc import Callable

from attrs import define, field

LEAST = 64 * 1024
# Whoever comes back for more within this time is fast.
_FAST_SECONDS = 0.1


@define(eq=False)
class Pace:
    """The size of the next piece, at most `most`: twice as much for who comes back soon, else the least."""

    most: int
    clock: Callable[[], float] = time.monotonic
    _size: int = field(init=False, default=LEAST)
    _last: float | None = field(init=False, default=None)

    def next(self) -> int:
        """To be asked when a piece is wanted."""
        now = self.clock()
        is_late = self._last is not None and now - self._last > _FAST_SECONDS
        self._size, self._last = LEAST if is_late else min(2 * self._size, self.most), now
        return self._size

    @property
    def is_fast(self) -> bool:
        """Whether the receiver has taken some pieces quickly, one after the other."""
        return self._size > LEAST
