"""A second search engine, as plain as can be: reads files with pydicom, applies the rules of PS3.4 C.2.2.2 one by one to each.

Shares no code with the server. Attributes of a study (series) are those of its first file, with what is empty there taken from
later ones; everything else is asked of each file.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pydicom
from attrs import define, field
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.multival import MultiValue

PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
STUDY = (
    *PATIENT,
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "StudyDescription",
)
SERIES = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "BodyPartExamined",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence",
)
# PS3.4 C.2.2.1.2: an entity without a value matches whatever is asked
REQUIRED = {
    "PatientName",
    "PatientID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ModalitiesInStudy",
    "ReferringPhysicianName",
    "Modality",
    "SeriesNumber",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence.ScheduledProcedureStepID",
    "RequestAttributesSequence.RequestedProcedureID",
    "InstanceNumber",
}
PAIRS = {
    "StudyDate": "StudyTime",
    "PerformedProcedureStepStartDate": "PerformedProcedureStepStartTime",
    "ContentDate": "ContentTime",
}
Keys = dict[str, str]


def listed(value: Any) -> list[Any]:
    """The values of an element; none for an empty one."""
    if value is None or value == "":
        return []
    found = list(value) if isinstance(value, MultiValue | list) else [value]
    return [one for one in found if one is not None and str(one).strip(" \0") != ""]


@define
class Entity:
    """A study or series: attributes by keyword, and its files."""

    attributes: dict[str, list[Any]] = field(factory=dict)
    files: list["File"] = field(factory=list)

    def fill(self, dataset: pydicom.Dataset, keywords: Iterable[str]) -> None:
        for keyword in keywords:
            if not self.attributes.get(keyword):
                value = dataset.get(keyword)
                self.attributes[keyword] = list(value or []) if keyword.endswith("Sequence") else listed(value)


@define(eq=False)
class File:
    """One instance."""

    dataset: pydicom.Dataset
    study: Entity
    series: Entity

    def values(self, keyword: str) -> list[Any]:
        """What is known of an attribute of this instance, its series and its study."""
        if keyword in STUDY:
            return self.study.attributes[keyword]
        if keyword in SERIES:
            return self.series.attributes[keyword]
        if keyword == "ModalitiesInStudy":
            return sorted({str(one) for file in self.study.files for one in file.series.attributes["Modality"]})
        if keyword == "NumberOfStudyRelatedInstances":
            return [len(self.study.files)]
        if keyword == "NumberOfStudyRelatedSeries":
            return [len({str(file.dataset.SeriesInstanceUID) for file in self.study.files})]
        if keyword == "NumberOfSeriesRelatedInstances":
            return [len(self.series.files)]
        return listed(self.dataset.get(keyword))


class BruteForce:
    """All files."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self._studies: dict[str, Entity] = {}
        self._series: dict[str, Entity] = {}

    def add(self, dataset: pydicom.Dataset) -> None:
        """The next file, in the order of arrival."""
        study = self._studies.setdefault(str(dataset.StudyInstanceUID), Entity())
        series = self._series.setdefault(f"{dataset.StudyInstanceUID}/{dataset.SeriesInstanceUID}", Entity())
        study.fill(dataset, STUDY)
        series.fill(dataset, SERIES)
        file = File(dataset, study, series)
        study.files.append(file)
        series.files.append(file)
        self.files.append(file)

    def find(self, level: str, keys: Keys, order: Sequence[str] = ()) -> list[str]:
        """The UIDs of the entities with an instance that satisfies all keys, in the documented order, `order` before it."""
        unique = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}[level]
        chosen = [file for file in self.files if satisfies(file, keys)]
        chosen.sort(key=_place)
        chosen.sort(key=_age, reverse=True)
        found = {str(file.dataset[unique].value): file for file in reversed(chosen)}
        uids = list(reversed(found))
        for name in reversed(order):
            uids.sort(key=lambda uid: _rank(found[uid], name.lstrip("-")), reverse=name.startswith("-"))
        return uids


def _rank(file: File, keyword: str) -> tuple[bool, Any]:
    """Without a value first; numbers as numbers, dates and times as they are written today."""
    values = file.values(keyword)
    if vr_of(keyword) in ("IS", "US"):
        try:
            return True, int(float(values[0]))
        except (ValueError, IndexError):
            return False, 0
    mark = {"DA": ".", "TM": ":"}.get(vr_of(keyword), "")
    text = "\\".join(str(value) for value in values)
    return bool(values), text.replace(mark, "") if mark else text


def _age(file: File) -> tuple[str, str]:
    date, time = file.study.attributes["StudyDate"], file.study.attributes["StudyTime"]
    return (str(date[0]).replace(".", "") if date else "", str(time[0]).replace(":", "") if time else "")


def _place(file: File) -> tuple[Any, ...]:
    def number(values: Sequence[Any]) -> tuple[bool, int]:
        return (not values, int(values[0]) if values else 0)

    dataset = file.dataset
    return (
        str(dataset.StudyInstanceUID),
        *number(file.series.attributes["SeriesNumber"]),
        str(dataset.SeriesInstanceUID),
        *number(listed(dataset.get("InstanceNumber"))),
        str(dataset.SOPInstanceUID),
    )


def satisfies(file: File, keys: Keys) -> bool:
    """Whether an instance satisfies all keys; date and time ranges of one form together are one interval."""
    left, intervals = dict(keys), []
    for date, time in PAIRS.items():
        if is_range(left.get(date, "")) and is_range(left.get(time, "")) and form(left[date]) == form(left[time]):
            intervals.append((date, left.pop(date), time, left.pop(time)))
    if not all(in_interval(file, *interval) for interval in intervals):
        return False
    return all(satisfies_one(file, keyword, key) for keyword, key in left.items())


def is_range(key: str) -> bool:
    return "-" in key and key.split("-")[0] != key.split("-")[1]


def form(key: str) -> tuple[bool, bool]:
    low, high = key.split("-")
    return bool(low), bool(high)


def in_interval(file: File, date: str, dates: str, time: str, hours: str) -> bool:
    days, clock = file.values(date), file.values(time)
    if not days:
        return date in REQUIRED
    (low_day, high_day), (low_time, high_time) = dates.split("-"), hours.split("-")
    day = str(days[0]).replace(".", "")
    if not clock:
        return time in REQUIRED and (not low_day or low_day <= day) and (not high_day or day <= high_day)
    moment = day + seconds(str(clock[0]))
    return (not low_day or low_day + seconds(low_time) <= moment) and (
        not high_day or moment <= high_day + seconds(high_time, "9")
    )


def seconds(time: str, fill: str = "0") -> str:
    """HHMMSSFFFFFF; what is not given is the beginning, or the end, of the period."""
    whole, _, fraction = time.replace(":", "").partition(".")
    whole += ("5959" if fill == "9" else "0000")[len(whole) - 2 :] if len(whole) < 6 else ""
    return whole + fraction.ljust(6, fill)


def satisfies_one(file: File, keyword: str, key: str) -> bool:
    if "." in keyword:
        sequence, inner = keyword.split(".")
        items = file.values(sequence)
        values = [one for item in items for one in listed(item.get(inner))]
        unanswered = not items or any(not listed(item.get(inner)) for item in items)
        return (keyword in REQUIRED and unanswered) or accepts(inner, key, values)
    values = file.values(keyword)
    if not values:
        return keyword in REQUIRED
    return accepts(keyword, key, values)


def accepts(keyword: str, key: str, values: Sequence[Any]) -> bool:
    """One of the values suffices."""
    vr = vr_of(keyword)
    return any(MATCHERS.get(vr, text)(key, value) for value in values)


def vr_of(keyword: str) -> str:
    return dictionary_VR(tag_for_keyword(keyword) or 0).split(" or ")[0]


def text(key: str, value: Any) -> bool:
    return like(key, str(value).strip(" \0"))


def like(pattern: str, value: str) -> bool:
    """`*` any run, `?` one character."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return any(like(pattern[1:], value[start:]) for start in range(len(value) + 1))
    return bool(value) and pattern[0] in ("?", value[0]) and like(pattern[1:], value[1:])


def uid(key: str, value: Any) -> bool:
    return str(value) in key.replace("\\", ",").split(",")


def number(key: str, value: Any) -> bool:
    try:
        return float(key) == float(value)
    except ValueError:
        return False


def date(key: str, value: Any) -> bool:
    day = str(value).replace(".", "")
    try:
        datetime.datetime.strptime(day, "%Y%m%d")
    except ValueError:
        return False
    low, dash, high = key.partition("-")
    return day == low if not dash else (not low or low <= day) and (not high or day <= high)


def time(key: str, value: Any) -> bool:
    at, (low, dash, high) = seconds(str(value)), key.partition("-")
    if not dash:
        return at == seconds(low)
    return (not low or seconds(low) <= at) and (not high or at <= seconds(high, "9"))


def name(key: str, value: Any) -> bool:
    """Whatever case, in whichever component group."""
    groups = [group.rstrip("^").casefold() for group in str(value).split("=")]
    return any(group and like(key.rstrip("^").casefold(), group) for group in groups)


MATCHERS: dict[str, Callable[[str, Any], bool]] = {
    "UI": uid,
    "IS": number,
    "DS": number,
    "US": number,
    "DA": date,
    "TM": time,
    "PN": name,
}


def keyword(tag: int) -> str:
    return keyword_for_tag(tag)
