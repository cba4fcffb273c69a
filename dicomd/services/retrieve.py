"""Retrieve: stored instances as they are, for both doors (PS3.18 10.4, PS3.4 C.4.2 and C.4.3).

Says which instances a request means and where their bytes are; nothing is read here but small files, and nothing decoded.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from functools import partial

from attrs import define

from ..model.content import FileRange
from ..model.status import Damaged, NoSuchInstance
from ..store import retrieval
from ..store.files import Folder
from ..store.retrieval import Selection, StoredInstance
from ..workers import Workers

__all__ = ["SMALL", "Retrieve", "Selection", "StoredInstance"]

log = logging.getLogger(__name__)

# A single instance up to this size is read in the same job that looks it up.
SMALL = 1 << 20
# A selection of more instances is read page by page, so that a study of any size needs little memory.
PAGE = 500


@define(eq=False)
class Retrieve:
    """The instances of the archive, for reading."""

    _workers: Workers
    _folder: Folder
    small: int = SMALL
    page: int = PAGE

    async def select(self, study: str, series: str = "", instance: str = "") -> Selection:
        """The instances of a study, of a series, or one instance; raises `NoSuchInstance` or `Damaged`.

        Damaged instances are left out when others remain; the selection names them.
        """
        job = partial(retrieval.choose, most=self.page, read_up_to=self.small)
        selection = await self._workers.read(job, self._folder, study, series, instance)
        report(selection.damaged)
        if not selection.page:
            raise _nothing(selection, study, series, instance)
        return selection

    async def following(self, selection: Selection) -> AsyncIterator[Selection]:
        """What follows the first page, page by page."""
        rows = selection.following
        for start in range(0, len(rows), self.page):
            page = await self._workers.read(retrieval.pages, self._folder, rows[start : start + self.page])
            report(page.damaged)
            yield page


def whole_file(found: StoredInstance) -> FileRange:
    """The Part 10 file as it was received."""
    return FileRange(found.path, 0, found.size)


def report(damaged: Iterable[StoredInstance]) -> None:
    """Name in the log what cannot be delivered."""
    for found in damaged:
        log.error("instance %s: its file is missing or has not the size it was stored with", found.key.sop_instance_uid)


def _nothing(selection: Selection, study: str, series: str, instance: str) -> NoSuchInstance | Damaged:
    if selection.damaged:
        return Damaged("the stored file is missing or damaged")
    return NoSuchInstance(f"there is no such {'instance' if instance else 'series' if series else 'study'}")
