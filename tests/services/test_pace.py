"""How much is read ahead for fast and for slow receivers, and for many."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.services.pace import LEAST, SHARED, Pace


class PaceTests(SynchronousTestCase):
    def test_fast(self) -> None:
        """Twice as much each time, up to the most."""
        pace = Pace(6 * LEAST, Clock().seconds)
        self.assertEqual([pace.next() // LEAST for _ in range(4)], [2, 4, 6, 6])

    def test_slow(self) -> None:
        """The least for who comes late; who is fast again gets more again."""
        clock = Clock()
        pace = Pace(8 * LEAST, clock.seconds)
        sizes = []
        for seconds in (0, 0, 1, 1, 0):
            clock.advance(seconds)
            sizes.append(pace.next() // LEAST)
        self.assertEqual(sizes, [2, 4, 1, 1, 2])

    def test_many(self) -> None:
        """Together they get no more than there is; each gets the least at least."""
        paces = [Pace(8 * LEAST, Clock().seconds) for _ in range(100)]
        sizes = [pace.next() for _ in range(3) for pace in paces][-100:]
        self.assertLessEqual(sum(sizes), max(SHARED, 100 * LEAST))
        del paces[1:]
        self.assertEqual([paces[0].next() for _ in range(3)][-1], 8 * LEAST)
