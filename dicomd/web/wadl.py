"""The Capabilities Description (PS3.18 8.9, H): WADL as XML and as JSON (PS3.18 Annex H), generated from the route table."""

from collections.abc import Iterable
from html import escape
from typing import Any

from attrs import define, field

from .openapi import operation_id
from .routes import ARGUMENTS, Route

XML = "application/vnd.sun.wadl+xml"
JSON = "application/json"
_NAMESPACE = "http://wadl.dev.java.net/2009/02"
# Elements that may be repeated are arrays in JSON even when there is one.
_REPEATED = frozenset({"resource", "method", "param", "representation", "response", "doc"})

_KINDS = {"integer": "xs:nonNegativeInteger", "boolean": "xs:boolean", "number": "xs:decimal", "string": "xs:string"}


@define
class Element:
    """An element of the document, whichever way it is written."""

    name: str
    attributes: dict[str, str] = field(factory=dict)
    children: list["Element"] = field(factory=list)
    text: str = ""

    def add(self, element: str, /, text: str = "", **attributes: str) -> "Element":
        self.children.append(Element(element, attributes, text=text))
        return self.children[-1]


def document(rows: Iterable[Route], base: str) -> Element:
    """One `application` with one `resources`, resources nested as their paths are."""
    application = Element("application")
    resources = application.add("resources", base=base)
    for row in rows:
        if row.rooted:
            node = resources
            for segment in row.path.split("/")[1:]:
                node = _resource(node, segment)
            for method in row.methods:
                _method(node, row, method)
    return application


def _resource(parent: Element, segment: str) -> Element:
    path = segment.replace("...}", "}")
    for child in parent.children:
        if child.name == "resource" and child.attributes["path"] == path:
            return child
    node = parent.add("resource", path=path or "/")
    if path.startswith("{"):
        name = path[1:-1]
        param = node.add("param", name=name, style="template", type="xs:string", required="true")
        param.add("doc", ARGUMENTS.get(name, name))
    return node


def _method(node: Element, row: Route, name: str) -> None:
    method = node.add("method", name=name, id=operation_id(row, name))
    method.add("doc", row.section, title=row.summary)
    request = method.add("request")
    if row.produces:
        request.add("param", name="Accept", style="header", type="xs:string", default=row.produces[0])
    for parameter in row.parameters:
        kind = {"integer": "xs:nonNegativeInteger", "boolean": "xs:boolean", "number": "xs:decimal"}.get(
            parameter.kind, "xs:string"
        )
        required = "true" if parameter.required else "false"
        request.add("param", name=parameter.name, style=parameter.where, type=kind, required=required).add(
            "doc", parameter.summary
        )
    for media_type in row.consumes:
        request.add("representation", mediaType=media_type)
    good = [status for status in row.statuses if status < 400]
    response = method.add("response", status=" ".join(map(str, good)))
    for media_type in row.produces:
        response.add("representation", mediaType=media_type)
    refused = method.add("response", status=" ".join(map(str, sorted({400, *row.statuses} - set(good)))))
    refused.add("representation", mediaType="application/problem+json")


def to_xml(root: Element) -> bytes:
    """The document as XML."""
    root.attributes = {"xmlns": _NAMESPACE, "xmlns:xs": "http://www.w3.org/2001/XMLSchema"}
    out = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _write(root, out)
    return "".join(out).encode("utf-8")


def _write(element: Element, out: list[str]) -> None:
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in element.attributes.items())
    if not element.children and not element.text:
        out.append(f"<{element.name}{attributes}/>")
        return
    out.append(f"<{element.name}{attributes}>{escape(element.text)}")
    for child in element.children:
        _write(child, out)
    out.append(f"</{element.name}>")


def to_json(root: Element) -> dict[str, Any]:
    """The document as JSON: attributes are `@name`, repeatable elements arrays, a text is `value`."""
    return {root.name: _object(root)}


def _object(element: Element) -> dict[str, Any]:
    found: dict[str, Any] = {f"@{name}": value for name, value in element.attributes.items()}
    if element.text:
        found["value"] = element.text
    for child in element.children:
        if child.name in _REPEATED:
            found.setdefault(child.name, []).append(_object(child))
        else:
            found[child.name] = _object(child)
    return found
