"""Event reports to a subscriber's configured application entity, one after the other, until each is answered (PS3.4 CC.2.4)."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from attrs import define, field

from ..model.attributes import Attributes
from ..model.identifiers import Peer
from ..model.status import MalformedDataset, ServiceError, Status
from ..model.workitem_attributes import GLOBAL_SUBSCRIPTION, UPS_PUSH
from ..model.workitem_events import Report
from .event_delivery import Link
from .hub import Clock, Timer

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 600.0


class Reporter(Protocol):
    """The part of the DIMSE door that is needed."""

    def reporting(
        self, peer: Peer, sop_class_uid: str
    ) -> AbstractAsyncContextManager[Callable[[str, int, Attributes], Awaitable[Status]]]:
        """An association; the function sends an N-EVENT-REPORT over it: instance, event type, information."""


@define(eq=False)
class RemoteSubscriber:
    """A channel (see `event_delivery.Channel`) that sends N-EVENT-REPORTs to a peer."""

    _peer: Peer
    _sender: Reporter
    _clock: Clock
    _run: Callable[[Coroutine[Any, Any, None]], Any]
    _link: Link | None = field(init=False, default=None)
    _busy: bool = field(init=False, default=False)
    _stopped: bool = field(init=False, default=False)
    _timer: Timer | None = field(init=False, default=None)
    _retry_in: float = field(init=False, default=FIRST_RETRY_SECONDS)

    def linked(self, link: Link) -> None:
        """It is open for a subscriber from now on."""
        self._link = link

    @property
    def ready(self) -> bool:
        """Neither sending nor waiting for a retry."""
        return not self._busy

    @property
    def is_sending(self) -> bool:
        """Busy, and not only because it waits for a retry."""
        return self._busy and not self._stopped and (self._timer is None or not self._timer.active())

    def send(self, reports: Sequence[Report]) -> None:
        """Send these, in this order."""
        self._busy = True
        self._run(self._deliver(reports))

    def stop(self) -> None:
        """Begin no more deliveries; what is under way may still fail."""
        self._busy = self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def _deliver(self, reports: Sequence[Report]) -> None:
        """All over one association, unless a channel is opened meanwhile; whatever the subscriber answers, it has the report."""
        assert self._link is not None
        try:
            async with self._sender.reporting(self._peer, UPS_PUSH) as send:
                for report in reports:
                    await self._report(send, report)
                    self._retry_in = FIRST_RETRY_SECONDS
                    self._link.delivered(report.id)
                    if self._stopped:
                        return
                    if not self._link.is_open:
                        break
        except ServiceError as error:
            log.info("event reports to %s: %s", self._peer.ae_title, error.comment)
            self._retry_later()
            return
        self._again()

    async def _report(self, send: Callable[[str, int, Attributes], Awaitable[Status]], report: Report) -> None:
        """What cannot be said in this encoding never can: it is dropped, so that it does not hold up all that follows."""
        event = report.event
        try:
            await send(event.sop_instance_uid or GLOBAL_SUBSCRIPTION, event.type, event.information)
        except MalformedDataset as error:
            log.warning("event report %d to %s was dropped: %s", report.id, self._peer.ae_title, error.comment)

    def _retry_later(self) -> None:
        if not self._stopped:
            self._timer = self._clock.callLater(self._retry_in, self._again)
            self._retry_in = min(self._retry_in * 2, LONGEST_RETRY_SECONDS)

    def _again(self) -> None:
        assert self._link is not None
        self._busy = False
        self._link.retry()
