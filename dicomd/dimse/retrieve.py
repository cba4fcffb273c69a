"""C-GET and C-MOVE as SCP (PS3.4 C.4.2 and C.4.3): Patient Root, Study Root, the retired Patient/Study Only, and the models of
non-patient instances (PS3.4 GG)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.logger import Logger

from ..model import non_patient
from ..model.identifiers import Peer
from ..model.keys import Level
from ..model.retrieval import wanted
from ..model.status import ServiceError, Status
from ..services.hub import Clock, Peers
from ..services.transfers import Plan, Transfers
from ..wire import datasets
from ..wire.messages import CommandField
from ..wire.negotiation import echo_bits
from .association import Association, AssociationEnded, as_comment
from .outbound import Connector, PeerUnavailable
from .service import Message, Service
from .sub_operations import Counts, Originator, Outlet, Work, drain

log = Logger()

_ROOT = "1.2.840.10008.5.1.4.1.2"
_LEVELS = tuple(Level)
# PS3.4 C.6.1, C.6.2, C.6.3: the levels of each information model; .2 is MOVE, .3 is GET
_MODELS: dict[str, tuple[Level, ...]] = {
    f"{_ROOT}.1": _LEVELS,
    f"{_ROOT}.2": _LEVELS[1:],
    f"{_ROOT}.3": _LEVELS[:2],
}
# Byte 1, relational retrieval: the behaviour is the same with and without. Byte 2, enhanced multi-frame view: no.
_EXTENDED = echo_bits(b"\1\0")
# MOVE or GET of non-patient instances -> their storage SOP classes
_STORED = {uid: model.storage for model in non_patient.MODELS for uid in (model.move, model.get)}
_MOST_CONTEXTS = 128
# A Pending response at the beginning, then at most one in this many seconds.
_PROGRESS = 0.5
# Another association to a C-MOVE destination is worth its while from so many instances each.
_WORTH_AN_ASSOCIATION = 25


@define(eq=False)
class Progress:
    """Pending responses with counts, and the final one."""

    association: Association
    message: Message
    counts: Counts
    clock: Clock
    _told: float = field(default=float("-inf"), init=False)

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants the rest."""
        return self.association.is_cancelled(self.message)

    async def tell(self) -> None:
        """PS3.7 9.1.3.1.6: the counts as they are, now and then."""
        now = self.clock.seconds()
        if self.counts.remaining and now - self._told >= _PROGRESS and not self.is_cancelled:
            self._told = now
            elements: dict[str, Any] = self.counts.elements(with_remaining=True)
            await self.association.respond(self.message, Status.PENDING, **elements)

    async def finish(self) -> None:
        """The one final response; a list of what failed comes with it."""
        cancelled = self.message.is_cancelled
        status = Status.CANCEL if cancelled else self.counts.status
        elements: dict[str, Any] = self.counts.elements(with_remaining=cancelled)
        if status.is_failure and self.counts.reason:
            elements["error_comment"] = as_comment(self.counts.reason)
        await self.association.respond(self.message, status, dataset=self._failed_list(), **elements)

    def _failed_list(self) -> bytes | None:
        if not self.counts.failed_uids:
            return None
        attributes = {"00080058": {"vr": "UI", "Value": self.counts.failed_uids}}
        return datasets.encode(attributes, self.message.context.transfer_syntax)


class Retrieval:
    """Sends stored instances, on the same association or to a known peer."""

    def __init__(
        self, transfers: Transfers, connector: Connector, peers: Peers, clock: Clock, *, most_associations: int = 2
    ) -> None:
        self._transfers = transfers
        self._connector = connector
        self._peers = peers
        self._clock = clock
        self._most_associations = most_associations

    def services(self) -> list[Service]:
        """A row for each model and operation."""
        rows = []
        for root, levels in _MODELS.items():
            move, get = partial(self.move, levels), partial(self.get, levels)
            rows.append(Service((f"{root}.2",), {CommandField.C_MOVE: move}, extended=_EXTENDED, name="move"))
            rows.append(Service((f"{root}.3",), {CommandField.C_GET: get}, extended=_EXTENDED, name="get"))
        for model in non_patient.MODELS:
            rows.append(Service((model.move,), {CommandField.C_MOVE: partial(self.move, ())}, name="non-patient"))
            rows.append(Service((model.get,), {CommandField.C_GET: partial(self.get, ())}, name="non-patient"))
        return rows

    async def get(self, levels: Sequence[Level], association: Association, message: Message) -> None:
        """PS3.4 C.4.3: sub-operations on the association itself, on contexts where the peer took the SCP role."""
        plan = await self._plan(levels, message)
        counts = Counts(len(plan.rows))
        progress = Progress(association, message, counts, self._clock)
        work = Work(self._transfers, plan, counts, lambda: not progress.is_cancelled)
        await progress.tell()
        await drain(Outlet(association, self._transfers, priority=message.command.priority or 0), work, progress.tell)
        await work.give_up("deleted meanwhile")
        await progress.finish()

    async def move(self, levels: Sequence[Level], association: Association, message: Message) -> None:
        """PS3.4 C.4.2: sub-operations on associations of our own to the Move Destination."""
        peer = self._peers.find(message.command.move_destination)
        if peer is None:
            raise ServiceError("the move destination is not known here", Status.MOVE_DESTINATION_UNKNOWN)
        plan = await self._plan(levels, message)
        counts = Counts(len(plan.rows))
        progress = Progress(association, message, counts, self._clock)
        work = Work(self._transfers, plan, counts, lambda: not progress.is_cancelled)
        if plan.rows:
            await progress.tell()
            await self._deliver(peer, plan, work, progress)
            await work.give_up("the association to the move destination was lost")
        await progress.finish()

    async def _plan(self, levels: Sequence[Level], message: Message) -> Plan:
        if not message.dataset:
            raise ServiceError("there is no Identifier", Status.IDENTIFIER_MISMATCH)
        identifier = datasets.decode(message.dataset, message.context.transfer_syntax)
        classes = _STORED.get(message.context.abstract_syntax, ())
        return await self._transfers.plan(evolve(wanted(identifier, levels), sop_class_uids=classes))

    async def _deliver(self, peer: Peer, plan: Plan, work: Work, progress: Progress) -> None:
        """On one association or several at a time; one that breaks leaves its rest to the others."""
        number = max(1, min(self._most_associations, len(plan.rows) // _WORTH_AN_ASSOCIATION))
        command = progress.message.command
        originator = Originator(progress.association.peer_ae_title, progress.message.id)

        async def one() -> None:
            try:
                association = await self._connector.connect(peer, self._contexts(plan))
            except PeerUnavailable as error:
                log.info("C-MOVE: {why}", why=error.comment)
                work.counts.reason = work.counts.reason or error.comment
                return
            outlet = Outlet(association, self._transfers, originator, command.priority or 0)
            try:
                await drain(outlet, work, progress.tell)
            except AssociationEnded:
                log.info("C-MOVE: an association to {peer} was lost", peer=peer.ae_title)
            finally:
                association.release()

        results = await DeferredList([ensureDeferred(one()) for _ in range(number)], consumeErrors=True)
        for succeeded, failure in results:
            if not succeeded:
                failure.raiseException()

    def _contexts(self, plan: Plan) -> list[tuple[str, tuple[str, ...]]]:
        """One context for each kind as stored, the most frequent first; for each class one with what can be made of it."""
        transcoder = self._transfers.transcoder
        kinds = sorted(plan.kinds, key=lambda kind: -plan.kinds[kind])
        stored: list[tuple[str, tuple[str, ...]]] = [(sop_class, (syntax,)) for sop_class, syntax in kinds]
        made: dict[str, dict[str, None]] = {}
        for sop_class, syntax in kinds:
            made.setdefault(sop_class, {}).update(dict.fromkeys(transcoder.targets(syntax)))
        for sop_class, syntaxes in made.items():
            stored += [(sop_class, (target,)) for target in syntaxes if (sop_class, (target,)) not in stored]
        return stored[:_MOST_CONTEXTS]
