"""Thumbnails: one small picture that stands for a study, a series, an instance or a frame (PS3.18 10.4.1.1.5).

The middle frame of the middle instance of the first series with images. What has no picture gets a drawn sheet with its
modality. Nothing that identifies the patient: no annotation, no slide labels, and pictures with text burned in very small.
"""

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from ..model.rendering import RenderingParameters, Viewport
from ..model.status import NoSuchInstance, ServiceError
from ..pixels import encode
from ..pixels.instance import SAMPLE_LIMIT
from ..pixels.mosaic import is_tiled, mosaic
from ..pixels.placeholder import placeholder
from ..pixels.render import render
from ..store import prepared, representatives
from ..store.files import Folder
from ..store.prepared import Prepared
from ..store.representatives import Representative
from ..store.thumbnail_files import ThumbnailFiles
from ..workers import Workers
from . import renditions, subjects
from .cache import StudyCache
from .hub import EventHub
from .renditions import Chooser
from .subjects import Kind, Subject

log = logging.getLogger(__name__)

# Longest side unless the client gives a viewport.
LONGEST_SIDE = 200
# Names burned into the pixels of an image that says so cannot be read at this size.
_SIDE_WITH_BURNED_IN_TEXT = 128
_QUALITY = 85
_FORMS = (encode.JPEG, *(kind for kind in encode.STILL if kind != encode.JPEG))
_OFFERS = (*_FORMS, *map(renditions.multipart, _FORMS))
# Slides photographed with their label (PS3.3 C.8.12.4.1.1).
_LABELLED = frozenset({"LABEL", "OVERVIEW"})
_VERSION = 1
# What a row of the index takes in memory, about.
_ROW = 1000


@frozen
class Thumbnail:
    """A thumbnail; `tag` changes when it does; `is_part` when the client takes multipart only."""

    media_type: str
    data: bytes
    tag: str
    is_part: bool = False


@define(eq=False)
class Thumbnails:
    """The thumbnail resources; pictures are kept in memory and in `files`."""

    _workers: Workers
    _folder: Folder
    _files: ThumbnailFiles
    sample_limit: int = SAMPLE_LIMIT
    cache_bytes: int = 16 << 20
    _found: StudyCache[Representative] = field(init=False, factory=lambda: StudyCache(4 << 20))
    _kept: StudyCache[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = StudyCache(self.cache_bytes)

    def subscribe(self, hub: EventHub) -> None:
        """Keep what is kept true."""
        self._found.subscribe(hub)
        self._kept.subscribe(hub)

    async def get(
        self,
        study: str,
        series: str,
        instance: str,
        frames: Sequence[int],
        parameters: RenderingParameters,
        accept: Chooser,
    ) -> Thumbnail:
        """The thumbnail of a study, a series (empty: the study), an instance, or the middle one of these frames (from 1)."""
        parameters.require_pixels(self.sample_limit)
        chosen = renditions.negotiated(accept, _OFFERS, "thumbnail")
        media_type = chosen.partition('"')[2].rstrip('"') or chosen
        found = await self._representative(study, series, instance)
        frame = frames[(len(frames) - 1) // 2] if frames else 0
        viewport = parameters.viewport or Viewport(LONGEST_SIDE, LONGEST_SIDE)
        digests = [stored.digest for stored in found.candidates]
        facts = repr((_VERSION, digests, found.modality, frame, viewport.width, viewport.height, media_type))
        name = hashlib.sha256(facts.encode()).hexdigest()[:40]
        data = await self._data(study, name, found, frame, viewport, media_type)
        return Thumbnail(media_type, data, name[:32], is_part=chosen != media_type)

    async def _representative(self, study: str, series: str, instance: str) -> Representative:
        found = self._found.get(study, (series, instance))
        if found is None:
            since = self._found.now
            if instance:
                found = await self._workers.read(representatives.of_instance, self._folder, study, series, instance)
            else:
                found = await self._workers.read(representatives.of_many, self._folder, study, series)
            self._found.put(study, (series, instance), found, _ROW * (1 + len(found.candidates)), since)
        return found

    async def _data(self, study: str, name: str, found: Representative, frame: int, viewport: Viewport, media_type: str) -> bytes:
        """From memory, from disk, or made now."""
        data = self._kept.get(study, name)
        if data is not None:
            return data
        data = await self._workers.disk(self._files.get, name)
        if data is None:
            ready = await self._workers.read(_prepared, found)
            data = await self._workers.pixels(make, found, ready, frame, viewport, media_type, self.sample_limit)
            await self._workers.disk(self._files.put, name, data)
        self._kept.put(study, name, data, len(data), self._kept.now)
        return data


def _prepared(connection: Any, found: Representative) -> list[Prepared | None]:
    return [prepared.load_same(connection, stored) for stored in found.candidates]


def make(
    found: Representative, ready: Sequence[Prepared | None], frame: int, viewport: Viewport, media_type: str, limit: int
) -> bytes:
    """The thumbnail of the first candidate that may be shown; `ready`: what was prepared of each; for a worker."""
    picture = None
    for stored, made in zip(found.candidates, ready, strict=True):
        try:
            subject = subjects.load(stored, limit, made)
            if _may_be_shown(subject):
                picture = _picture(subject, frame, viewport)
                break
        except NoSuchInstance:
            raise
        except ServiceError as error:
            log.warning("no thumbnail of instance %s: %s", stored.key.sop_instance_uid, error.comment)
            picture = placeholder(found.modality, viewport, kind="cannot be shown")
            break
    return encode.still(picture or placeholder(found.modality, viewport), media_type, _QUALITY)


def _may_be_shown(subject: Subject) -> bool:
    return not _LABELLED & set(subject.header.texts("00080008"))


def _picture(subject: Subject, frame: int, viewport: Viewport) -> Any:
    if subject.kind is Kind.VIDEO:
        return placeholder(subject.header.text("00080060"), viewport, kind="Video")
    if subject.kind is not Kind.IMAGE:
        return None
    if subject.header.text("00280301") == "YES":
        side = _SIDE_WITH_BURNED_IN_TEXT
        viewport = Viewport(min(viewport.width or side, side), min(viewport.height or side, side))
    if not frame and is_tiled(subject.instance):
        return mosaic(subject.instance, viewport)
    index = frame or renditions.representative(subject)
    return render(subject.instance, index - 1, RenderingParameters(viewport=viewport))
