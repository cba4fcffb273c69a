"""Queries on non-patient instances. They are few: those of the SOP classes asked for are compared by the reference matcher."""

from collections.abc import Mapping, Sequence

from attrs import frozen
from sqlalchemy import Connection, select

from ..model.attributes import Attributes, text
from ..model.identifiers import InstanceKey
from ..model.matching import Key
from ..model.projection import project
from ..model.query import Fields, Query, match_all
from . import stored_metadata
from .files import Folder
from .retrieval import StoredInstance
from .schema import instances

_PAGE = 200


@frozen
class Page:
    """Matches as they are answered, and the SOP Instance UID behind which the next page begins (None: there is none)."""

    matches: tuple[Attributes, ...]
    following: str | None


def find(connection: Connection, folder: Folder, sop_classes: Sequence[str], uid: str) -> StoredInstance | None:
    """One instance of these SOP classes."""
    wanted = select(instances).where(
        instances.c.sop_instance_uid == uid, instances.c.study_row.is_(None), instances.c.sop_class_uid.in_(sop_classes)
    )
    row = connection.execute(wanted).first()
    if row is None:
        return None
    key = InstanceKey("", "", row.sop_instance_uid)
    path = folder.path(row.file)
    return StoredInstance(
        row.id, key, row.sop_class_uid, row.transfer_syntax_uid, path, row.dataset_offset, row.file_size, row.digest
    )


def search(
    connection: Connection, folder: Folder, fields: Mapping[str, Fields], query: Query, after: str = "", *, empty: bool = False
) -> Page:
    """The matches among the next candidates behind the UID `after`, in order of their SOP Instance UIDs.

    `fields`: SOP class -> what is always returned of its instances. `empty`: what is asked for and absent is there without value.
    """
    classes = _classes(query.keys, tuple(fields))
    uid = instances.c.sop_instance_uid
    wanted = select(instances.c.id, uid).where(
        instances.c.study_row.is_(None), instances.c.sop_class_uid.in_(classes), uid > after
    )
    found = connection.execute(wanted.order_by(uid).limit(_PAGE)).all()
    rows = [row for row, _ in found]
    loaded = stored_metadata.load(connection, folder, rows)
    matching = (loaded[row] for row in rows if loaded[row] and match_all(query, loaded[row]))
    answers = tuple(project(query, match, fields[text(match, "00080016")], empty=empty) for match in matching)
    return Page(answers, found[-1][1] if len(found) == _PAGE else None)


def _classes(keys: Sequence[Key], all_of_them: tuple[str, ...]) -> tuple[str, ...]:
    """The SOP classes that a key on SOP Class UID leaves."""
    named = [key.match for key in keys if key.tag == "00080016"]
    return tuple(uid for uid in all_of_them if all(match.accepts(uid) for match in named))
