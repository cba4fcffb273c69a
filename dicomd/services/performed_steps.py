"""Modality performed procedure steps (PS3.4 F): create, update, read; the scheduled steps and other systems follow.

One core under both doors: DIMSE N-CREATE, N-SET, N-GET and the resources of PS3.18 chapter 15.
"""

from collections.abc import Callable, Sequence
from uuid import uuid4

from attrs import define, field, frozen

from ..model.attributes import Attributes, attribute, items, text
from ..model.identifiers import is_uid
from ..model.performed_steps import PERFORMED_SERIES, PerformedState, check_creation, check_update
from ..model.scheduled_steps import StepIdentity
from ..model.status import ServiceError, Status
from ..store import performed_steps, scheduled_steps
from ..store.outbox import Letter
from ..store.performed_steps import Change
from .hub import Clock, EventHub, Workers

SOP_CLASS_UID = "1.2.840.10008.3.1.2.3.3"
RETRIEVE_SOP_CLASS_UID = "1.2.840.10008.3.1.2.3.4"
NOTIFICATION_SOP_CLASS_UID = "1.2.840.10008.3.1.2.3.5"

# PS3.4 F.9.2: the events of the Notification SOP Class
_EVENT_OF_STATE = {PerformedState.IN_PROGRESS: 1, PerformedState.COMPLETED: 2, PerformedState.DISCONTINUED: 3}
_EVENT_UPDATED = 4


@frozen
class PerformedStepChanged:
    """A step was created or set; published after commit."""

    change: Change
    created: bool


@frozen
class Links:
    """What a performed step belongs to: scheduled steps, each with its row on the worklist if it is there; the instances it
    names, and whether the archive holds them."""

    scheduled: tuple[tuple[StepIdentity, int | None], ...]
    instances: tuple[tuple[str, bool], ...]


@define(eq=False)
class PerformedSteps:
    """`forward_to` get every N-CREATE and N-SET, `notify` an N-EVENT-REPORT of each change; both are AE titles."""

    _workers: Workers
    _hub: EventHub
    _clock: Clock
    _wake_outbox: Callable[[], None]
    _lenient: bool = False
    _forward_to: tuple[str, ...] = ()
    _notify: tuple[str, ...] = ()
    _keep_seconds: int = field(default=3 * 86400)

    async def create(self, uid: str, attributes: Attributes) -> str:
        """N-CREATE; the SOP Instance UID, made here when `uid` is empty. Raises the statuses of PS3.4 F.7.2.1.3."""
        uid = uid or f"2.25.{uuid4().int}"
        if not is_uid(uid):
            raise ServiceError("expected a UID as SOP Instance UID", Status.INVALID_SOP_INSTANCE)
        given = {tag: value for tag, value in attributes.items() if tag not in ("00080016", "00080018")}
        step = check_creation(given, lenient=self._lenient)

        def letters(change: Change) -> Sequence[Letter]:
            return [*self._forwards("N-CREATE", uid, step), *self._notices(change)]

        change = await self._workers.write(performed_steps.create, uid, step, letters, self._now(), self._keep_seconds)
        self._tell(PerformedStepChanged(change, True))
        return uid

    async def update(self, uid: str, changes: Attributes) -> None:
        """N-SET; raises the statuses of PS3.4 F.7.2.2.3, `NoSuchInstance` for an unknown step."""

        def apply(held: Attributes) -> Attributes:
            return check_update(held, changes, lenient=self._lenient)

        def letters(change: Change) -> Sequence[Letter]:
            return [*self._forwards("N-SET", uid, changes), *self._notices(change)]

        change = await self._workers.write(performed_steps.change, uid, apply, letters, self._now(), self._keep_seconds)
        self._tell(PerformedStepChanged(change, False))

    async def retrieve(self, uid: str, tags: Sequence[str] | None = None) -> Attributes:
        """N-GET: the attributes with these tags, or all (PS3.4 F.8.2.1)."""
        step: Attributes = await self._workers.read(performed_steps.get, uid)
        step = {"00080016": attribute("UI", SOP_CLASS_UID), "00080018": attribute("UI", uid), **step}
        if tags is None:
            return dict(sorted(step.items()))
        return {tag: step[tag] for tag in sorted(set(tags)) if tag in step}

    async def links(self, uid: str) -> Links:
        """The scheduled steps and the instances of a performed step."""
        step: Attributes = await self._workers.read(performed_steps.get, uid)
        series = items(step, PERFORMED_SERIES)
        named = [text(image, "00081155") for one in series for tag in ("00081140", "00400220") for image in items(one, tag)]
        held = await self._workers.read(performed_steps.stored, named)
        scheduled = performed_steps.scheduled(step)
        rows = await self._workers.read(scheduled_steps.rows_called, scheduled)
        return Links(tuple(zip(scheduled, rows, strict=True)), tuple((name, name in held) for name in named))

    def _forwards(self, operation: str, uid: str, attributes: Attributes) -> list[Letter]:
        return [Letter(title, operation, SOP_CLASS_UID, uid, attributes) for title in self._forward_to]

    def _notices(self, change: Change) -> list[Letter]:
        event = _EVENT_OF_STATE[change.state] if change.state_changed else _EVENT_UPDATED
        return [
            Letter(title, "N-EVENT-REPORT", NOTIFICATION_SOP_CLASS_UID, change.sop_instance_uid, {}, event)
            for title in self._notify
        ]

    def _tell(self, event: PerformedStepChanged) -> None:
        self._hub.publish(event)
        if self._forward_to or self._notify:
            self._wake_outbox()

    def _now(self) -> int:
        return int(self._clock.seconds())
