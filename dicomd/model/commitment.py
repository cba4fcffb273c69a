"""Storage commitment: requests and results as data sets (PS3.4 Tables J.3-1 and J.3-2, PS3.18 13.4 and Annex J)."""

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from .attributes import Attributes, attribute, items, text
from .identifiers import is_uid
from .status import InvalidRequest, Status

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST = 1
ALL_COMMITTED, FAILURES_EXIST = 1, 2

TRANSACTION_UID = "00081195"
REFERENCED_SOP, FAILED_SOP = "00081199", "00081198"
REFERENCED_STUDY, FAILED_STUDY = "00081110", "0008119B"
_SERIES, _BY_CLASS, _INSTANCES = "00081115", "00081112", "0008114A"
_CLASS_UID, _INSTANCE_UID, _REASON = "00081150", "00081155", "00081197"
_STUDY_UID, _SERIES_UID = "0020000D", "0020000E"

MOST_REFERENCES = 100_000


@frozen
class Reference:
    """An instance whose safekeeping is asked for; study and series only in the hierarchical form."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""


@frozen
class Checked:
    """A reference and why it is not committed; None: it is."""

    reference: Reference
    failure: Status | None = None


def read(requests: Sequence[Attributes]) -> list[Reference]:
    """What a request refers to, in one of the two forms; several data sets are parts of one request (PS3.18 B.29).

    Raises `InvalidRequest` with 0114 or 0115.
    """
    flat = [item for request in requests for item in items(request, REFERENCED_SOP)]
    studies = [item for request in requests for item in items(request, REFERENCED_STUDY)]
    if bool(flat) is bool(studies):
        raise _invalid("either ReferencedSOPSequence or ReferencedStudySequence is needed", REFERENCED_SOP)
    found = [_reference(item) for item in flat] or list(_nested(studies))
    if len(found) > MOST_REFERENCES:
        raise InvalidRequest(f"more than {MOST_REFERENCES} instances in a request", Status.RESOURCE_LIMITATION)
    if len({one.sop_instance_uid for one in found}) != len(found):
        raise _invalid("an instance is referred to twice", _INSTANCE_UID)
    return found


def _nested(studies: Iterable[Attributes]) -> Iterable[Reference]:
    for study in studies:
        for series in _some(study, _SERIES):
            for by_class in _some(series, _BY_CLASS):
                for instance in _some(by_class, _INSTANCES):
                    yield Reference(
                        _uid(by_class, _CLASS_UID),
                        _uid(instance, _INSTANCE_UID),
                        _uid(study, _STUDY_UID),
                        _uid(series, _SERIES_UID),
                    )


def _some(item: Attributes, tag: str) -> list[Attributes]:
    found = items(item, tag)
    if not found:
        raise _invalid("a sequence without items in ReferencedStudySequence", tag)
    return found


def _reference(item: Attributes) -> Reference:
    return Reference(_uid(item, _CLASS_UID), _uid(item, _INSTANCE_UID))


def _uid(item: Attributes, tag: str) -> str:
    uid = text(item, tag)
    if not is_uid(uid):
        raise _invalid(f"({tag[:4]},{tag[4:]}) is missing or not a UID", tag)
    return uid


def _invalid(comment: str, tag: str) -> InvalidRequest:
    return InvalidRequest(comment, Status.INVALID_ARGUMENT_VALUE, offending=(int(tag, 16),))


def result(checked: Sequence[Checked]) -> Attributes:
    """The response module, in the form of the request (PS3.18 Annex J)."""
    committed = [one for one in checked if one.failure is None]
    failed = [one for one in checked if one.failure is not None]
    hierarchical = any(one.reference.study_instance_uid for one in checked)
    build, tags = (_studies, (REFERENCED_STUDY, FAILED_STUDY)) if hierarchical else (_flat, (REFERENCED_SOP, FAILED_SOP))
    pairs = zip(tags, (committed, failed), strict=True)
    return {tag: {"vr": "SQ", "Value": build(ones)} for tag, ones in sorted(pairs, key=lambda pair: pair[0]) if ones}


def _flat(checked: Sequence[Checked]) -> list[Attributes]:
    return [{_CLASS_UID: attribute("UI", one.reference.sop_class_uid), **_instance(one)} for one in checked]


def _instance(one: Checked) -> Attributes:
    item: Attributes = {_INSTANCE_UID: attribute("UI", one.reference.sop_instance_uid)}
    if one.failure is not None:
        item[_REASON] = attribute("US", int(one.failure))
    return item


def _studies(checked: Sequence[Checked]) -> list[Attributes]:
    levels = (
        (_STUDY_UID, _SERIES, lambda one: one.study_instance_uid),
        (_SERIES_UID, _BY_CLASS, lambda one: one.series_instance_uid),
        (_CLASS_UID, _INSTANCES, lambda one: one.sop_class_uid),
    )
    return _grouped(checked, levels)


def _grouped(checked: Sequence[Checked], levels: Sequence[Any]) -> list[Attributes]:
    if not levels:
        return [_instance(one) for one in checked]
    uid_tag, below, uid_of = levels[0]
    groups: dict[str, list[Checked]] = {}
    for one in checked:
        groups.setdefault(uid_of(one.reference), []).append(one)
    return [
        {below: {"vr": "SQ", "Value": _grouped(group, levels[1:])}, uid_tag: attribute("UI", uid)}
        for uid, group in groups.items()
    ]


def event(transaction_uid: str, outcome: Attributes) -> tuple[int, Attributes]:
    """Event type and information of the report of a result: in the flat form, the only one there is in DIMSE (PS3.4 J.3.3)."""
    information: Attributes = {TRANSACTION_UID: attribute("UI", transaction_uid)}
    for tag, nested in ((FAILED_SOP, FAILED_STUDY), (REFERENCED_SOP, REFERENCED_STUDY)):
        if ones := [*items(outcome, tag), *_flattened(items(outcome, nested))]:
            information[tag] = attribute("SQ", *ones)
    return (FAILURES_EXIST if FAILED_SOP in information else ALL_COMMITTED), information


def _flattened(studies: Iterable[Attributes]) -> Iterable[Attributes]:
    for study in studies:
        for series in items(study, _SERIES):
            for by_class in items(series, _BY_CLASS):
                for one in items(by_class, _INSTANCES):
                    yield {_CLASS_UID: by_class[_CLASS_UID], **one}
