"""Outlines of reports as HTML, plain text and PDF."""

import io
import re
from functools import lru_cache
from html import escape
from typing import Any

from .documents import Entry, Kind, Outline
from .fonts import typeface

HTML, PDF, TEXT = "text/html", "application/pdf", "text/plain"
FORMATS = (HTML, TEXT, PDF)
# Stands for the base URL of the service in links; the door replaces it.
BASE = "@@BASE@@"
TYPEFACE = "Text"

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:54em;margin:2em auto;padding:0 1em;color:#111;background:#fff}
h1{font-size:1.5em;border-bottom:2px solid #357;padding-bottom:.2em}h2,h3,h4,h5,h6{margin:1em 0 .3em;color:#234}
table{border-collapse:collapse;margin:1em 0}th{text-align:left;padding:.1em 1.2em .1em 0;color:#567;font-weight:normal}
p{margin:.25em 0}.n{color:#567}.c{color:#89a;font-size:.8em}.v{white-space:pre-wrap}
img{max-width:200px;max-height:200px;border:1px solid #ccc;display:block;margin:.3em 0}
""".strip()


def html(outline: Outline) -> bytes:
    """A complete page without scripts and without anything from elsewhere; texts are escaped."""
    parts = ["<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>", f"<title>{escape(outline.title)}</title>"]
    parts.append(f"<style>{_STYLE}</style></head><body><h1>{escape(outline.title)}</h1>")
    rows = "".join(f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in outline.facts)
    parts.append(f"<table>{rows}</table>" if rows else "")
    parts.extend(_html_entry(entry) for entry in outline.entries)
    parts.append("</body></html>\n")
    return "\n".join(part for part in parts if part).encode()


def _html_entry(entry: Entry) -> str:
    margin = f" style='margin-left:{min(entry.depth, 12) * 1.2:.1f}em'"
    note = f" <span class='c'>({escape(entry.note)})</span>" if entry.note else ""
    if entry.kind is Kind.HEADING:
        level = min(entry.depth + 2, 6)
        return f"<h{level}{margin}>{escape(entry.label)}{note}</h{level}>"
    label = f"<span class='n'>{escape(entry.label)}:</span> " if entry.label else ""
    value = f"<span class='v'>{escape(entry.value)}</span>"
    if entry.path:
        link = f"{BASE}/{escape(entry.path, quote=True)}"
        end = "/rendered" if entry.kind is Kind.IMAGE else ""
        picture = f"<img src='{link}/thumbnail' alt='' loading='lazy'>" if entry.kind is Kind.IMAGE else ""
        value = f"<a href='{link}{end}'>{picture}{value}</a>"
    return f"<p{margin}>{label}{value}{note}</p>"


def text(outline: Outline) -> bytes:
    """Lines of plain text (UTF-8)."""
    lines = [outline.title, "=" * len(outline.title), ""]
    lines += [f"{label}: {value}" for label, value in outline.facts]
    lines.append("")
    for entry in outline.entries:
        indent = "  " * entry.depth
        note = f" ({entry.note})" if entry.note else ""
        if entry.kind is Kind.HEADING:
            lines += ["", f"{indent}{entry.label.upper()}{note}"]
        else:
            value = entry.value.replace("\r\n", "\n").replace("\r", "\n").replace("\n", f"\n{indent}    ")
            lines.append(f"{indent}{entry.label + ': ' if entry.label else ''}{value}{note}")
    return ("\n".join(lines) + "\n").encode()


def pdf(outline: Outline) -> bytes:
    """Pages of A4; the same input gives the same bytes."""
    # Only those who ask for a PDF pay for loading this library.
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate, Table, TableStyle

    styles = _pdf_styles()
    story: list[Any] = [_paragraph(escape(outline.title), styles["title"])]
    if outline.facts:
        columns = [
            [_paragraph(_marked(part), style) for part in parts]
            for style, parts in zip((styles["name"], styles["body"]), zip(*outline.facts, strict=True), strict=True)
        ]
        table = Table(list(zip(*columns, strict=True)), colWidths=[110, None], hAlign="LEFT")
        table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 0)]))
        story.append(table)
    story.extend(_pdf_entry(entry, styles) for entry in outline.entries)
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=50, rightMargin=50, topMargin=50, bottomMargin=50, title=outline.title, invariant=1
    )
    document.build(story, onFirstPage=_page_number, onLaterPages=_page_number)
    return out.getvalue()


def _pdf_entry(entry: Entry, styles: dict[str, Any]) -> Any:
    indent = min(entry.depth, 12) * 12
    note = f" <font size='7' color='#7788aa'>({_marked(entry.note)})</font>" if entry.note else ""
    if entry.kind is Kind.HEADING:
        return _paragraph(f"{_marked(entry.label)}{note}", _indented(styles["heading"], indent))
    label = f"<font color='#556677'>{_marked(entry.label)}:</font> " if entry.label else ""
    value = _marked(entry.value).replace("\r\n", "<br/>").replace("\n", "<br/>").replace("\r", "<br/>")
    return _paragraph(f"{label}{value}{note}", _indented(styles["body"], indent))


def _indented(style: Any, indent: float) -> Any:
    return style.clone(f"{style.name}{indent}", leftIndent=indent)


def _paragraph(markup: str, style: Any) -> Any:
    from reportlab.platypus import Paragraph

    return Paragraph(markup, style)


def _page_number(canvas: Any, document: Any) -> None:
    canvas.setFont(TYPEFACE, 8)
    canvas.drawCentredString(document.pagesize[0] / 2, 28, str(canvas.getPageNumber()))


@lru_cache(maxsize=1)
def _pdf_styles() -> dict[str, Any]:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont

    pdfmetrics.registerFont(TTFont(TYPEFACE, str(typeface() or "Vera.ttf")))
    for name in set(_SCRIPTS.values()):
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    body = ParagraphStyle("body", fontName=TYPEFACE, fontSize=9.5, leading=13, splitLongWords=1)
    return {
        "body": body,
        "name": body.clone("name", textColor="#556677"),
        "title": body.clone("title", fontSize=16, leading=20, spaceAfter=8),
        "heading": body.clone("heading", fontSize=11.5, leading=15, spaceBefore=6, textColor="#223344"),
    }


# Typefaces that every PDF reader has for scripts which the embedded one lacks (PDF 1.7, 9.7.5.2).
_SCRIPTS = {"hangul": "HYSMyeongJo-Medium", "kana": "HeiseiMin-W3", "han": "STSong-Light"}
_RUNS = re.compile(
    r"(?P<hangul>[\u1100-\u11ff\uac00-\ud7af]+)|(?P<kana>[\u3040-\u30ff]+)|(?P<han>[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+)"
)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _marked(value: str) -> str:
    """Escaped, with the scripts of East Asia in typefaces that have them."""
    plain = escape(_UNPRINTABLE.sub(" ", value))
    return _RUNS.sub(lambda run: f"<font name='{_SCRIPTS[run.lastgroup or 'han']}'>{run.group()}</font>", plain)


WRITERS = {HTML: html, TEXT: text, PDF: pdf}
