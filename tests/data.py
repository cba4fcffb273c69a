"""Where tests find real files: those that pydicom ships, and a shared collection that is not part of the repository."""

import csv
import functools
import os
from pathlib import Path

import pydicom
from twisted.trial.unittest import SkipTest

# `../shared/data` beside the repository, unless the environment names another place.
SHARED = Path(os.environ.get("DICOMD_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def shared(path: str) -> Path:
    """The file or folder `path` of the shared collection; skips the test where there is none."""
    found = SHARED / path
    if not found.exists():
        raise SkipTest(f"no test data {path}: set DICOMD_TEST_DATA")
    return found


@functools.cache
def _manifest() -> tuple[dict[str, str], ...]:
    with (SHARED / "MANIFEST.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def manifest(folder: str = "", *, validity: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """The rows of the collection's manifest below `folder`, of these validities (any); skips the test without collection."""
    shared("MANIFEST.csv")
    prefix = folder.rstrip("/") + "/" if folder else ""
    return [row for row in _manifest() if row["path"].startswith(prefix) and (not validity or row["validity"] in validity)]


def shared_files(folder: str = "", *, validity: tuple[str, ...] = ("valid", "minor")) -> list[Path]:
    """The Part 10 files of the collection (no JSON, no media directories) of these validities."""
    rows = manifest(folder, validity=validity)
    return [
        SHARED / row["path"] for row in rows if row["sop_class"] and "DICOMDIR" not in row["path"] and row["path"][-5:] != ".json"
    ]


def pydicom_files() -> list[Path]:
    """The sample files inside the pydicom package; some are deliberately odd."""
    folder = Path(pydicom.__file__).parent / "data"
    return sorted([*folder.glob("test_files/*.dcm"), *folder.glob("charset_files/*.dcm")])


def pydicom_file(name: str) -> Path:
    """One of the sample files inside the pydicom package."""
    folder = Path(pydicom.__file__).parent / "data"
    found = [path for path in (folder / "test_files" / name, folder / "charset_files" / name) if path.exists()]
    if not found:
        raise SkipTest(f"pydicom does not ship {name}")
    return found[0]
