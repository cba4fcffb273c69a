"""One rendition: which media types a subject can be had in, and making one of them. Pure work, for a pixel worker.

A subject with several pictures is had as multipart/related, as one moving picture, or, when the client takes nothing but a
single still picture, by the one that represents it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from attrs import evolve, frozen

from ..model.content import FileRange
from ..model.rendering import RenderingParameters
from ..model.status import InvalidRequest, NoSuchInstance, NotAcceptable, ServiceError, TooLarge
from ..pixels import document_formats, documents, encode
from ..pixels.placeholder import placeholder
from ..pixels.presentation import Appearance, appearance
from ..pixels.render import drawn, render
from .subjects import Kind, Subject

# A moving picture of more frames takes a worker for too long; multipart has no such bound.
_MOST_ANIMATED = 1000
_MOST_ANIMATED_PIXELS = 500_000_000


class Chooser(Protocol):
    """What a client accepts; equal choosers choose alike."""

    def choose(self, offers: Sequence[str]) -> str | None:
        """The offer that the client likes best, or None."""


@frozen
class Wanted:
    """What is asked of a subject: which of its frames (from 1; empty: all), how, and as what."""

    parameters: RenderingParameters
    accept: Chooser
    frames: tuple[int, ...] = ()


@frozen
class Rendition:
    """One picture or page. `frame` (from 1) says which one it is, where it is only one of several."""

    media_type: str
    content: bytes | tuple[FileRange, ...]
    frame: int = 0
    warning: str = ""
    # Made here from a report: its links begin with a placeholder for the service's URL.
    is_page: bool = False

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return 500 + (len(self.content) if isinstance(self.content, bytes) else 200 * len(self.content))


@frozen
class Several:
    """The client takes parts of `media_type`, one for each of these frames (from 1; 0: the whole instance)."""

    media_type: str
    frames: Sequence[int]


def multipart(part_type: str) -> str:
    """The offer of parts of a media type."""
    return f'multipart/related; type="{part_type}"'


def offers(subject: Subject, count: int) -> tuple[str, ...]:
    """What a subject of `count` pictures can be had as, the default first (PS3.18 8.7.4)."""
    if subject.kind is Kind.IMAGE:
        return _one_of(encode.STILL) if count == 1 else several_of(encode.STILL, encode.ANIMATED)
    if subject.kind is Kind.REPORT:
        return _one_of(document_formats.FORMATS)
    if subject.kind is Kind.VIDEO:
        return _one_of(subject.stream()[:1])
    return _one_of((subject.document()[0],)) if subject.kind is Kind.DOCUMENT else ()


def _one_of(kinds: Sequence[str]) -> tuple[str, ...]:
    return (*kinds, *map(multipart, kinds))


def several_of(kinds: Sequence[str], moving: Sequence[str] = ()) -> tuple[str, ...]:
    """Parts first, then one moving picture, then one of the pictures for all."""
    parts = [multipart(kind) for kind in kinds]
    return (parts[0], *moving, *parts[1:], *(kind for kind in kinds if kind not in moving))


def negotiated(accept: Chooser, can_be: Sequence[str], what: str) -> str:
    """The choice of the client, or the refusal that lists what there is."""
    if not can_be:
        raise NotAcceptable(f"there is no rendered form of this {what}")
    chosen = accept.choose(can_be)
    if chosen is None:
        raise NotAcceptable(f"this {what} can be had as {', '.join(can_be)}")
    return chosen


def answer(subject: Subject, wanted: Wanted, state: Subject | None = None) -> Rendition | Several:
    """The rendition of a subject, or which parts it is to be rendered as; `state`: a presentation state to show it under."""
    frames = _frames(subject, wanted.frames)
    chosen = negotiated(wanted.accept, offers(subject, len(frames)), subject.kind.value)
    part_type = chosen.partition('"')[2].rstrip('"')
    if part_type:
        return Several(part_type, frames if subject.kind is Kind.IMAGE else (0,))
    if subject.kind is not Kind.IMAGE:
        return rendition(subject, 0, wanted.parameters, chosen)
    if len(frames) > 1 and chosen in encode.ANIMATED:
        return _animation(subject, frames, wanted.parameters, chosen, state)
    if len(frames) == 1:
        return rendition(subject, frames[0], wanted.parameters, chosen, state)
    frame = representative(subject) if not wanted.frames else frames[(len(frames) - 1) // 2]
    made = rendition(subject, frame, wanted.parameters, chosen, state)
    return evolve(made, frame=frame, warning=f"This is one of {len(frames)} frames, the others can be had as multipart/related")


def representative(subject: Subject) -> int:
    """The frame (from 1) that stands for all: the one the instance names (PS3.3 C.7.6.6), else the middle one."""
    named = subject.header.integer("00286010")
    return named if 1 <= named <= subject.frames else (subject.frames - 1) // 2 + 1


def _frames(subject: Subject, asked: tuple[int, ...]) -> Sequence[int]:
    if asked and subject.kind is not Kind.IMAGE:
        raise NotAcceptable(f"frames of a {subject.kind.value} cannot be rendered")
    for frame in asked:
        if frame > subject.frames:
            raise NoSuchInstance(f"frame {frame} does not exist, the instance has {subject.frames}")
    return asked or range(1, subject.frames + 1)


def rendition(
    subject: Subject, frame: int, parameters: RenderingParameters, media_type: str, state: Subject | None = None
) -> Rendition:
    """One frame (from 1) of an image, or another subject as a whole (0), in a media type that it can be had as."""
    if subject.kind is Kind.IMAGE:
        picture = drawn(subject.instance, frame - 1, parameters, _look(subject, frame, state))
        header, quality = subject.header, parameters.quality
        return Rendition(media_type, encode.encoded(picture, header, media_type, quality, parameters.icc_profile), frame)
    if subject.kind is Kind.REPORT and media_type in document_formats.WRITERS:
        page = document_formats.WRITERS[media_type](documents.outline(subject.header))
        return Rendition(media_type, page, is_page=media_type == document_formats.HTML)
    if subject.kind is Kind.VIDEO and (stream := subject.stream())[0] == media_type:
        return Rendition(media_type, tuple(stream[1]))
    if subject.kind is Kind.DOCUMENT and (document := subject.document())[0] == media_type:
        return Rendition(*document)
    raise NotAcceptable(f"this {subject.kind.value} cannot be had as {media_type}")


def _look(subject: Subject, frame: int, state: Subject | None) -> Appearance | None:
    return None if state is None else appearance(state.header, subject.stored.key.sop_instance_uid, frame - 1)


def _animation(
    subject: Subject, frames: Sequence[int], parameters: RenderingParameters, media_type: str, state: Subject | None
) -> Rendition:
    image = subject.instance.picture.image
    if len(frames) > _MOST_ANIMATED or len(frames) * image.rows * image.columns > _MOST_ANIMATED_PIXELS:
        raise TooLarge(f"too many frames or pixels for a moving picture, ask for parts: {multipart(media_type)}")
    if parameters.icc_profile != "no":
        raise InvalidRequest(f"iccprofile: a moving {media_type} cannot hold a profile")

    def pictures() -> Iterator[Any]:
        for frame in frames:
            yield render(subject.instance, frame - 1, parameters, _look(subject, frame, state))

    durations = encode.durations(subject.header, subject.frames, frames)
    return Rendition(media_type, encode.animated(pictures(), durations, media_type, parameters.quality))


def part(subject: Subject, frame: int, parameters: RenderingParameters, media_type: str, state: Subject | None) -> Rendition:
    """A part among others: what cannot be shown is replaced by a picture that says so, and is not left out silently."""
    try:
        return rendition(subject, frame, parameters, media_type, state)
    except (NotAcceptable, InvalidRequest):
        if subject.kind is not Kind.VIDEO or media_type not in encode.STILL:
            raise
        return _instead(subject, frame, parameters, media_type, "Video")
    except ServiceError as error:
        if media_type not in encode.STILL:
            raise
        made = _instead(subject, frame, parameters, media_type, "cannot be shown")
        return evolve(made, warning=error.comment)


def _instead(subject: Subject, frame: int, parameters: RenderingParameters, media_type: str, text: str) -> Rendition:
    picture = placeholder(subject.header.text("00080060"), parameters.viewport, kind=text)
    return Rendition(media_type, encode.still(picture, media_type), frame)
