"""Removal: deleting studies, series and instances, an extension of this server (PS3.18 has no such transaction)."""

import logging

from attrs import define

from ..model.status import NoSuchInstance
from ..store import deletion, instances
from ..store.deletion import Deleted, Target
from ..store.files import Folder
from ..workers import Workers, spawn
from .hub import EventHub, InstanceRemoved

__all__ = ["Removal"]

log = logging.getLogger(__name__)

_PAGE = 200


@define(eq=False)
class Removal:
    """Deletes from index and store folder; what is deleted is not found from the moment of the answer on."""

    _workers: Workers
    _folder: Folder
    _hub: EventHub

    async def delete(self, study: str, series: str = "", instance: str = "") -> int:
        """Delete a study, a series or an instance; a non-patient instance has neither study nor series.

        Answers how many instances were deleted; raises `NoSuchInstance`. The files go in the background.
        """
        target = Target(study, series, instance)
        left = await self._workers.read(deletion.remaining, target)
        headers = await self._workers.disk(deletion.headers, self._folder, left.files) if left.files else []
        deleted = await self._workers.write(deletion.remove, target, headers)
        if not deleted:
            raise NoSuchInstance("there is no such study, series or instance")
        log.info("%d instances of study %s deleted", len(deleted), study)
        for one in deleted:
            self._hub.publish(InstanceRemoved(one.key, one.sop_class_uid))
        spawn(self._remove_files(deleted))
        return len(deleted)

    async def _remove_files(self, deleted: list[Deleted]) -> None:
        for start in range(0, len(deleted), _PAGE):
            files = [one.file for one in deleted[start : start + _PAGE]]
            await self._workers.disk(self._folder.remove_all, files)
            await self._workers.write(instances.forget_removals, files)
