"""Delivery of event reports: to each subscriber in order and once, however slow, dead or far away the others are (PS3.4 CC.2.4).

Reports were written in the transaction of what they tell; here is only who still waits for which. At most `bound` reports wait
for a subscriber, the oldest are dropped. An open channel (a WebSocket) is fed at once, beginning with what waited; without one,
reports go to the subscriber's configured application entity. A report counts as delivered when its channel says so, and is
forgotten when all have it.

Everything here runs in the reactor thread, except `announce` and `meet`.
"""

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import groupby, islice
from typing import Any, Protocol

from attrs import define, field

from ..model.status import Busy
from ..model.workitem_events import Report
from ..store import event_reports, subscriptions
from .hub import Clock, Timer, Workers

log = logging.getLogger(__name__)

# Reports handed to a channel before it is asked again whether it can take more.
PORTION = 256
# A report goes out at once; those that follow within this time go out together, one write for each channel.
GATHER_SECONDS = 0.1
# How long it is gathered what was delivered, before it is written down.
SETTLE_SECONDS = 0.2
# Reports kept at hand for those who are a little behind.
RECENT = 4096


class Channel(Protocol):
    """A way to a subscriber. What was given to `send` is answered with `Link.delivered` when it has arrived."""

    def linked(self, link: "Link") -> None:
        """It is open for a subscriber from now on."""

    @property
    def ready(self) -> bool:
        """Whether it can take reports now; when it can again, it calls `Link.resume`."""

    def send(self, reports: Sequence[Report]) -> None:
        """Send these, in this order."""


class RemoteChannel(Channel, Protocol):
    """One that the server opens itself."""

    @property
    def is_sending(self) -> bool:
        """Whether it has begun to send reports and has not given up."""

    def stop(self) -> None:
        """Begin no more deliveries."""


@define(eq=False)
class Subscriber:
    """An application entity and the numbers of the reports that it has not got yet; `id` is 0 until it subscribes."""

    ae_title: str
    id: int = 0
    delivered: int = 0
    waiting: deque[int] = field(factory=deque)
    links: "list[Link]" = field(factory=list)
    remote: "Link | None" = None
    dropped: int = 0


@define(eq=False)
class Link:
    """A channel that is open for a subscriber, and the last report that it was given."""

    subscriber: Subscriber
    channel: Channel
    sent: int
    delivery: "Delivery"
    loading: bool = False

    @property
    def is_open(self) -> bool:
        """Channels as long as they are not closed; the configured application entity as long as there is none."""
        subscriber = self.subscriber
        return self in subscriber.links or (self is subscriber.remote and not subscriber.links)

    def resume(self) -> None:
        """The channel can take reports again."""
        self.delivery.feed(self)

    def delivered(self, number: int) -> None:
        """Every report up to this one has arrived."""
        self.delivery.arrived(self.subscriber, min(number, self.sent))

    def closed(self) -> None:
        """The channel is gone; what it had not delivered goes on waiting."""
        self.delivery.unlink(self)

    def retry(self) -> None:
        """What was given but not delivered is to be sent again, from the oldest."""
        self.sent = self.subscriber.delivered
        self.delivery.feed(self)


class Delivery:
    """Who waits for what.

    `call_from_thread` runs a function in the reactor thread, `run` starts a coroutine there. `open_remote` makes the channel to
    a subscriber's configured application entity, if it has one.
    """

    def __init__(
        self,
        workers: Workers,
        clock: Clock,
        call_from_thread: Callable[..., Any],
        run: Callable[[Coroutine[Any, Any, None]], Any],
        *,
        bound: int,
        gather: float = GATHER_SECONDS,
    ) -> None:
        self._workers, self._clock, self._run, self._bound, self._gather = workers, clock, run, bound, gather
        self._call_from_thread = call_from_thread
        self.open_remote: Callable[[str], RemoteChannel | None] = lambda ae_title: None
        self._remote: list[RemoteChannel] = []
        self._by_id: dict[int, Subscriber] = {}
        self._by_title: dict[str, Subscriber] = {}
        self._open: dict[int, int] = {}  # report -> how many still wait for it
        self._recent: dict[int, Report] = {}
        self._fresh: list[Report] = []
        self._distributed = 0.0
        self._next: Timer | None = None
        self._unsettled: dict[int, int] = {}
        self._finished: list[int] = []
        self._due: Timer | None = None
        self._stopped = False

    async def start(self) -> None:
        """Take up what waited when the server stopped."""
        known, waiting = await self._workers.read(_everything)
        for number, ae_title, delivered in known:
            self._met(number, ae_title, delivered)
        for report, recipients in waiting:
            late = [self._by_id[number] for number in recipients if self._by_id[number].delivered < report]
            self._open[report] = len(late) + 1
            for subscriber in late:
                subscriber.waiting.append(report)
                self._drop_oldest(subscriber)
            self._release(report)
        for subscriber in self._by_id.values():
            self._feed_all(subscriber)

    async def stop(self) -> None:
        """Write down what was delivered; the channels of clients are closed before."""
        self._stopped = True
        for channel in self._remote:
            channel.stop()
        while self._unsettled or self._finished:
            await self._write_down()
        if self._due is not None:
            self._due.cancel()
            self._due = None

    # ---- from the writing thread

    def announce(self, reports: Sequence[Report]) -> None:
        """New reports, durable now, in the order of their numbers."""
        self._call_from_thread(self._take, reports)

    def meet(self, number: int, ae_title: str) -> None:
        """A subscriber that is new; before its first report."""
        self._call_from_thread(self._met, number, ae_title, 0)

    def _met(self, number: int, ae_title: str, delivered: int) -> None:
        subscriber = self._by_title.setdefault(ae_title, Subscriber(ae_title))
        subscriber.id, subscriber.delivered = number, delivered
        self._by_id[number] = subscriber

    def _take(self, reports: Sequence[Report]) -> None:
        if not self._fresh:
            since = self._clock.seconds() - self._distributed
            self._next = self._clock.callLater(0 if since > self._gather else self._gather, self._distribute)
        self._fresh.extend(reports)

    def flush(self) -> None:
        """Send what is being gathered now."""
        if self._fresh and self._next is not None:
            self._next.cancel()
            self._distribute()

    def _distribute(self) -> None:
        self._distributed = self._clock.seconds()
        fresh, self._fresh = self._fresh, []
        concerned: dict[int, tuple[Report, ...]] = {}
        for recipients, together in groupby(fresh, lambda report: report.recipients):
            reports = tuple(together)
            for report in reports:
                self._open[report.id] = len(recipients) + 1
                self._recent[report.id] = report
            for number in recipients:
                concerned[number] = concerned[number] + reports if number in concerned else reports
        for number, reports in concerned.items():
            self._add(self._by_id[number], reports)
        for report in fresh:
            self._release(report.id)
        for number in list(islice(self._recent, max(0, len(self._recent) - RECENT))):
            del self._recent[number]

    def _add(self, subscriber: Subscriber, reports: tuple[Report, ...]) -> None:
        """Channels that have got everything before are given the new reports as they are."""
        before = subscriber.waiting[-1] if subscriber.waiting else subscriber.delivered
        current = [link for link in subscriber.links if link.sent >= before and link.channel.ready and not link.loading]
        subscriber.waiting.extend([report.id for report in reports])
        self._drop_oldest(subscriber)
        for link in current:
            self._hand_over(link, reports, reports[-1].id)
        if len(current) < len(subscriber.links) or not subscriber.links:
            self._feed_all(subscriber)

    # ---- who can be reached

    def reachable(self, is_configured: Callable[[str], bool]) -> set[int]:
        """Subscribers with an open channel or a configured application entity."""
        return {number for number, subscriber in self._by_id.items() if subscriber.links or is_configured(subscriber.ae_title)}

    @property
    def is_calling(self) -> bool:
        """Whether reports are on their way to configured application entities."""
        return any(channel.is_sending for channel in self._remote)

    # ---- who waits

    def backlog(self, ae_title: str) -> int:
        """How many reports wait for a subscriber."""
        subscriber = self._by_title.get(ae_title)
        return len(subscriber.waiting) if subscriber else 0

    @property
    def much(self) -> int:
        """A backlog that should not be added to without need."""
        return self._bound // 2

    def knows(self, ae_title: str) -> bool:
        """Whether this application entity subscribed once or has a channel open."""
        return ae_title in self._by_title

    def _drop_oldest(self, subscriber: Subscriber) -> None:
        """No more than `bound` reports wait."""
        while len(subscriber.waiting) > self._bound:
            if subscriber.dropped == 0:
                log.warning(
                    "%s is away: more than %d event reports wait, the oldest are dropped", subscriber.ae_title, self._bound
                )
            subscriber.dropped += 1
            self._release(subscriber.waiting.popleft())

    def arrived(self, subscriber: Subscriber, number: int) -> None:
        """A subscriber has everything up to this report."""
        if number <= subscriber.delivered:
            return
        waiting, still = subscriber.waiting, self._open
        while waiting and waiting[0] <= number:
            report = waiting.popleft()
            if still[report] > 1:
                still[report] -= 1
            else:
                self._release(report)
        subscriber.delivered, subscriber.dropped = number, 0
        self._unsettled[subscriber.id] = number
        self._settle()

    def _release(self, report: int) -> None:
        self._open[report] -= 1
        if not self._open[report]:
            del self._open[report]
            self._finished.append(report)
            self._settle()

    # ---- writing down

    def _settle(self) -> None:
        if self._due is None and not self._stopped:
            self._due = self._clock.callLater(SETTLE_SECONDS, self._settle_now)

    def _settle_now(self) -> None:
        self._due = None
        self._run(self._write_down())

    async def _write_down(self) -> None:
        delivered, self._unsettled = self._unsettled, {}
        finished, self._finished = self._finished, []
        try:
            await self._workers.write(event_reports.settle, delivered, finished)
        except Busy:
            self._unsettled = {**delivered, **self._unsettled}
            self._finished = finished + self._finished
            self._settle()

    # ---- channels

    def link(self, ae_title: str, channel: Channel) -> Link:
        """A channel was opened; it gets what waits, and from then on everything."""
        subscriber = self._by_title.setdefault(ae_title, Subscriber(ae_title))
        link = Link(subscriber, channel, subscriber.delivered, self)
        subscriber.links.append(link)
        channel.linked(link)
        self.feed(link)
        return link

    def unlink(self, link: Link) -> None:
        """A channel was closed."""
        if link in link.subscriber.links:
            link.subscriber.links.remove(link)
            self._feed_all(link.subscriber)
        if not link.subscriber.id and not link.subscriber.links:
            self._by_title.pop(link.subscriber.ae_title, None)

    def _feed_all(self, subscriber: Subscriber) -> None:
        """Open channels get everything; without one, the configured application entity does."""
        if not subscriber.waiting:
            return
        if not subscriber.links and subscriber.remote is None:
            channel = self.open_remote(subscriber.ae_title)
            if channel is not None:
                self._remote.append(channel)
                subscriber.remote = Link(subscriber, channel, subscriber.delivered, self)
                channel.linked(subscriber.remote)
        if subscriber.links:
            for link in list(subscriber.links):
                self.feed(link)
        elif subscriber.remote is not None:
            self.feed(subscriber.remote)

    def feed(self, link: Link) -> None:
        """Hand the channel what it can take; what is not at hand is read first."""
        while link.channel.ready and not link.loading:
            numbers = [number for number in link.subscriber.waiting if number > link.sent][:PORTION]
            if not numbers or not link.is_open:
                return
            reports = [self._recent[number] for number in numbers if number in self._recent]
            if len(reports) < len(numbers):
                link.loading = True
                self._run(self._load(link, numbers))
                return
            self._hand_over(link, reports, numbers[-1])

    def _hand_over(self, link: Link, reports: Sequence[Report], last: int) -> None:
        link.sent = last
        if reports:
            link.channel.send(reports)

    async def _load(self, link: Link, numbers: list[int]) -> None:
        reports: Sequence[Report] = []
        try:
            reports = await self._workers.read(event_reports.load, numbers)
        except Busy:
            numbers = []
            self._clock.callLater(SETTLE_SECONDS, self.feed, link)
        finally:
            link.loading = False
        if numbers and link.is_open:
            self._hand_over(link, reports, numbers[-1])
            self.feed(link)


def _everything(connection: Any) -> tuple[list[tuple[int, str, int]], list[tuple[int, tuple[int, ...]]]]:
    return subscriptions.all_subscribers(connection), event_reports.waiting(connection)
