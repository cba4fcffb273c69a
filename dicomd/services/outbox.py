"""Outbox: messages to other application entities, delivered in order for each, retried with back-off over restarts.

A message leaves the outbox when the peer has answered with success or a warning, when the peer refuses it for good, when it has
expired, or when too many wait. Order is kept for each peer and SOP class; what cannot be delivered delays no other peer, and no
other SOP class of the same peer.
"""

import logging
from collections.abc import Awaitable, Callable

from attrs import define, field

from ..model.status import MalformedDataset, ServiceError, Status
from ..store import outbox
from ..store.outbox import Letter
from .hub import Clock, Messenger, Peers, Timer, Workers

log = logging.getLogger(__name__)

ATTEMPTS_AT_FAILURE = 6
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, IDLE_SECONDS = 5, 3600, 300


@define(eq=False)
class Outbox:
    """Delivers what store functions queued with `store.outbox.put`; call `wake()` after the commit and at start."""

    _workers: Workers
    _peers: Peers
    _sender: Messenger
    _clock: Clock
    _start: Callable[[Awaitable[None]], object]
    _busy: set[tuple[str, str]] = field(init=False, factory=set)
    _timer: Timer | None = field(init=False, default=None)
    _stopped: bool = field(init=False, default=False)
    _looking: bool = field(init=False, default=False)
    _again: bool = field(init=False, default=False)

    def wake(self) -> None:
        """Look for messages that are due."""
        self._again = True
        if not self._looking and not self._stopped:
            self._looking = True
            self._start(self._look())

    async def waiting(self) -> dict[str, int]:
        """How many messages wait for each application entity."""
        found: dict[str, int] = await self._workers.read(outbox.waiting)
        return found

    def stop(self) -> None:
        """Begin no further delivery."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def _look(self) -> None:
        """One look at a time, again while there was a reason to; a peer that was being served meanwhile is left to the next."""
        try:
            while self._again and not self._stopped:
                self._again, busy = False, set(self._busy)
                letters: list[Letter] = await self._workers.read(outbox.first_of_each)
                self._begin([letter for letter in letters if letter.lane not in busy | self._busy])
        finally:
            self._looking = False

    def _begin(self, letters: list[Letter]) -> None:
        now = self._clock.seconds()
        waiting = [letter.due_at - now for letter in letters if letter.due_at > now]
        self._look_again(min([*waiting, IDLE_SECONDS]))
        for letter in letters:
            if letter.due_at <= now:
                self._busy.add(letter.lane)
                self._start(self._deliver(letter))

    def _look_again(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not self._stopped:
            self._timer = self._clock.callLater(seconds, self.wake)

    async def _deliver(self, letter: Letter) -> None:
        try:
            done = await self._attempt(letter)
            now = int(self._clock.seconds())
            if done or now >= letter.expires_at:
                if not done:
                    log.warning("gave up %s %s to %s: expired", letter.operation, letter.sop_instance_uid, letter.ae_title)
                await self._workers.write(outbox.remove, letter.row)
            else:
                wait = min(FIRST_RETRY_SECONDS * 2 ** min(letter.attempts, 20), LONGEST_RETRY_SECONDS)
                await self._workers.write(outbox.postpone, letter.row, now + wait)
        finally:
            self._busy.discard(letter.lane)
        self.wake()

    async def _attempt(self, letter: Letter) -> bool:
        """Whether the message needs no further attempt."""
        peer = self._peers.find(letter.ae_title)
        if peer is None:
            log.warning("%s is not among the remote_aes: %s waits", letter.ae_title, letter.operation)
            return False
        try:
            if letter.operation == "N-EVENT-REPORT":
                status = await self._sender.event_report(
                    peer, letter.sop_class_uid, letter.sop_instance_uid, letter.event_type_id, letter.attributes
                )
            else:
                send = self._sender.n_create if letter.operation == "N-CREATE" else self._sender.n_set
                status = await send(peer, letter.sop_class_uid, letter.sop_instance_uid, letter.attributes)
        except MalformedDataset as error:
            log.warning("%s %s to %s was dropped: %s", letter.operation, letter.sop_instance_uid, letter.ae_title, error.comment)
            return True
        except ServiceError as error:
            log.info("%s %s to %s failed: %s", letter.operation, letter.sop_instance_uid, letter.ae_title, error.comment)
            return False
        return self._settled(letter, status)

    def _settled(self, letter: Letter, status: Status) -> bool:
        if not status.is_failure or status is Status.DUPLICATE_SOP_INSTANCE:
            return True
        log.warning("%s answered %04X to %s %s", letter.ae_title, status, letter.operation, letter.sop_instance_uid)
        if status is Status.PROCESSING_FAILURE:  # says nothing of the cause, which may pass
            return letter.attempts >= ATTEMPTS_AT_FAILURE
        return status not in (Status.RESOURCE_LIMITATION, Status.OUT_OF_RESOURCES)
