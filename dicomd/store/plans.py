"""How a query is answered: what the index says in SQL, and what is left for the reference matcher."""

from typing import Any

from attrs import frozen

from ..model import kinds, times
from ..model.dictionary import DATE_OF_TIME, TIME_OF_DATE
from ..model.keys import Level
from ..model.matching import Items, Key
from ..model.query import Query
from .conditions import Term, term_of
from .places import PLACES, Place

_DAY = 24 * 60
# What rows hold, or what is made of several instances
_COLUMN_TAGS = {path[0] for path in PLACES}
ANATOMIC_REGIONS = "00080063"
# Number of Patient Related Studies, Series and Instances
PATIENT_COUNTS = ("00201200", "00201202", "00201204")


@frozen
class Plan:
    """How a query is answered: `terms` in SQL; `residual` keys by the reference matcher.

    `of_instances`: a residual key is about something that only instances have, so instances are looked through.
    `is_narrow`: an indexed key leaves few rows. `must_have`: tags that the metadata of a match cannot lack. `order`: columns,
    descending or not, that come before the documented order.
    """

    level: Level
    terms: tuple[tuple[Place, Term], ...]
    residual: tuple[Key, ...]
    of_instances: bool
    is_narrow: bool
    must_have: tuple[str, ...]
    shape: Any
    values: tuple[Any, ...]
    order: tuple[tuple[Place, bool], ...] = ()


def plan(query: Query) -> Plan:
    """Divide the keys between the index and the matcher."""
    assert query.level is not None
    terms: list[tuple[Place, Term]] = []
    residual: list[Key] = []
    below = False
    for key in query.keys:
        found, exact, known = _terms(key, query)
        terms += found
        if not exact:
            residual.append(key)
            below = below or not known or any(place.level > query.level for place, _ in found)
    shape = tuple((place.name, term.shape()) for place, term in terms)
    values = tuple(value for _, term in terms for value in term.all_values())
    narrow = any(place.unique and _is_equality(term) for place, term in terms)
    must_have = tuple(key.tag for key in residual if _is_told_by_metadata(key))
    order = tuple((PLACES[(key.tag,)], key.descending) for key in query.order)
    return Plan(query.level, tuple(terms), tuple(residual), below, narrow, must_have, shape, values, order)


def _is_told_by_metadata(key: Key) -> bool:
    """Whether only an instance whose metadata have the attribute can match: no column, and it must have a value."""
    computed = key.tag in (ANATOMIC_REGIONS, *PATIENT_COUNTS)
    return not (computed or key.creator or key.tag in _COLUMN_TAGS or isinstance(key.match, kinds.Empty | Items))


def _is_equality(term: Term) -> bool:
    return term.kind in ("is", "in") or (term.kind == "or unknown" and _is_equality(term.parts[0]))


def _terms(key: Key, query: Query) -> tuple[list[tuple[Place, Term]], bool, bool]:
    """What columns say to a key; whether that is the whole answer; whether the columns hold all that the key is about."""
    if isinstance(key.match, Items):
        return _item_terms(key, query)
    place = None if key.creator else PLACES.get((key.tag,))
    if place is None:
        return [], False, False
    match, exact = key.match, True
    if query.timezone is not None and (key.tag in TIME_OF_DATE or key.tag in DATE_OF_TIME):
        match, exact = _on_any_clock(key.match), False
    term = term_of(match, place, (key.tag,) in query.unknown)
    if term is None:
        return [], False, True
    return [(place, term)], exact and term.exact, True


def _item_terms(key: Key, query: Query) -> tuple[list[tuple[Place, Term]], bool, bool]:
    """The columns tell of all items together: they answer one key of the items, but not whether one item has several."""
    assert isinstance(key.match, Items)
    found: list[tuple[Place, Term]] = []
    for inner in key.match.keys:
        place = PLACES.get((key.tag, inner.tag))
        term = term_of(inner.match, place, (key.tag, inner.tag) in query.unknown) if place is not None else None
        if place is None or term is None:
            return found, False, place is not None
        found.append((place, term))
    return found, len(found) == 1 and found[0][1].exact, True


def _on_any_clock(match: kinds.Match) -> kinds.Match:
    """A day more at both ends: what the same instants may be called on other clocks. Times alone say nothing."""
    if isinstance(match, kinds.Dates):
        low, high = match.low, match.high
    elif isinstance(match, kinds.Interval):
        low = match.low[0] if match.low else times.FIRST_DATE
        high = match.high[0] if match.high else times.LAST_DATE
    else:
        return kinds.Universal()
    if low != times.FIRST_DATE:
        low = times.shift(low, "000000", -_DAY)[0]
    if high != times.LAST_DATE:
        high = times.shift(high, "000000", _DAY)[0]
    return kinds.Dates(low, high)
