"""The watched folder of the modality worklist: what its files hold is on the worklist within a second, and leaves with them."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attrs import define, field

from ..model.status import ServiceError
from ..store import worklist_folder
from .hub import Clock, Timer
from .worklist import Worklist

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class _Workers(Protocol):
    def disk(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]: ...


@define(eq=False)
class WatchedFolder:
    """Looks twice a second; `start` runs a coroutine in the background."""

    _path: str
    _worklist: Worklist
    _workers: _Workers
    _clock: Clock
    _start: Callable[[Awaitable[None]], object]
    _known: dict[str, worklist_folder.Version] = field(init=False, factory=dict)
    _timer: Timer | None = field(init=False, default=None)
    _stopped: bool = field(init=False, default=False)

    def start(self) -> None:
        """Begin to look; what left the folder while the server was down leaves the worklist."""
        self._start(self._first())

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def _first(self) -> None:
        self._known = dict.fromkeys(await self._worklist.files(), (0, -1))
        await self._repeat()

    async def _repeat(self) -> None:
        try:
            await self.look()
        except OSError as error:
            log.warning("the worklist folder cannot be read: %s", error.strerror)
        finally:
            if not self._stopped:
                self._timer = self._clock.callLater(POLL_SECONDS, lambda: self._start(self._repeat()))

    async def look(self) -> None:
        """Take in what has changed since the last look."""
        found: dict[str, worklist_folder.Version] = await self._workers.disk(worklist_folder.listing, self._path)
        for name in self._known.keys() - found.keys():
            await self._worklist.remove_file(name)
            del self._known[name]
        for name, version in found.items():
            if self._known.get(name) != version:
                await self._take(name)
                self._known[name] = version

    async def _take(self, name: str) -> None:
        try:
            await self._worklist.replace_file(name, await self._workers.disk(worklist_folder.read, self._path, name))
        except FileNotFoundError:
            return
        except ServiceError as error:
            log.warning("worklist file %s: %s", name, error.comment)
