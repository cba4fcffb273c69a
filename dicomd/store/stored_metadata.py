"""The complete metadata of stored instances: prepared in the index, or read from their files until then."""

from collections.abc import Iterable, Sequence

import orjson
from sqlalchemy import Connection

from ..model.attributes import Attributes
from ..model.status import ServiceError
from . import prepared, retrieval
from .files import Folder
from .retrieval import StoredInstance


def load(connection: Connection, folder: Folder, rows: Sequence[int], *, having: Iterable[str] = ()) -> dict[int, Attributes]:
    """The attributes of instances by their row; empty where unreadable. Those without a tag of `having` are left out."""
    ready = dict(zip(rows, prepared.load_json(connection, rows), strict=True))
    marks = [f'"{tag}":'.encode() for tag in having]
    found: dict[int, Attributes] = {}
    for row, json in ready.items():
        if json is not None and all(mark in json for mark in marks):
            found[row] = orjson.loads(json) if json else {}
    missing = [row for row, json in ready.items() if json is None]
    if missing:
        found.update((instance.row, _from_file(instance)) for instance in retrieval.pages(connection, folder, missing).page)
    return found


def _from_file(instance: StoredInstance) -> Attributes:
    try:
        return prepared.describe(instance).attributes
    except (OSError, ServiceError):
        return {}
