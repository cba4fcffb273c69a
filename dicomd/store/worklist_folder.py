"""Worklist entries as files in a folder: `.wl` and `.dcm` as DCMTK's wlmscpfs keeps them, and DICOM JSON.

Blocking; run in a disk worker. Files that are being written are read again once they have changed.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from ..model.attributes import Attributes
from ..model.status import ServiceError, TooLarge
from ..wire import datasets, elements, json_model
from .writable import refuse_unwritable

_BINARY, _JSON = (".wl", ".dcm"), ".json"
LARGEST_FILE = 1 << 20
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

Version = tuple[int, int]


def listing(folder: str) -> dict[str, Version]:
    """The worklist files of the folder and its sub-folders by relative name, with modification time (ns) and size."""
    found: dict[str, Version] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith((*_BINARY, _JSON)) and not name.startswith("."):
                path = Path(parent, name)
                try:
                    about = path.stat()
                except FileNotFoundError:
                    continue
                found[str(path.relative_to(folder))] = (about.st_mtime_ns, about.st_size)
    return found


def read_all(folder: str, names: Sequence[str]) -> list[list[Attributes] | ServiceError | OSError]:
    """For each file its data sets; or why they cannot be had: `ServiceError` for what is no worklist file, OSError."""
    return [_attempt(folder, name) for name in names]


def _attempt(folder: str, name: str) -> list[Attributes] | ServiceError | OSError:
    try:
        found = _read(folder, name)
        for data_set in found:
            refuse_unwritable(data_set)
        return found
    except (ServiceError, OSError) as error:
        return error


def _read(folder: str, name: str) -> list[Attributes]:
    path = Path(folder, name)
    if path.stat().st_size > LARGEST_FILE:
        raise TooLarge(f"a worklist file holds at most {LARGEST_FILE} bytes")
    data = path.read_bytes()
    if name.lower().endswith(_JSON):
        return json_model.from_json(data)
    if data[128:132] != b"DICM":
        return [datasets.decode(data, EXPLICIT_VR_LITTLE_ENDIAN)]
    meta = elements.file_meta(data)
    return [datasets.decode(data[meta.dataset_offset :], meta.transfer_syntax_uid)]
