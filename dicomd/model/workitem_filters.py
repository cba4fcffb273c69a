"""The matching keys of a filtered global subscription (PS3.4 CC.2.3.1), as text that can be kept and read again."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson

from . import query
from .attributes import Attributes
from .query import Query
from .status import InvalidRequest
from .workitem_attributes import TRANSACTION_UID


def from_parameters(pairs: Iterable[tuple[str, str]]) -> str:
    """The filter of attribute and value pairs, as the HTTP door gets them; InvalidRequest when it asks for nothing."""
    return _checked({"parameters": [list(pair) for pair in pairs]})


def from_identifier(identifier: Attributes) -> str:
    """The filter of matching keys in a data set, as the DIMSE door gets them; InvalidRequest when it asks for nothing."""
    return _checked({"identifier": identifier})


def _checked(content: dict[str, Any]) -> str:
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()
    found = read(text)
    if found.warnings:
        raise InvalidRequest(f"the filter cannot be used: {found.warnings[0]}")
    if not found.keys:
        raise InvalidRequest("a filtered subscription needs a filter with at least one matching key")
    if any(key.tag == TRANSACTION_UID for key in found.keys):
        raise InvalidRequest("Transaction UID is not a matching key")
    return text


@lru_cache(1024)
def read(text: str) -> Query:
    """The query that a filter stands for."""
    content = orjson.loads(text)
    if "identifier" in content:
        return query.from_identifier(content["identifier"], strip=(TRANSACTION_UID,))
    return query.from_parameters([(name, value) for name, value in content["parameters"]])
