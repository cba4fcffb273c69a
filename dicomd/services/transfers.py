"""Transfers: what C-GET and C-MOVE send, and its bytes, for the DIMSE door (PS3.4 C.4.2, C.4.3).

Instances are sent as they are stored. Where the receiver takes only other transfer syntaxes, a `Transcoder` may make one of
them; without one such an instance fails.
"""

import os
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from typing import Protocol

from attrs import define, field

from ..model.retrieval import Wanted
from ..model.status import ServiceError, Status
from ..store import transfers
from ..store.files import Folder
from ..store.retrieval import StoredInstance
from ..store.transfers import Plan
from ..workers import Workers
from .pace import Pace

__all__ = ["Plan", "StoredInstance", "Transcoder", "Transfers", "is_small"]

# Instances up to this size are read at once, larger ones in steps of at most this size.
STEP = 512 * 1024
_PAGE = 200


class Transcoder(Protocol):
    """Makes the data set of an instance in another transfer syntax."""

    def targets(self, transfer_syntax_uid: str) -> Sequence[str]:
        """What it can make of instances that are stored in this transfer syntax, best first."""

    def transcode(self, instance: StoredInstance, transfer_syntax_uid: str) -> Awaitable[AsyncGenerator[bytes, None]]:
        """The data set in chunks of even length; raises `ServiceError` when it turns out to be impossible."""


class NoTranscoder:
    """Sends only what is stored."""

    def targets(self, transfer_syntax_uid: str) -> Sequence[str]:
        """Nothing."""
        return ()

    def transcode(self, instance: StoredInstance, transfer_syntax_uid: str) -> Awaitable[AsyncGenerator[bytes, None]]:
        """Never asked for."""
        raise ServiceError("not possible", Status.CANNOT_PERFORM_SUB_OPERATIONS)


@define(eq=False)
class Transfers:
    """Instances of the archive, for sending."""

    _workers: Workers
    _folder: Folder
    transcoder: Transcoder = field(factory=NoTranscoder)

    async def plan(self, wanted: Wanted) -> Plan:
        """What is to be sent."""
        return await self._workers.read(transfers.plan, wanted)

    async def pages(self, plan: Plan) -> AsyncIterator[list[StoredInstance]]:
        """The instances of a plan; memory does not grow with their number."""
        for start in range(0, len(plan.rows), _PAGE):
            rows: array[int] = plan.rows[start : start + _PAGE]
            yield await self._workers.read(transfers.page, self._folder, rows)

    async def read(self, instances: Sequence[StoredInstance]) -> list[bytes | ServiceError]:
        """The data sets of small instances as they are stored, read in one go; or why one cannot be had."""
        return await self._workers.disk(_read_all, instances) if instances else []

    async def chunks(self, instance: StoredInstance) -> AsyncGenerator[bytes, None]:
        """The data set as it is stored, step by step. Raises `ServiceError`."""
        file = await self._workers.disk(_open, instance)
        try:
            offset, pace = instance.dataset_offset, Pace(STEP)
            while offset < instance.size:
                length = min(pace.next(), instance.size - offset)
                yield await self._workers.disk(_read, file, offset, length)
                offset += length
        finally:
            os.close(file)


def _open(instance: StoredInstance) -> int:
    try:
        file = os.open(instance.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise _damaged() from None
    if os.fstat(file).st_size != instance.size:
        os.close(file)
        raise _damaged()
    return file


def _read(file: int, offset: int, length: int) -> bytes:
    try:
        data = os.pread(file, length, offset)
    except OSError:
        raise _damaged() from None
    if len(data) != length:
        raise _damaged()
    return data


def _read_all(instances: Sequence[StoredInstance]) -> list[bytes | ServiceError]:
    found: list[bytes | ServiceError] = []
    for instance in instances:
        try:
            found.append(_read_one(instance))
        except ServiceError as error:
            found.append(error)
    return found


def _read_one(instance: StoredInstance) -> bytes:
    file = _open(instance)
    try:
        return _read(file, instance.dataset_offset, instance.size - instance.dataset_offset)
    finally:
        os.close(file)


def is_small(instance: StoredInstance) -> bool:
    """Whether an instance is read at once, together with others."""
    return instance.size <= STEP


def _damaged() -> ServiceError:
    return ServiceError("the stored file is missing or damaged")
