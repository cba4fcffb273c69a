"""What happens to Unified Procedure Steps in one transaction: rule, rows, subscriptions and event reports together (PS3.4 CC.2).

Plain functions for the writing thread. Each loads the item, asks the tables of `model`, writes, and records the event reports
of what it did; the audience gets them as soon as the transaction is durable. Refusals are raised before anything is written.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

from attrs import evolve, frozen

from ..model import workitem_attributes as ups
from ..model import workitem_events as events
from ..model import workitem_filters
from ..model.attributes import Attributes, attribute, items
from ..model.query import match_all
from ..model.status import Gone, NoSuchInstance, ServiceError, Status
from ..model.steps import CHANGE_STATE, Key, Request, State, Verdict, decide
from ..model.workitem_checks import is_empty, unmet
from ..model.workitem_events import Event, Report
from ..store import event_reports, subscriptions, workitems
from ..store.index import after_commit
from ..store.subscriptions import Kind
from ..store.workitems import Workitem

# PS3.16 CID 9300
_UNSPECIFIED_REASON: Attributes = {
    "00080100": attribute("SH", "110513"),
    "00080102": attribute("SH", "DCM"),
    "00080104": attribute("LO", "Discontinued for unspecified reason"),
}
_COMMENTS = {
    Status.DUPLICATE_SOP_INSTANCE: "a UPS with this SOP Instance UID exists",
    Status.UPS_MAY_NO_LONGER_BE_UPDATED: "the UPS is in a final state",
    Status.UPS_ALREADY_IN_PROGRESS: "the UPS is already IN PROGRESS",
    Status.UPS_MAY_NOT_BECOME_SCHEDULED: "a UPS cannot be set to SCHEDULED",
    Status.UPS_NOT_IN_PROGRESS: "the UPS is not IN PROGRESS",
    Status.UPS_COMPLETED: "the UPS is already COMPLETED",
    Status.UPS_ALREADY_CANCELED: "the UPS is already CANCELED",
    Status.UPS_ALREADY_COMPLETED: "the UPS is already COMPLETED",
}


class Audience(Protocol):
    """Who takes event reports on, in the writing thread and in order."""

    def announce(self, reports: Sequence[Report]) -> None:
        """These are durable now."""

    def meet(self, number: int, ae_title: str) -> None:
        """A new subscriber, before its first report."""


@frozen
class Moment:
    """When a change happens and who is to hear of it."""

    seconds: float
    audience: Audience

    @property
    def date_time(self) -> dict[str, Any]:
        """The moment as a DT."""
        return attribute("DT", _written(self.seconds))


def _written(seconds: float) -> str:
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(whole)}.{micros:06d}+0000"


@lru_cache(16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%S")


def need(connection: Any, uid: str) -> Workitem:
    """The item; or the refusal that it is unknown, or that it was deleted."""
    item = workitems.find(connection, uid)
    if item is None:
        raise unknown(connection, uid)
    return item


def unknown(connection: Any, uid: str) -> ServiceError:
    """The refusal for an item that is not held."""
    if workitems.was_deleted(connection, uid):
        return Gone("the UPS has been deleted", Status.UPS_UNKNOWN)
    return NoSuchInstance("no such UPS", Status.UPS_UNKNOWN)


def _settle(verdict: Verdict, key: Key = Key.RIGHT) -> Status:
    """Raise a failure; pass on success and warning."""
    if not verdict.status.is_failure:
        return verdict.status
    if verdict.status is Status.UPS_TRANSACTION_UID_MISSING_OR_WRONG:
        missing = key is Key.MISSING
        raise ServiceError(f"the Transaction UID is {'missing' if missing else 'incorrect'}", verdict.status, detail={"key": key})
    raise ServiceError(_COMMENTS[verdict.status], verdict.status)


def _tell(connection: Any, moment: Moment, found: Iterable[Event], recipients: tuple[int, ...]) -> None:
    if not recipients:
        return
    reports = [event_reports.record(connection, event, recipients) for event in found]
    if reports:
        after_commit(connection, moment.audience.announce, reports)


# ---- items


def create(connection: Any, uid: str, attributes: Attributes, moment: Moment) -> None:
    """Keep a new item whose attributes were checked (PS3.4 CC.2.5.3)."""
    existing = workitems.find(connection, uid)
    _settle(decide(Request.CREATE, Key.MISSING, existing.state if existing else None))
    own = {
        ups.SOP_CLASS_UID: attribute("UI", ups.UPS_PUSH),
        ups.SOP_INSTANCE_UID: attribute("UI", uid),
        ups.MODIFICATION_DATE_TIME: moment.date_time,
    }
    item = workitems.add(connection, uid, _in_unicode(attributes | own))
    _subscribe_matching(connection, item)
    _tell(connection, moment, events.of_creation(uid, item.attributes), subscriptions.recipients(connection, item.id))


def update(connection: Any, uid: str, transaction_uid: str, changes: Attributes, moment: Moment) -> None:
    """Set attributes that were checked; sequences as a whole (PS3.4 CC.2.6.3)."""
    before = need(connection, uid)
    key = Key.of(transaction_uid, before.transaction_uid)
    _settle(decide(Request.UPDATE, key, before.state), key)
    attributes = before.attributes | changes | {ups.MODIFICATION_DATE_TIME: moment.date_time}
    after = evolve(before, attributes=_in_unicode(attributes))
    workitems.save(connection, before, after)
    recipients = subscriptions.recipients(connection, after.id)
    _tell(connection, moment, events.of_update(uid, before.attributes, after.attributes), recipients)
    joined = _subscribe_matching(connection, after)
    _tell(connection, moment, [events.state_report(uid, after.attributes)], joined)


def change_state(connection: Any, uid: str, transaction_uid: str, target: State, moment: Moment) -> Status:
    """Claim, complete or cancel an item (PS3.4 CC.2.1); a warning when it is in the state already."""
    before = need(connection, uid)
    key = Key.of(transaction_uid, before.transaction_uid)
    verdict = decide(CHANGE_STATE[target], key, before.state)
    status = _settle(verdict, key)
    if not verdict.accepted:
        return status
    attributes = dict(before.attributes)
    if target is State.CANCELED:
        _date_cancellation(attributes, moment)
    if target.is_final and (missing := unmet(attributes, target)):
        tags = tuple(int(tag, 16) for tag in missing)
        comment = f"final state requirements: ({missing[0][:4]},{missing[0][4:]}) has no value"
        raise ServiceError(comment, Status.UPS_FINAL_STATE_NOT_MET, offending=tags)
    _pass_through(connection, before, attributes, verdict.states, transaction_uid, moment)
    return status


def request_cancel(
    connection: Any, uid: str, requesting_ae: str, reason: Attributes, transaction_uid: str, moment: Moment
) -> Status:
    """Ask the performer to cancel; an item that nobody performs is canceled at once (PS3.4 CC.2.2).

    The server claims the item with `transaction_uid`, which nobody is told, before it cancels it.
    """
    before = need(connection, uid)
    verdict = decide(Request.REQUEST_CANCEL, Key.RIGHT, before.state)
    status = _settle(verdict)
    if not verdict.accepted:
        return status
    if verdict.states:
        attributes = before.attributes | {ups.PROGRESS_INFORMATION: attribute("SQ", _cancellation(reason))}
        _date_cancellation(attributes, moment)
        _pass_through(connection, before, attributes, verdict.states, transaction_uid, moment)
        return status
    recipients = subscriptions.recipients(connection, before.id)
    if not recipients:
        raise ServiceError("nobody is subscribed who could cancel the UPS", Status.UPS_PERFORMER_UNREACHABLE)
    _tell(connection, moment, [events.cancel_requested(uid, requesting_ae, reason)], recipients)
    return status


def _pass_through(
    connection: Any, before: Workitem, attributes: Attributes, states: Sequence[State], transaction_uid: str, moment: Moment
) -> None:
    """Write the item in the last of `states`, with a state report for each of them."""
    own = {ups.STATE: attribute("CS", str(states[-1])), ups.MODIFICATION_DATE_TIME: moment.date_time}
    after = evolve(before, state=states[-1], transaction_uid=transaction_uid, attributes=_in_unicode(attributes | own))
    workitems.save(connection, before, after, int(moment.seconds) if after.state.is_final else None)
    passed = [events.state_report(after.sop_instance_uid, after.attributes, state) for state in states[:-1]]
    reports = [*passed, events.state_report(after.sop_instance_uid, after.attributes)]
    _tell(connection, moment, reports, subscriptions.recipients(connection, after.id))


def _date_cancellation(attributes: Attributes, moment: Moment) -> None:
    """The server fills in Procedure Step Cancellation DateTime where it is missing (PS3.4 Table CC.2.5-3)."""
    progress = items(attributes, ups.PROGRESS_INFORMATION)
    if progress and is_empty(progress[0].get(ups.CANCELLATION_DATE_TIME)):
        first = progress[0] | {ups.CANCELLATION_DATE_TIME: moment.date_time}
        attributes[ups.PROGRESS_INFORMATION] = attribute("SQ", first, *progress[1:])


def _cancellation(reason: Attributes) -> Attributes:
    """The progress item of an item that the server itself cancels."""
    item = {ups.DISCONTINUATION_REASON: attribute("SQ", _UNSPECIFIED_REASON)}
    item |= {tag: reason[tag] for tag in (ups.CANCELLATION_REASON, ups.DISCONTINUATION_REASON) if not is_empty(reason.get(tag))}
    if not is_empty(reason.get(ups.CONTACT_URI)):
        contact = {tag: reason[tag] for tag in (ups.CONTACT_URI, ups.CONTACT_NAME) if not is_empty(reason.get(tag))}
        item[ups.COMMUNICATIONS] = attribute("SQ", contact)
    return item


def _in_unicode(attributes: Attributes) -> Attributes:
    """Texts are kept in Unicode: whatever character set they came in, UTF-8 is what they go out in (PS3.18 F.2)."""
    return {tag: element for tag, element in attributes.items() if tag != "00080005"} | {
        "00080005": attribute("CS", "ISO_IR 192")
    }


def expire(connection: Any, before: int, after: int, most: int, now: int) -> int | None:
    """Delete items that were finished before that moment and that nobody locks; the number to go on from, None at the end."""
    numbers = workitems.finished_before(connection, before, after, most)
    for number in numbers:
        item = workitems.find_by_id(connection, number)
        if item is not None and Kind.WITH_LOCK not in subscriptions.kinds(connection, number).values():
            subscriptions.forget(connection, number)
            workitems.remove(connection, item, now)
    return numbers[-1] if len(numbers) == most else None


# ---- subscriptions


def _subscriber(connection: Any, ae_title: str, moment: Moment) -> int:
    number = subscriptions.find_subscriber(connection, ae_title)
    if number is None:
        number = subscriptions.add_subscriber(connection, ae_title)
        after_commit(connection, moment.audience.meet, number, ae_title)
    return number


def subscribe(connection: Any, uid: str, ae_title: str, lock: bool, moment: Moment) -> None:
    """Subscribe to one item, or change how; its state is reported at once (PS3.4 CC.2.3.3)."""
    item = need(connection, uid)
    number = _subscriber(connection, ae_title, moment)
    subscriptions.subscribe(connection, item.id, number, Kind.locking(lock))
    _tell(connection, moment, [events.state_report(uid, item.attributes)], (number,))


def unsubscribe(connection: Any, uid: str, ae_title: str) -> None:
    """End the subscription to one item."""
    item = need(connection, uid)
    number = subscriptions.find_subscriber(connection, ae_title)
    if number is None or not subscriptions.unsubscribe(connection, item.id, number):
        raise not_subscribed()


def not_subscribed() -> ServiceError:
    """The refusal to end what is not there."""
    return NoSuchInstance("there is no such subscription", Status.UPS_UNKNOWN)


def subscribe_all(connection: Any, ae_title: str, lock: bool, moment: Moment, most: int) -> int | None:
    """Subscribe to all items; the subscriber's number if `catch_up` has still to tell it of some."""
    number = _subscriber(connection, ae_title, moment)
    again = subscriptions.subscribe_all(connection, number, Kind.locking(lock))
    if lock:
        _tell_states(connection, moment, again, number)
    return number if catch_up(connection, number, moment, most) else None


def subscribe_filtered(connection: Any, ae_title: str, lock: bool, text: str, moment: Moment, most: int) -> int | None:
    """Subscribe to all items that match the filter; the subscriber's number if `catch_up` has still to look at some."""
    number = _subscriber(connection, ae_title, moment)
    subscriptions.subscribe_filtered(connection, number, Kind.locking(lock), text)
    return number if catch_up(connection, number, moment, most) else None


def end_global(connection: Any, ae_title: str, end: Callable[[Any, int], bool]) -> None:
    """Unsubscribe from, or suspend, a global subscription."""
    number = subscriptions.find_subscriber(connection, ae_title)
    if number is None or not end(connection, number):
        raise not_subscribed()


def catch_up(connection: Any, number: int, moment: Moment, most: int) -> bool:
    """Tell a global subscriber of the next older items; whether there are more."""
    fresh, more = subscriptions.next_portion(connection, number, most)
    _tell_states(connection, moment, fresh, number)
    entry, candidates, further = subscriptions.next_filtered_portion(connection, number, most)
    for candidate in candidates:
        item = workitems.find_by_id(connection, candidate)
        if item is None or entry is None or number in subscriptions.kinds(connection, candidate):
            continue
        if match_all(workitem_filters.read(entry.text), item.attributes):
            subscriptions.subscribe(connection, candidate, number, entry.kind)
            if entry.kind is Kind.WITH_LOCK:
                _tell(connection, moment, [events.state_report(item.sop_instance_uid, item.attributes)], (number,))
    return more or further


def _tell_states(connection: Any, moment: Moment, numbers: Iterable[int], subscriber: int) -> None:
    found = (workitems.find_by_id(connection, number) for number in numbers)
    reports = [events.state_report(item.sop_instance_uid, item.attributes) for item in found if item is not None]
    _tell(connection, moment, reports, (subscriber,))


def _subscribe_matching(connection: Any, item: Workitem) -> tuple[int, ...]:
    """Subscribe those whose filter the item matches and who are not subscribed yet; the answer are these."""
    entries = subscriptions.filters(connection)
    if not entries:
        return ()
    present, joined = subscriptions.kinds(connection, item.id), list[int]()
    matched = {text: match_all(workitem_filters.read(text), item.attributes) for text in {entry.text for entry in entries}}
    for entry in entries:
        if matched[entry.text] and entry.subscriber not in present and entry.subscriber not in joined:
            subscriptions.subscribe(connection, item.id, entry.subscriber, entry.kind)
            joined.append(entry.subscriber)
    return tuple(sorted(joined))


def report_restart(connection: Any, fallback_ae_titles: Sequence[str], moment: Moment) -> None:
    """Tell all subscribers and the configured others that the server runs again (PS3.4 CC.2.4.3)."""
    present = subscriptions.subscribed(connection)
    others = [_subscriber(connection, ae_title, moment) for ae_title in fallback_ae_titles]
    event = events.status_change(cold_subscriptions=not present, cold_items=not workitems.any_held(connection))
    _tell(connection, moment, [event], tuple(sorted({*present, *others})))


def report_going_down(connection: Any, reachable: Set[int], fallback_ae_titles: Sequence[str], moment: Moment) -> None:
    """Tell those of the same whom it will reach that the server stops; for others it would come too late (PS3.4 CC.2.4.3)."""
    fallback = {subscriptions.find_subscriber(connection, ae_title) for ae_title in fallback_ae_titles}
    concerned = reachable & {*subscriptions.subscribed(connection), *fallback}
    _tell(connection, moment, [events.status_change(going_down=True)], tuple(sorted(concerned)))
