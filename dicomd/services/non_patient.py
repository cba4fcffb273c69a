"""Non-patient instances (PS3.4 GG; PS3.18 12): search and retrieve, for both doors. They are stored by `storage`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from attrs import define, frozen

from ..model.attributes import Attributes
from ..model.query import Fields, Query
from ..model.status import Damaged, NoSuchInstance
from ..store import non_patient
from ..store.files import Folder
from ..store.non_patient import Page
from ..store.retrieval import StoredInstance
from ..workers import Workers
from .preparation import Preparation


@frozen
class Answer:
    """Matches with what was asked for, and how many follow."""

    matches: tuple[Attributes, ...]
    remaining: int


@define(eq=False)
class NonPatientInstances:
    """The palettes, protocols, templates and inventories of the archive."""

    _workers: Workers
    _folder: Folder
    _preparation: Preparation

    async def find(self, fields: Mapping[str, Fields], query: Query, limit: int) -> Answer:
        """The matches from `query.offset`, at most `limit`; `fields`: SOP class -> what is always returned."""
        matches: list[Attributes] = []
        passed = 0
        async for page in self.stream(fields, query):
            for match in page:
                if passed >= query.offset and len(matches) < limit:
                    matches.append(match)
                passed += 1
        return Answer(tuple(matches), max(0, passed - query.offset - len(matches)))

    async def stream(
        self, fields: Mapping[str, Fields], query: Query, *, empty: bool = False
    ) -> AsyncIterator[tuple[Attributes, ...]]:
        """All matches in pages, in order of their SOP Instance UIDs."""
        after: str | None = ""
        while after is not None:
            page: Page = await self._workers.read(self._page, fields, query, after, empty)
            yield page.matches
            after = page.following

    def _page(self, connection: Any, fields: Mapping[str, Fields], query: Query, after: str, empty: bool) -> Page:
        return non_patient.search(connection, self._folder, fields, query, after, empty=empty)

    async def select(self, sop_classes: Sequence[str], uid: str) -> StoredInstance:
        """One instance; raises `NoSuchInstance`, or `Damaged` when its file is."""
        found: StoredInstance | None = await self._workers.read(self._find, sop_classes, uid)
        if found is None:
            raise NoSuchInstance("there is no such instance here")
        return found

    def _find(self, connection: Any, sop_classes: Sequence[str], uid: str) -> StoredInstance | None:
        found = non_patient.find(connection, self._folder, sop_classes, uid)
        if found is not None and not found.is_whole:
            raise Damaged("the stored file is missing or damaged")
        return found

    async def metadata(self, found: StoredInstance) -> bytes:
        """The whole data set of an instance: one DICOM JSON object with the placeholder for the service's URL."""
        made = await self._preparation.one(found)
        if made.problem:
            raise Damaged(f"the stored instance cannot be understood: {made.problem}")
        return made.json
