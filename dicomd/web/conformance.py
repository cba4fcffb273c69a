"""The page for people: what the server does, as tables made of the tables that the code uses."""

from collections.abc import Collection, Iterable, Sequence
from html import escape

from attrs import frozen

from ..model import keys, non_patient, scheduled_steps, transfer_syntaxes, workitem_keys
from ..model.dictionary import keyword_of, vr_of
from ..model.offerings import HTTP_SERVICES
from ..model.search_rules import RULES
from .routes import Route

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{border:1px solid #ccc;padding:.25rem .5rem;"
    "text-align:left;vertical-align:top}th{background:#f2f4f7}code{font-size:.92em;word-break:break-word}h2{margin-top:2.5rem}"
)


@frozen
class Table:
    """A titled table of texts."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]


_KEY_COLUMNS = ("Level", "Tag", "Keyword", "VR")


def page(rows: Iterable[Route], base: str, version: str, further: Iterable[Table]) -> bytes:
    """The whole page."""
    rules = Table("How searches match, order and answer", ("Matter", "Rule"), RULES)
    rows = list(rows)
    tables = [
        *_resources(rows),
        rules,
        _search_keys(),
        *_other_keys({row.service for row in rows}),
        _transfer_syntaxes(),
        *further,
    ]
    body = "".join(_html(table) for table in tables)
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>dicomd</title><style>{_STYLE}</style>"
    intro = (
        f"<h1>dicomd {escape(version)}</h1><p>A DICOM archive. Its DICOMweb resources (PS3.18) stand under "
        f"<code>{escape(base)}</code>. Machines read <a href='{escape(base)}/openapi.json'>OpenAPI</a>, or WADL by "
        f"<code>OPTIONS {escape(base)}/</code>.</p>"
    )
    return (head + intro + body + "</html>").encode("utf-8")


def _resources(rows: list[Route]) -> Iterable[Table]:
    columns = ("Resource", "Methods", "What", "Section", "Parameters", "Request", "Response")
    for service in dict.fromkeys(row.service for row in rows):
        yield Table(
            HTTP_SERVICES.get(service, "The server itself"),
            columns,
            [
                (
                    row.path,
                    ", ".join(row.methods),
                    row.summary,
                    row.section,
                    ", ".join(parameter.name for parameter in row.parameters),
                    ", ".join(row.consumes),
                    ", ".join(row.produces),
                )
                for row in rows
                if row.service == service
            ],
        )


def _search_keys() -> Table:
    return Table(
        "Keys that the index holds; every other attribute is matched and returned from the stored metadata",
        _KEY_COLUMNS,
        [
            (
                column.level.name.title(),
                ".".join(f"{tag:08X}" for tag in column.path),
                ".".join(keyword_of(f"{tag:08X}") for tag in column.path),
                column.vr,
            )
            for column in keys.COLUMNS
        ],
    )


def _other_keys(services: Collection[str]) -> Iterable[Table]:
    """Of the services that are offered and do not search among studies."""
    if "workitems" in services:
        rows = [_key_row("", path, vr) for path, vr in sorted(workitem_keys.KEYS.items())]
        yield Table("Keys of workitems", _KEY_COLUMNS[1:], [row[1:] for row in rows])
    if "worklist" in services:
        rows = [_key_row("", path, vr_of(path[-1])) for path in scheduled_steps.KEYS]
        yield Table("Keys of the modality worklist that are always returned", _KEY_COLUMNS[1:], [row[1:] for row in rows])
    if "non-patient" in services:
        rows = [_key_row(f"/{name}", (tag,), vr) for name in non_patient.RESOURCES for tag, vr in non_patient.keys_of(name)]
        yield Table("Keys of non-patient instances that are always returned", ("Resource", *_KEY_COLUMNS[1:]), rows)


def _key_row(where: str, path: Sequence[str], vr: str) -> tuple[str, str, str, str]:
    return where, ".".join(path), ".".join(map(keyword_of, path)), vr


def _transfer_syntaxes() -> Table:
    return Table(
        "Transfer syntaxes: every one is stored as received and given back so; these are known by name",
        ("UID", "Media type of a frame", "Lossless", "Stream"),
        [
            (syntax.uid, syntax.media_type, "yes" if syntax.lossless else "no", "yes" if syntax.stream else "no")
            for syntax in transfer_syntaxes.BY_UID.values()
        ],
    )


def _html(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    lines = "".join("<tr>" + "".join(f"<td>{_cell(text)}</td>" for text in row) + "</tr>" for row in table.rows)
    return f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>{lines}</table>"


def _cell(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text[:1] in "/{" and text else escape(text)
