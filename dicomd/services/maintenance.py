"""Maintenance of an archive that is not being served: importing files, verifying, making the index anew.

Everything here uses the same store path as the doors. How far the work is, and what is wrong, goes to a `Progress`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Protocol

from attrs import define

from ..model.status import ServiceError
from ..store import instances, rebuild, sources
from ..store.files import Folder
from ..store.instances import Arrival
from ..store.rebuild import Held, Rebuild
from ..store.sources import NoSuchSource, SourceFile
from ..workers import Workers, start
from .storage import Fate, Source, Storage

__all__ = ["NoSuchSource", "Progress", "import_files", "reindex", "verify"]

_AT_ONCE = 8
_PAGE = 256


class Progress(Protocol):
    """Sees the work go on."""

    def begin(self, total: int) -> None:
        """There are so many files."""

    def count(self, what: str) -> None:
        """One more is done, with this result."""

    def problem(self, line: str) -> None:
        """Something is wrong, and the exit status will tell."""


# Import --------------------------------------------------------------------------------------------------------------------


@define(eq=False)
class _Import:
    storage: Storage
    workers: Workers
    folder: Folder
    progress: Progress
    files: Iterator[SourceFile]

    async def run(self) -> None:
        for source in self.files:
            try:
                self.progress.count(await self.one(source))
            except (ServiceError, OSError) as error:
                self.progress.problem(f"{source}: {error}")
                self.progress.count("failed")

    async def one(self, source: SourceFile) -> str:
        """Import one file, unless it is held already or no instance at all."""
        probe = await self.workers.disk(sources.probe, source, self.folder.digests)
        if probe is None:
            return "not DICOM"
        if await self.workers.read(instances.holds, self.folder, probe.sop_instance_uid, probe.digest):
            return "held already"
        reception = self.storage.begin(Source("IMPORT", "import"))
        file: IO[bytes] = await self.workers.disk(source.open)
        try:
            while chunk := await self.workers.disk(sources.read, file):
                if not reception.write(chunk):
                    await reception.ready()
        finally:
            file.close()
        outcome = await self.storage.store(reception)
        if outcome.fate is None:
            raise ServiceError(outcome.comment, outcome.status)
        return "held already" if outcome.fate in (Fate.IDENTICAL, Fate.KEPT) else outcome.fate.value


async def import_files(storage: Storage, workers: Workers, folder: Folder, paths: Iterable[str], progress: Progress) -> None:
    """Store every instance in folders and zip files; what is held already is skipped. Raises `NoSuchSource`."""
    found = await workers.disk(lambda: list(sources.find(paths)))
    progress.begin(len(found))
    files = iter(found)
    for running in [start(_Import(storage, workers, folder, progress, files).run()) for _ in range(_AT_ONCE)]:
        await running


# Verify --------------------------------------------------------------------------------------------------------------------


async def verify(workers: Workers, folder: Folder, progress: Progress) -> None:
    """Compare every file with what the index says of it, and every file in the folder with the index."""
    files = await workers.disk(lambda: list(folder.files()))
    progress.begin(len(files))
    for line in await workers.read(rebuild.contradictions):
        progress.problem(line)
    named: set[str] = set()
    after = 0
    while page := await workers.read(rebuild.held, after, _PAGE):
        after = page[-1].row
        named.update(one.file for one in page)
        for one, problem in zip(page, await _problems(workers, folder, page), strict=True):
            if problem:
                progress.problem(f"{one.file}: {problem}")
            progress.count("damaged" if problem else "sound")
    for file in files:
        if file not in named and not await workers.read(rebuild.is_held, file):
            progress.problem(f"{file}: is not in the index")
            progress.count("not indexed")


async def _problems(workers: Workers, folder: Folder, page: Sequence[Held]) -> list[str]:
    jobs = [workers.disk(rebuild.problem_of, folder, one) for one in page]
    return [await job for job in jobs]


# Reindex -------------------------------------------------------------------------------------------------------------------


async def reindex(workers: Workers, work: Rebuild, progress: Progress) -> None:
    """Make the index anew from the files, in the order of their arrival. `workers` write into `work.index`."""
    files = await workers.disk(rebuild.in_order_of_arrival, work.folder)
    progress.begin(len(files))
    for page in rebuild.pages(files, _PAGE):
        arrivals: list[Arrival] = []
        jobs = [workers.disk(rebuild.arrival_of, work.folder, file) for file in page]
        for file, job in zip(page, jobs, strict=True):
            try:
                arrivals.append(await job)
            except (ServiceError, OSError) as error:
                progress.problem(f"{file}: {error}")
                progress.count("failed")
        problems = await workers.write(work.add, arrivals)
        for problem in problems:
            progress.problem(problem)
        for _ in arrivals:
            progress.count("indexed")
