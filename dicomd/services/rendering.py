"""Rendering: pictures and pages of stored instances, made in the pixel workers and kept for a while (PS3.18 10.4, 9.5)."""

import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from ..model.rendering import RenderingParameters
from ..model.status import InvalidRequest, NoSuchInstance, NotAcceptable, Undecodable
from ..pixels import document_formats, encode
from ..pixels.instance import SAMPLE_LIMIT
from ..pixels.presentation import references
from ..store import prepared, representatives
from ..store.files import Folder
from ..store.prepared import Prepared
from ..store.representatives import Listed
from ..store.retrieval import StoredInstance
from ..workers import Workers
from . import renditions, subjects
from .cache import StudyCache
from .hub import EventHub
from .renditions import Rendition, Several, Wanted
from .subjects import Kind, Subject

__all__ = ["Collection", "Item", "Parts", "Picture", "Rendering", "Wanted"]

log = logging.getLogger(__name__)

# Instances are looked up this many at a time while a long answer is being sent.
_PAGE = 100
# What a row of the index takes in memory, about.
_ROW = 1000


@frozen(eq=False)
class Found:
    """An instance with what was prepared of it, if it has been."""

    stored: StoredInstance
    made: Prepared | None = None


@frozen(eq=False)
class Item:
    """A part to be made: a frame (from 1; 0: all) of an instance, perhaps under a presentation state."""

    stored: StoredInstance
    frame: int
    state: Subject | None = None
    made: Prepared | None = None


@frozen(eq=False)
class Collection:
    """The instances of a study or series (empty: all); `tag` changes when any of them does."""

    study: str
    series: str
    listed: list[Listed]

    @property
    def tag(self) -> str:
        return tag(*(each.digest for each in self.listed))


@frozen(eq=False)
class Picture:
    """The whole answer is one rendition of one instance."""

    stored: StoredInstance
    rendition: Rendition


@frozen(eq=False)
class Parts:
    """The answer is `count` parts (as far as known beforehand) of a media type."""

    media_type: str
    items: AsyncIterator[Item]
    count: int


@define(eq=False)
class Rendering:
    """The rendered resources. `cache_bytes`: for renditions in memory, and as much again for headers."""

    _workers: Workers
    _folder: Folder
    sample_limit: int = SAMPLE_LIMIT
    cache_bytes: int = 64 << 20
    _found: StudyCache[Found] = field(init=False, factory=lambda: StudyCache(4 << 20))
    _made: StudyCache[Rendition] = field(init=False)
    _subjects: StudyCache[Subject] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._made, self._subjects = StudyCache(self.cache_bytes), StudyCache(self.cache_bytes)

    def subscribe(self, hub: EventHub) -> None:
        """Keep what is kept true."""
        for cache in (self._found, self._made, self._subjects):
            cache.subscribe(hub)

    async def find(self, study: str, series: str, instance: str) -> StoredInstance:
        """The instance that a request names; raises `NoSuchInstance`."""
        known = self._found.get(study, (series, instance))
        if known is None:
            since = self._found.now
            known = await self._workers.read(_find, self._folder, study, series, instance)
            size = len(known.made.metadata) + len(known.made.frames) if known.made is not None else 0
            self._found.put(study, (series, instance), known, _ROW + size, since)
        return known.stored

    def _prepared(self, stored: StoredInstance) -> Prepared | None:
        """What was prepared of an instance, where it was found lately."""
        key = stored.key
        known = self._found.get(key.study_instance_uid, (key.series_instance_uid, key.sop_instance_uid))
        return known.made if known is not None and known.stored == stored else None

    async def find_state(self, parameters: RenderingParameters) -> StoredInstance | None:
        """The presentation state that the parameters name, if any; one that is not held is a wrong parameter."""
        uid = parameters.presentation_uid
        if not uid:
            return None
        found = (await self._workers.read(representatives.by_uid, self._folder, [uid])).get(uid)
        series = parameters.presentation_series_uid
        if found is None or (series and found.key.series_instance_uid != series):
            raise InvalidRequest("presentationUID: there is no such presentation state")
        return found

    async def instance(self, stored: StoredInstance, wanted: Wanted, state: StoredInstance | None = None) -> Picture | Parts:
        """One instance, or frames of it."""
        wanted.parameters.require_pixels(self.sample_limit)
        study, key = stored.key.study_instance_uid, (_name(stored), wanted, state.digest if state is not None else b"")
        known = self._made.get(study, key)
        if known is not None:
            return Picture(stored, known)
        look = await self._subject(state) if state is not None else None
        if look is not None and look.kind is not Kind.PRESENTATION:
            raise InvalidRequest("presentationUID: this is no presentation state")
        at_hand = self._subjects.get(study, _name(stored))
        found = Found(stored, self._prepared(stored) if at_hand is None else None)
        try:
            subject, made = await self._workers.pixels(_answer, found, at_hand, wanted, look, self.sample_limit)
        except Undecodable as error:
            raise NotAcceptable(f"the instance cannot be rendered: {error.comment}", offending=error.offending) from None
        self._keep(subject)
        if made is None:
            return await self._state(subject, wanted)
        if isinstance(made, Several):
            return Parts(made.media_type, _frames(stored, made.frames, look), len(made.frames))
        self._made.put(study, key, made, made.size, self._made.now)
        return Picture(stored, made)

    def _keep(self, subject: Subject) -> None:
        """What is kept by its content is never out of date."""
        study = subject.stored.key.study_instance_uid
        self._subjects.put(study, _name(subject.stored), subject, subject.size, self._subjects.now)

    async def _subject(self, stored: StoredInstance) -> Subject:
        subject = self._subjects.get(stored.key.study_instance_uid, _name(stored))
        if subject is None:
            subject = await self._workers.pixels(subjects.load, stored, self.sample_limit, self._prepared(stored))
            self._keep(subject)
        return subject

    async def _state(self, state: Subject, wanted: Wanted) -> Picture | Parts:
        """All images of a presentation state, as it wants them to be seen (PS3.18 8.3.5.1.2)."""
        parameters = wanted.parameters
        for name, given in (("window", parameters.window), ("frames", wanted.frames), ("viewport", parameters.region)):
            if given:
                raise InvalidRequest(f"{name}: not allowed for a presentation state")
        named = references(state.header)
        uids = [reference.sop_instance_uid for reference in named]
        held = await self._workers.read(representatives.by_uid, self._folder, uids)
        items: list[Item] = []
        for reference in named:
            stored = held.get(reference.sop_instance_uid)
            if stored is not None:
                frames = reference.frames or range(1, (await self._subject(stored)).frames + 1)
                items += [Item(stored, frame, state) for frame in frames]
        if not items:
            raise NotAcceptable("none of the images of this presentation state is stored")
        if len(items) == 1:
            return await self.instance(items[0].stored, evolve(wanted, frames=(items[0].frame,)), state.stored)
        chosen = renditions.negotiated(wanted.accept, renditions.several_of(encode.STILL), "presentation state")
        part_type = chosen.partition('"')[2].rstrip('"')
        if part_type:
            return Parts(part_type, _listed(items), len(items))
        middle = items[(len(items) - 1) // 2]
        return await self.instance(middle.stored, evolve(wanted, frames=(middle.frame,)), state.stored)

    async def collection(self, study: str, series: str = "") -> Collection:
        """What a study or series consists of; raises `NoSuchInstance`."""
        return Collection(study, series, await self._workers.read(representatives.listed, study, series))

    async def many(self, collection: Collection, wanted: Wanted) -> Picture | Parts:
        """All pictures of a study or series; where there are none, all documents."""
        wanted.parameters.require_pixels(self.sample_limit)
        study, series, listed = collection.study, collection.series, collection.listed
        images = [each for each in listed if each.frames]
        chosen = images or listed
        if len(chosen) == 1:
            found = await self._workers.read(representatives.stored, self._folder, [chosen[0].row])
            if not found:
                raise NoSuchInstance("there is no such instance")
            return await self.instance(found[0], wanted)
        kinds = encode.STILL if images else document_formats.FORMATS
        offered = renditions.several_of(kinds) if images else tuple(map(renditions.multipart, kinds))
        offer = renditions.negotiated(wanted.accept, offered, "series" if series else "study")
        part_type = offer.partition('"')[2].rstrip('"')
        if part_type:
            return Parts(part_type, self._pages(chosen), sum(max(1, each.frames) for each in chosen))
        return await self._representative(study, series, wanted, len(chosen))

    async def _representative(self, study: str, series: str, wanted: Wanted, count: int) -> Picture | Parts:
        """The client takes a single picture only: the one that stands for all."""
        found = await self._workers.read(representatives.of_many, self._folder, study, series)
        if not found.candidates:
            raise NotAcceptable("there is no rendered form of this resource")
        made = await self.instance(found.candidates[0], wanted)
        if isinstance(made, Picture):
            warning = f"This is one of {count} instances, the others can be had as multipart/related"
            return Picture(made.stored, evolve(made.rendition, frame=made.rendition.frame or 1, warning=warning))
        return made

    async def _pages(self, listed: Sequence[Listed]) -> AsyncIterator[Item]:
        for start in range(0, len(listed), _PAGE):
            page = listed[start : start + _PAGE]
            frames = {each.row: each.frames for each in page}
            for found in await self._workers.read(_page, self._folder, [each.row for each in page]):
                stored = found.stored
                count = frames[stored.row]
                if count > subjects.most_frames(stored):
                    count = 0  # a lie: one part says that the instance cannot be shown
                for frame in range(1, count + 1) if count else (0,):
                    yield Item(stored, frame, made=found.made)

    async def part(self, item: Item, parameters: RenderingParameters, media_type: str) -> Rendition | None:
        """One part of an answer; None when this instance has no such rendition and is left out."""
        stored, state = item.stored, item.state
        study = stored.key.study_instance_uid
        key = (_name(stored), item.frame, parameters, media_type, state.stored.digest if state is not None else b"")
        known = self._made.get(study, key)
        if known is not None:
            return known
        at_hand = self._subjects.get(study, _name(stored))
        try:
            subject, made = await self._workers.pixels(_part, at_hand, item, parameters, media_type, self.sample_limit)
        except NotAcceptable:
            return None
        self._keep(subject)
        if made.warning:
            log.warning("instance %s frame %d cannot be rendered: %s", stored.key.sop_instance_uid, item.frame, made.warning)
        self._made.put(study, key, made, made.size, self._made.now)
        return made


def _name(stored: StoredInstance) -> tuple[bytes, str]:
    """What names the content of an instance and where it is."""
    return stored.digest, stored.path


async def _frames(stored: StoredInstance, frames: Sequence[int], state: Subject | None) -> AsyncIterator[Item]:
    for frame in frames:
        yield Item(stored, frame, state)


async def _listed(items: Sequence[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


def _find(connection: Any, folder: Folder, study: str, series: str, instance: str) -> Found:
    stored = representatives.one(connection, folder, study, series, instance)
    return Found(stored, prepared.load_same(connection, stored))


def _page(connection: Any, folder: Folder, rows: Sequence[int]) -> list[Found]:
    found = representatives.stored(connection, folder, rows)
    return [Found(stored, prepared.load_same(connection, stored)) for stored in found]


def _answer(
    found: Found, subject: Subject | None, wanted: Wanted, state: Subject | None, limit: int
) -> tuple[Subject, Rendition | Several | None]:
    """In a worker: the subject, loaded unless it is at hand, and its rendition; none yet of a presentation state."""
    subject = subject or subjects.load(found.stored, limit, found.made)
    return subject, None if subject.kind is Kind.PRESENTATION else renditions.answer(subject, wanted, state)


def _part(
    subject: Subject | None, item: Item, parameters: RenderingParameters, media_type: str, limit: int
) -> tuple[Subject, Rendition]:
    subject = subject or subjects.load(item.stored, limit, item.made)
    return subject, renditions.part(subject, item.frame, parameters, media_type, item.state)


def tag(*facts: Any) -> str:
    """An entity tag of everything that an answer depends on."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
