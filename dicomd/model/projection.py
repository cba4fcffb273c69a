"""What an answer holds of a matching data set (PS3.4 C.4.1.1.3.2; PS3.18 8.3.4.3)."""

from collections.abc import Mapping
from typing import Any

from .attributes import Attributes
from .clocks import on_clock
from .dictionary import creator_tag, is_private, vr_of
from .matching import Items, Key, located
from .query import Fields, Query


def project(query: Query, attributes: Attributes, always: Fields | None = None, *, empty: bool = False) -> Attributes:
    """The attributes of a matching data set that the answer holds: those asked for and those `always` returned.

    `empty`: what is asked for and absent is returned without value (C-FIND). Of a sequence used for matching, only items that
    match are returned (PS3.4 C.2.2.2.6).
    """
    if query.timezone is not None:
        attributes = on_clock(attributes, query.timezone)
    if query.all_fields:
        return dict(sorted(attributes.items()))
    wanted: dict[str, Fields | None] = dict(always or {})
    for tag, inner in query.fields.items():
        wanted[tag] = _united(wanted[tag], inner) if tag in wanted else inner
    return _pick(wanted, attributes, {key.tag: key for key in query.keys}, query.creators, query.fields if empty else {})


def _united(one: Fields | None, other: Fields | None) -> Fields | None:
    return None if one is None or other is None else {**one, **other}


def _pick(
    wanted: Mapping[str, Fields | None],
    attributes: Attributes,
    keys: Mapping[str, Key],
    creators: Mapping[str, str],
    even_empty: Fields,
) -> Attributes:
    found: Attributes = {}
    for tag, inner in wanted.items():
        creator = creators.get(creator_tag(tag), "") if is_private(tag) else ""
        place = located(tag, creator, attributes)
        content = attributes.get(place)
        if content is None:
            if tag in even_empty:
                found[tag] = {"vr": vr_of(tag, creator)}
            continue
        if creator:
            found[creator_tag(place)] = attributes[creator_tag(place)]
        key = keys.get(tag)
        matched = key.match if key is not None and isinstance(key.match, Items) else None
        if content.get("vr") == "SQ" and (inner is not None or matched is not None):
            content = _pick_items(content, inner, matched, even_empty.get(tag) or {})
        found[place] = content
    return dict(sorted(found.items()))


def _pick_items(content: dict[str, Any], inner: Fields | None, matched: Items | None, even_empty: Fields) -> dict[str, Any]:
    chosen = [item or {} for item in content.get("Value") or ()]
    if matched is not None:
        chosen = [item for item in chosen if matched.accepts(item)] or chosen
    if inner:
        keys = {key.tag: key for key in matched.keys} if matched else {}
        chosen = [_pick(inner, item, keys, {}, even_empty) for item in chosen]
    return {"vr": "SQ", "Value": chosen} if chosen else {"vr": "SQ"}
