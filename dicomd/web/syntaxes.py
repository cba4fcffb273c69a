"""Which transfer syntaxes a client's ranges ask for, and in what they come (PS3.18 8.7.3)."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from ..model.transfer_syntaxes import ALIASES, DEFAULT_OF_MEDIA_TYPE, EXPLICIT_LITTLE, OCTET_STREAM, transfer_syntax
from ..wire.media import Accept, MediaType, media_type

ANY = "*"


def of_instances(wanted: MediaType, stored: str) -> tuple[str, ...]:
    """What an instance may be sent in, best first; a range that names nothing means Explicit VR Little Endian.

    What cannot be decoded is then sent as it is stored: clients that name no transfer syntax rely on it.
    """
    if not wanted.transfer_syntaxes:
        return (EXPLICIT_LITTLE, stored)
    return tuple(stored if uid == ANY else uid for uid in wanted.transfer_syntaxes)


def multipart(kind: str) -> str:
    """The media type of a body whose parts are of this kind."""
    return f'multipart/related; type="{kind}"'


@lru_cache(maxsize=512)
def of_pixels(
    accept: Accept, stored: str, possible: frozenset[str], *, single: bool, single_first: bool = False
) -> tuple[tuple[bool, str], ...]:
    """In what frames may be sent, best first: whether multipart, and the transfer syntax.

    `stored` is the transfer syntax of the stored frames, `possible` all that they can be had in. Single parts are only for
    `single` items.
    """
    kinds = _kinds(stored, possible)
    offers = [offer for kind in kinds for offer in ((multipart(kind), kind) if single else (multipart(kind),))]
    if single_first:
        offers = [*kinds, *map(multipart, kinds)]
    found = []
    for offer, wanted in accept.candidates(offers):
        parsed = media_type(offer)
        kind = parsed.part_type if parsed.is_multipart else parsed.name
        found += [(parsed.is_multipart, uid) for uid in _wanted(ALIASES.get(kind, kind), wanted, stored) if uid in possible]
    return tuple(dict.fromkeys(found))


def _kinds(stored: str, possible: frozenset[str]) -> Sequence[str]:
    """The media types that frames could have, under all their names: uncompressed, as stored, and what they could be made."""
    kinds = [OCTET_STREAM, kind_of(stored), *(kind for kind, uid in DEFAULT_OF_MEDIA_TYPE.items() if uid in possible)]
    names = (alias for alias, kind in ALIASES.items() if kind in kinds)
    return tuple(dict.fromkeys((*kinds, *names)))


def kind_of(uid: str) -> str:
    """The media type of pixels in this transfer syntax, in lower case."""
    return transfer_syntax(uid).media_type.lower()


def _wanted(kind: str, wanted: MediaType, stored: str) -> Iterable[str]:
    listed = wanted.transfer_syntaxes
    if kind == OCTET_STREAM:
        named = OCTET_STREAM in (wanted.name, wanted.part_type) and not transfer_syntax(stored).stream
        default = (EXPLICIT_LITTLE,) if named else (EXPLICIT_LITTLE, stored)
        return [stored if uid == ANY else uid for uid in listed] or default
    chosen = [uid for uid in listed if uid != ANY and kind_of(uid) == kind]
    if not listed or ANY in listed:
        chosen.append(stored if kind_of(stored) == kind else DEFAULT_OF_MEDIA_TYPE[kind])
    return chosen


def available(stored: str, possible: frozenset[str]) -> str:
    """What could be had, for a refusal."""
    return ", ".join(map(label, (stored, *sorted(possible - {stored}))))


def label(uid: str) -> str:
    """The Content-Type of pixels in this transfer syntax."""
    return f"{transfer_syntax(uid).media_type}; transfer-syntax={uid}"
