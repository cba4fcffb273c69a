"""How much is read ahead for fast and for slow receivers."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.services.pace import LEAST, Pace


class PaceTests(SynchronousTestCase):
    def test_fast(self) -> None:
        """Twice as much each time, up to the most."""
        pace = Pace(6 * LEAST, Clock().seconds)
        self.assertEqual([pace.next() // LEAST for _ in range(4)], [2, 4, 6, 6])
        self.assertTrue(pace.is_fast)

    def test_slow(self) -> None:
        """The least for who comes late; who is fast again gets more again."""
        clock = Clock()
        pace = Pace(8 * LEAST, clock.seconds)
        sizes = []
        for seconds in (0, 0, 1, 1, 0):
            clock.advance(seconds)
            sizes.append(pace.next() // LEAST)
        self.assertEqual(sizes, [2, 4, 1, 1, 2])
