"""What an association stands on: the link below it, and where data sets go that are small enough for memory."""

from collections.abc import Awaitable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from ..model.status import TooLarge


class AssociationEnded(Exception):
    """The association is gone; what was asked of it will not happen."""


class Link(Protocol):
    """The transport and the protocol machine below an association."""

    @property
    def is_paused(self) -> bool:
        """Whether reading is stopped."""

    def send(self, pdus: bytes) -> None:
        """Send P-DATA."""

    def writable(self) -> Awaitable[None]:
        """Resolves when the peer has taken most of what was sent; fails with `AssociationEnded`."""

    def pause(self) -> None:
        """Stop reading from the peer."""

    def resume(self) -> None:
        """Read again."""

    def abort(self, cause: str) -> None:
        """A-ABORT, as service user."""

    def release(self) -> "Deferred[None]":
        """A-RELEASE; resolves when the association has ended."""


class Collected:
    """A data set gathered in memory, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._chunks: list[bytes] = []
        self._room = limit

    def write(self, data: bytes) -> bool:
        """Always room, until there is too much."""
        self._room -= len(data)
        if self._room < 0:
            raise TooLarge("the data set is too long")
        self._chunks.append(data)
        return True

    def ready(self) -> Awaitable[None]:
        """There always is."""
        return succeed(None)

    def abandon(self) -> None:
        """Forget it."""
        self._chunks.clear()

    def value(self) -> bytes:
        """All of it."""
        return b"".join(self._chunks)
