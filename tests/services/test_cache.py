"""The cache: bounded, least recently used first, true after every change."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.identifiers import InstanceKey
from dicomd.services.cache import StudyCache
from dicomd.services.hub import EventHub, InstanceRemoved, InstanceStored


class CacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cache: StudyCache[str] = StudyCache(100)
        self.hub = EventHub()
        self.cache.subscribe(self.hub)

    def put(self, study: str, key: str, size: int = 10) -> None:
        self.cache.put(study, key, f"{study} {key}", size, self.cache.now)

    def test_bounded(self) -> None:
        """What was not used for the longest time goes; what is large is not taken."""
        for number in range(10):
            self.put("1", str(number))
        self.assertEqual(self.cache.get("1", "0"), "1 0")
        self.put("1", "another")
        self.assertEqual((self.cache.get("1", "1"), self.cache.get("1", "0")), (None, "1 0"))
        self.assertEqual(self.cache.size, 100)
        self.put("1", "large", 30)
        self.assertIsNone(self.cache.get("1", "large"))

    def test_changes(self) -> None:
        """Whatever belongs to a study goes when an instance of it is stored or removed; other studies stay."""
        for event in (InstanceStored(InstanceKey("1", "2", "3"), "", "", 1), InstanceRemoved(InstanceKey("1", "2", "3"), "")):
            self.put("1", "a")
            self.put("9", "a")
            self.hub.publish(event)
            self.assertEqual((self.cache.get("1", "a"), self.cache.get("9", "a")), (None, "9 a"))

    def test_several(self) -> None:
        """Each cache of a hub hears of a change, and of no other hub's; also one that came later."""
        second, apart = StudyCache[str](100), StudyCache[str](100)
        second.subscribe(self.hub)
        apart.subscribe(EventHub())
        marks = [cache.now for cache in (self.cache, second, apart)]
        for cache in (self.cache, second, apart):
            cache.put("1", "a", "kept", 10, cache.now)
        self.hub.publish(InstanceStored(InstanceKey("1", "2", "3"), "", "", 1))
        self.assertEqual([cache.get("1", "a") for cache in (self.cache, second, apart)], [None, None, "kept"])
        for cache, since in zip((self.cache, second, apart), marks, strict=True):
            cache.put("1", "b", "old", 10, since)
        self.assertEqual([cache.get("1", "b") for cache in (self.cache, second, apart)], [None, None, "old"])

    def test_overtaken(self) -> None:
        """A value that was computed from what has changed meanwhile is not kept; changes of other studies do not matter."""
        since = self.cache.now
        self.hub.publish(InstanceStored(InstanceKey("1", "2", "3"), "", "", 1))
        self.cache.put("1", "a", "old", 10, since)
        self.cache.put("9", "a", "good", 10, since)
        self.assertEqual((self.cache.get("1", "a"), self.cache.get("9", "a")), (None, "good"))

    def test_many_changes(self) -> None:
        """Changes that are no longer remembered one by one count as changes of every study."""
        since = self.cache.now
        for number in range(2000):
            self.hub.publish(InstanceStored(InstanceKey(str(number), "2", "3"), "", "", number))
        self.cache.put("1", "a", "old", 10, since)
        self.assertIsNone(self.cache.get("1", "a"))
        self.put("1", "a")
        self.assertIsNotNone(self.cache.get("1", "a"))
