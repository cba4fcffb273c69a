"""Media types: Accept and Content-Type as clients write them, and the choice of what to answer with (PS3.18 8.7).

Lenient: parameters quoted or not, a missing `type` on multipart/related, several `transfer-syntax` parameters in one range, all
of it percent-encoded as in a URL, unknown ranges skipped. No choice of transfer syntax for particular pixel data here: only
what the client listed.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from urllib.parse import unquote

from attrs import frozen

DICOM = "application/dicom"
JSON = "application/dicom+json"
XML = "application/dicom+xml"
OCTETS = "application/octet-stream"
ZIP = "application/zip"
MULTIPART_DICOM = 'multipart/related; type="application/dicom"'
MULTIPART_XML = 'multipart/related; type="application/dicom+xml"'
MULTIPART_OCTETS = 'multipart/related; type="application/octet-stream"'

# PS3.18 knew the DICOM JSON model under this name once, and clients still use it.
_ALIASES = {"application/json": JSON, "image/x-dicom-rle": "image/dicom-rle", "image/x-jls": "image/jls"}

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE = re.compile(rf"\s*({_NAME})/({_NAME})\s*")
# A value that should have been quoted (type=application/dicom) is taken up to the next delimiter.
_PARAMETER = re.compile(rf'\s*;\s*({_NAME})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,"]*))\s*')


@frozen
class MediaType:
    """A media type or range with its parameters in order, names and type in lower case."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()
    quality: float = 1.0

    def parameter(self, name: str) -> str | None:
        """The first value of the parameter `name`."""
        return next((value for known, value in self.parameters if known == name), None)

    @property
    def is_multipart(self) -> bool:
        """multipart/related, or a range that may stand for it."""
        return self.name in ("multipart/related", "multipart/*")

    @property
    def part_type(self) -> str:
        """The `type` parameter of multipart/related in lower case; empty when missing."""
        value = (self.parameter("type") or "").lower()
        return _ALIASES.get(value, value)

    @property
    def transfer_syntaxes(self) -> tuple[str, ...]:
        """All transfer syntaxes listed, in order; `*` stands for any."""
        listed = (value for name, value in self.parameters if name == "transfer-syntax")
        return tuple(uid.strip() for value in listed for uid in value.split(",") if uid.strip())

    def covers(self, offer: "MediaType") -> int:
        """How specifically this range covers `offer`: 0 not at all, the higher the more specific."""
        if self.name == "*/*":
            return 1
        if self.is_multipart != offer.is_multipart:
            return 0
        if self.name.endswith("/*"):
            return 2 if self.name[:-1] == offer.name[: len(self.name) - 1] else 0
        if self.name != offer.name:
            return 0
        if not self.is_multipart or not self.part_type or self.part_type == "*/*":
            return 3
        return _covers_part(self.part_type, offer.part_type)


def _covers_part(wanted: str, offered: str) -> int:
    if wanted == offered:
        return 5
    return 4 if wanted.endswith("/*") and offered.startswith(wanted[:-1]) else 0


@frozen(cache_hash=True)
class Accept:
    """What a client takes: the `accept` query parameter's types first, then those of the header (PS3.18 8.7.5)."""

    tiers: tuple[tuple[MediaType, ...], ...]

    def choose(self, offers: Sequence[str]) -> str | None:
        """The offer that the client likes best; among equals the first; None when none is acceptable."""
        return next((offer for offer, _ in self.ranked(offers)), None)

    def ranked(self, offers: Sequence[str]) -> Iterator[tuple[str, MediaType]]:
        """The acceptable offers, best first, each with the range that covers it."""
        parsed = [(offer, media_type(offer)) for offer in offers]
        for ranges in self.tiers:
            found = [(offer, best) for offer, kind in parsed if (best := _best(ranges, kind)) is not None]
            yield from sorted(found, key=lambda pair: -pair[1].quality)

    def candidates(self, offers: Sequence[str]) -> tuple[tuple[str, MediaType], ...]:
        """Every pair of an acceptable offer and a range that covers it, best range first.

        An offer comes again for each range: ranges of one type may differ in their transfer syntaxes.
        """
        return _candidates(self, tuple(offers))

    @property
    def ranges(self) -> tuple[MediaType, ...]:
        """Every range in order of preference: quality, then as written."""
        return tuple(kind for tier in self.tiers for kind in sorted(tier, key=lambda kind: -kind.quality))


@lru_cache(maxsize=512)
def _candidates(accept: Accept, offers: tuple[str, ...]) -> tuple[tuple[str, MediaType], ...]:
    parsed = [(offer, media_type(offer)) for offer in offers]
    found: list[tuple[str, MediaType]] = []
    for ranges in accept.tiers:
        allowed = [(offer, kind) for offer, kind in parsed if _best(ranges, kind) is not None]
        for wanted in sorted(ranges, key=lambda kind: -kind.quality):
            if wanted.quality > 0:
                found += ((offer, wanted) for offer, kind in allowed if wanted.covers(kind))
    return tuple(found)


def _best(ranges: Iterable[MediaType], offer: MediaType) -> MediaType | None:
    """The most specific range that covers `offer`, unless it refuses it."""
    best, specific = None, 0
    for kind in ranges:
        covers = kind.covers(offer)
        if covers > specific or (covers == specific and best is not None and covers and kind.quality > best.quality):
            best, specific = kind, covers
    return best if best is not None and best.quality > 0 else None


@lru_cache(maxsize=512)
def media_type(text: str) -> MediaType:
    """The media type that a Content-Type states; raises `ValueError`."""
    found = next(iter(_ranges(text)), None)
    if found is None:
        raise ValueError(f"not a media type: {text[:80]!r}")
    return found


@lru_cache(maxsize=512)
def accept(header: str | None, parameters: tuple[str, ...] = ()) -> Accept:
    """What the client takes; no header at all is `*/*`."""
    from_query = tuple(kind for value in parameters for kind in _ranges(_plain(value)))
    from_header = tuple(_ranges(_plain(header))) if header is not None and header.strip() else (MediaType("*/*"),)
    return Accept((from_query, from_header) if from_query else (from_header,))


def _plain(text: str) -> str:
    return unquote(text) if "%" in text else text


def _ranges(text: str) -> Iterator[MediaType]:
    """The well-formed ranges of a list; what cannot be understood is skipped up to the next comma."""
    position = 0
    while position < len(text):
        found = _TYPE.match(text, position)
        if found is not None:
            position = found.end()
            parameters = []
            while (parameter := _PARAMETER.match(text, position)) is not None:
                position = parameter.end()
                parameters.append((parameter[1].lower(), _unquoted(parameter)))
            if position == len(text) or text[position] in ",;":
                yield _range(f"{found[1]}/{found[2]}".lower(), parameters)
        comma = text.find(",", position)
        position = len(text) if comma < 0 else comma + 1


def _unquoted(parameter: "re.Match[str]") -> str:
    return re.sub(r"\\(.)", r"\1", parameter[2]) if parameter[2] is not None else parameter[3].strip()


def _range(name: str, parameters: list[tuple[str, str]]) -> MediaType:
    quality = next((_quality(value) for known, value in parameters if known == "q"), 1.0)
    return MediaType(_ALIASES.get(name, name), tuple(pair for pair in parameters if pair[0] != "q"), quality)


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 1.0
