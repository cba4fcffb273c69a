"""The watched folder of the modality worklist: what its files hold is on the worklist within a second, and leaves with them."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from attrs import define, field

from ..model.attributes import Attributes
from ..model.status import ServiceError
from ..store import worklist_folder
from .hub import Clock, Timer
from .worklist import Worklist

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Files that are read, and entered in one transaction
_TOGETHER = 100


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
    _unreadable: dict[str, worklist_folder.Version] = field(init=False, factory=dict)
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
        try:
            self._known = dict.fromkeys(await self._worklist.files(), (0, -1))
        except ServiceError as error:
            log.warning("the files on the worklist are not known: %s", error.comment)
        await self._repeat()

    async def _repeat(self) -> None:
        try:
            await self.look()
        except OSError as error:
            log.warning("the worklist folder cannot be read: %s", error.strerror)
        except ServiceError as error:
            log.warning("the worklist folder is read again later: %s", error.comment)
        finally:
            if not self._stopped:
                self._timer = self._clock.callLater(POLL_SECONDS, lambda: self._start(self._repeat()))

    async def look(self) -> None:
        """Take in what has changed since the last look."""
        found: dict[str, worklist_folder.Version] = await self._workers.disk(worklist_folder.listing, self._path)
        for name in self._known.keys() - found.keys():
            await self._worklist.remove_file(name)
            del self._known[name]
        changed = [name for name, version in found.items() if self._known.get(name) != version]
        for start in range(0, len(changed), _TOGETHER):
            await self._take({name: found[name] for name in changed[start : start + _TOGETHER]})
        self._unreadable = {name: version for name, version in self._unreadable.items() if name in found}

    async def _take(self, files: dict[str, worklist_folder.Version]) -> None:
        """Good files are entered together; what was entered from a file that has become bad stays until the file goes."""
        read = await self._workers.disk(worklist_folder.read_all, self._path, list(files))
        good: dict[str, Sequence[Attributes]] = {}
        for name, content in zip(files, read, strict=True):
            if isinstance(content, OSError):
                self._complain(name, files[name], content.strerror or "cannot be read")
            elif isinstance(content, ServiceError):
                self._refused(name, files[name], content)
            else:
                try:
                    good[name] = self._worklist.steps(content)
                except ServiceError as error:
                    self._refused(name, files[name], error)
        await self._worklist.replace_files([(name, steps, files[name][0] // 1_000_000_000) for name, steps in good.items()])
        self._known.update({name: files[name] for name in good})

    def _refused(self, name: str, version: worklist_folder.Version, error: ServiceError) -> None:
        """Not looked at again before it changes."""
        self._complain(name, version, error.comment)
        self._known[name] = version

    def _complain(self, name: str, version: worklist_folder.Version, why: str) -> None:
        """Once for each version of a file. Its name is not logged: it may be a patient's."""
        if self._unreadable.get(name) != version and why:
            self._unreadable[name] = version
            changed = f"{datetime.fromtimestamp(version[0] / 1e9, UTC):%Y-%m-%d %H:%M:%SZ}"
            log.warning("the worklist file of %d bytes that was changed at %s: %s", version[1], changed, why)
