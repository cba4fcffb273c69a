"""Every answer of the search against a second engine that knows nothing of it, over real files and generated queries."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.keys import Level
from dicomd.model.query import Options, from_identifier, from_parameters
from dicomd.services.query import Search
from tests.brute_force import vr_of
from tests.searched import RealFiles, found_by, tag

STUDY_ROOT = (Level.STUDY, Level.SERIES, Level.IMAGE)
LEVELS = {"STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.IMAGE}
COLUMNS = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber StudyID StudyDescription "
    "StudyInstanceUID ReferringPhysicianName ModalitiesInStudy NumberOfStudyRelatedInstances NumberOfStudyRelatedSeries "
    "Modality SeriesNumber SeriesDescription SeriesInstanceUID BodyPartExamined NumberOfSeriesRelatedInstances "
    "PerformedProcedureStepStartDate PerformedProcedureStepStartTime RequestAttributesSequence.ScheduledProcedureStepID "
    "RequestAttributesSequence.RequestedProcedureID SOPInstanceUID SOPClassUID InstanceNumber Rows Columns NumberOfFrames"
).split()
OTHERS = (
    "SliceThickness Manufacturer ImageType PatientWeight StationName ProtocolName KVP ContentDate ContentTime PixelSpacing "
    "PhotometricInterpretation FrameOfReferenceUID PatientAge InstitutionName OperatorsName PatientPosition"
).split()
RANGES = ("DA", "TM")
NUMBERS = ("IS", "DS", "US")


@st.composite
def key(draw: Any, keyword: str) -> str:
    """What might be asked of an attribute, mostly something that some file has."""
    known = RealFiles.get().values(keyword)
    value = draw(st.sampled_from(known)) if known else "1"
    vr = vr_of(keyword.rsplit(".")[-1])
    if vr in RANGES:
        return draw(ranges(value, known or [value]))
    if vr == "UI":
        others = draw(st.lists(st.sampled_from(known or [value]), max_size=2))
        return ",".join([value, *others])
    if vr in NUMBERS:
        known = [value for value in known if value.lstrip("+-").replace(".", "").isdigit()] or ["1"]
        value = draw(st.sampled_from(known))
        return draw(st.sampled_from([value, f"{float(value):.6f}"]))
    if vr == "AS":
        return value
    if vr == "PN":
        value = draw(st.sampled_from([group for group in value.split("=") if group.strip("^")] or ["x"]))
        value = draw(st.sampled_from([value, value.upper(), value.lower()]))
    return draw(patterns(value))


@st.composite
def ranges(draw: Any, value: str, known: list[str]) -> str:
    other = draw(st.sampled_from(known))
    if len(value) > 8 or len(other) > 8:
        value, other = value[: draw(st.sampled_from([2, 4, 6]))], other[: draw(st.sampled_from([2, 4, 6]))]
    low, high = sorted([value, other])
    return draw(st.sampled_from([value, f"{low}-{high}", f"{value}-", f"-{value}"]))


@st.composite
def patterns(draw: Any, value: str) -> str:
    """The value, or one with wildcards in it."""
    start = draw(st.integers(0, max(0, len(value) - 1)))
    end = draw(st.integers(start + 1, max(start + 1, len(value))))
    middle = value[start:end]
    choices = [
        value,
        value[:end] + "*",
        f"*{middle}*",
        f"*{value[start:]}",
        f"{value[:start]}?{value[start + 1 :]}",
        f"{middle}x",
    ]
    return draw(st.sampled_from([choice for choice in choices if choice.strip("*")]))


@st.composite
def queries(draw: Any, keywords: list[str]) -> tuple[str, dict[str, str]]:
    """A level and up to three keys."""
    chosen = draw(st.lists(st.sampled_from(keywords), min_size=1, max_size=3, unique=True))
    return draw(st.sampled_from(list(LEVELS))), {keyword: draw(key(keyword)) for keyword in chosen}


def identifier(level: str, keys: dict[str, str]) -> Attributes:
    """The same query for C-FIND."""
    found: Attributes = {"00080052": attribute("CS", level), **{tag(unique): attribute("UI") for unique in found_by.values()}}
    for keyword, value in keys.items():
        vr = vr_of(keyword.rsplit(".")[-1])
        values = value.split(",") if vr == "UI" else [value]
        if "." in keyword:
            sequence, inner = keyword.split(".")
            found.setdefault(tag(sequence), attribute("SQ", {}))["Value"][0][tag(inner)] = attribute(vr, *values)
        else:
            found[tag(keyword)] = attribute(vr, *values)
    return found


def thorough(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class ParityTests(RealFiles.Case):
    """The core, asked as either door asks it."""

    def by_parameters(self, level: str, keys: dict[str, str]) -> list[str]:
        search = Search(self.files.workers, self.files.folder, self.files.clock, max_results=100_000)
        answer = self.wait(search.find(from_parameters(keys.items(), level=LEVELS[level]), always=(LEVELS[level],)))
        self.assertEqual(answer.remaining, 0)
        return [text(json.loads(match), tag(found_by[level])) for match in answer.matches]

    def by_identifier(self, level: str, keys: dict[str, str]) -> list[str]:
        options = Options(relational=True, combined=True)
        query = from_identifier(identifier(level, keys), levels=STUDY_ROOT, options=options)
        matches = self.gather(Search(self.files.workers, self.files.folder, self.files.clock).stream(query))
        return [text(match, tag(found_by[level])) for match in matches]

    def check(self, level: str, keys: dict[str, str]) -> None:
        expected = self.files.brute.find(level, keys)
        self.assertEqual(self.by_parameters(level, keys), expected)
        self.assertEqual(self.by_identifier(level, keys), expected)

    @thorough(300)
    @given(queries(COLUMNS))
    def test_columns(self, query: tuple[str, dict[str, str]]) -> None:
        """Keys of the standard's tables."""
        self.check(*query)

    @thorough(100)
    @given(queries(COLUMNS + OTHERS * 2))
    def test_any_attribute(self, query: tuple[str, dict[str, str]]) -> None:
        """Keys that are answered from the stored metadata."""
        self.check(*query)
