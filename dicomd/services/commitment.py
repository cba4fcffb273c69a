"""Storage commitment (PS3.4 J, PS3.18 13): to commit means to verify that the row is there, the SOP class is the one asked for,
and the file is still what was stored.

Requests are remembered before they are answered, checked in the background, and their results kept. A request that came over
DIMSE is reported: on the association it came by if that is still there, else by the outbox, until delivered or expired.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field

from ..model import commitment as rules
from ..model.attributes import Attributes
from ..model.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, Checked, Reference
from ..model.identifiers import is_uid
from ..model.status import Gone, InvalidRequest, NoSuchInstance, ServiceError, Status
from ..store import commitments
from ..store.commitments import Commitment
from ..store.files import Folder
from ..store.outbox import Letter
from ..store.rebuild import Held
from ..workers import Gate, Workers, spawn
from .hub import Clock

log = logging.getLogger(__name__)

# References a job: other background work gets its turn between them.
_PAGE = 16
_DAY = 86400
_RETRY_SECONDS = 5.0
# SOP classes of services, which are never stored (PS3.4 A, B.5): Verification, directories, management, worklists, queries.
_NEVER_STORED = tuple(
    "1.2.840.10008." + arc for arc in ("1.1", "1.3.", "1.20.", "1.40", "1.42", "3.1.2.", "5.1.1.", "5.1.4.1.2.", "5.1.4.31")
)

# Tries to report on the association of the request: (event type, information) -> whether the peer took it.
Report = Callable[[int, Attributes], Awaitable[bool]]


@define(eq=False)
class StorageCommitment:
    """Takes requests, checks them, tells results. `wake` is called when there is something for the outbox to deliver."""

    _workers: Workers
    _folder: Folder
    _clock: Clock
    _wake: Callable[[], None]
    sop_classes: frozenset[str] = frozenset()
    keep_days: int = 30
    report_hours: int = 72
    _checking: dict[str, Gate] = field(init=False, factory=dict)

    def start(self) -> None:
        """Go on with what an earlier run left."""
        spawn(self._resume())

    async def _resume(self) -> None:
        for request in await self._workers.read(commitments.unfinished):
            self.begin(request)

    async def remember(self, transaction_uid: str, requests: Sequence[Attributes], ae_title: str = "") -> Commitment:
        """Keep a request durably; `begin` starts to check it. Raises `InvalidRequest`, or 0131 for a UID in use."""
        if not is_uid(transaction_uid):
            raise InvalidRequest(
                "Transaction UID is missing or not a UID", Status.INVALID_ARGUMENT_VALUE, offending=(0x00081195,)
            )
        request = Commitment(transaction_uid, tuple(rules.read(requests)), ae_title)
        await self._workers.write(commitments.remember, request, self._now())
        return request

    def begin(self, request: Commitment, report: Report | None = None) -> None:
        """Check and report in the background."""
        self._checking[request.transaction_uid] = Gate()
        spawn(self._work(request, report))

    async def _work(self, request: Commitment, report: Report | None) -> None:
        try:
            result = request.result
            if result is None:
                result = rules.result(await self._check(request.references))
                await self._workers.write(commitments.finish, request.transaction_uid, result)
            if request.ae_title and not request.reported:
                await self._report(request, result, report)
        except ServiceError as error:
            log.warning("storage commitment %s is put off: %s", request.transaction_uid, error.comment)
            self._clock.callLater(_RETRY_SECONDS, self.begin, request, report)
        finally:
            self._checking.pop(request.transaction_uid).open()

    async def _check(self, references: Sequence[Reference]) -> list[Checked]:
        checked: list[Checked] = []
        for start in range(0, len(references), _PAGE):
            found = await self._workers.read(commitments.look_up, references[start : start + _PAGE])
            files = [held for _, held in found if held is not None]
            sound = iter(await self._workers.prepare(_sound, self._folder, files) if files else [])
            for one, held in found:
                if held is not None and not next(sound):
                    log.error("instance %s is not committed: its file is damaged", held.sop_instance_uid)
                    one = Checked(one.reference, Status.PROCESSING_FAILURE)
                checked.append(self._judged(one))
        return checked

    def _judged(self, one: Checked) -> Checked:
        """An instance that is not held because its class never is, is told so."""
        sop_class = one.reference.sop_class_uid
        refused = bool(self.sop_classes) and sop_class not in self.sop_classes
        if one.failure is Status.NO_SUCH_SOP_INSTANCE and (refused or sop_class.startswith(_NEVER_STORED)):
            return Checked(one.reference, Status.SOP_CLASS_NOT_SUPPORTED)
        return one

    async def _report(self, request: Commitment, result: Attributes, report: Report | None) -> None:
        kind, information = rules.event(request.transaction_uid, result)
        delivered = report is not None and await report(kind, information)
        letter = None
        if not delivered:
            names = ("N-EVENT-REPORT", PUSH_MODEL, PUSH_MODEL_INSTANCE)
            letter = Letter(request.ae_title, *names, information, kind)
        keep = self.report_hours * 3600
        await self._workers.write(commitments.reported, request.transaction_uid, letter, self._now(), keep)
        if letter is not None:
            self._wake()

    async def result(self, transaction_uid: str, patience: float = 0.0) -> Attributes | None:
        """The result; None while it is being worked out, for which up to `patience` seconds are waited.

        Raises `NoSuchInstance` for an unknown transaction, `Gone` when its result is no longer kept.
        """
        gate = self._checking.get(transaction_uid)
        if gate is not None and patience:
            timer = self._clock.callLater(patience, gate.open)
            await gate.wait()
            if timer.active():
                timer.cancel()
        found = await self._workers.read(commitments.find, transaction_uid)
        if found is None:
            raise NoSuchInstance("there is no such storage commitment request")
        if found.discarded:
            raise Gone("the result of this storage commitment request is no longer kept")
        return found.result

    async def expire(self) -> None:
        """Discard what was kept long enough; that a transaction UID was used is remembered ten times as long."""
        days = self.keep_days * _DAY
        await self._workers.write(commitments.expire, self._now() - days, self._now() - 10 * days)

    def _now(self) -> int:
        return int(self._clock.seconds())


def _sound(folder: Folder, files: Sequence[Held]) -> list[bool]:
    return [commitments.is_sound(folder, held) for held in files]
