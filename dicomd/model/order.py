"""The order in which a search answers: `orderby`, this server's own extension of the search resources.

`orderby=StudyDate,-PatientName`: attributes that the index keeps in columns, `-` for descending. Text is compared by its
characters, numbers as numbers; entities without a value come before all others. Among equals the documented order decides, so
that pages never overlap.
"""

from attrs import frozen

from .dictionary import tag_of
from .key_values import refuse
from .keys import BY_PATH, Level
from .status import InvalidRequest

PARAMETER = "orderby"
MOST_KEYS = 8


@frozen
class Sorting:
    """One key of the order."""

    tag: str
    descending: bool = False


def read_order(value: str, level: Level) -> tuple[Sorting, ...]:
    """The keys that a value of the parameter names; InvalidRequest for one by which entities of the level have no order."""
    found = []
    for name in filter(None, (part.strip() for part in value.split(","))):
        plain = name.removeprefix("-")
        tag = tag_of(plain)
        column = BY_PATH.get((int(tag, 16),)) if tag else None
        if column is None or column.multiple or column.level > level:
            raise refuse(PARAMETER, plain, "no attribute by which this can be ordered")
        found.append(Sorting(f"{column.path[0]:08X}", plain != name))
    if len(found) > MOST_KEYS:
        raise InvalidRequest(f"{PARAMETER}: more than {MOST_KEYS} keys")
    return tuple(found)
