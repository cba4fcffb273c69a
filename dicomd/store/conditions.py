"""Keys as conditions in SQL.

A match becomes a `Term`: what kind of condition it is, and its values. The kinds of all terms of a query are its shape; each
shape is built (`build`) and compiled once, then only values change. What columns cannot answer exactly gets no term, or one
marked inexact, and is answered by the reference matcher on what the index finds.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen
from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from ..model import kinds, times
from ..model.names import FuzzyWord
from . import dialect
from .name_index import WORD, Owner
from .places import TIMES_OF_DATES, Form, Place, owner_of
from .schema import names

Binds = Iterator[Any]
Condition = ColumnElement[bool]

_EMPTY: Any = literal_column("''")
# Databases bound the size of a condition; the reference matcher answers what has more alternatives.
_MOST_PARTS = 100
_LAST = chr(0x10FFFF)


@frozen
class Term:
    """One condition: its kind, the values it compares with, and the terms it is made of."""

    kind: str
    values: tuple[Any, ...] = ()
    parts: tuple["Term", ...] = ()
    exact: bool = True

    def shape(self) -> Any:
        """What the SQL depends on."""
        return (self.kind, *[part.shape() for part in self.parts]) if self.parts else self.kind

    def all_values(self) -> list[Any]:
        """The values, in the order in which `build` takes binds."""
        found = list(self.values)
        for part in self.parts:
            found += part.all_values()
        return found


def term_of(match: kinds.Match, place: Place, unknown: bool) -> Term | None:
    """The condition for a match on a column; None when SQL cannot tell. `unknown`: rows without a value match as well."""
    term = _TERMS[type(match)](match, place) if type(match) in _TERMS else None
    if term is None or not unknown or term.kind in ("empty", "null", "interval"):
        return term
    if term.kind == "between":
        low, high = term.values
        return Term("between or unknown", (high, low, low))
    return Term("or unknown", parts=(term,), exact=term.exact)


def build(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    """The condition on a table; takes as many binds as the term has values."""
    if place.form is Form.NAME:
        return _named(term, place, table, binds)
    return _BUILDERS[term.kind](term, place, table, binds)


def bind_names() -> Binds:
    """Numbered parameters."""
    number = 0
    while True:
        yield bindparam(f"p{number}")
        number += 1


# ---- from matches to terms


def _single(match: kinds.Single, place: Place) -> Term | None:
    if place.form is Form.LIST:
        return Term("has", (f"\\{match.value}\\",))
    return Term("is", (match.value,)) if place.form is Form.TEXT else None


def _uid_list(match: kinds.UidList, place: Place) -> Term | None:
    if place.form is Form.LIST:
        if len(match.uids) > _MOST_PARTS:
            return None
        return Term("or", parts=tuple(Term("has", (f"\\{uid}\\",)) for uid in sorted(match.uids)))
    return Term("in", (json.dumps(sorted(match.uids)),))


def _wildcard(match: kinds.Wildcard, place: Place) -> Term | None:
    if place.form is Form.LIST:
        return Term("glob", (dialect.glob(f"*\\{match.pattern}\\*"),), exact=False)
    return pattern_term(match.pattern) if place.form is Form.TEXT else None


def pattern_term(pattern: str) -> Term:
    """A wildcard pattern on a column or name of its own."""
    head = re.split(r"[*?]", pattern, maxsplit=1)[0]
    if head == pattern:
        return Term("is", (pattern,))
    if pattern == f"{head}*":
        return Term("prefix", (head, after(head)))
    if head:
        return Term("prefix and glob", (head, after(head), dialect.glob(pattern)))
    inner = pattern[1:-1]
    if pattern.startswith("*") and pattern.endswith("*") and len(inner) > 2 and not re.search(r"[*?]", inner):
        return Term("contains", (inner,))
    return Term("glob", (dialect.glob(pattern),))


def after(prefix: str) -> str:
    """The first text that sorts after everything that begins with `prefix` (by code points, as UTF-8 does)."""
    head, last = prefix[:-1], ord(prefix[-1])
    if last == 0x10FFFF:
        return prefix + _LAST
    return head + chr(0xE000 if last == 0xD7FF else last + 1)


def _number(match: kinds.Number, place: Place) -> Term | None:
    return Term("is", (match.value,)) if place.form is Form.NUMBER and abs(match.value) < 1 << 62 else None


def _dates(match: kinds.Dates, place: Place) -> Term | None:
    if place.form is not Form.TEXT:
        return None
    return Term("is", (match.low,)) if match.low == match.high else Term("between", (match.low, match.high))


def _times(match: kinds.Times, place: Place) -> Term | None:
    return Term("time", (_low(match.low), match.high)) if place.form is Form.TEXT else None


def _low(time: str) -> str:
    """The shortest form that a stored time of the same meaning can have, from seconds on."""
    return time.rstrip("0").rstrip(".").ljust(6, "0") if time else "0"


def _interval(match: kinds.Interval, place: Place) -> Term | None:
    if place.name not in TIMES_OF_DATES:
        return None
    low, high = match.low or (times.FIRST_DATE, ""), match.high or (times.LAST_DATE, times.LAST_TIME)
    days = Term("between or unknown", (high[0], low[0], low[0]))
    return Term("interval", (low[0], _low(low[1]), high[0], high[1]), (days,))


def _one_of(match: kinds.OneOf, place: Place) -> Term | None:
    return _joined("or", match.matches, place)


def _every(match: kinds.Every, place: Place) -> Term | None:
    return _joined("and", match.matches, place)


def _joined(kind: str, matches: tuple[kinds.Match, ...], place: Place) -> Term | None:
    if len(matches) > _MOST_PARTS:
        return None
    parts = [term_of(match, place, False) for match in matches]
    found = tuple(part for part in parts if part is not None)
    if len(found) < len(parts):
        return None
    return Term(kind, parts=found, exact=all(part.exact for part in found))


def _empty(match: kinds.Empty, place: Place) -> Term | None:
    return Term("empty" if place.form is not Form.NUMBER else "null")


def _name(match: kinds.Name, place: Place) -> Term | None:
    if place.form is not Form.NAME:
        return None
    if match.anywhere:
        return Term("name", parts=(pattern_term(match.patterns[0]),))
    groups = [Term(f"name {kind}", parts=(pattern_term(text),)) for kind, text in enumerate(match.patterns) if text]
    return Term("and", parts=tuple(groups)) if groups else None


def _fuzzy(match: kinds.FuzzyName, place: Place) -> Term | None:
    literal = _name(match.literal, place)
    if literal is None or not match.words:
        return literal
    words = tuple(_word(word) for word in match.words)
    patterns = any(word.is_pattern for word in match.words)
    return Term("fuzzy", parts=(*words, literal) if patterns else words)


def _word(word: FuzzyWord) -> Term:
    if word.is_pattern:
        return Term("word", parts=(pattern_term(word.text),))
    if word.anywhere:
        return Term("word", parts=(Term("glob", (dialect.glob(f"*{word.text}*"),)),))
    if word.sound:
        return Term("word or sound", (word.text, after(word.text), word.sound))
    return Term("word", parts=(Term("prefix", (word.text, after(word.text))),))


_TERMS: dict[type[Any], Callable[[Any, Place], Term | None]] = {
    kinds.Single: _single,
    kinds.UidList: _uid_list,
    kinds.Wildcard: _wildcard,
    kinds.Number: _number,
    kinds.Dates: _dates,
    kinds.Times: _times,
    kinds.Interval: _interval,
    kinds.OneOf: _one_of,
    kinds.Every: _every,
    kinds.Empty: _empty,
    kinds.Name: _name,
    kinds.FuzzyName: _fuzzy,
}


# ---- from terms to SQL


def _compare(kind: str, column: Any, binds: Binds) -> Condition:
    """A condition on one text."""
    if kind == "is":
        return column == next(binds)
    if kind == "in":
        return column.in_(dialect.values_of(next(binds)))
    if kind == "prefix":
        return and_(column >= next(binds), column < next(binds))
    if kind == "prefix and glob":
        return and_(column >= next(binds), column < next(binds), dialect.globs(column, next(binds)))
    if kind == "between":
        return and_(column >= next(binds), column <= next(binds))
    return dialect.globs(column, next(binds)) if kind == "glob" else dialect.contains(column, next(binds))


def _simple(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    return _compare(term.kind, place.column(table), binds)


def _has(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    return dialect.contains(place.column(table), next(binds))


def _padded(column: Any) -> Any:
    """A time to the second at least, so that text order is time order; `1030` is `103000`."""
    return column.op("||")(func.substr(literal_column("'000000'"), func.length(column) + literal_column("1")))


def _time(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    column = place.column(table)
    return and_(column != _EMPTY, _padded(column) >= next(binds), _padded(column) <= next(binds))


def _interval_sql(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    """A date whose time is not known is compared alone (PS3.4 C.2.2.1.2: both are required keys)."""
    day, hour = place.column(table), table.c[TIMES_OF_DATES[place.name]]
    late = or_(day > next(binds), hour == _EMPTY, _padded(hour) >= next(binds))
    early = or_(day < next(binds), hour == _EMPTY, _padded(hour) <= next(binds))
    return and_(build(term.parts[0], place, table, binds), or_(day == _EMPTY, and_(late, early)))


def _and(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    return and_(true(), *[build(part, place, table, binds) for part in term.parts])


def _or(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    return or_(false(), *[build(part, place, table, binds) for part in term.parts])


def _or_unknown(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    return or_(build(term.parts[0], place, table, binds), _missing(place, table))


def _missing(place: Place, table: Table) -> Condition:
    column = place.column(table)
    return column.is_(None) if place.form is Form.NUMBER else column == _EMPTY


def _without_value(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    return _missing(place, table)


def _between_or_unknown(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    """One range of the index, in its order: down to the empty ones only if there are any."""
    column = place.column(table)
    high, low, again = next(binds), next(binds), next(binds)
    empty = select(literal_column("1")).where(table.alias().c[place.name] == _EMPTY).correlate(None).exists()
    lowest = case((empty, _EMPTY), else_=low)
    return and_(column <= high, column >= lowest, or_(column >= again, column == _EMPTY))


# ---- names: queries of the rows that have one


def _named(term: Term, place: Place, table: Table, binds: Binds) -> Condition:
    found = _rows(term, owner_of(place, table), binds)
    return table.c.id.in_(found[0] if len(found) == 1 else union_all(*found))


def _rows(term: Term, owner: Owner, binds: Binds) -> list["Select[Any]"]:
    """Queries that together give the rows whose name satisfies the term; each query is simple, so that indexes serve it."""
    if term.kind == "or unknown":
        return [*_rows(term.parts[0], owner, binds), _without_name(owner)]
    if term.kind == "empty":
        return [_without_name(owner)]
    if term.kind == "or":
        return [query for part in term.parts for query in _rows(part, owner, binds)]
    if term.kind == "and":
        return _in_all([_rows(part, owner, binds) for part in term.parts])
    if term.kind == "fuzzy":
        words = [_rows(part, owner, binds) for part in term.parts if part.kind.startswith("word")]
        literal = [_rows(part, owner, binds) for part in term.parts if not part.kind.startswith("word")]
        return [query for queries in (_in_all(words), *literal) for query in queries]
    return _WORDS[term.kind](owner, binds) if term.kind in _WORDS else [_one_text(term, owner, binds)]


def _in_all(queries: list[list["Select[Any]"]]) -> list["Select[Any]"]:
    """The rows that each of the lists gives."""
    first, *others = queries
    for other in others:
        rows = other[0] if len(other) == 1 else union_all(*other)
        first = [query.where(query.selected_columns[0].in_(rows)) for query in first]
    return first


def _one_text(term: Term, owner: Owner, binds: Binds) -> "Select[Any]":
    """`name`: in any component group; `name 1`: in that one; `word`: in a word."""
    inner = term.parts[0].kind
    if term.kind == "name" and inner == "contains" and owner is not Owner.PATIENT:
        return dialect.trigrams(owner.name.lower(), next(binds))
    kinds_of = {"name": (0, 1, 2), "word": (WORD,)}
    chosen = kinds_of.get(term.kind) or (int(term.kind[5:]),)
    return _of(owner, *chosen).where(_compare(inner, names.c.text, binds))


def _word_or_sound(owner: Owner, binds: Binds) -> list["Select[Any]"]:
    begins = _of(owner, WORD).where(_compare("prefix", names.c.text, binds))
    owned = select(names.c.row).where(names.c.owner == _number_of(owner))
    return [begins, owned.where(names.c.sound == next(binds), names.c.sound != _EMPTY)]


_WORDS = {"word or sound": _word_or_sound}


def _without_name(owner: Owner) -> "Select[Any]":
    return _of(owner, 0).where(names.c.text == _EMPTY)


def _of(owner: Owner, *chosen: int) -> "Select[Any]":
    query = select(names.c.row).where(names.c.owner == _number_of(owner))
    return query.where(names.c.kind.in_([_number_of(kind) for kind in chosen]))


def _number_of(value: int) -> Any:
    return literal_column(str(int(value)))


_BUILDERS: dict[str, Callable[[Term, Place, Table, Binds], Condition]] = {
    **dict.fromkeys(("is", "in", "prefix", "prefix and glob", "between", "glob", "contains"), _simple),
    "has": _has,
    "time": _time,
    "interval": _interval_sql,
    "and": _and,
    "or": _or,
    "or unknown": _or_unknown,
    "empty": _without_value,
    "null": _without_value,
    "between or unknown": _between_or_unknown,
}
