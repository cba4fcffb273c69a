"""How long searches take in an index of any size: `python benchmarks/search.py [--instances 200000] [--keep FOLDER]`.

Makes headers of ten instances a study, and one series of five hundred, and writes them by the store's own functions; then asks
what viewers and modalities ask, through the core without doors. Compare two sizes to see what grows.
"""

import argparse
import datetime
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dicomd.model.keys import COLUMNS, Level
from dicomd.model.query import from_identifier, from_parameters
from dicomd.store import finding, prepared
from dicomd.store.files import Folder
from dicomd.store.header import Header, header_of
from dicomd.store.index import Index
from dicomd.store.instances import Arrival, Duplicates, admit
from dicomd.store.plans import plan
from dicomd.store.prepared import Prepared
from dicomd.store.returns import returns
from dicomd.wire.elements import EXPLICIT_LITTLE
from dicomd.wire.identifiers import IdentifierWriter

_SYLLABLES = "BA CE DI FO GU HA JE KI LO MU NA PE RI SO TU VA".split()
_EMPTY: dict[str, Any] = {column.name: None if column.vr in ("IS", "US") else "" for column in COLUMNS if not column.computed}
PER_STUDY = 10
LARGE = 500
# So many studies, in an index of any size, are those of persons called SMITH, of the year 2024
MARKED = 20


def name(patient: int) -> str:
    """A name made of syllables."""
    if patient < MARKED // 2:
        return f"SMITH^N{patient:05d}"
    mixed = (patient * 2654435761 + 12345) & 0xFFFF
    return "".join(_SYLLABLES[(mixed >> shift) & 15] for shift in (12, 8, 4, 0)) + f"^N{patient % 100000:05d}"


def header(study: int, instance: int, series: int) -> Header:
    """One instance: a patient has two studies, a study two series."""
    uid = f"1.2.826.0.1.{study}"
    marked = study < MARKED
    day = datetime.date(2024 if marked else 2010, 1, 1) + datetime.timedelta(days=study if marked else study * 7919 % 5000)
    values = {
        **_EMPTY,
        "patient_name": name(study // 2),
        "patient_id": f"P{study // 2:07d}",
        "patient_birth_date": "19700101",
        "patient_sex": "F" if study % 4 < 2 else "M",
        "study_instance_uid": uid,
        "study_date": day.strftime("%Y%m%d"),
        "study_time": f"{study % 24:02d}{study % 60:02d}00",
        "accession_number": f"A{study:07d}",
        "study_id": str(study),
        "referring_physician_name": name(study % 97),
        "study_description": ("CHEST", "HEAD", "KNEE", "SPINE")[study % 4],
        "series_instance_uid": f"{uid}.{series}",
        "modality": ("CT", "MR", "CR", "US")[study % 4],
        "series_number": series,
        "series_description": f"SERIES {series}",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4",
        "sop_instance_uid": f"{uid}.{series}.{instance}",
        "instance_number": instance,
        "rows": 512,
        "columns": 512,
        "bits_allocated": 16,
    }
    return header_of(values)


def arrivals(instances: int) -> Iterator[Arrival]:
    """So many instances; the first study has a series of 500 and nineteen more."""
    for number in range(instances):
        if number < LARGE:
            found = header(0, number + 1, 1)
        else:
            study, instance = divmod(number - LARGE, PER_STUDY)
            found = header(study, 1 if study == 0 else instance, 2 + instance if study == 0 else 1 + instance % 2)
        yield Arrival(found, "1.2.840.10008.1.2.1", f"{number}.dcm", 340, 1000, b"", number)


def fill(index: Index, instances: int) -> None:
    """Write the rows, a thousand instances a commit; they have no files, so nothing is to be prepared of them."""
    made, row = arrivals(instances), 0
    while batch := [arrival for _, arrival in zip(range(1000), made, strict=False)]:
        with index.batch() as connection:
            for arrival in batch:
                admit(connection, arrival, Duplicates.REPLACE)
            rows = range(row + 1, row + len(batch) + 1)
            prepared.save(connection, [(Prepared(number, problem="there is no file"), b"") for number in rows])
            row += len(batch)


def asked(studies: int) -> dict[str, tuple[Level, tuple[Level, ...], Callable[[int], dict[str, str]]]]:
    """Names of searches: level, levels returned, parameters of the nth time."""
    study, series, image = (Level.STUDY,), (Level.SERIES,), (Level.IMAGE,)
    first, limit = "1.2.826.0.1.0", {"limit": "100"}

    def patient(n: int) -> dict[str, str]:
        return {"PatientID": f"P{n * 37 % (studies // 2):07d}"}

    def part(n: int, start: int, end: int, pattern: str) -> dict[str, str]:
        return {"PatientName": pattern % name(n * 37 % studies)[start:end], **limit}

    def year(n: int) -> dict[str, str]:
        return {"StudyDate": f"{2010 + n % 13}0101-{2010 + n % 13}1231", **limit}

    rows: list[tuple[str, tuple[Level, ...], Callable[[int], dict[str, str]]]] = [
        ("studies?PatientID", study, patient),
        ("studies?PatientName=SMI*", study, lambda n: part(n, 0, 4, "%s*")),
        ("studies?PatientName=*MITH*", study, lambda n: part(n, 2, 6, "*%s*")),
        ("studies?PatientName fuzzy", study, lambda n: {**part(n, 0, 8, "%s"), "fuzzymatching": "true"}),
        ("studies?StudyDate=a-b", study, year),
        ("studies?StudyDate=day", study, lambda n: {"StudyDate": f"{2010 + n % 13}0615", **limit}),
        ("studies?offset=5000", study, lambda n: {"offset": str(min(5000, studies // 2) + n), **limit}),
        ("studies?ModalitiesInStudy", study, lambda n: {"ModalitiesInStudy": "MR", **limit}),
        ("studies?StudyDescription=*x*", study, lambda n: {"StudyDescription": "*EA*", **limit}),
        ("studies?Modality", study, lambda n: {"Modality": "CT", **limit}),
        ("studies/{uid}/series", series, lambda n: {"StudyInstanceUID": first}),
        (
            "series/{uid}/instances",
            image,
            lambda n: {"StudyInstanceUID": first, "SeriesInstanceUID": f"{first}.1", "limit": "500"},
        ),
        ("series?Modality=CT", study + series, lambda n: {"Modality": "CT", **limit}),
        ("instances?PatientID", study + series + image, patient),
    ]
    return {label: (levels[-1], levels, parameters) for label, levels, parameters in rows}


def measure(index: Index, folder: Folder, studies: int, repetitions: int) -> None:
    """Print the median of wall and CPU time of each search: reading the keys, SQL, and JSON."""
    with index.reader() as connection:
        for label, (level, always, parameters) in asked(studies).items():
            walls, cpus, matches = [], [], 0
            for number in range(repetitions):
                pairs = list(parameters(number).items())
                began, cpu = time.perf_counter(), time.thread_time()
                query = from_parameters(pairs, level=level)
                wanted = returns(query, always=always)
                page = finding.page(connection, folder, plan(query), wanted, query.limit or 100, query.offset, 60.0)
                ",".join(page.matches).encode()
                walls.append(time.perf_counter() - began)
                cpus.append(time.thread_time() - cpu)
                matches += len(page.matches)
            print(
                f"{label:32}{statistics.median(walls) * 1e3:9.3f} ms {statistics.median(cpus) * 1e3:9.3f} ms CPU"
                f"{matches / repetitions:9.1f} matches"
            )
        find_by_identifier(connection, folder, studies, repetitions)


def find_by_identifier(connection: Any, folder: Folder, studies: int, repetitions: int) -> None:
    """C-FIND at study level by Patient ID, as far as the bytes of the answers."""
    times, writer = [], IdentifierWriter(EXPLICIT_LITTLE, "")
    for number in range(repetitions):
        keys = {"00100020": f"P{number * 37 % (studies // 2):07d}", "00100010": "", "00080020": "", "0020000D": ""}
        identifier = {tag: {"vr": "LO", **({"Value": [value]} if value else {})} for tag, value in keys.items()}
        identifier["00080052"] = {"vr": "CS", "Value": ["STUDY"]}
        began = time.thread_time()
        query = from_identifier(identifier, levels=(Level.STUDY, Level.SERIES, Level.IMAGE))
        finding.first(connection, folder, plan(query), returns(query, empty=True), writer, 200, 60.0)
        times.append(time.thread_time() - began)
    print(f"{'C-FIND STUDY by Patient ID':32}{'':13}{statistics.median(times) * 1e3:9.3f} ms CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, nargs="+", default=[1000, 200_000])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--keep", help="folder for the indexes, made when it is not there and kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for instances in options.instances:
            root = Path(options.keep or temporary) / str(instances)
            there = (root / "index.sqlite").exists()
            index = Index(root / "index.sqlite")
            index.open()
            began = time.perf_counter()
            if not there:
                fill(index, instances)
            print(f"\n{instances} instances, written in {time.perf_counter() - began:.1f} s")
            measure(index, Folder(str(root)), max(2, (instances - LARGE) // PER_STUDY), options.repetitions)
            index.close()


if __name__ == "__main__":
    main()
