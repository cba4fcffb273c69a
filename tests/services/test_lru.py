"""The cache bounded by size."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.services.lru import Lru


class LruTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cache: Lru[bytes] = Lru(100, len)

    def test_oldest_goes_first(self) -> None:
        """What was not used longest is forgotten when there is no room."""
        for key in "abcd":
            self.cache.put(key, b"x" * 25)
        self.cache.get("a")
        self.cache.put("e", b"x" * 25)
        self.assertEqual([key for key in "abcde" if self.cache.get(key)], ["a", "c", "d", "e"])
        self.assertEqual((self.cache.size, len(self.cache)), (100, 4))

    def test_replaced(self) -> None:
        """A key has one value."""
        self.cache.put("a", b"x")
        self.cache.put("a", b"yy")
        self.assertEqual((self.cache.get("a"), self.cache.size), (b"yy", 2))
        self.cache.drop("a")
        self.assertEqual((self.cache.get("a"), self.cache.size), (None, 0))

    def test_too_large(self) -> None:
        """One value may not push out all others."""
        self.cache.put("a", b"x" * 20)
        self.cache.put("b", b"x" * 26)
        self.assertIsNone(self.cache.get("b"))
        self.assertIsNotNone(self.cache.get("a"))
