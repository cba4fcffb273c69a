"""The complete metadata of stored instances: prepared in the index, or read from their files until then."""

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection

from ..model.attributes import Attributes
from ..model.status import ServiceError
from . import prepared, retrieval
from .files import Folder
from .retrieval import StoredInstance


def load(connection: Connection, folder: Folder, rows: Sequence[int]) -> dict[int, Attributes]:
    """The attributes of instances by their row; empty for one that cannot be read."""
    ready = dict(zip(rows, prepared.load_json(connection, rows), strict=True))
    found: dict[int, Attributes] = {row: orjson.loads(json) if json else {} for row, json in ready.items()}
    missing = [row for row, json in ready.items() if json is None]
    if missing:
        found.update((instance.row, _from_file(instance)) for instance in retrieval.pages(connection, folder, missing).page)
    return found


def _from_file(instance: StoredInstance) -> Attributes:
    try:
        return prepared.describe(instance).attributes
    except (OSError, ServiceError):
        return {}
