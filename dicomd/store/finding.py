"""The parts of a search that run in a reading thread: a page with its count, candidates, slices of them, and their answers."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import orjson
from attrs import frozen
from sqlalchemy import Connection

from ..model.attributes import Attributes, attribute, items
from ..model.clocks import on_clock
from ..model.keys import Level
from ..model.matching import matches
from . import dialect, search, stored_metadata
from .answers import READY, Reader
from .files import Folder
from .plans import PATIENT_COUNTS, Plan
from .returns import REGION, REGIONS, REQUESTS, Returns
from .search import Row


@frozen
class Page:
    """Matches in order as JSON objects, and how many follow them."""

    matches: list[str]
    remaining: int


@frozen
class Candidates:
    """Rows that may match, in order; each with the instance to look into, where instances are looked through."""

    entities: "array[int]"
    instances: "array[int] | None"

    def __len__(self) -> int:
        return len(self.entities)

    def part(self, start: int, size: int) -> "Candidates":
        """A slice."""
        chosen = slice(start, start + size)
        return Candidates(self.entities[chosen], None if self.instances is None else self.instances[chosen])


class Writer(Protocol):
    """How a door wants its answers: the bytes that it sends. What every answer says it adds itself."""

    def whole(self, answer: Attributes) -> bytes:
        """An answer with these attributes."""

    def of_columns(self, tags: tuple[str, ...]) -> Callable[[Sequence[Any]], bytes]:
        """What makes an answer of the values of the columns of these attributes."""


def page(connection: Connection, folder: Folder, plan: Plan, returns: Returns, limit: int, offset: int, seconds: float) -> Page:
    """One page of a query that the index answers alone."""
    with dialect.deadline(connection, seconds):
        found = search.page(connection, plan, returns.needs.is_wide, limit + 1, offset)
        remaining = 0
        if len(found) > limit:
            del found[limit:]
            remaining = max(0, search.count(connection, plan) - offset - limit)
        if returns.needs.is_ready:
            ready = READY[plan.level]
            return Page([ready(row) for row in found], remaining)
        return Page([orjson.dumps(one).decode() for one in _answers(connection, folder, returns, found)], remaining)


def first(
    connection: Connection, folder: Folder, plan: Plan, returns: Returns, writer: Writer, size: int, seconds: float
) -> "tuple[list[bytes], array[int]]":
    """The answers to a query that the index answers alone, as far as `size` goes, and the rows that follow."""
    limit, offset = -1 if returns.query.limit is None else returns.query.limit, returns.query.offset
    with dialect.deadline(connection, seconds):
        found = search.page(connection, plan, _shown(returns), size + 1 if limit < 0 else min(limit, size + 1), offset)
        rest = array("q")
        if len(found) > size:
            del found[size:]
            rest = search.ids(connection, plan, limit if limit < 0 else limit - size, offset + size)
        return _written(connection, folder, returns, writer, found), rest


def candidates(connection: Connection, plan: Plan, seconds: float) -> Candidates:
    """What the matcher has to look at."""
    with dialect.deadline(connection, seconds):
        if plan.of_instances:
            return Candidates(*search.candidates(connection, plan))
        return Candidates(search.ids(connection, plan), None)


def select(connection: Connection, folder: Folder, plan: Plan, returns: Returns, chosen: Candidates, seconds: float) -> list[int]:
    """The entities among the candidates that satisfy the residual keys, in order, each once."""
    with dialect.deadline(connection, seconds):
        found: dict[int, None] = {}
        for entity, attributes in _whole(connection, folder, plan, returns, chosen):
            if entity not in found and _satisfies(plan, returns, attributes):
                found[entity] = None
        return list(found)


def _satisfies(plan: Plan, returns: Returns, attributes: Attributes) -> bool:
    if returns.query.timezone is not None:
        attributes = on_clock(attributes, returns.query.timezone)
    return all(matches(key, attributes, unknown=returns.query.unknown) for key in plan.residual)


def _whole(
    connection: Connection, folder: Folder, plan: Plan, returns: Returns, chosen: Candidates
) -> Iterator[tuple[int, Attributes]]:
    """Each candidate with everything that is known of it: metadata, and the attributes of its rows, which hold against them."""
    if chosen.instances is None:
        level, entities = plan.level, dict(zip(chosen.entities, chosen.entities, strict=True))
        stored: dict[int, Attributes] = {}
    else:
        stored = stored_metadata.load(connection, folder, chosen.instances, having=plan.must_have)
        pairs = zip(chosen.instances, chosen.entities, strict=True)
        level, entities = Level.IMAGE, {instance: entity for instance, entity in pairs if instance in stored}
    extra = _patient_counts(connection, returns, chosen.entities)
    reader = Reader()
    for row in search.rows(connection, level, True, entities):
        whole = stored.get(row[0], {})
        requests = whole.get(REQUESTS)
        for attributes in reader.attributes_of(level, row).values():
            whole.update(attributes)
        if requests is not None:
            whole[REQUESTS] = requests
        if REGION in whole:
            whole[REGIONS] = whole[REGION]
        yield entities[row[0]], {**whole, **extra.get(entities[row[0]], {})}


def answers(connection: Connection, folder: Folder, returns: Returns, chosen: Sequence[int], seconds: float) -> list[Attributes]:
    """The answers for these rows, in order."""
    with dialect.deadline(connection, seconds):
        return _answers(connection, folder, returns, search.rows(connection, returns.level, returns.needs.is_wide, chosen))


def written(
    connection: Connection, folder: Folder, returns: Returns, writer: Writer, chosen: Sequence[int], seconds: float
) -> list[bytes]:
    """The answers for these rows, in order, as the door wants them."""
    with dialect.deadline(connection, seconds):
        found = search.rows(connection, returns.level, _shown(returns), chosen)
        return _written(connection, folder, returns, writer, found)


def _shown(returns: Returns) -> search.Shown:
    return returns.needs.is_wide if returns.needs.columns is None else returns.needs.columns


def _written(connection: Connection, folder: Folder, returns: Returns, writer: Writer, found: list[Row]) -> list[bytes]:
    if returns.needs.columns is None:
        return [writer.whole(answer) for answer in _answers(connection, folder, returns, found)]
    write = writer.of_columns(returns.needs.columns)
    return [write(row[1:]) for row in found]


def _answers(connection: Connection, folder: Folder, returns: Returns, found: list[Row]) -> list[Attributes]:
    chosen = [row[0] for row in found]
    stored = _representing(connection, folder, returns.level, chosen) if returns.needs.metadata else {}
    extra = _patient_counts(connection, returns, chosen)
    if returns.wants(REGIONS) and returns.level is Level.STUDY:
        for study in chosen:
            extra.setdefault(study, {})[REGIONS] = _regions(connection, folder, study)
    made, reader = [], Reader()
    for row in found:
        rows = reader.attributes_of(returns.level, row)
        rows[returns.level].update(extra.get(row[0], {}))
        made.append(returns.answer(rows, stored.get(row[0])))
    return made


def _representing(connection: Connection, folder: Folder, level: Level, chosen: Sequence[int]) -> dict[int, Attributes]:
    """The metadata of an instance of each row: its own, or that of the one which stands for the others."""
    if level is Level.IMAGE:
        return stored_metadata.load(connection, folder, chosen)
    instance_of = search.representatives(connection, level, chosen)
    stored = stored_metadata.load(connection, folder, [one for one in instance_of.values() if one is not None])
    return {row: stored[one] for row, one in instance_of.items() if one in stored}


def _patient_counts(connection: Connection, returns: Returns, chosen: Iterable[int]) -> dict[int, Attributes]:
    """Numbers of patient related studies, series and instances, which studies are asked for as well (PS3.4 C.6.2.1.2)."""
    if returns.level is not Level.STUDY or not returns.wants(*PATIENT_COUNTS):
        return {}
    return {
        study: {tag: attribute("IS", number) for tag, number in zip(PATIENT_COUNTS, numbers, strict=True)}
        for study, *numbers in search.patient_counts(connection, chosen)
    }


def _regions(connection: Connection, folder: Folder, study: int) -> dict[str, Any]:
    """Anatomic Regions in Study Code Sequence: the different codes of its instances."""
    codes: dict[bytes, Attributes] = {}
    for attributes in stored_metadata.load(connection, folder, search.instances_of(connection, study)).values():
        for item in items(attributes, REGION):
            codes[orjson.dumps(item)] = item
    return attribute("SQ", *codes.values())
