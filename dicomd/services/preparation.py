"""Preparation: what of a stored instance is made ready behind the acknowledged path, or when it is asked for earlier.

The index itself says what is missing, so nothing is lost by a crash and the memory needed does not grow with the arrears.
"""

import logging
import os
from functools import partial
from typing import Any

from attrs import define, field

from ..model.status import ServiceError, Undecodable
from ..pixels import frames
from ..pixels.image import PIXEL_ELEMENTS, image_pixel
from ..store import prepared, retrieval
from ..store.files import Folder
from ..store.prepared import Description, Prepared
from ..store.retrieval import StoredInstance
from ..workers import Workers, spawn
from .hub import Clock, EventHub, InstanceStored
from .retrieve import report

log = logging.getLogger(__name__)

# Instances are prepared when this time has passed without new ones, so that a burst of stores has the machine for itself.
QUIET_SECONDS = 0.3
# But not later than this after the first.
PATIENCE_SECONDS = 30.0
_BATCH = 32
_EXTENDED_OFFSET_TABLE = "7FE00001"
_UNREADABLE = "the stored file cannot be read"
_UNDEFINED = 0xFFFFFFFF


@define(eq=False)
class Preparation:
    """Prepares instances; `start` first does what an earlier run left."""

    _workers: Workers
    _folder: Folder
    _clock: Clock
    inline_threshold: int = 1024  # bytes; longer binary values are references in the metadata
    _last: int = field(init=False, default=0)  # the highest row that was looked at
    _again: set[int] = field(init=False, factory=set)  # rows below it whose instance was replaced
    _waiting: Any = field(init=False, default=None)
    _latest: float = field(init=False, default=-1e9)  # when the latest instance arrived
    _since: float | None = field(init=False, default=None)  # since when there are arrears
    _working: bool = field(init=False, default=False)
    _arrived: bool = field(init=False, default=False)  # while it was working
    _stopped: bool = field(init=False, default=False)

    def subscribe(self, hub: EventHub) -> None:
        """Prepare whatever is stored from now on."""
        hub.subscribe(InstanceStored, self._stored)

    def start(self) -> None:
        """Look for what is missing."""
        self._wait()

    def stop(self) -> None:
        """Begin nothing new."""
        self._working = self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _stored(self, event: InstanceStored) -> None:
        if event.row <= self._last:
            self._again.add(event.row)
        self._arrived = True
        self._latest = self._clock.seconds()
        if self._waiting is None and not self._working:
            self._wait()

    def _wait(self) -> None:
        """Look again when it may be quiet."""
        now = self._clock.seconds()
        if self._since is None:
            self._since = now
        passed = now - self._latest
        self._waiting = self._clock.callLater(QUIET_SECONDS - passed if passed < QUIET_SECONDS else QUIET_SECONDS, self._look)

    def _look(self) -> None:
        self._waiting = None
        if self._gives_way():
            self._wait()
        else:
            spawn(self._catch_up())

    def _gives_way(self) -> bool:
        """Whether instances are arriving, and it is not too long ago that something was prepared."""
        now = self._clock.seconds()
        patient = self._since is None or now - self._since < PATIENCE_SECONDS
        return patient and now - self._latest < QUIET_SECONDS

    async def _catch_up(self) -> None:
        """Prepare what there is, as long as nothing arrives meanwhile."""
        self._working = True
        try:
            await self._workers.disk(self._folder.tidy)
            while not self._gives_way():
                rows = await self._next()
                if not rows:
                    self._since = None
                    break
                page = retrieval.verified(await self._workers.read(retrieval.pages, self._folder, rows))
                report(page.damaged)
                made = await self._workers.prepare(_prepare_all, page.page, self.inline_threshold)
                await self._workers.write(prepared.save, made)
        except ServiceError as error:
            self._since = None
            log.warning("preparing instances is put off: %s", error.comment)
        finally:
            self._working = self._stopped
        if not self._stopped and (self._arrived or self._since is not None):
            self._wait()

    async def _next(self) -> list[int]:
        self._arrived = False
        if self._again:
            return [self._again.pop() for _ in range(min(len(self._again), _BATCH))]
        rows = await self._workers.read(prepared.unprepared, self._last, _BATCH)
        self._last = max([self._last, *rows])
        return rows

    async def one(self, found: StoredInstance) -> Prepared:
        """What is prepared of an instance, made now if it has not been."""
        made = await self._workers.read(prepared.load, found.row)
        return made if made is not None else (await self.several([found]))[0]

    async def several(self, found: list[StoredInstance]) -> list[Prepared]:
        """Prepare these now and keep it."""
        rows = await self._workers.prepare(_prepare_all, found, self.inline_threshold)
        spawn(self._save(rows))
        return [made for made, _ in rows]

    async def _save(self, rows: list[tuple[Prepared, bytes]]) -> None:
        try:
            await self._workers.write(prepared.save, rows)
        except ServiceError as error:
            log.warning("what was prepared could not be kept: %s", error.comment)


def _prepare_all(found: list[StoredInstance], inline_threshold: int) -> list[tuple[Prepared, bytes]]:
    """With the digests of the instances; without one what is not to be kept, because a disk may recover."""
    made = [prepare(each, inline_threshold) for each in found]
    return [(each, b"" if each.problem == _UNREADABLE else instance.digest) for each, instance in zip(made, found, strict=True)]


def prepare(found: StoredInstance, inline_threshold: int = 1024) -> Prepared:
    """Read an instance's file; in the prepare pool. What cannot be prepared comes with the reason."""
    try:
        described = prepared.describe(found, inline_threshold=inline_threshold)
        return prepared.pack(found.row, described, _frames(found, described))
    except ServiceError as error:
        log.warning("instance %s cannot be prepared: %s", found.key.sop_instance_uid, error.comment)
        return Prepared(found.row, problem=error.comment)
    except OSError as error:
        log.error("instance %s cannot be read: %s", found.key.sop_instance_uid, error.strerror)
        return Prepared(found.row, problem=_UNREADABLE)


def _frames(found: StoredInstance, described: Description) -> bytes:
    """The packed frame table; empty when the instance has no frames that could be told apart."""
    element = next((tag for tag in PIXEL_ELEMENTS if f"{tag:08X}" in described.bulk), None)
    image = image_pixel(described.attributes, found.transfer_syntax_uid)
    if element is None or image is None:
        return b""
    bulk = described.bulk[f"{element:08X}"]
    make = partial(
        frames.frame_table,
        image=image,
        element=element,
        vr=bulk.vr,
        start=bulk.offset,
        length=_UNDEFINED if bulk.encapsulated else bulk.length,
    )
    try:
        if described.inflated or not bulk.encapsulated:
            return make(lambda _offset, _size: b"").pack()
        file = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            table = described.bulk.get(_EXTENDED_OFFSET_TABLE)
            offsets = os.pread(file, table.length, table.offset) if table else b""
            return make(lambda offset, size: os.pread(file, size, offset), extended_offset_table=offsets).pack()
        finally:
            os.close(file)
    except Undecodable as error:
        log.info("instance %s: %s", found.key.sop_instance_uid, error.comment)
        return b""
