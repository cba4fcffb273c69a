"""The OpenAPI 3.1 description, generated from the route table."""

import re
from collections.abc import Iterable
from typing import Any

from ..model.offerings import HTTP_SERVICES
from .problems import TITLES
from .routes import ARGUMENTS, UIDS, Parameter, Route

MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.1"
UID_PATTERN = r"^[0-9]+(\.[0-9]+)*$"
_MEANING = {200: "Success", 201: "Created", 202: "Accepted", 204: "Nothing to return", 206: "Part of it", 304: "Not modified"}
_BODILESS = (101, 201, 204, 303, 304)
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457; `detail` names what was wrong",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "requestId": {"type": "string", "description": "the log repeats it"},
    },
    "required": ["title", "status", "detail", "requestId"],
}


def document(rows: Iterable[Route], base: str, version: str) -> dict[str, Any]:
    """The description of `rows`, served under `base`; rows that are not rooted at the top of the same host."""
    scheme, _, rest = base.partition("://")
    host, slash, prefix = rest.partition("/")
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, None] = {}
    for row in rows:
        item = paths.setdefault(plain_path(row, slash + prefix), {})
        tags[row.service] = None
        for method in row.methods:
            item[method.lower()] = _operation(row, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "dicomd", "version": version, "description": "A DICOM archive: DICOMweb (PS3.18)"},
        "servers": [{"url": f"{scheme}://{host}"}],
        "tags": [{"name": name, "description": HTTP_SERVICES[name]} for name in tags if name],
        "paths": paths,
        "components": {"schemas": {"Problem": _PROBLEM}},
    }


def plain_path(row: Route, root: str) -> str:
    """The path as OpenAPI writes it; `{name...}` has no equal there."""
    return (root if row.rooted else "") + row.path.replace("...}", "}")


def operation_id(row: Route, method: str) -> str:
    """A name for the operation, unique among all."""
    words = re.findall(r"[A-Za-z0-9]+", row.path)
    return method.lower() + ("" if row.rooted else "Server") + "".join(word[0].upper() + word[1:] for word in words)


def _operation(row: Route, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": operation_id(row, method), "summary": row.summary}
    if row.section:
        operation["description"] = row.section
    if row.service:
        operation["tags"] = [row.service]
    parameters = [_argument(name, f"{{{name}...}}" in row.path) for name in row.names]
    parameters += [_parameter(parameter) for parameter in row.parameters]
    if parameters:
        operation["parameters"] = parameters
    if row.consumes and method != "GET":
        operation["requestBody"] = {"content": {name: _schema(name) for name in row.consumes}}
    operation["responses"] = _responses(row)
    return operation


def _argument(name: str, rest: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if name in UIDS:
        schema |= {"pattern": UID_PATTERN, "maxLength": 64}
    described = ARGUMENTS.get(name, name) + (", may hold slashes" if rest else "")
    return {"name": name, "in": "path", "required": True, "description": described, "schema": schema}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.kind}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.kind == "integer":
        schema["minimum"] = 0
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.summary,
        "schema": schema,
    }


def _responses(row: Route) -> dict[str, Any]:
    content = {name: _schema(name) for name in row.produces}
    found: dict[str, Any] = {}
    for status in sorted({*row.statuses, 400} if row.names or row.parameters else row.statuses):
        described: dict[str, Any] = {"description": _MEANING.get(status, TITLES.get(status, str(status)))}
        if status < 400 and content and status not in _BODILESS:
            described["content"] = content
        elif status >= 400:
            described["content"] = _problem_content()
        found[str(status)] = described
    found["default"] = {"description": "Refused", "content": _problem_content()}
    return found


def _problem_content() -> dict[str, Any]:
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _schema(media_type: str) -> dict[str, Any]:
    """What stands for a body: JSON is JSON, everything else octets."""
    return {} if media_type.endswith("json") else {"schema": {"type": "string", "contentMediaType": media_type.split(";")[0]}}
