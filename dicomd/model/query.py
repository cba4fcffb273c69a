"""A search in the terms of the standard, and how both doors ask for one (PS3.4 C.2.2, C.4.1; PS3.18 8.3.4).

`from_parameters` reads the query component of a URI, `from_identifier` the Identifier of a C-FIND. The index answers a `Query` in
SQL; item lists (worklists, non-patient instances) are searched with `match_all` and answered with `projection.project`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from . import times
from .attributes import Attributes, plain, values
from .clocks import on_clock
from .dictionary import TIME_OF_DATE, creator_tag, is_creator, is_private, keyword_of, tag_of, vr_of
from .key_values import check_order, read_match, refuse
from .keys import Level
from .kinds import Dates, FuzzyName, Interval, Times, Universal
from .matching import ANY, REQUIRED, Items, Key, Path, matches
from .order import PARAMETER as ORDER
from .order import Sorting, read_order
from .status import InvalidRequest

__all__ = [
    "ANY",
    "REQUIRED",
    "Fields",
    "Items",
    "Key",
    "Options",
    "Path",
    "Query",
    "from_identifier",
    "from_parameters",
    "match_all",
]

# The attributes asked for: a tag to None (all of it) or, for a sequence, to what is asked for of its items
Fields = Mapping[str, "Fields | None"]

_LEVEL = "00080052"
_TIMEZONE = "00080201"
_MOST_RECORDS = "00080429"
# Never matched: character set, level, view, availability and where to retrieve (PS3.4 C.4.1.1.3)
_NEVER_MATCHED = frozenset(
    {"00080005", _LEVEL, "00080053", "00080054", "00080056", "00081190", _TIMEZONE, "00880130", "00880140"}
)
# Belongs to content items (PS3.3 10.2), no data set has it; a viewer in wide use sends it and means nothing by it
_NO_ATTRIBUTE_OF_AN_ENTITY = "0040A123"
# PS3.18 Table 8.3.4-1 and 8.3.3: read by the doors, or here
_DOOR_PARAMETERS = frozenset({"accept", "charset"})
# Groups of private attributes end in one of these
_ODD = "13579BDF"
_LEVEL_NAMES = {"PATIENT": Level.PATIENT, "STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.IMAGE}
# Where patients are the root, their ID is a unique key (PS3.4 C.6.1.1.2)
_REQUIRED_BELOW_PATIENT = REQUIRED - {("00100020",)}
UNIQUE: dict[Level, str] = {
    Level.PATIENT: "00100020",
    Level.STUDY: "0020000D",
    Level.SERIES: "0020000E",
    Level.IMAGE: "00080018",
}


@frozen
class Options:
    """What a client asked for, or an association negotiated, beyond baseline behaviour (PS3.4 C.5.1.1; PS3.18 8.3.4)."""

    relational: bool = False
    combined: bool = False
    fuzzy: bool = False
    timezone: bool = False
    empty: bool = False
    multiple: bool = False


@frozen
class Query:
    """What to find, what to return of it, and which page.

    `fields` are the attributes asked for, keys and include fields alike. `timezone`: dates and times of the keys are on this
    clock (minutes east of UTC), and so are those of the answer. `limit` None: as many as the server allows. `warnings`: texts
    for the client. `unknown`: required keys, which an entity of the archive without a value matches (PS3.4 C.2.2.1.2).
    `order`: what comes before the documented order.
    """

    level: Level | None = None
    keys: tuple[Key, ...] = ()
    fields: Fields = field(factory=dict)
    all_fields: bool = False
    creators: Mapping[str, str] = field(factory=dict)
    limit: int | None = None
    offset: int = 0
    timezone: int | None = None
    warnings: tuple[str, ...] = ()
    unknown: frozenset[Path] = REQUIRED
    order: tuple[Sorting, ...] = ()


def match_all(query: Query, attributes: Attributes, *, unknown: frozenset[Path] = ANY) -> bool:
    """Whether a data set satisfies every key.

    `unknown`: the paths of keys which an entity without a value matches. Query/Retrieve passes `REQUIRED`; worklists and
    non-patient instances keep the default, by which an absent or empty value matches no key that has one (PS3.4 K.2.2).
    """
    if query.timezone is not None:
        attributes = on_clock(attributes, query.timezone)
    return all(matches(key, attributes, unknown=unknown) for key in query.keys)


# ---- the query component of a URI (PS3.18 8.3.4)


def from_parameters(
    pairs: Iterable[tuple[str, str]],
    *,
    level: Level | None = None,
    fixed: Mapping[str, str] | None = None,
) -> Query:
    """The query that decoded name and value pairs ask for; `fixed` are UIDs of the path, tag to value.

    InvalidRequest names the parameter and the value that is malformed. Names that are no attribute end up in `warnings`.
    """
    reader = _Parameters(level)
    for tag, uid in (fixed or {}).items():
        reader.key((tag,), keyword_of(tag), uid)
    for name, value in pairs:
        reader.take(name, value)
    return reader.query()


class _Parameters:
    """Collects the parameters; keys can be read only after the options among them are known."""

    def __init__(self, level: Level | None) -> None:
        self.level = level
        self.order: tuple[Sorting, ...] = ()
        self.given: dict[Path, tuple[str, str]] = {}
        self.fields: dict[str, Any] = {}
        self.options: dict[str, bool] = {"fuzzymatching": False, "emptyvaluematching": False, "multiplevaluematching": False}
        self.numbers: dict[str, int] = {}
        self.timezone: int | None = None
        self.all_fields = False
        self.warnings: list[str] = []

    def take(self, name: str, value: str) -> None:
        if name == "includefield":
            self.include(value)
        elif name == ORDER and self.level is not None:
            self.order += read_order(value, self.level)
        elif name in ("limit", "offset"):
            self.numbers[name] = _unsigned(name, value)
        elif name in self.options:
            self.options[name] = _boolean(name, value)
        elif name not in _DOOR_PARAMETERS:
            self.attribute(name, value)

    def attribute(self, name: str, value: str) -> None:
        path = read_path(name)
        if path is None or path == (_NO_ATTRIBUTE_OF_AN_ENTITY,):
            self.warnings.append(f"The parameter {_shown(name)} is not supported and has been ignored.")
        elif path == (_TIMEZONE,):
            self.timezone = _offset(name, value)
        elif path == (_MOST_RECORDS,):
            self.numbers["limit"] = min(_unsigned(name, value), self.numbers.get("limit", 1 << 62))
        elif len(path) == 1 and path[0] in _NEVER_MATCHED:
            self.add_field(path)
        else:
            self.key(path, name, value)

    def key(self, path: Path, name: str, value: str) -> None:
        if path in self.given and self.given[path][1] != value:
            raise InvalidRequest(f"{_shown(name)}: given twice")
        self.given[path] = (name, value)
        self.add_field(path)

    def include(self, value: str) -> None:
        for name in filter(None, (part.strip() for part in value.split(","))):
            if name == "all":
                self.all_fields = True
            elif (path := read_path(name)) is None:
                self.warnings.append(f"The includefield {_shown(name)} is not an attribute and has been ignored.")
            else:
                self.add_field(path)

    def add_field(self, path: Path) -> None:
        at = self.fields
        for tag in path[:-1]:
            if at.setdefault(tag, {}) is None:
                return
            at = at[tag]
        at[path[-1]] = None

    def query(self) -> Query:
        creators = {
            path[0]: value
            for path, (_, value) in self.given.items()
            if len(path) == 1 and is_creator(path[0]) and self.has_block(path[0])
        }
        tree = _Tree(
            Options(
                relational=True,
                combined=True,
                fuzzy=self.options["fuzzymatching"],
                empty=self.options["emptyvaluematching"],
                multiple=self.options["multiplevaluematching"],
            ),
            self.timezone,
            creators,
        )
        for path, (name, value) in self.given.items():
            if not (len(path) == 1 and path[0] in creators):
                tree.add(path, _values(vr_of(path[-1], creators.get(creator_tag(path[-1]), "")), value, tree.options), name)
        for block in creators:
            self.fields.pop(block, None)
        keys = tree.keys()
        return Query(
            level=self.level,
            keys=keys,
            fields=self.fields,
            all_fields=self.all_fields,
            creators=creators,
            limit=self.numbers.get("limit"),
            offset=self.numbers.get("offset", 0),
            timezone=self.timezone,
            warnings=(*self.warnings, *_fuzzy_warnings(keys)),
            order=self.order,
        )

    def has_block(self, creator: str) -> bool:
        """Whether another key or field lies in the block of this private creator."""
        names = [path[-1] for path in self.given] + list(self.fields)
        return any(is_private(tag) and not is_creator(tag) and creator_tag(tag) == creator for tag in names)


def _values(vr: str, value: str, options: Options) -> list[str]:
    """Lists: of UIDs by comma (PS3.18 8.3.4.1) or backslash; of codes too, which cannot contain either."""
    if vr in ("UI", "CS", "AE", "AT", "AS") or (options.multiple and vr in ("LO", "PN", "SH", "UC")):
        return value.replace("\\", ",").split(",")
    return [value] if vr in ("LT", "ST", "UT", "UR") else value.split("\\")


def _fuzzy_warnings(keys: Iterable[Key]) -> list[str]:
    """Which keys were matched fuzzily: the client sees why names that differ are among the results."""
    found = [keyword_of(key.tag) for key in _flat(keys) if isinstance(key.match, FuzzyName)]
    return [f"Fuzzy matching has been performed for {', '.join(found)}."] if found else []


def _flat(keys: Iterable[Key]) -> Iterable[Key]:
    for key in keys:
        yield key
        if isinstance(key.match, Items):
            yield from _flat(key.match.keys)


def read_path(name: str) -> Path | None:
    """The tags that a keyword, 8 hex digits or several of them joined by dots name; None when that is no attribute."""
    tags = [tag_of(part) for part in name.split(".")]
    if any(tag is None or tag[4:] == "0000" or tag[:4] in ("0000", "0002") for tag in tags):
        return None
    path = tuple(tag for tag in tags if tag is not None)
    return path if all(is_private(tag) or vr_of(tag) == "SQ" for tag in path[:-1]) else None


def _shown(name: str) -> str:
    return name[:64] if name.isprintable() and name.isascii() else ascii(name)[1:-1][:64]


def _unsigned(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 64:
        raise refuse(name, value, "not an unsigned number")
    return min(int(value), 1 << 62)


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise refuse(name, value, "neither true nor false")
    return value.lower() == "true"


def _offset(name: str, value: str) -> int | None:
    try:
        return times.read_offset(value) if value.strip() else None
    except ValueError as error:
        raise refuse(name, value, str(error)) from None


# ---- the Identifier of a C-FIND (PS3.4 C.4.1.1.3)


def from_identifier(
    identifier: Attributes,
    *,
    levels: Sequence[Level] = (),
    options: Options | None = None,
    strip: Iterable[str] = (),
) -> Query:
    """The query of a decoded Identifier. `levels`: those of the information model; none for models without levels (worklists).

    InvalidRequest (A900) as the standard has it: no level or one that is not of the model, a unique key malformed, and without
    relational queries a missing or multiple unique key of a higher level. `strip`: further tags that are no keys.
    """
    options = options or Options()
    level = level_in(identifier, levels) if levels else None
    if level is not None and not options.relational:
        _check_hierarchy(identifier, level, levels)
    given = plain(next(iter(values(identifier, _TIMEZONE)), None))
    offset = _offset("Timezone Offset From UTC", given) if given and options.timezone else None
    left_out = _NEVER_MATCHED.union(strip) if strip else _NEVER_MATCHED
    plain_keys = {tag: content for tag, content in identifier.items() if tag not in left_out and tag[4:] != "0000"}
    private = [tag for tag in plain_keys if tag[3] in _ODD and is_creator(tag)]
    creators = {tag: plain(values(identifier, tag)[0]) for tag in private if values(identifier, tag)}
    tree = _Tree(options, offset, creators)
    fields = _identifier_keys(plain_keys, tree, ())
    fields.update({tag: None for tag in identifier if tag in _NEVER_MATCHED and tag not in ("00080005", _LEVEL, "00080053")})
    unknown = _REQUIRED_BELOW_PATIENT if Level.PATIENT in levels else REQUIRED
    return Query(level=level, keys=tree.keys(), fields=fields, creators=creators, timezone=offset, unknown=unknown)


def _identifier_keys(attributes: Attributes, tree: "_Tree", within: Path) -> dict[str, Any]:
    """Adds the keys to the tree; returns what is asked for."""
    fields: dict[str, Any] = {}
    for tag, content in attributes.items():
        if tag in tree.creators and not within:
            continue
        if "Value" not in content:
            fields[tag] = None
            continue
        given = [value for value in content["Value"] or () if value is not None]
        if content.get("vr") == "SQ":
            item = next((item for item in given if item), None)
            fields[tag] = _identifier_keys(item, tree, (*within, tag)) if item else None
        else:
            fields[tag] = None
            if given:
                tree.add((*within, tag), [plain(value) for value in given], keyword_of(tag), content.get("vr"))
    return fields


def level_in(identifier: Attributes, levels: Sequence[Level]) -> Level:
    """The Query/Retrieve Level of an Identifier; raises InvalidRequest when it is missing or not one of `levels`."""
    given = plain(next(iter(values(identifier, _LEVEL)), None))
    if not given:
        raise InvalidRequest("Query/Retrieve Level is missing", offending=(int(_LEVEL, 16),))
    level = _LEVEL_NAMES.get(given)
    if level is None or level not in levels:
        raise refuse("Query/Retrieve Level", given, "not a level of this information model")
    return level


def _check_hierarchy(identifier: Attributes, level: Level, levels: Sequence[Level]) -> None:
    """PS3.4 C.4.1.2.1: exactly one value for the unique key of each higher level."""
    for higher in levels:
        if higher >= level:
            return
        given = [value for value in values(identifier, UNIQUE[higher]) if plain(value)]
        if len(given) != 1 or any(mark in plain(given[0]) for mark in "*?"):
            tag = UNIQUE[higher]
            raise InvalidRequest(f"{keyword_of(tag)}: exactly one value is required at this level", offending=(int(tag, 16),))


# ---- keys of a data set and of its sequences


class _Tree:
    """Keys by their paths, put together to one key for each attribute, with sequences as trees."""

    def __init__(self, options: Options, offset: int | None, creators: Mapping[str, str]) -> None:
        self.options = options
        self.creators = creators
        self._offset = offset
        self._keys: dict[str, Any] = {}
        self._ranges: dict[str, tuple[str, str]] = {}

    def add(self, path: Path, given: Sequence[str], name: str, vr: str | None = None) -> None:
        """One key; a universal one asks for nothing and is left out."""
        tag = path[-1]
        creator = self.creators.get(creator_tag(tag), "") if is_private(tag) and len(path) == 1 else ""
        known = vr_of(tag, creator)
        kind = vr if known == "UN" and vr else known
        match = read_match(
            kind,
            given,
            name,
            fuzzy=self.options.fuzzy,
            empty=self.options.empty,
            multiple=self.options.multiple,
            offset=self._offset,
        )
        if isinstance(match, Universal):
            return
        at = self._keys
        for outer in path[:-1]:
            at = at.setdefault(outer, {})
        at[tag] = Key(tag, kind, match, creator)
        if kind in ("DA", "TM"):
            self._ranges[tag] = (name, "\\".join(given))

    def keys(self) -> tuple[Key, ...]:
        """The keys of the data set."""
        return self._gather(self._keys)

    def _gather(self, branch: Mapping[str, Any]) -> tuple[Key, ...]:
        found = {tag: Key(tag, "SQ", Items(self._gather(key))) if isinstance(key, dict) else key for tag, key in branch.items()}
        keys = tuple(_combined(found) if self.options.combined else found.values())
        for key in keys:
            if key.tag in self._ranges:
                check_order(key.match, *self._ranges[key.tag])
        return keys


def _combined(keys: dict[str, Key]) -> Iterable[Key]:
    """A date and its time that are ranges of the same form become one interval (PS3.4 C.2.2.2.5.4)."""
    for tag, key in list(keys.items()):
        time_tag = TIME_OF_DATE.get(tag, "")
        time = keys.get(time_tag)
        if time is None or not isinstance(key.match, Dates) or not isinstance(time.match, Times):
            continue
        days, hours = key.match, time.match
        opens = (days.low == times.FIRST_DATE, days.high == times.LAST_DATE)
        if days.low == days.high or hours.low == hours.high or opens != _open_ends(hours):
            continue
        low = None if opens[0] else (days.low, hours.low)
        high = None if opens[1] else (days.high, hours.high)
        keys[tag] = evolve(key, match=Interval(time_tag, low, high))
        del keys[time_tag]
    return keys.values()


def _open_ends(hours: Times) -> tuple[bool, bool]:
    return hours.low == times.FIRST_TIME, hours.high == times.LAST_TIME
