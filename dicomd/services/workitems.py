"""Unified Procedure Steps (PS3.4 CC, PS3.18 11): what both doors call. Refusals are `ServiceError`, warnings the status returned.

Each operation is one job of the writing thread (`workitem_changes`), so that rule, rows and event reports stand or fall together.
A Transaction UID is taken in, compared and never given out.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import orjson
from attrs import define, evolve, field, frozen

from ..model import workitem_filters
from ..model.attributes import Attributes, attribute, text, values
from ..model.identifiers import is_ae_title, is_uid
from ..model.matching import Items
from ..model.projection import project
from ..model.query import Query
from ..model.status import InvalidRequest, ServiceError, Status
from ..model.steps import State
from ..model.workitem_attributes import (
    ALWAYS_RETURNED,
    FILTERED_SUBSCRIPTION,
    GLOBAL_SUBSCRIPTION,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    TRANSACTION_UID,
    UPS_PUSH,
)
from ..model.workitem_checks import check_changes, complete_new
from ..store import subscriptions, workitem_search, workitems
from ..store.workitem_search import Place
from . import workitem_changes
from .event_delivery import Delivery
from .hub import Clock, Peers, Timer, Workers
from .workitem_changes import Moment

log = logging.getLogger(__name__)

# Items that one job tells a new global subscriber of; how long it then leaves to others, and to a subscriber that lags behind.
PORTION = 200
BETWEEN_PORTIONS_SECONDS, LAGGING_SECONDS = 0.01, 1.0
EXPIRE_SECONDS = 60.0
# What a search answers always: types 1 and 2 of PS3.4 Table CC.2.5-3, and the character set (1C).
_ALWAYS = frozenset((*ALWAYS_RETURNED, "00080005"))
WELL_KNOWN = (GLOBAL_SUBSCRIPTION, FILTERED_SUBSCRIPTION)


class Settings(Protocol):
    """The part of the configuration that this service asks."""

    @property
    def retention(self) -> float: ...
    @property
    def remember_deleted(self) -> float: ...
    @property
    def status_change_ae_titles(self) -> tuple[str, ...]: ...
    @property
    def known_subscribers_only(self) -> bool: ...


M = TypeVar("M", bytes, Attributes)


@frozen
class Page(Generic[M]):
    """Matching items, how many follow, and where to go on."""

    matches: list[M]
    remaining: int
    last: Place | None


@define(eq=False)
class Workitems:
    """The UPS service. `new_uid` makes UIDs, `run` starts a coroutine that nobody awaits."""

    _workers: Workers
    _delivery: Delivery
    _clock: Clock
    _peers: Peers
    _new_uid: Callable[[], str]
    _run: Callable[[Coroutine[Any, Any, None]], Any]
    _settings: Settings
    _timer: Timer | None = field(init=False, default=None)
    _stopped: bool = field(init=False, default=False)

    async def start(self) -> None:
        """Take up what waited, tell of the restart, and go on with what the stop interrupted."""
        await self._delivery.start()
        titles = self._settings.status_change_ae_titles
        await self._workers.write(workitem_changes.report_restart, titles, self._moment())
        for number, ae_title in await self._workers.write(_unfinished):
            self._go_on(number, ae_title)
        self._run(self._expire())

    async def announce_stop(self) -> None:
        """Tell the subscribers that can be reached; what they are told is under way when this returns."""
        reachable = self._delivery.reachable(lambda ae_title: self._peers.find(ae_title) is not None)
        titles = self._settings.status_change_ae_titles
        try:
            await self._workers.write(workitem_changes.report_going_down, reachable, titles, self._moment())
        except ServiceError as error:
            log.info("nobody is told of the stop: %s", error.comment)
        self._delivery.flush()

    async def stop(self) -> None:
        """Begin nothing more; the doors are closed before."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        await self._delivery.stop()

    def _moment(self) -> Moment:
        return Moment(self._clock.seconds(), self._delivery)

    # ---- items

    async def create(self, uid: str, attributes: Attributes) -> tuple[str, Status]:
        """Keep a new item; its UID, given, named in the attributes or made, and whether it was modified (PS3.4 CC.2.5)."""
        named = text(attributes, SOP_INSTANCE_UID)
        uid = uid or named or self._new_uid()
        if named not in ("", uid):
            raise ServiceError("the SOP Instance UID is not the one of the request", Status.INVALID_ATTRIBUTE_VALUE)
        if not is_uid(uid) or uid in WELL_KNOWN:
            raise ServiceError("a UPS cannot have this SOP Instance UID", Status.INVALID_SOP_INSTANCE)
        item, modified = complete_new(attributes)
        await self._workers.write(workitem_changes.create, uid, item, self._moment())
        return uid, Status.UPS_CREATED_WITH_MODIFICATIONS if modified else Status.SUCCESS

    async def retrieve(self, uid: str) -> bytes:
        """The DICOM JSON object of an item (PS3.4 CC.2.7)."""
        found: bytes = await self._workers.read(_read, uid)
        return found

    async def update(self, uid: str, transaction_uid: str, changes: Attributes) -> Status:
        """Set attributes; whether something had to be modified (PS3.4 CC.2.6)."""
        own = {SOP_CLASS_UID: ("", UPS_PUSH), SOP_INSTANCE_UID: ("", uid)}
        rest = {tag: element for tag, element in changes.items() if text(changes, tag) not in own.get(tag, ())}
        given = text(rest, TRANSACTION_UID)
        rest.pop(TRANSACTION_UID, None)
        try:
            checked, modified = check_changes(rest)
        except ServiceError:
            await self._workers.read(_exists, uid)
            raise
        await self._workers.write(workitem_changes.update, uid, transaction_uid or given, checked, self._moment())
        return Status.UPS_COERCED if modified else Status.SUCCESS

    async def change_state(self, uid: str, transaction_uid: str, target: str) -> Status:
        """Claim, complete or cancel an item; a warning when it is completed or canceled already (PS3.4 CC.2.1)."""
        if target not in list(State):
            await self._workers.read(_exists, uid)
            raise ServiceError("Procedure Step State is none of those of a UPS", Status.INVALID_ARGUMENT_VALUE)
        change = workitem_changes.change_state
        status: Status = await self._workers.write(change, uid, transaction_uid, State(target), self._moment())
        return status

    async def request_cancel(self, uid: str, requesting_ae_title: str, reason: Attributes) -> Status:
        """Ask for an item to be canceled; a warning when it is already (PS3.4 CC.2.2)."""
        change = workitem_changes.request_cancel
        own_uid = self._new_uid()
        status: Status = await self._workers.write(change, uid, requesting_ae_title, reason, own_uid, self._moment())
        return status

    async def search(self, query: Query, most: int) -> "Page[bytes]":
        """At most `most` matching items as DICOM JSON objects, with what was asked for and what is always returned."""
        page: Page[bytes] = await self._workers.read(_search, query, most)
        return page

    async def find(self, query: Query, most: int, after: Place | None, always: Sequence[str]) -> "Page[Attributes]":
        """The same from the given place on, as attributes; what was asked for and is not there is without value."""
        page: Page[Attributes] = await self._workers.read(_find, query, most, after, tuple(always))
        return page

    # ---- subscriptions

    async def subscribe(self, uid: str, ae_title: str, lock: bool, filter_text: str = "", *, must_be_known: bool = False) -> None:
        """Subscribe an application entity to one item, or to all or to those matching the filter (PS3.4 CC.2.3)."""
        self.check_ae_title(ae_title, must_be_known=must_be_known)
        if (uid == FILTERED_SUBSCRIPTION) != bool(filter_text):
            raise InvalidRequest("a filter belongs to the filtered global subscription, and only to it")
        if uid == GLOBAL_SUBSCRIPTION:
            unfinished = await self._write(workitem_changes.subscribe_all, ae_title, lock, self._moment(), PORTION)
        elif uid == FILTERED_SUBSCRIPTION:
            workitem_filters.read(filter_text)
            change = workitem_changes.subscribe_filtered
            unfinished = await self._write(change, ae_title, lock, filter_text, self._moment(), PORTION)
        else:
            unfinished = await self._write(workitem_changes.subscribe, uid, ae_title, lock, self._moment())
        if unfinished is not None:
            self._go_on(unfinished, ae_title)

    async def unsubscribe(self, uid: str, ae_title: str) -> None:
        """End a subscription; that to all items ends those to single ones as well (PS3.4 CC.2.3)."""
        self.check_ae_title(ae_title)
        if uid in WELL_KNOWN:
            await self._write(workitem_changes.end_global, ae_title, subscriptions.unsubscribe_all)
        else:
            await self._write(workitem_changes.unsubscribe, uid, ae_title)

    async def suspend(self, uid: str, ae_title: str) -> None:
        """Keep the subscriptions there are, begin no further ones (PS3.4 CC.2.3)."""
        self.check_ae_title(ae_title)
        if uid not in WELL_KNOWN:
            raise ServiceError("only a global subscription can be suspended", Status.UPS_ACTION_INAPPROPRIATE)
        end = subscriptions.suspend_all if uid == GLOBAL_SUBSCRIPTION else subscriptions.suspend_filtered
        await self._write(workitem_changes.end_global, ae_title, end)

    def check_ae_title(self, ae_title: str, *, must_be_known: bool = False) -> None:
        """Refuse what is no AE title, and where the configuration says so, one that is unknown."""
        if not is_ae_title(ae_title):
            raise InvalidRequest("the receiving AE title is not one")
        is_known = self._peers.find(ae_title) is not None or self._delivery.knows(ae_title)
        if (must_be_known or self._settings.known_subscribers_only) and not is_known:
            raise ServiceError("the receiving AE title is unknown", Status.UPS_RECEIVING_AE_UNKNOWN)

    def _write(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        return self._workers.write(function, *arguments)

    # ---- work behind the answers

    def _go_on(self, number: int, ae_title: str) -> None:
        """Later tell a global subscriber of more items; when it lags behind, a good deal later."""
        if not self._stopped:
            lags = self._delivery.backlog(ae_title) > self._delivery.much
            self._clock.callLater(LAGGING_SECONDS if lags else BETWEEN_PORTIONS_SECONDS, self._next_portion, number, ae_title)

    def _next_portion(self, number: int, ae_title: str) -> None:
        if self._delivery.backlog(ae_title) > self._delivery.much:
            self._go_on(number, ae_title)
        elif not self._stopped:
            self._run(self._catch_up(number, ae_title))

    async def _catch_up(self, number: int, ae_title: str) -> None:
        if await self._write(workitem_changes.catch_up, number, self._moment(), PORTION):
            self._go_on(number, ae_title)

    async def _expire(self) -> None:
        """Delete finished items that nobody locks, some time after they were finished."""
        now, after = self._clock.seconds(), 0
        while after is not None and not self._stopped:
            before = int(now - self._settings.retention)
            after = await self._write(workitem_changes.expire, before, after, PORTION, int(now))
        await self._write(workitems.forget_deleted, int(now - self._settings.remember_deleted))
        if not self._stopped:
            self._timer = self._clock.callLater(EXPIRE_SECONDS, lambda: self._run(self._expire()))


def _unfinished(connection: Any) -> Sequence[tuple[int, str]]:
    titles = {number: ae_title for number, ae_title, _ in subscriptions.all_subscribers(connection)}
    return [(number, titles[number]) for number in subscriptions.unfinished(connection)]


def _read(connection: Any, uid: str) -> bytes:
    found = workitems.read(connection, uid)
    if found is None:
        raise workitem_changes.unknown(connection, uid)
    return found


def _exists(connection: Any, uid: str) -> None:
    """An unknown item is refused before anything else is said about the request."""
    _read(connection, uid)


def _without_key(query: Query) -> Query:
    """The Transaction UID is not given out, not even empty."""
    return evolve(query, fields={tag: inner for tag, inner in query.fields.items() if tag != TRANSACTION_UID})


def _find(connection: Any, query: Query, most: int, after: Place | None, always: Sequence[str]) -> Page[Attributes]:
    shown = _without_key(query)
    found = workitem_search.search(connection, query, most, query.offset, after)
    matches = [project(shown, orjson.loads(item), dict.fromkeys(always), empty=True) for item in found.items]
    return Page(matches, found.remaining, found.last)


def _search(connection: Any, query: Query, most: int) -> Page[bytes]:
    shown = _without_key(query)
    found = workitem_search.search(connection, query, most, query.offset)
    whole = _whole_attributes(shown)
    if query.all_fields and query.timezone is None:
        matches = found.items
    elif whole is not None:
        by_items = tuple((key.tag, key.match) for key in query.keys if isinstance(key.match, Items))
        matches = [_whole(item, whole, by_items) for item in found.items]
    else:
        always = dict.fromkeys(_ALWAYS)
        matches = [orjson.dumps(project(shown, orjson.loads(item), always)) for item in found.items]
    return Page(matches, found.remaining, found.last)


def _whole_attributes(query: Query) -> frozenset[str] | None:
    """The attributes that an answer holds as they are; None when an item has to be looked at more closely."""
    parts = any(inner is not None and tag not in _ALWAYS for tag, inner in query.fields.items())
    if parts or query.all_fields or query.creators or query.timezone is not None:
        return None
    return _ALWAYS.union(query.fields)


@lru_cache(4096)
def _whole(item: bytes, wanted: frozenset[str], by_items: tuple[tuple[str, Items], ...]) -> bytes:
    """The wanted attributes; of a sequence used for matching the items that match (PS3.4 C.2.2.2.6).

    Remembered: worklists are asked for again and again, and most of their items have not changed.
    """
    attributes: Attributes = orjson.loads(item)
    shown = {tag: element for tag, element in attributes.items() if tag in wanted}
    for tag, match in by_items:
        if len(present := values(attributes, tag)) > 1:
            shown[tag] = attribute("SQ", *([inner for inner in present if match.accepts(inner)] or present))
    return orjson.dumps(shown)
