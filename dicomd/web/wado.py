"""Retrieve instances (PS3.18 10.4.1.1.1): of a study, of a series, or one; multipart, a single part, or a ZIP archive.

What to answer with is negotiated here; where the bytes are, `services` knows. Metadata, frames and bulk data are resources of
modules of their own.
"""

import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from ..model.content import FileRange, Piece, size
from ..model.non_patient import BY_STORAGE
from ..model.status import Damaged, NotAcceptable, Undecodable
from ..model.transfer_syntaxes import IMPLICIT_LITTLE
from ..services.retrieve import SMALL, Retrieve, Selection, StoredInstance, whole_file
from ..services.transcoding import Transcoded, Transcoder, conceivable
from ..wire import media, multipart
from . import syntaxes, transfer
from .problems import HttpError
from .responses import Response, warning
from .routes import Parameter, Route
from .zipping import ZipWriter

LEVELS = (
    ("/studies/{study}", "a study"),
    ("/studies/{study}/series/{series}", "a series"),
    ("/studies/{study}/series/{series}/instances/{instance}", "an instance"),
)
ACCEPT = Parameter("accept", "media types, instead of the Accept header")
# An instance does not change unless it is replaced, which the archive's owner may allow.
CACHED = ("Cache-Control", "private, max-age=3600")
REVALIDATED = ("Cache-Control", "private, no-cache")
VARY = ("Vary", "Accept")
# Small instances of one answer that are decoded at the same time: the one that is sent next, and one ahead.
_AHEAD = 2
# Stored transfer syntaxes, private ones among them, for which a plan remembers its options.
_MOST_KNOWN = 100
# Instances with what they are sent as: None means as they are stored.
Opened = AsyncIterator[tuple[StoredInstance, Transcoded | None]]


@frozen
class Plan:
    """What an answer will be: its form, and by stored transfer syntax the ones to send instances in, best first."""

    offer: str
    wanted: media.MediaType
    _options: dict[str, tuple[str, ...]] = field(factory=dict)

    def options(self, found: StoredInstance) -> tuple[str, ...]:
        """The transfer syntaxes that the client takes and that this instance may become."""
        return self._of(found.transfer_syntax_uid)

    def _of(self, stored: str) -> tuple[str, ...]:
        known = self._options.get(stored)
        if known is None:
            listed = (
                (stored, *self.wanted.transfer_syntaxes) if self.offer == media.ZIP and not self.wanted.transfer_syntaxes else ()
            )
            listed = listed or syntaxes.of_instances(self.wanted, stored)
            if len(self._options) >= _MOST_KNOWN:
                self._options.clear()
            known = self._options[stored] = tuple(uid for uid in listed if uid == stored or _may_be_made(stored, uid))
        return known

    def left_out(self, selection: Selection) -> list[StoredInstance]:
        """Those of the first page that cannot be had in anything the client takes."""
        return [found for found in selection.page if not self.options(found)]

    def is_as_stored(self, selection: Selection) -> bool:
        """Whether everything on the first page goes out as it is."""
        return all(self.options(found)[:1] == (found.transfer_syntax_uid,) for found in selection.page)

    def is_all_as_stored(self, selection: Selection) -> bool:
        """The same of all pages."""
        everything = selection.extent.transfer_syntax_uids if selection.extent is not None else ()
        return self.is_as_stored(selection) and all(self._of(uid)[:1] == (uid,) for uid in everything)

    @property
    def mark(self) -> str:
        """Stands in entity tags for what is not as stored."""
        return hashlib.sha256(repr(self.wanted.transfer_syntaxes).encode()).hexdigest()[:8]


@define(eq=False)
class Wado:
    """The resources that answer with whole instances."""

    _retrieve: Retrieve
    _transcoder: Transcoder
    _disk: transfer.Disk
    # Answers with the bulk data of the resource.
    _bulk_data: Callable[..., Awaitable[Response]]

    def routes(self) -> list[Route]:
        return [
            Route(
                path,
                ("GET",),
                self.get,
                f"Retrieve the instances of {what}" if "instances/" not in path else f"Retrieve {what}",
                service="retrieve",
                section="PS3.18 10.4.1.1.1",
                parameters=(ACCEPT,),
                produces=_offers("instances/" in path),
                statuses=(200, 206, 304, 400, 404, 406, 410, 416, 500),
            )
            for path, what in LEVELS
        ]

    async def get(self, request: Any, study: str, series: str = "", instance: str = "") -> Response:
        """The instances, each in a transfer syntax that the client takes (PS3.18 8.7.3)."""
        accept, single = transfer.accept(request), bool(instance)
        plans = _plans(accept, single)
        if not plans and accept.choose((media.MULTIPART_OCTETS,)):
            # As PS3.18 once had it (Table 10.4.4-1): the bulk data of the resource.
            return await self._bulk_data(request, study, series, instance)
        if not plans:
            raise NotAcceptable(f"this resource can be had as {' or '.join(_offers(single))}")
        return await self._planned(request, await self._retrieve.select(study, series, instance), plans, single=single)

    async def by_uri(self, request: Any, study: str, series: str, instance: str, transfer_syntax_uid: str) -> Response:
        """Retrieve DICOM Instance by WADO-URI (PS3.18 9.4): the file itself; by default as Explicit VR Little Endian."""
        listed = (("transfer-syntax", transfer_syntax_uid),) if transfer_syntax_uid else ()
        plan = Plan(media.DICOM, media.MediaType(media.DICOM, listed))
        return await self._planned(request, await self._retrieve.select(study, series, instance), [plan], single=True)

    async def planned(self, request: Any, found: StoredInstance, offer: str, wanted: media.MediaType) -> Response:
        """An instance that was found some other way, as one of `media.DICOM` and `media.MULTIPART_DICOM`."""
        selection = Selection([found], tag=found.digest[:16].hex())
        return await self._planned(request, selection, [Plan(offer, wanted)], single=True)

    async def _planned(self, request: Any, selection: Selection, plans: Iterable[Plan], *, single: bool) -> Response:
        """The best of the plans that can be carried out; of equal ones the first, before those that leave instances out."""
        for plan in sorted(plans, key=lambda plan: len(plan.left_out(selection))):
            if len(plan.left_out(selection)) == len(selection.page):
                continue
            try:
                return await self._answer(request, selection, plan, single=single)
            except (Undecodable, NotAcceptable):
                continue
        stored = ", ".join(sorted({found.transfer_syntax_uid for found in selection.page}))
        raise NotAcceptable(f"there is nothing in the transfer syntaxes asked for; stored: {stored}")

    async def _answer(self, request: Any, selection: Selection, plan: Plan, *, single: bool) -> Response:
        as_stored = plan.is_as_stored(selection)
        etag = f'"{selection.tag}"' if as_stored else f'"{selection.tag}-{plan.mark}"'
        headers = [("ETag", etag), VARY, CACHED if single else REVALIDATED]
        missing = len(selection.damaged) + len(plan.left_out(selection))
        if not missing and transfer.not_modified(request, etag):
            return Response(304, headers=headers)
        base = request.door.urls.base(request)
        if missing:
            headers.append(warning(base, f"{missing} instances cannot be had and are left out"))
        if single:
            return await self._single(request, base, selection, plan, headers)
        if plan.offer == media.ZIP:
            body = transfer.Streamed(self._zip(selection, plan))
            return Response(206 if missing else 200, body, media.ZIP, headers)
        if as_stored and not selection.following:
            return self._stored(request, base, selection, headers)
        if not missing and plan.is_all_as_stored(selection):
            content_type = multipart.content_type(media.DICOM, selection.tag)
            return Response(200, self._many(base, selection), content_type, headers)
        boundary = multipart.boundary()
        body = transfer.Streamed(self._parts(base, boundary, self._opened(selection, plan)))
        return Response(206 if missing else 200, body, multipart.content_type(media.DICOM, boundary), headers)

    async def _single(
        self, request: Any, base: str, selection: Selection, plan: Plan, headers: list[tuple[str, str]]
    ) -> Response:
        """One instance, as it is or as the only part. That it cannot be had as asked for is known before it begins."""
        found = selection.page[0]
        made = await self._open(found, plan.options(found))
        uid = made.transfer_syntax_uid if made is not None else found.transfer_syntax_uid
        boundary = selection.tag
        is_part = plan.offer == media.MULTIPART_DICOM
        content_type = multipart.content_type(media.DICOM, boundary) if is_part else _label(uid)
        if not is_part:
            headers.append(("Content-Location", instance_url(base, found)))
        if made is not None and not made.whole:
            chunks = self._parts(base, boundary, _only(found, made)) if is_part else made.pieces()
            return Response(200, transfer.Streamed(chunks), content_type, headers)
        pieces: list[Piece] = [made.beginning] if made is not None else [selection.content or whole_file(found)]
        if is_part:
            _, pieces = transfer.multipart_response([(_head(base, found, uid), pieces)], boundary)
        return ranged(request, pieces, content_type, headers, self._disk)

    def _stored(self, request: Any, base: str, selection: Selection, headers: list[tuple[str, str]]) -> Response:
        """A body of known length, of which parts can be asked for."""
        parts = _stored_parts(base, selection.page)
        boundary = multipart.boundary() if selection.damaged else selection.tag
        _, pieces = transfer.multipart_response(parts, boundary)
        content_type = multipart.content_type(media.DICOM, boundary)
        if selection.damaged:
            return Response(206, transfer.Pieces(pieces, self._disk), content_type, headers)
        return ranged(request, pieces, content_type, headers, self._disk)

    def _many(self, base: str, selection: Selection) -> transfer.Pages:
        """The same of any number; the index tells how long it is."""
        boundary, extent, example = selection.tag, selection.extent, selection.page[0]
        assert extent is not None
        (head, _), size = next(_stored_parts(base, [example])), str(example.size)
        fixed = len(multipart.part_head(boundary, head | {"Content-Length": size}, first=False))
        fixed -= len(example.key.series_instance_uid + example.key.sop_instance_uid + example.transfer_syntax_uid + size)
        length = extent.size + extent.letters + extent.count * fixed - multipart.BETWEEN + len(multipart.closing(boundary))

        async def pages() -> AsyncIterator[Sequence[Piece]]:
            first = True
            async for page in self._pages(selection):
                yield transfer.multipart_pieces(_stored_parts(base, page.page), boundary, first=first)
                first = False
            yield [multipart.closing(boundary)]

        return transfer.Pages(pages(), length, self._disk)

    async def _parts(self, base: str, boundary: str, opened: Opened) -> AsyncIterator[bytes]:
        """A multipart body of any length."""
        first = True
        async for found, made in opened:
            uid = made.transfer_syntax_uid if made is not None else found.transfer_syntax_uid
            head = _head(base, found, uid)
            if made is None or made.whole:
                head["Content-Length"] = str(found.size if made is None else len(made.beginning))
            yield multipart.part_head(boundary, head, first=first)
            first = False
            async for chunk in self._bytes(found, made):
                yield chunk
        yield multipart.closing(boundary)

    async def _zip(self, selection: Selection, plan: Plan) -> AsyncIterator[bytes]:
        archive = ZipWriter()
        async for found, made in self._opened(selection, plan):
            key = found.key
            yield archive.begin(f"{key.study_instance_uid}/{key.series_instance_uid}/{key.sop_instance_uid}.dcm")
            async for chunk in self._bytes(found, made):
                yield archive.add(chunk)
            yield archive.end()
        yield archive.close()

    async def _opened(self, selection: Selection, plan: Plan) -> Opened:
        """Each instance with what it is made of, one ahead. What cannot be had is left out; when that was not known before the
        answer began, it is broken off at its end, so that it shows."""
        failed, known = 0, len(selection.damaged) + len(plan.left_out(selection))
        async for page in self._pages(selection):
            failed += len(page.damaged)
            todo, ahead = deque(page.page), deque[tuple[StoredInstance, Deferred[Any]]]()
            try:
                while todo or ahead:
                    while todo and len(ahead) < (_AHEAD if todo[0].size <= SMALL else 1):
                        found = todo.popleft()
                        ahead.append((found, Deferred.fromCoroutine(self._open(found, plan.options(found)))))
                    found, opening = ahead.popleft()
                    try:
                        made = await opening
                    except (Undecodable, NotAcceptable, Damaged):
                        failed += 1
                        continue
                    yield found, made
            finally:
                for _found, opening in ahead:
                    opening.addErrback(lambda _: None)
        if failed > known or (failed and selection.following):
            raise Damaged(f"{failed} instances were left out")

    async def _open(self, found: StoredInstance, options: Sequence[str]) -> Transcoded | None:
        """What an instance is sent as: None means as stored. Raises what kept it from the last of the options."""
        failure: Undecodable | NotAcceptable = NotAcceptable("the instance cannot be had in what is acceptable")
        for uid in options:
            if uid == found.transfer_syntax_uid:
                return None
            try:
                return await self._transcoder.begin(found, uid)
            except (Undecodable, NotAcceptable) as error:
                failure = error
        raise failure

    async def _bytes(self, found: StoredInstance, made: Transcoded | None) -> AsyncIterator[bytes]:
        source = transfer.chunks([whole_file(found)], self._disk) if made is None else made.pieces()
        async for chunk in source:
            yield chunk

    async def _pages(self, selection: Selection) -> AsyncIterator[Selection]:
        yield selection
        async for page in self._retrieve.following(selection):
            yield page


def _may_be_made(stored: str, uid: str) -> bool:
    """Implicit VR Little Endian is for the other door (PS3.18 8.7.3.5.1)."""
    return uid != IMPLICIT_LITTLE and conceivable(stored, uid)


@lru_cache(maxsize=256)
def _plans(accept: media.Accept, single: bool) -> tuple[Plan, ...]:
    """In the order of preference. A ZIP archive is only for who names it."""
    offered = accept.candidates(_offers(single))
    return tuple(Plan(offer, wanted) for offer, wanted in offered if offer != media.ZIP or wanted.name == media.ZIP)


def _offers(single: bool) -> tuple[str, ...]:
    return (media.MULTIPART_DICOM, media.DICOM) if single else (media.MULTIPART_DICOM, media.ZIP)


def _stored_parts(base: str, page: Iterable[StoredInstance]) -> Iterator[tuple[dict[str, str], Sequence[Piece]]]:
    return ((_head(base, found, found.transfer_syntax_uid), [whole_file(found)]) for found in page)


async def _only(found: StoredInstance, made: Transcoded) -> Opened:
    yield found, made


def url(request: Any, found: StoredInstance) -> str:
    """The URL of an instance."""
    return instance_url(request.door.urls.base(request), found)


def instance_url(base: str, found: StoredInstance) -> str:
    """The URL of an instance below the service's base."""
    key = found.key
    if not key.study_instance_uid:
        return f"{base}/{BY_STORAGE[found.sop_class_uid].resource}/{key.sop_instance_uid}"
    return f"{base}/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"


def _label(transfer_syntax_uid: str) -> str:
    return f"{media.DICOM}; transfer-syntax={transfer_syntax_uid}"


def _head(base: str, found: StoredInstance, transfer_syntax_uid: str) -> dict[str, str]:
    return {"Content-Type": _label(transfer_syntax_uid), "Content-Location": instance_url(base, found)}


def ranged(
    request: Any, pieces: list[Piece], content_type: str, headers: Iterable[tuple[str, str]], disk: transfer.Disk
) -> Response:
    """An answer of known length, of which the client may have asked for a part (RFC 9110 14.2)."""
    status, found = 200, list(headers)
    header = request.header(b"Range")
    found.append(("Accept-Ranges", "bytes"))
    if header is not None and request.header(b"If-Range") in (None, dict(found).get("ETag", "").encode()):
        length = sum(map(size, pieces))
        try:
            part = transfer.byte_range(header, length)
        except transfer.RangeOutside as error:
            raise HttpError(416, error.comment, [("Content-Range", f"bytes */{length}")]) from None
        if part is not None:
            status, pieces = 206, transfer.cut(pieces, *part)
            found.append(("Content-Range", f"bytes {part[0]}-{part[0] + part[1] - 1}/{length}"))
    if any(isinstance(piece, FileRange) for piece in pieces):
        return Response(status, transfer.Pieces(pieces, disk), content_type, found)
    return Response(status, b"".join(piece for piece in pieces if isinstance(piece, bytes)), content_type, found)
