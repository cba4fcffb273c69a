"""Storage: the one way in for an instance, whichever door it comes through (PS3.4 B, PS3.18 10.5).

A door begins a `Reception`, writes bytes into it as they arrive and awaits `Storage.store`. Success is answered only when the
file and its row are durable.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from attrs import define, field, frozen

from ..model.identifiers import InstanceKey, is_uid
from ..model.status import ServiceError, Status, TooLarge
from ..store import instances
from ..store.files import Folder
from ..store.incoming import ANYWHERE, Claim, ElsewhereClass, Rules, Spool, Target, placed, refusal
from ..store.index import after_commit
from ..store.instances import Admission, Arrival, Duplicates, Fate
from ..store.recovery import resolve
from ..workers import Gate, Workers, spawn
from .hub import EventHub, InstanceStored

__all__ = ["ANYWHERE", "Duplicates", "Fate", "Reception", "Rules", "Source", "Storage", "StoreOutcome", "Target"]

log = logging.getLogger(__name__)

# Up to this size an instance stays in memory and costs one disk job; above, it is written in steps of at least this size.
SMALL = 1 << 20
# A reception with more than this unwritten asks its sender to pause.
_MUCH_UNWRITTEN = 4 << 20


@frozen
class Source:
    """Who sends: `door` is DIMSE, HTTP or IMPORT."""

    door: str
    peer: str = ""
    calling_ae_title: str = ""
    called_ae_title: str = ""


@frozen
class StoreOutcome:
    """What became of one instance. `fate` is None when it was refused; `warning` is what an HTTP response tells besides."""

    key: InstanceKey | None
    sop_class_uid: str
    sop_instance_uid: str
    status: Status
    comment: str = ""
    fate: Fate | None = None
    transfer_syntax_uid: str = ""
    offending: tuple[int, ...] = ()
    # What refused it.
    error: ServiceError | None = None

    @property
    def refused_class(self) -> bool:
        """Whether it was refused because its SOP class is kept under another resource."""
        return isinstance(self.error, ElsewhereClass)

    @property
    def warning(self) -> Status | None:
        """The Warning Reason for an instance that replaced another, or whose content was not taken (PS3.18 10.5.3)."""
        return Status.COERCED if self.fate in (Fate.REPLACED, Fate.KEPT) else None


@define(eq=False)
class Reception:
    """One instance arriving. Used in the reactor thread; never more than a few megabytes are in memory."""

    _workers: Workers
    _spool: Spool
    _chunks: list[bytes | memoryview] = field(init=False, factory=list)
    _received: int = field(init=False, default=0)
    _unwritten: int = field(init=False, default=0)
    _writing: bool = field(init=False, default=False)
    _spooled: bool = field(init=False, default=False)
    _error: ServiceError | None = field(init=False, default=None)
    _gone: bool = field(init=False, default=False)
    _written: Gate = field(init=False, factory=Gate)

    def write(self, data: bytes | memoryview) -> bool:
        """Take more bytes; False: too much is unwritten, pause and await `ready()`."""
        self._received += len(data)
        if self._error is not None or self._gone:
            return True
        most = self._spool.rules.max_instance_bytes
        if most and self._received > most:
            self._fail(TooLarge(f"the instance is larger than {most} bytes"))
            return True
        self._chunks.append(data)
        self._unwritten += len(data)
        if self._unwritten > SMALL and not self._writing:
            self._writing = self._spooled = True
            spawn(self._drain())
        return self._unwritten < _MUCH_UNWRITTEN

    def ready(self) -> Awaitable[None]:
        """Resolves when there is room for more."""
        if self._unwritten < _MUCH_UNWRITTEN:
            return _immediately()
        return self._written.wait()

    def abandon(self) -> None:
        """The sender is gone: leave nothing."""
        self._gone = True
        self._chunks, self._unwritten = [], 0
        self._written.open()
        if self._spooled and not self._writing:
            spawn(self._discard())

    def _fail(self, error: ServiceError) -> None:
        self._error = error
        self._chunks, self._unwritten = [], 0
        self._written.open()

    async def _drain(self) -> None:
        """Write what has arrived, step by step, until less than a step is left."""
        try:
            while self._unwritten > SMALL:
                chunks, size = self._chunks, self._unwritten
                self._chunks = []
                await self._workers.disk(self._spool.write, chunks)
                self._unwritten = max(0, self._unwritten - size)
                if self._unwritten < _MUCH_UNWRITTEN:
                    self._written.open()
        except (ServiceError, OSError) as error:
            self._fail(refusal(error))
        finally:
            self._writing = False
            self._written.open()
        if self._gone:
            await self._discard()

    async def _discard(self) -> None:
        await self._workers.tidy(self._spool.discard)

    async def complete(
        self, target: Target, duplicates: Duplicates, then: Callable[[tuple[Arrival, Admission | ServiceError]], None]
    ) -> tuple[Arrival, Admission]:
        """Put the instance in place and into the index; raises what refuses it, leaving nothing of it."""
        while self._writing:
            await self._written.wait()
        if self._error is not None:
            if self._spooled:
                await self._discard()
            raise self._error
        chunks, self._chunks = self._chunks, []
        spool = self._spool
        spool.target = target
        try:
            received = self._workers.disk_then_write(_receive, spool, chunks, self._spooled, duplicates, then=then)
        except ServiceError:  # too much is to be done already
            if self._spooled:
                await self._discard()
            raise
        arrival, admission = await received
        if isinstance(admission, ServiceError):
            raise admission
        return arrival, admission

    @property
    def in_doubt(self) -> str:
        """The spool file of an instance that is in place though its row may not be there, or ""."""
        return self._spool.path if self._spool.is_placed else ""

    @property
    def identity(self) -> tuple[InstanceKey | None, str, str]:
        """Key, SOP Class UID and SOP Instance UID as far as they are known."""
        header, claim = self._spool.header, self._spool.claim
        if header is None:
            return None, claim.sop_class_uid, claim.sop_instance_uid
        return instances.key_of(header), header.sop_class_uid, header.sop_instance_uid


async def _immediately() -> None:
    """There is room already."""


def _receive(spool: Spool, chunks: list[bytes | memoryview], spooled: bool, duplicates: Duplicates) -> Callable[[Any], Any]:
    """In the disk pool: everything up to the durable file; the answer is the writer's part."""
    try:
        if spooled:
            spool.write(chunks)
            arrival = spool.finish()
        else:
            arrival = spool.take(chunks)
    except BaseException:
        spool.discard()
        raise
    return partial(_admit, spool=spool, arrival=arrival, duplicates=duplicates)


def _admit(
    connection: Any, *, spool: Spool, arrival: Arrival, duplicates: Duplicates
) -> tuple[Arrival, Admission | ServiceError]:
    """In the writer: the row. The spool name goes, and a file that is not needed, when the row is durable."""
    folder, files = spool.folder, placed(spool, arrival)
    try:
        admission = instances.admit(connection, arrival, duplicates, folder)
    except ServiceError as error:
        after_commit(connection, spool.withdraw, files)
        return arrival, error
    taken = admission.fate in (Fate.STORED, Fate.REPLACED, Fate.RESTORED)
    after_commit(connection, folder.committed if taken else folder.withdraw, files)
    if admission.obsolete:
        after_commit(connection, folder.supersede, admission.obsolete, arrival.file, admission.stored_at)
    return arrival, admission


@define(eq=False)
class Storage:
    """Receives instances into the store folder and the index, and publishes `InstanceStored`."""

    _workers: Workers
    _folder: Folder
    _hub: EventHub
    _rules: Rules = field(factory=Rules)
    _duplicates: Duplicates = Duplicates.REPLACE
    _keeping_up: bool = field(init=False, default=False)

    def begin(
        self, source: Source, *, sop_class_uid: str = "", sop_instance_uid: str = "", transfer_syntax_uid: str = ""
    ) -> Reception:
        """Begin to receive an instance.

        With the three UIDs (DIMSE) the bytes written are the bare data set, and the head of the Part 10 file is made here;
        without them (HTTP) a whole Part 10 file arrives.
        """
        claim = Claim(
            sop_class_uid,
            sop_instance_uid,
            transfer_syntax_uid,
            calling_ae_title=source.calling_ae_title,
            sent_by=source.calling_ae_title or source.peer,
        )
        return Reception(self._workers, Spool(self._folder, self._rules, claim))

    async def store(self, reception: Reception, target: Target = ANYWHERE) -> StoreOutcome:
        """Store what was received; never raises, the outcome tells. `target`: where it must belong."""
        try:
            arrival, admission = await reception.complete(target, self._duplicates, self._committed)
        except (ServiceError, OSError) as error:
            if isinstance(error, OSError):
                log.error("an instance could not be stored: %s", error.strerror)
            await self._leave_nothing(reception)
            return _refused(reception, refusal(error))
        header = arrival.header
        return StoreOutcome(
            instances.key_of(header),
            header.sop_class_uid,
            header.sop_instance_uid,
            Status.SUCCESS,
            _COMMENTS[admission.fate],
            admission.fate,
            arrival.transfer_syntax_uid,
        )

    async def _leave_nothing(self, reception: Reception) -> None:
        """After a commit that failed; where this fails too, the sweep at the next start does it."""
        if spool := reception.in_doubt:
            try:
                await self._workers.write(resolve, self._folder, spool)
            except (ServiceError, OSError) as error:
                log.warning("what was written of an instance stays until the next start: %s", error)

    def _committed(self, result: tuple[Arrival, Admission | ServiceError]) -> None:
        arrival, admission = result
        if self._folder.wants_upkeep and not self._keeping_up:
            self._keeping_up = True
            spawn(self._keep_up())
        if isinstance(admission, ServiceError):
            return
        if admission.fate in (Fate.IDENTICAL, Fate.KEPT):
            if admission.fate is Fate.KEPT:
                log.info("instance %s kept as it is: %s sent another one", arrival.header.sop_instance_uid, arrival.sent_by)
            return
        replaced = admission.fate is not Fate.STORED
        if replaced:
            log.info("instance %s replaced by one from %s", arrival.header.sop_instance_uid, arrival.sent_by)
            if admission.obsolete:
                spawn(self._forget(admission.obsolete))
        self._hub.publish(
            InstanceStored(
                instances.key_of(arrival.header),
                arrival.header.sop_class_uid,
                arrival.transfer_syntax_uid,
                admission.row,
                arrival.sent_by,
                replaced,
            )
        )

    async def _keep_up(self) -> None:
        try:
            await self._workers.tidy(self._folder.keep_up)
        except OSError as error:
            log.error("the store folder could not be kept up: %s", error.strerror)
        finally:
            self._keeping_up = False

    async def _forget(self, file: str) -> None:
        await self._workers.write(instances.forget_removals, [file])


_COMMENTS = {
    Fate.STORED: "",
    Fate.IDENTICAL: "held already, with the same content",
    Fate.RESTORED: "restored a damaged file with the same content",
    Fate.REPLACED: "replaced what was held under the same SOP Instance UID",
    Fate.KEPT: "other content is held under the same SOP Instance UID and was kept",
}


def _refused(reception: Reception, error: ServiceError) -> StoreOutcome:
    key, sop_class_uid, sop_instance_uid = reception.identity
    valid = sop_instance_uid if is_uid(sop_instance_uid) else ""
    log.info("instance %s refused with %04X: %s", valid, error.status, error.comment)
    return StoreOutcome(key, sop_class_uid, sop_instance_uid, error.status, error.comment, offending=error.offending, error=error)
