"""A cache bounded in bytes: the least recently used goes first. What belongs to a study goes when anything in it changes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from attrs import define, field

from .hub import EventHub, InstanceRemoved, InstanceStored

T = TypeVar("T")
_REMEMBERED = 1000


@define(eq=False)
class _Changes:
    """Which studies changed lately, noted once for all caches that heed the same hub."""

    number: int = field(init=False, default=0)
    _caches: list["StudyCache[Any]"] = field(init=False, factory=list)
    # The number of the last change of studies; of those no longer remembered it is at most `_earlier`.
    _at: OrderedDict[str, int] = field(init=False, factory=OrderedDict)
    _earlier: int = field(init=False, default=0)

    def forget_in(self, cache: "StudyCache[Any]") -> None:
        """From now on the cache forgets what belongs to a study as soon as that changes."""
        self._caches.append(cache)

    def since(self, number: int, study: str) -> bool:
        """Whether the study may have changed after the change with this number."""
        return self._at.get(study, self._earlier) > number

    def note(self, event: Any) -> None:
        """An instance was stored or removed."""
        study = event.key.study_instance_uid
        self.number += 1
        self._at[study] = self.number
        self._at.move_to_end(study)
        if len(self._at) > _REMEMBERED:
            self._earlier = self._at.popitem(last=False)[1]
        for cache in self._caches:
            cache.forget(study)


_CHANGES: "WeakKeyDictionary[EventHub, _Changes]" = WeakKeyDictionary()


def _changes_of(hub: EventHub) -> _Changes:
    changes = _CHANGES.get(hub)
    if changes is None:
        changes = _CHANGES[hub] = _Changes()
        hub.subscribe(InstanceStored, changes.note)
        hub.subscribe(InstanceRemoved, changes.note)
    return changes


@define(eq=False)
class StudyCache(Generic[T]):
    """Values by study and a further key. Used in the reactor thread only."""

    limit: int
    size: int = field(init=False, default=0)
    _values: OrderedDict[tuple[str, Hashable], tuple[T, int]] = field(init=False, factory=OrderedDict)
    _of_study: dict[str, set[Hashable]] = field(init=False, factory=dict)
    _changes: _Changes = field(init=False, factory=_Changes)

    def subscribe(self, hub: EventHub) -> None:
        """Forget what is out of date as soon as it is."""
        self._changes = _changes_of(hub)
        self._changes.forget_in(self)

    def get(self, study: str, key: Hashable) -> T | None:
        """The value, if it is there."""
        found = self._values.get((study, key))
        if found is None:
            return None
        self._values.move_to_end((study, key))
        return found[0]

    @property
    def now(self) -> int:
        """A mark to be given to `put` for what is about to be computed."""
        return self._changes.number

    def put(self, study: str, key: Hashable, value: T, size: int, since: int) -> None:
        """Keep a value of `size` bytes, unless its study has changed since it began to be computed."""
        if size > self.limit // 4 or self._changes.since(since, study):
            return
        self._drop(study, key)
        self._values[study, key] = (value, size)
        self._of_study.setdefault(study, set()).add(key)
        self.size += size
        while self.size > self.limit:
            self._drop(*next(iter(self._values)))

    def _drop(self, study: str, key: Hashable) -> None:
        found = self._values.pop((study, key), None)
        if found is not None:
            self.size -= found[1]
            keys = self._of_study[study]
            keys.discard(key)
            if not keys:
                del self._of_study[study]

    def forget(self, study: str) -> None:
        """Drop what belongs to a study."""
        if study in self._of_study:
            for key in tuple(self._of_study[study]):
                self._drop(study, key)
