"""Retrieve: stored instances as they are, for both doors (PS3.18 10.4, PS3.4 C.4.2 and C.4.3).

Says which instances a request means and where their bytes are; nothing is read here but small files, and nothing decoded.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from attrs import define

from ..model.content import FileRange
from ..model.status import Damaged
from ..store.files import Folder
from ..store.retrieval import Selection, StoredInstance, absent, choose, pages, verified
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
        selection = await self._workers.read(self._choose, study, series, instance)
        report(selection.damaged)
        if not selection.page:
            if selection.damaged:
                raise damage()
            raise await self._workers.read(absent, study, series, instance)
        return selection

    def _choose(self, connection: Any, study: str, series: str, instance: str) -> Selection:
        return verified(choose(connection, self._folder, study, series, instance, most=self.page), self.small)

    def _page(self, connection: Any, rows: Sequence[int]) -> Selection:
        return verified(pages(connection, self._folder, rows))

    async def following(self, selection: Selection) -> AsyncIterator[Selection]:
        """What follows the first page, page by page."""
        rows = selection.following
        for start in range(0, len(rows), self.page):
            page = await self._workers.read(self._page, rows[start : start + self.page])
            report(page.damaged)
            yield page


def whole_file(found: StoredInstance) -> FileRange:
    """The Part 10 file as it was received."""
    return FileRange(found.path, 0, found.size)


def report(damaged: Iterable[StoredInstance]) -> None:
    """Name in the log what cannot be delivered."""
    for found in damaged:
        log.error("instance %s: its file is missing or has not the size it was stored with", found.key.sop_instance_uid)


def damage() -> Damaged:
    """There is something, but nothing of it can be delivered."""
    return Damaged("the stored file is missing or damaged")
