"""C-STORE sub-operations of C-GET and C-MOVE: an instance over an association, and the counts (PS3.4 C.4.2.2, C.4.3.2)."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock, ensureDeferred
from twisted.logger import Logger

from ..model.status import ServiceError, Status
from ..services.pace import Pace
from ..services.transfers import Plan, StoredInstance, Transfers, is_small
from ..wire.messages import Command, CommandField
from ..wire.negotiation import Context
from .association import Association, AssociationEnded

log = Logger()

# Failed SOP Instance UID List has a limit for the sake of memory; the counts have none.
LONGEST_FAILED_LIST = 20000
# Small instances are read together, which spares most of the ways into another thread and back.
MOST_TOGETHER = 16
BYTES_TOGETHER = 1 << 20
_NO_SYNTAX = "the receiver takes it in no transfer syntax that can be had"


@frozen
class Originator:
    """Who asked for a C-MOVE (PS3.7 9.1.1.1.5 and .6)."""

    ae_title: str = ""
    message_id: int | None = None


@define(eq=False)
class Counts:
    """Numbers of sub-operations, and which instances failed."""

    remaining: int
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(factory=list)
    reason: str = ""

    def note(self, sop_instance_uid: str, status: int, reason: str = "") -> None:
        """One is done."""
        self.remaining -= 1
        if status == Status.SUCCESS:
            self.completed += 1
        elif status >> 12 == 0xB:
            self.warning += 1
        else:
            self.failed += 1
            self.reason = self.reason or reason
            if len(self.failed_uids) < LONGEST_FAILED_LIST:
                self.failed_uids.append(sop_instance_uid)

    def elements(self, *, with_remaining: bool) -> dict[str, int]:
        """For a response; Remaining is for Pending and Cancel only (PS3.7 9.1.3.1.6)."""
        counts = {
            "completed_suboperations": self.completed,
            "failed_suboperations": self.failed,
            "warning_suboperations": self.warning,
        }
        if with_remaining:
            counts["remaining_suboperations"] = self.remaining
        return {name: min(count, 0xFFFF) for name, count in counts.items()}

    @property
    def status(self) -> Status:
        """The final one, when all were tried."""
        if self.failed and not self.completed and not self.warning:
            return Status.CANNOT_PERFORM_SUB_OPERATIONS
        return Status.COERCED if self.failed or self.warning else Status.SUCCESS


@define(eq=False)
class Outlet:
    """Sends instances over one association, on which this side is SCU of storage."""

    association: Association
    transfers: Transfers
    originator: Originator = Originator()
    priority: int = 0
    _contexts: dict[tuple[str, str], Context | None] = field(factory=dict, init=False)

    async def prepare(self, group: Sequence[StoredInstance]) -> list["Prepared"]:
        """Choose contexts and get data sets; what makes one impossible is kept for `send`."""
        contexts = [self._context(instance) for instance in group]
        together = [one for one, context in zip(group, contexts, strict=True) if self._is_plain(one, context)]
        read = iter(await self.transfers.read(together))
        prepared = []
        for instance, context in zip(group, contexts, strict=True):
            if context is None:
                prepared.append(Prepared(instance, refusal=ServiceError(_NO_SYNTAX, Status.SOP_CLASS_NOT_SUPPORTED)))
            elif self._is_plain(instance, context):
                data = next(read)
                refused = data if isinstance(data, ServiceError) else None
                prepared.append(Prepared(instance, context, b"" if isinstance(data, ServiceError) else data, refused))
            else:
                prepared.append(await self._prepare_alone(instance, context))
        return prepared

    @staticmethod
    def _is_plain(instance: StoredInstance, context: Context | None) -> bool:
        """Whether it is small and is sent as it is."""
        return context is not None and context.transfer_syntax == instance.transfer_syntax_uid and is_small(instance)

    async def _prepare_alone(self, instance: StoredInstance, context: Context) -> "Prepared":
        if context.transfer_syntax == instance.transfer_syntax_uid:
            return Prepared(instance, context, self.transfers.chunks(instance))
        try:
            return Prepared(instance, context, await self.transfers.transcoder.transcode(instance, context.transfer_syntax))
        except ServiceError as error:
            return Prepared(instance, refusal=error)

    async def send(self, prepared: "Prepared") -> tuple[int, str]:
        """C-STORE: the status, and why it is a failure. A lost association raises `AssociationEnded`."""
        refusal, context = prepared.refusal, prepared.context
        if refusal is not None or context is None:
            why = refusal.comment if refusal else ""
            log.info("instance {uid} not sent: {why}", uid=prepared.instance.key.sop_instance_uid, why=why)
            return refusal.status if refusal else Status.PROCESSING_FAILURE, why
        try:
            response, _ = await self.association.request(context, self._command(prepared.instance), prepared.data)
        except ServiceError as error:
            return error.status, error.comment
        return response.status or 0, response.error_comment

    def _context(self, instance: StoredInstance) -> Context | None:
        """As stored, else the best that the transcoder makes."""
        kind = (instance.sop_class_uid, instance.transfer_syntax_uid)
        if kind not in self._contexts:
            self._contexts[kind] = self._choose(*kind)
        return self._contexts[kind]

    def _choose(self, sop_class_uid: str, transfer_syntax_uid: str) -> Context | None:
        by_syntax = {context.transfer_syntax: context for context in self.association.contexts_for(sop_class_uid)}
        syntaxes = (transfer_syntax_uid, *self.transfers.transcoder.targets(transfer_syntax_uid))
        return next((by_syntax[syntax] for syntax in syntaxes if syntax in by_syntax), None)

    def _command(self, instance: StoredInstance) -> Command:
        return Command(
            CommandField.C_STORE,
            affected_sop_class_uid=instance.sop_class_uid,
            affected_sop_instance_uid=instance.key.sop_instance_uid,
            priority=self.priority,
            move_originator_ae_title=self.originator.ae_title,
            move_originator_message_id=self.originator.message_id,
        )


@frozen
class Prepared:
    """An instance about to be sent."""

    instance: StoredInstance
    context: Context | None = None
    data: bytes | AsyncGenerator[bytes, None] = b""
    refusal: ServiceError | None = None


class Work:
    """The instances of a plan, handed out to one or several outlets; memory does not grow with their number."""

    def __init__(self, transfers: Transfers, plan: Plan, counts: Counts, goes_on: Callable[[], bool]) -> None:
        self.counts = counts
        self.goes_on = goes_on
        self._pages = transfers.pages(plan)
        self._ready: deque[StoredInstance] = deque()
        self._turn = DeferredLock()

    async def take(self, most: int = BYTES_TOGETHER) -> list[StoredInstance]:
        """Some that come next, of `most` bytes together; none when all are given out or the work is to stop."""
        if not self._ready:
            await self._fill()
        group: list[StoredInstance] = []
        size = 0
        while self._ready and self.goes_on() and len(group) < MOST_TOGETHER:
            size += self._ready[0].size
            if group and size > most:
                break
            group.append(self._ready.popleft())
        return group

    async def _fill(self) -> None:
        await self._turn.acquire()
        try:
            while not self._ready and self.goes_on():
                page = await anext(self._pages, None)
                if page is None:
                    return
                self._ready.extend(page)
        finally:
            self._turn.release()

    def give_back(self, instances: Iterable[StoredInstance]) -> None:
        """They could not be tried."""
        self._ready.extendleft(instances)

    async def give_up(self, reason: str) -> None:
        """Nobody is left to do it: what remains has failed. So has what was deleted meanwhile."""
        while group := await self.take():
            for instance in group:
                self.counts.note(instance.key.sop_instance_uid, Status.PROCESSING_FAILURE, reason)
        if self.goes_on():
            self.counts.failed, self.counts.remaining = self.counts.failed + self.counts.remaining, 0


async def drain(outlet: Outlet, work: Work, after_each: Callable[[], Awaitable[None]]) -> None:
    """Send what there is, until nothing is left or the association is lost (`AssociationEnded`).

    While the receiver is busy with some instances, the next ones are read, unless it is slow or one of many.
    """
    pace = Pace(BYTES_TOGETHER)
    group = await _next(outlet, work, pace)
    while group:
        following = ensureDeferred(_next(outlet, work, pace)) if pace.is_ample else None
        for position, current in enumerate(group):
            if not work.goes_on():
                return
            uid = current.instance.key.sop_instance_uid
            try:
                status, reason = await outlet.send(current)
            except AssociationEnded:
                work.counts.note(uid, Status.PROCESSING_FAILURE, "the association was lost")
                work.give_back(one.instance for one in (*group[position + 1 :], *(await following if following else ())))
                raise
            work.counts.note(uid, status, reason)
            await after_each()
        group = await (following or _next(outlet, work, pace))


async def _next(outlet: Outlet, work: Work, pace: Pace) -> list[Prepared]:
    group = await work.take(pace.next())
    return await outlet.prepare(group) if group else []
