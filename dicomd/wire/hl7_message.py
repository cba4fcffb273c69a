"""HL7 v2 messages: separators, character set and escape sequences (HL7 v2.5 chapter 2), segments, and acknowledgements.

What the segments of an order mean is in `hl7`. Segments are cut by the library `hl7`; escape sequences are resolved here, because
that library logs what it cannot resolve, which may be a patient's name.
"""

import re
from collections.abc import Sequence

import hl7
from attrs import frozen

from ..model.status import ServiceError, Status

# HL7 table 0211 (MSH-18) -> Python codec
_CODECS = {
    "": "utf-8",
    "ASCII": "ascii",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "ISO IR6": "ascii",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_2",
    "KS X 1001": "euc_kr",
}
_SEPARATORS = re.compile(r"[!-/:-@\[-`{-~]{3,6}")
_DEFAULT_SEPARATORS = "|^~\\&"
# HL7 v2.5 2.7.6: formatting commands that move the print position
_BREAKS = (".br", ".sp", ".ce", ".sk", ".in", ".ti")


@frozen
class Header:
    """The message header segment as far as it can be read: `fields[0]` is MSH-1, `separators` are MSH-1 and MSH-2."""

    separators: str
    fields: tuple[str, ...]
    codec: str | None

    def get(self, field: int) -> str:
        """The text of a field, with its separators and escape sequences; what is absent is empty."""
        return self.fields[field - 1] if len(self.fields) >= field else ""

    def component(self, field: int, component: int = 1) -> str:
        """One component of the first repetition."""
        parts = self.get(field).split(self.separators[2])[0].split(self.separators[1])
        return parts[component - 1].strip() if len(parts) >= component else ""


class Segment:
    """Reads fields and components by their numbers in the HL7 standard; what is absent is empty."""

    def __init__(self, segment: Sequence[hl7.Field], separators: str = _DEFAULT_SEPARATORS) -> None:
        self._segment = segment
        self._separators = separators
        self.name = str(segment[0])

    def get(self, field: int, component: int = 1) -> str:
        """The first repetition's component, or that component's first sub-component, resolved."""
        try:
            repetition = self._segment[field][0]
            value = repetition[component - 1] if isinstance(repetition, hl7.Container) else repetition if component == 1 else ""
            while isinstance(value, hl7.Container):
                value = value[0]
        except IndexError:
            return ""
        return "" if value == '""' else resolve(str(value), self._separators).strip()


def read_header(data: bytes) -> Header:
    """What can be read of the header, for an answer that the sender recognises; never raises."""
    text = _normal(data).split(b"\r", 1)[0].decode("latin-1")
    fields = (text[3], *text[4:].split(text[3])) if text.startswith("MSH") and len(text) > 4 else ("", "")
    if not _SEPARATORS.fullmatch(fields[0] + fields[1]) or len(set(fields[0] + fields[1])) <= len(fields[1]):
        return Header(_DEFAULT_SEPARATORS, (), None)
    separators = (fields[0] + fields[1][:4]).ljust(5, "\0")
    named = fields[17].split(separators[2]) if len(fields) > 17 else [""]
    codecs = [_CODECS.get(name.strip().upper()) for name in named if name.strip()] or [_CODECS[""]]
    # Several repetitions: the further ones are reached by escape sequences, which their own codecs know (table 0356).
    return Header(separators, fields, codecs[-1] if all(codecs) else None)


def segments(data: bytes) -> list[Segment]:
    """The segments of one message; raises `ServiceError` (C000) for what is no HL7 v2 message."""
    header, lines = read_header(data), _normal(data)
    if not header.fields:
        raise ServiceError("expected an HL7 v2 message that begins with MSH", Status.CANNOT_UNDERSTAND)
    if header.codec is None:
        raise ServiceError("MSH-18: this character set is not supported", Status.CANNOT_UNDERSTAND)
    try:
        found = hl7.parse(_text(lines, header))
    except (hl7.HL7Exception, ValueError, IndexError, KeyError, TypeError, AssertionError):
        raise ServiceError("this is no HL7 v2 message", Status.CANNOT_UNDERSTAND) from None
    return [Segment(segment, header.separators) for segment in found]


def _normal(data: bytes) -> bytes:
    return data.strip(b"\r\n\x0b\x1c").replace(b"\r\n", b"\r").replace(b"\n", b"\r")


def _text(lines: bytes, header: Header) -> str:
    """Old senders name no character set and mean Latin-1, which is never valid as UTF-8 by accident."""
    assert header.codec is not None
    try:
        return lines.decode(header.codec)
    except UnicodeDecodeError:
        if header.get(18):
            raise ServiceError("the message does not fit the character set of MSH-18", Status.CANNOT_UNDERSTAND) from None
        return lines.decode("iso8859-1")


def resolve(text: str, separators: str = _DEFAULT_SEPARATORS) -> str:
    """Text without its escape sequences: separators as themselves, breaks as spaces; what is only layout is left out."""
    escape = separators[3]
    if escape not in text:
        return text
    plain = dict(zip("FSRET", separators, strict=True))
    parts = text.split(escape)
    out = [parts[0]]
    for number in range(1, len(parts)):
        if number % 2 == 0 or number == len(parts) - 1:
            out.append(parts[number])
            continue
        sequence = parts[number]
        out.append(plain[sequence] if sequence in plain else _special(sequence))
    return "".join(out)


def _special(sequence: str) -> str:
    if not sequence.startswith("X"):
        return " " if sequence.startswith(_BREAKS) else ""
    try:
        text = bytes.fromhex(sequence[1:]).decode("utf-8", "replace")
    except ValueError:
        return ""
    return "".join(character if character.isprintable() else " " for character in text)


def acknowledgement(header: Header, code: str, at: str, comment: str = "") -> bytes:
    """The ACK of a message: AA accepted, AE refused because of its content, AR rejected; `comment` goes to MSA-3.

    `at` is the time of the answer (MSH-7). Names and the control ID are those of the message, as they came.
    """
    separators = header.separators if header.fields else _DEFAULT_SEPARATORS
    mark = separators[0]
    kind = ["ACK", *filter(None, [header.component(9, 2)])]
    names = [header.get(5), header.get(6), header.get(3), header.get(4)]
    control = [header.get(10), header.get(11) or "P", header.get(12) or "2.5.1"]
    first = ["MSH", separators[1:].rstrip("\0"), *names, at, "", separators[1].join(kind), *control, *[""] * 5, header.get(18)]
    second = ["MSA", code, header.get(10), _escaped(comment, separators)]
    return "".join(mark.join(line).rstrip(mark) + "\r" for line in (first, second)).encode("latin-1", "replace")


def _escaped(text: str, separators: str) -> str:
    """A comment as the text of a field."""
    escape = separators[3]
    letters = {mark: f"{escape}{letter}{escape}" for mark, letter in zip(separators, "FSRET", strict=True)}
    return "".join(letters.get(character, character) for character in " ".join(text.split()))
