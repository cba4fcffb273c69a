"""EventHub: events are published after commit, in the reactor thread; and the Protocols of what the core needs from outside.

A failing subscriber is logged and never harms the others or the publisher.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from attrs import define, field, frozen

from ..model.identifiers import InstanceKey, Peer
from ..model.status import Status

E = TypeVar("E")
log = logging.getLogger(__name__)


@frozen
class InstanceStored:
    """An instance is durable and can be found; `row` names it in the index."""

    key: InstanceKey
    sop_class_uid: str
    transfer_syntax_uid: str
    row: int
    sent_by: str = ""
    replaced: bool = False


@frozen
class InstanceRemoved:
    """An instance was deleted."""

    key: InstanceKey
    sop_class_uid: str


@define(eq=False)
class EventHub:
    """Hands each event to those who subscribed to its class."""

    _subscribers: dict[type, list[Callable[[Any], None]]] = field(init=False, factory=dict)

    def subscribe(self, kind: type[E], callback: Callable[[E], None]) -> Callable[[], None]:
        """Call `callback(event)` for each published event of class `kind`; the answer ends the subscription."""
        self._subscribers.setdefault(kind, []).append(callback)
        return lambda: self._subscribers[kind].remove(callback)

    def publish(self, event: object) -> None:
        """Tell the subscribers, in the order in which they subscribed."""
        for callback in tuple(self._subscribers.get(type(event), ())):
            try:
                callback(event)
            except Exception:
                log.exception("a subscriber of %s failed", type(event).__name__)


class Timer(Protocol):
    """A call that is due later (Twisted's IDelayedCall)."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...


class Clock(Protocol):
    """Time and timers: Twisted's IReactorTime, in tests its `task.Clock`."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, function: Callable[..., Any], *arguments: Any) -> Timer: ...


class Workers(Protocol):
    """The part of the worker pools that most services need: `workers.Workers`, in tests what runs at once."""

    def write(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]: ...

    def read(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]: ...


class Messenger(Protocol):
    """N-service requests to other application entities; the DIMSE door makes them. Raises `ServiceError` when it cannot."""

    def event_report(
        self,
        peer: Peer,
        sop_class_uid: str,
        sop_instance_uid: str,
        event_type_id: int,
        information: dict[str, dict[str, Any]],
    ) -> Awaitable[Status]:
        """N-EVENT-REPORT on an association of its own, in the SCP role (PS3.7 10.1.1)."""

    def n_create(
        self, peer: Peer, sop_class_uid: str, sop_instance_uid: str, attributes: dict[str, dict[str, Any]]
    ) -> Awaitable[Status]:
        """N-CREATE (PS3.7 10.1.5)."""

    def n_set(
        self, peer: Peer, sop_class_uid: str, sop_instance_uid: str, attributes: dict[str, dict[str, Any]]
    ) -> Awaitable[Status]:
        """N-SET (PS3.7 10.1.3)."""


class Peers(Protocol):
    """The application entities that this server may call, by AE title."""

    def find(self, ae_title: str) -> Peer | None: ...


class KnownPeers:
    """Those of the configuration; an AE title is compared without surrounding spaces, as it stands otherwise."""

    def __init__(self, peers: Iterable[Peer]) -> None:
        self._by_title = {peer.ae_title.strip(): peer for peer in peers}

    def find(self, ae_title: str) -> Peer | None:
        """The peer of that AE title, if it is known."""
        return self._by_title.get(ae_title.strip())
