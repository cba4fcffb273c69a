"""A cache bounded by size that forgets what was not used longest; for one thread."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class Lru(Generic[T]):
    """Values by key; together at most `limit` as `measure` counts them."""

    limit: int
    measure: Callable[[T], int]
    size: int = field(init=False, default=0)
    _values: "OrderedDict[Hashable, T]" = field(init=False, factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> T | None:
        """The value, used now; None when it is not here."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value; one that is larger than a quarter of the whole is not kept."""
        self.drop(key)
        size = self.measure(value)
        if size > self.limit // 4:
            return
        self._values[key] = value
        self.size += size
        while self.size > self.limit:
            _, oldest = self._values.popitem(last=False)
            self.size -= self.measure(oldest)

    def drop(self, key: Hashable) -> None:
        """Forget a value."""
        known = self._values.pop(key, None)
        if known is not None:
            self.size -= self.measure(known)
