"""Every answer of the search against a second engine that knows nothing of it, over real files and generated queries."""

from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomd.dimse.query import QueryProvider
from dicomd.model.attributes import Attributes, attribute, text
from dicomd.services.query import Search
from dicomd.web.qido import Qido
from tests.brute_force import vr_of
from tests.dimse.finding import find, find_peer
from tests.dimse.peer import listening
from tests.searched import RealFiles, found_by, tag
from tests.web.harness import ask, make_door

RESOURCES = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
COLUMNS = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber StudyID StudyDescription "
    "StudyInstanceUID ReferringPhysicianName ModalitiesInStudy NumberOfStudyRelatedInstances NumberOfStudyRelatedSeries "
    "Modality SeriesNumber SeriesDescription SeriesInstanceUID BodyPartExamined NumberOfSeriesRelatedInstances "
    "PerformedProcedureStepStartDate PerformedProcedureStepStartTime RequestAttributesSequence.ScheduledProcedureStepID "
    "RequestAttributesSequence.RequestedProcedureID SOPInstanceUID SOPClassUID InstanceNumber Rows Columns NumberOfFrames"
).split()
ORDERED = {
    "STUDY": "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber StudyID StudyDescription "
    "StudyInstanceUID ReferringPhysicianName NumberOfStudyRelatedInstances NumberOfStudyRelatedSeries",
    "SERIES": "Modality SeriesNumber SeriesDescription BodyPartExamined NumberOfSeriesRelatedInstances",
    "IMAGE": "SOPClassUID InstanceNumber Rows Columns NumberOfFrames",
}
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
        known = [value for value in known if value.replace(".", "").isdigit() and value[4:5] != "."]
        return draw(ranges(vr, draw(st.sampled_from(known or ["120000"])), known or ["120000"]))
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
def ranges(draw: Any, vr: str, value: str, known: list[str]) -> str:
    """A single value, or a range of one of the three forms; of times also less precise ones."""
    other = draw(st.sampled_from(known))
    if vr == "TM":
        value, other = value[: draw(st.sampled_from([2, 4, 6, 13]))], other[: draw(st.sampled_from([2, 4, 6, 13]))]
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
    return draw(st.sampled_from(list(RESOURCES))), {keyword: draw(key(keyword)) for keyword in chosen}


@st.composite
def orders(draw: Any) -> tuple[str, dict[str, str], list[str]]:
    """A level, at most one key, and up to three attributes of the level or above to order by."""
    level = draw(st.sampled_from(list(ORDERED)))
    names = [name for at in list(ORDERED)[: list(ORDERED).index(level) + 1] for name in ORDERED[at].split()]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    order = [draw(st.sampled_from(["", "-"])) + name for name in chosen]
    keyword = draw(st.sampled_from(["", "Modality", "PatientID", "PatientName", "SliceThickness"]))
    return level, {keyword: draw(key(keyword))} if keyword else {}, order


def identifier(level: str, keys: dict[str, str]) -> Attributes:
    """The same query for C-FIND."""
    found: Attributes = {"00080052": attribute("CS", level), **{tag(unique): attribute("UI") for unique in found_by.values()}}
    for keyword, value in keys.items():
        vr = vr_of(keyword.rsplit(".")[-1])
        values: list[Any] = value.split(",") if vr == "UI" else [int(float(value))] if vr == "US" else [value]
        if "." in keyword:
            sequence, inner = keyword.split(".")
            found.setdefault(tag(sequence), attribute("SQ", {}))["Value"][0][tag(inner)] = attribute(vr, *values)
        else:
            found[tag(keyword)] = attribute(vr, *values)
    return found


def thorough(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class ParityTests(RealFiles.Case):
    """Both doors, each query by QIDO-RS and by C-FIND with relational queries and combined ranges negotiated."""

    def setUp(self) -> None:
        super().setUp()
        search = Search(self.files.workers, self.files.folder, self.files.clock, max_results=100_000)
        self.door = make_door(Qido(search).routes())
        self.listener, _ = listening(*QueryProvider(search, "DICOMD").services())
        self.peer = find_peer(self.listener, relational=True, combined=True)

    def by_web(self, level: str, keys: dict[str, str]) -> list[str]:
        answer = ask(self.door, "GET", f"/dicom-web/{RESOURCES[level]}?{urlencode(keys, quote_via=quote)}")
        if answer.status == 204:
            return []
        self.assertEqual((answer.status, answer.headers.get("warning")), (200, answer.headers.get("warning")))
        return [text(match, tag(found_by[level])) for match in answer.json]

    def by_dimse(self, level: str, keys: dict[str, str]) -> list[str]:
        matches, final = find(self.peer, identifier(level, keys))
        self.assertEqual(final, 0x0000)
        return [text(match, tag(found_by[level])) for match in matches]

    def check(self, level: str, keys: dict[str, str]) -> None:
        expected = self.files.brute.find(level, keys)
        self.assertEqual(self.by_web(level, keys), expected)
        self.assertEqual(self.by_dimse(level, keys), expected)

    @thorough(150)
    @given(queries(COLUMNS))
    def test_keys_of_the_tables(self, query: tuple[str, dict[str, str]]) -> None:
        """Keys of the standard's tables."""
        self.check(*query)

    @thorough(100)
    @given(orders(), st.integers(1, 40))
    def test_order(self, query: tuple[str, dict[str, str], list[str]], limit: int) -> None:
        """Answers in the order asked for, all at once and page by page."""
        level, keys, order = query
        expected, asked = self.files.brute.find(level, keys, order), {**keys, "orderby": ",".join(order)}
        self.assertEqual(self.by_web(level, asked), expected)
        for offset in range(0, min(len(expected), 3 * limit), limit):
            page = self.by_web(level, {**asked, "limit": str(limit), "offset": str(offset)})
            self.assertEqual(page, expected[offset : offset + limit])

    @thorough(50)
    @given(queries(COLUMNS + OTHERS * 2))
    def test_any_attribute(self, query: tuple[str, dict[str, str]]) -> None:
        """Keys that are answered from the stored metadata."""
        self.check(*query)
