"""The route table: rows of path, method and handler, and the matcher that resolves a request line.

Everything the server says about itself (405 with Allow, OPTIONS, WADL, OpenAPI, the conformance page) is derived from these
rows; a resource that is not a row does not exist.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal
from urllib.parse import unquote

from attrs import field, frozen

from .problems import HttpError
from .responses import Response

Handler = Callable[..., Awaitable[Response | Any]]


@frozen
class Parameter:
    """A query parameter or header that a row understands; `kind` is a JSON Schema type."""

    name: str
    summary: str
    kind: Literal["string", "integer", "number", "boolean"] = "string"
    where: Literal["query", "header"] = "query"
    required: bool = False
    choices: tuple[str, ...] = ()


@frozen
class Route:
    """One resource and the methods that `handler(request, **path arguments)` serves.

    `path`: `{name}` is one segment, `{name...}` the rest. A name of `UIDS` must be a UID. `service`, a name of
    `model.offerings.HTTP_SERVICES`, is what `[http] off` switches off. `receiver(request, length, **arguments)` takes the body
    while it arrives; without it the body is collected, up to `largest_body` (or `[http] max_body`). `rooted` rows stand under
    every root, the others at the top.
    """

    path: str
    methods: tuple[str, ...]
    handler: Handler
    summary: str
    service: str = ""
    section: str = ""
    parameters: tuple[Parameter, ...] = ()
    consumes: tuple[str, ...] = ()
    produces: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)
    receiver: Callable[..., Any] | None = None
    largest_body: int | None = None
    rooted: bool = True
    names: tuple[str, ...] = field(init=False)

    @names.default
    def _names(self) -> tuple[str, ...]:
        return tuple(part[1:-1].removesuffix("...") for part in self.path.split("/") if part.startswith("{"))


_MOST_LITERAL = 256

# Path arguments that must be UIDs, and what the arguments are.
UIDS = frozenset({"study", "series", "instance", "workitem", "uid", "transaction"})
ARGUMENTS = {
    "study": "Study Instance UID",
    "series": "Series Instance UID",
    "instance": "SOP Instance UID",
    "frames": "frame numbers from 1, ascending, joined by commas",
    "workitem": "SOP Instance UID of a workitem, or the UID of the global or filtered worklist",
    "uid": "SOP Instance UID",
    "transaction": "Transaction UID",
    "aet": "AE title of a subscriber",
    "step": "name of an entry of the worklist",
    "path": "place of the element in its data set",
}


@frozen
class Match:
    """What a request line resolves to: a row with its path arguments, or the template and the methods of the resource."""

    route: Route | None
    arguments: dict[str, str]
    allowed: tuple[str, ...] = ()
    path: str = ""


class _Node:
    """One segment of the tree of paths."""

    __slots__ = ("argument", "children", "rest", "rows")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.argument: _Node | None = None
        self.rest: _Node | None = None
        self.rows: dict[str, Route] = {}

    def add(self, segments: Sequence[str], row: Route) -> None:
        node = self
        for segment in segments:
            if segment.endswith("...}"):
                node.rest = node = node.rest or _Node()
            elif segment.startswith("{"):
                node.argument = node = node.argument or _Node()
            else:
                node = node.children.setdefault(segment, _Node())
        for method in row.methods:
            if method in node.rows:
                raise ValueError(f"two rows for {method} {row.path}")
            node.rows[method] = row

    def find(self, segments: Sequence[str], index: int, values: list[str]) -> "_Node | None":
        """The node of the path; a literal segment is preferred to an argument, that to the rest of the path."""
        if index == len(segments):
            return self if self.rows else None
        segment = segments[index]
        child = self.children.get(segment)
        if child is not None and (found := child.find(segments, index + 1, values)) is not None:
            return found
        if self.argument is not None and segment:
            values.append(segment)
            if (found := self.argument.find(segments, index + 1, values)) is not None:
                return found
            values.pop()
        if self.rest is not None:
            values.append("/".join(segments[index:]))
            return self.rest
        return None


class RouteTable:
    """All rows under all roots. HEAD follows GET, OPTIONS is everywhere."""

    def __init__(self, rows: Iterable[Route], roots: Sequence[str]) -> None:
        self.rows = tuple(rows)
        self.roots = tuple(dict.fromkeys(roots))
        self._roots = [_segments(root) for root in self.roots]
        self._rooted, self._top = _Node(), _Node()
        # Request lines without arguments, found before.
        self._literal: dict[tuple[str, bytes], Match] = {}
        for row in self.rows:
            (self._rooted if row.rooted else self._top).add(_segments(row.path), row)

    def match(self, method: str, path: bytes) -> Match | None:
        """What the request line names; None when there is no such resource."""
        known = self._literal.get((method, path))
        if known is not None:
            return known
        found = self._find(method, path)
        if found is not None and found.route is not None and not found.arguments and len(self._literal) < _MOST_LITERAL:
            self._literal[method, path] = found
        return found

    def _find(self, method: str, path: bytes) -> Match | None:
        segments = _segments(_text(path))
        if b"%" in path:
            segments = [_unquoted(segment) for segment in segments]
        for parts in self._roots:
            if segments[: len(parts)] == parts:
                return self._match(self._rooted, method, segments[len(parts) :])
        return self._match(self._top, method, segments)

    def _match(self, tree: _Node, method: str, segments: list[str]) -> Match | None:
        values: list[str] = []
        node = tree.find(segments, 0, values)
        if node is None:
            return None
        row = node.rows.get("GET" if method == "HEAD" else method)
        if row is None or method == "OPTIONS":
            return Match(None, {}, _allowed(node.rows), next(iter(node.rows.values())).path)
        return Match(row, dict(zip(row.names, values, strict=True)))


def _allowed(rows: Iterable[str]) -> tuple[str, ...]:
    methods = list(rows)
    return tuple(dict.fromkeys((*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS")))


def _segments(path: str) -> list[str]:
    """The segments of a path; one trailing slash is as none."""
    parts = path.split("/")[1:]
    return parts[:-1] if parts and not parts[-1] else parts


def _text(path: bytes) -> str:
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        raise HttpError(400, "the path is not UTF-8") from None


def _unquoted(segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise HttpError(400, "the path is not UTF-8") from None
