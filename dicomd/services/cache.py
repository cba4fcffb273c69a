"""A cache bounded in bytes: the least recently used goes first. What belongs to a study goes when anything in it changes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from attrs import define, field

from .hub import EventHub, InstanceRemoved, InstanceStored

T = TypeVar("T")
_REMEMBERED = 1000


@define(eq=False)
class StudyCache(Generic[T]):
    """Values by study and a further key. Used in the reactor thread only."""

    limit: int
    size: int = field(init=False, default=0)
    _values: OrderedDict[tuple[str, Hashable], tuple[T, int]] = field(init=False, factory=OrderedDict)
    _of_study: dict[str, set[Hashable]] = field(init=False, factory=dict)
    _changes: int = field(init=False, default=0)
    # The number of the last change of studies; of those no longer remembered it is at most `_earlier`.
    _changed_at: OrderedDict[str, int] = field(init=False, factory=OrderedDict)
    _earlier: int = field(init=False, default=0)

    def subscribe(self, hub: EventHub) -> None:
        """Forget what is out of date as soon as it is."""
        hub.subscribe(InstanceStored, self._changed)
        hub.subscribe(InstanceRemoved, self._changed)

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
        return self._changes

    def put(self, study: str, key: Hashable, value: T, size: int, since: int) -> None:
        """Keep a value of `size` bytes, unless its study has changed since it began to be computed."""
        if size > self.limit // 4 or self._changed_at.get(study, self._earlier) > since:
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

    def _changed(self, event: Any) -> None:
        study = event.key.study_instance_uid
        self._changes += 1
        self._changed_at[study] = self._changes
        self._changed_at.move_to_end(study)
        if len(self._changed_at) > _REMEMBERED:
            self._earlier = self._changed_at.popitem(last=False)[1]
        for key in tuple(self._of_study.get(study, ())):
            self._drop(study, key)
