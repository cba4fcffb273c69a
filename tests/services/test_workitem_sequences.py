"""Random sequences of operations on the UPS service, with restarts and expiry among them, against a small model.

The model keeps for each application entity and item how it is subscribed, written out; the service keeps ranges. Every status,
every state and every event must be the same.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import attribute, text
from dicomd.model.status import ServiceError, Status
from dicomd.model.steps import CHANGE_STATE, Key, Request, State, decide
from dicomd.model.workitem_attributes import FILTERED_SUBSCRIPTION, GLOBAL_SUBSCRIPTION
from dicomd.model.workitem_events import EventType
from dicomd.model.workitem_filters import from_parameters as new_filter
from tests.workers import new_index
from tests.workitems import Core, Inbox, discontinued, new_item, performed

NOW = 1_780_000_000
HIGH = new_filter([("00741200", "HIGH")])
UIDS = ("1.2.1", "1.2.2")
CONNECTED, AWAY = ("A", "B"), "C"
TITLES = (*CONNECTED, AWAY)
KEYS = ("", "2.25.1", "2.25.2")
CHANGES = {
    "ready": {"00404041": attribute("CS", "READY")},
    "incomplete": {"00404041": attribute("CS", "INCOMPLETE")},
    "performed": performed(),
    "discontinued": discontinued(),
    "high": {"00741200": attribute("CS", "HIGH")},
}
NONE, WITHOUT, WITH = 0, 1, 2
Event = tuple[int, str, str]

uids, titles, keys, locks = st.sampled_from(UIDS), st.sampled_from(TITLES), st.sampled_from(KEYS), st.booleans()
OPERATIONS = st.one_of(
    st.tuples(st.just("create"), uids, st.booleans()),
    st.tuples(st.just("change"), uids, keys, st.sampled_from(list(State))),
    st.tuples(st.just("update"), uids, keys, st.sampled_from(list(CHANGES))),
    st.tuples(st.just("finish"), uids),
    st.tuples(st.just("cancel"), uids),
    st.tuples(st.just("subscribe"), uids, titles, locks),
    st.tuples(st.just("unsubscribe"), uids, titles),
    st.tuples(st.just("subscribe_all"), titles, locks),
    st.tuples(st.just("suspend_all"), titles),
    st.tuples(st.just("subscribe_filtered"), titles, locks),
    st.tuples(st.just("suspend_filtered"), titles),
    st.tuples(st.just("unsubscribe_all"), titles),
    st.tuples(st.just("expire")),
    st.tuples(st.just("restart")),
)


@define
class Item:
    """What the model knows of an item."""

    high: bool
    state: State = State.SCHEDULED
    key: str = ""
    done: set[str] = field(factory=lambda: {"ready"})


@define
class Model:
    """The standard's tables, written out (PS3.4 CC.1.1, CC.2.3)."""

    items: dict[str, Item] = field(factory=dict)
    kinds: dict[tuple[str, str], int] = field(factory=dict)
    everything: dict[str, int] = field(factory=dict)
    filtered: dict[str, int] = field(factory=dict)
    global_once: set[str] = field(factory=set)
    events: dict[str, list[Event]] = field(factory=lambda: defaultdict(list))

    def tell(
        self, uid: str, event: int = EventType.STATE_REPORT, state: str | None = None, only: list[str] | None = None
    ) -> None:
        told = "" if event != EventType.STATE_REPORT else state or str(self.items[uid].state)
        for title in TITLES if only is None else only:
            if self.kinds.get((title, uid)):
                self.events[title].append((int(event), uid, told))

    def join(self, uid: str, kinds: dict[str, int]) -> list[str]:
        fresh = [title for title in kinds if not self.kinds.get((title, uid))]
        for title in fresh:
            self.kinds[title, uid] = kinds[title]
        return fresh

    def create(self, uid: str, high: bool) -> Status:
        item = self.items.get(uid)
        status = decide(Request.CREATE, Key.MISSING, item.state if item else None).status
        if status is Status.SUCCESS:
            self.items[uid] = Item(high)
            self.join(uid, self.everything)
            if high:
                self.join(uid, self.filtered)
            self.tell(uid)
        return status

    def change(self, uid: str, key: str, target: State) -> Status:
        item = self.items.get(uid)
        if item is None:
            return Status.UPS_UNKNOWN
        verdict = decide(CHANGE_STATE[target], Key.of(key, item.key), item.state)
        needed = {State.COMPLETED: "performed", State.CANCELED: "discontinued"}.get(target)
        if verdict.states and needed and needed not in item.done:
            return Status.UPS_FINAL_STATE_NOT_MET
        if verdict.states:
            item.state, item.key = target, key
            self.tell(uid)
        return verdict.status

    def update(self, uid: str, key: str, change: str) -> Status:
        item = self.items.get(uid)
        verdict = decide(Request.UPDATE, Key.of(key, item.key) if item else Key.MISSING, item.state if item else None)
        if item is None or not verdict.accepted:
            return verdict.status
        if change in ("ready", "incomplete"):
            other = {"ready": "incomplete", "incomplete": "ready"}[change]
            changed = other in item.done
            item.done -= {other}
            item.done |= {change}
            if changed:
                self.tell(uid)
        else:
            item.done |= {change}
        item.high |= change == "high"
        if item.high:
            self.tell(uid, only=self.join(uid, self.filtered))
        return verdict.status

    def cancel(self, uid: str) -> Status:
        item = self.items.get(uid)
        if item is None:
            return Status.UPS_UNKNOWN
        verdict = decide(Request.REQUEST_CANCEL, Key.MISSING, item.state)
        if verdict.states:
            item.state, item.key = State.CANCELED, "the server's"
            self.tell(uid, state="IN PROGRESS")
            self.tell(uid)
        elif verdict.accepted:
            if not any(self.kinds.get((title, uid)) for title in TITLES):
                return Status.UPS_PERFORMER_UNREACHABLE
            self.tell(uid, EventType.CANCEL_REQUESTED)
        return verdict.status

    def subscribe(self, uid: str, title: str, lock: bool) -> Status:
        if uid not in self.items:
            return Status.UPS_UNKNOWN
        self.kinds[title, uid] = WITH if lock else WITHOUT
        self.tell(uid, only=[title])
        return Status.SUCCESS

    def unsubscribe(self, uid: str, title: str) -> Status:
        if not self.kinds.get((title, uid)):
            return Status.UPS_UNKNOWN
        self.kinds[title, uid] = NONE
        return Status.SUCCESS

    def subscribe_all(self, title: str, lock: bool) -> Status:
        self.everything[title] = WITH if lock else WITHOUT
        self.global_once.add(title)
        for uid in self.items:
            fresh = self.join(uid, {title: self.everything[title]})
            self.tell(uid, only=fresh if lock else [])
        return Status.SUCCESS

    def suspend_all(self, title: str) -> Status:
        return Status.UPS_UNKNOWN if self.everything.pop(title, None) is None else Status.SUCCESS

    def subscribe_filtered(self, title: str, lock: bool) -> Status:
        self.filtered[title] = WITH if lock else WITHOUT
        for uid in [uid for uid, item in self.items.items() if item.high]:
            fresh = self.join(uid, {title: self.filtered[title]})
            self.tell(uid, only=fresh if lock else [])
        return Status.SUCCESS

    def suspend_filtered(self, title: str) -> Status:
        return Status.UPS_UNKNOWN if self.filtered.pop(title, None) is None else Status.SUCCESS

    def unsubscribe_all(self, title: str) -> Status:
        mine = [key for key in self.kinds if key[0] == title]
        found = title in self.global_once or title in self.filtered or bool(mine)
        self.global_once.discard(title)
        self.everything.pop(title, None)
        self.filtered.pop(title, None)
        for key in mine:
            del self.kinds[key]
        return Status.SUCCESS if found else Status.UPS_UNKNOWN

    def expire(self) -> Status:
        for uid in [uid for uid, item in self.items.items() if item.state.is_final]:
            if not any(self.kinds.get((title, uid)) == WITH for title in TITLES):
                del self.items[uid]
                for title in TITLES:
                    self.kinds.pop((title, uid), None)
        return Status.SUCCESS

    def restart(self) -> Status:
        return Status.SUCCESS


@define
class Real:
    """The service, driven by the same words."""

    core: Core
    inboxes: dict[str, Inbox] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        for title in CONNECTED:
            self.inboxes[title] = self.core.open(title)

    def call(self, name: str, arguments: tuple[Any, ...]) -> Status:
        service = self.core.service
        if name == "restart":
            self.core.restart()
            self.connect()
            return Status.SUCCESS
        if name == "expire":
            self.core.clock.advance(3700)
            self.core.clock.advance(60)
            return Status.SUCCESS
        works = {
            "create": lambda uid, high: service.create(uid, self.item(high)),
            "change": service.change_state,
            "update": lambda uid, key, change: service.update(uid, key, CHANGES[change]),
            "cancel": lambda uid: service.request_cancel(uid, "ASKER", {}),
            "subscribe": service.subscribe,
            "unsubscribe": service.unsubscribe,
            "subscribe_all": lambda title, lock: service.subscribe(GLOBAL_SUBSCRIPTION, title, lock),
            "suspend_all": lambda title: service.suspend(GLOBAL_SUBSCRIPTION, title),
            "subscribe_filtered": lambda title, lock: service.subscribe(FILTERED_SUBSCRIPTION, title, lock, HIGH),
            "suspend_filtered": lambda title: service.suspend(FILTERED_SUBSCRIPTION, title),
            "unsubscribe_all": lambda title: service.unsubscribe(GLOBAL_SUBSCRIPTION, title),
        }
        return self.outcome(works[name](*arguments))

    def item(self, high: bool) -> Any:
        return new_item(t00404025={"vr": "SQ"}, t00741200=attribute("CS", "HIGH" if high else "LOW"))

    def outcome(self, work: Any) -> Status:
        results: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(results.append)
        self.core.clock.advance(0)
        (result,) = results
        if isinstance(result, Failure):
            result.trap(ServiceError)
            return Status(result.value.status)
        result = result[1] if isinstance(result, tuple) else result
        return result if isinstance(result, Status) else Status.SUCCESS


def expanded(operations: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """`finish` stands for what a performer does: without it, sequences seldom come so far."""
    for operation in operations:
        if operation[0] != "finish":
            yield operation
            continue
        uid, key = operation[1], KEYS[1]
        yield "change", uid, key, State.IN_PROGRESS
        yield "update", uid, key, "performed"
        yield "change", uid, key, State.COMPLETED


class SequenceTests(SynchronousTestCase):
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.lists(OPERATIONS, min_size=20, max_size=50))
    def test_as_the_model(self, operations: list[tuple[Any, ...]]) -> None:
        """Every status, state and event, for those who are connected and, at the end, for the one who was away."""
        with tempfile.TemporaryDirectory() as folder:
            index = new_index(folder)
            clock = Clock()
            clock.advance(NOW)
            core = Core(index, clock)
            core.start()
            try:
                self._compare(Real(core), Model(), operations)
            finally:
                index.close()

    def _compare(self, real: Real, model: Model, operations: list[tuple[Any, ...]]) -> None:
        for name, *arguments in expanded(operations):
            expected = getattr(model, name)(*arguments)
            self.assertEqual(real.call(name, tuple(arguments)), expected, (name, arguments))
            for title in CONNECTED:
                heard = [event for event in real.inboxes[title].take() if event[0] != EventType.SCP_STATUS_CHANGE]
                told, model.events[title] = model.events[title], []
                self.assertEqual(sorted(heard), sorted(told), (name, arguments, title))
                self._in_order(heard, told)
        for uid in UIDS:
            self._same_state(real, uid, model.items.get(uid))
        heard = [event for event in real.core.open(AWAY).take() if event[0] != EventType.SCP_STATUS_CHANGE]
        self.assertEqual(sorted(heard), sorted(model.events[AWAY]))
        self._in_order(heard, model.events[AWAY])

    def _in_order(self, heard: list[Event], told: list[Event]) -> None:
        for uid in UIDS:
            self.assertEqual([e for e in heard if e[1] == uid], [e for e in told if e[1] == uid])

    def _same_state(self, real: Real, uid: str, item: Item | None) -> None:
        query: list[Any] = []
        Deferred.fromCoroutine(real.core.service.retrieve(uid)).addBoth(query.append)
        if item is None:
            query[0].trap(ServiceError)
        else:
            self.assertEqual(text(orjson.loads(query[0]), "00741000"), item.state)
