"""Persons' names in the index: their component groups for literal matching, their words and sounds for fuzzy matching.

The rules are those of `model.names`. Whatever writes a name of a patient or study calls `write`; names go with their owner's row.
"""

from enum import IntEnum

from sqlalchemy import Connection, bindparam, delete, insert

from ..model import names as rules
from . import dialect
from .dialect import Statement
from .schema import names


class Owner(IntEnum):
    """Whose row a name belongs to, and which of its attributes it is."""

    PATIENT = 0
    STUDY = 1
    REFERRING = 2


# Kinds: 0 to 2 are the component groups, then words
WORD = 3

_INSERT = Statement(insert(names).values({column.name: bindparam(column.name) for column in names.c}))
_FORGET = Statement(delete(names).where(names.c.owner == bindparam("owner"), names.c.row == bindparam("row")))


def write(connection: Connection, owner: Owner, row: int, name: str, *, before: str | None = None) -> None:
    """Index the name (component groups joined by `=`) that an owner has, instead of the one it had (None: it is new).

    An owner without a name has the empty text, by which those are found that match whatever is asked.
    """
    if name == before:
        return
    if before is not None:
        _FORGET.run(connection, {"owner": owner, "row": row})
    groups = rules.split(name)
    for kind, group in enumerate(groups):
        if group or (kind == 0 and not name):
            _INSERT.run(connection, {"owner": owner, "row": row, "kind": kind, "text": group, "sound": ""})
    for word in rules.words(name):
        _INSERT.run(connection, {"owner": owner, "row": row, "kind": WORD, "text": word, "sound": rules.sound(word)})
    if owner is not Owner.PATIENT:
        dialect.index_trigrams(connection, owner.name.lower(), row, "=".join(groups))
