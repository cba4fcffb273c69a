"""The five events of a Unified Procedure Step and what they tell (PS3.4 Table CC.2.4-1); pure."""

from collections.abc import Iterator
from enum import IntEnum

from attrs import frozen

from . import workitem_attributes as ups
from .attributes import Attributes, attribute, items
from .steps import State
from .workitem_checks import is_empty

REQUESTING_AE = "00741236"
SCP_STATUS = "00741242"
SUBSCRIPTION_LIST_STATUS = "00741244"
STEP_LIST_STATUS = "00741246"


class EventType(IntEnum):
    """Event Type ID (0000,1002)."""

    STATE_REPORT = 1
    CANCEL_REQUESTED = 2
    PROGRESS_REPORT = 3
    SCP_STATUS_CHANGE = 4
    ASSIGNED = 5


@frozen
class Event:
    """What happened to one item; the item is empty for a change of the server's own status."""

    type: EventType
    sop_instance_uid: str
    information: Attributes


@frozen(eq=False)
class Report:
    """An event on its way: reports have ascending numbers, and each subscriber gets them in this order."""

    id: int
    event: Event
    recipients: tuple[int, ...]


def _picked(attributes: Attributes, *tags: str) -> Attributes:
    return {tag: attributes[tag] for tag in tags if not is_empty(attributes.get(tag))}


def state_report(uid: str, item: Attributes, state: State | None = None) -> Event:
    """State and readiness, and why it was canceled where that is known; `state`: one that was only passed through."""
    information = _picked(item, ups.STATE, ups.READINESS)
    if state is not None:
        information[ups.STATE] = attribute("CS", str(state))
    for progress in items(item, ups.PROGRESS_INFORMATION)[:1] if state is None else ():
        information |= _picked(progress, ups.CANCELLATION_REASON, ups.DISCONTINUATION_REASON)
    return Event(EventType.STATE_REPORT, uid, dict(sorted(information.items())))


def cancel_requested(uid: str, requesting_ae: str, reason: Attributes) -> Event:
    """Somebody else than the performer wishes the item to be canceled; the reasons as they came."""
    told = _picked(reason, ups.CANCELLATION_REASON, ups.DISCONTINUATION_REASON, ups.CONTACT_URI, ups.CONTACT_NAME)
    return Event(EventType.CANCEL_REQUESTED, uid, told | {REQUESTING_AE: attribute("AE", requesting_ae)})


def progress_report(uid: str, item: Attributes) -> Event:
    """The current content of the progress sequence, without how a cancellation went."""
    told = [
        _picked(progress, ups.PROGRESS, ups.PROGRESS_DESCRIPTION, ups.PROGRESS_PARAMETERS, ups.COMMUNICATIONS)
        for progress in items(item, ups.PROGRESS_INFORMATION)
    ]
    return Event(EventType.PROGRESS_REPORT, uid, {ups.PROGRESS_INFORMATION: attribute("SQ", *filter(None, told))})


def assigned(uid: str, item: Attributes) -> Event:
    """The stations and the performer that the item is scheduled for."""
    information = _picked(item, ups.STATION_NAME)
    for performer in items(item, ups.HUMAN_PERFORMERS)[:1]:
        information |= _picked(performer, ups.PERFORMER_CODE, ups.PERFORMER_ORGANIZATION)
    return Event(EventType.ASSIGNED, uid, dict(sorted(information.items())))


def status_change(*, going_down: bool = False, cold_subscriptions: bool = False, cold_items: bool = False) -> Event:
    """The server came up again, or goes down; and whether its lists survived that, or will."""
    start = {False: "WARM START", True: "COLD START"}
    information = {
        SCP_STATUS: attribute("CS", "GOING DOWN" if going_down else "RESTARTED"),
        SUBSCRIPTION_LIST_STATUS: attribute("CS", start[cold_subscriptions]),
        STEP_LIST_STATUS: attribute("CS", start[cold_items]),
    }
    return Event(EventType.SCP_STATUS_CHANGE, "", information)


def of_creation(uid: str, item: Attributes) -> Iterator[Event]:
    """What the creation of an item tells those who are subscribed to it from the start (PS3.4 CC.2.4.3)."""
    yield state_report(uid, item)
    if not (is_empty(item.get(ups.STATION_NAME)) and is_empty(item.get(ups.HUMAN_PERFORMERS))):
        yield assigned(uid, item)


def of_update(uid: str, before: Attributes, after: Attributes) -> Iterator[Event]:
    """What an update tells: readiness, progress, assignment, each only where its content changed."""
    if before.get(ups.READINESS) != after.get(ups.READINESS):
        yield state_report(uid, after)
    report = progress_report(uid, after)
    if report != progress_report(uid, before):
        yield report
    for tag in (ups.STATION_NAME, ups.HUMAN_PERFORMERS):
        if before.get(tag, {}).get("Value") != after.get(tag, {}).get("Value"):
            yield assigned(uid, after)
            break
