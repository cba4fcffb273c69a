"""`python -m dicomd`: maintenance of an archive that is not being served (verifying may go on beside a server)."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TextIO

from attrs import define, field
from pydicom.data import DATA_ROOT
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from . import config as configuration
from .config import Config, ConfigError
from .services import maintenance
from .services.hub import EventHub
from .services.maintenance import NoSuchSource
from .services.storage import Duplicates, Rules, Storage
from .store.archive import Archive
from .store.files import StoreInUse
from .store.index import IndexUnusable
from .store.rebuild import Rebuild
from .workers import Workers

_REDRAW_SECONDS = 0.1
_WIDTH = 30


@define(eq=False)
class Bar:
    """A progress bar on a terminal, or plain lines elsewhere; problems in lines of their own."""

    out: TextIO
    quiet: bool = False
    clock: Callable[[], float] = time.monotonic
    total: int = 0
    problems: int = 0
    _counts: Counter[str] = field(init=False, factory=Counter)
    _drawn: float = field(init=False, default=0.0)
    _begun: float = field(init=False, default=0.0)

    def begin(self, total: int) -> None:
        self.total, self._begun = total, self.clock()

    def count(self, what: str) -> None:
        self._counts[what] += 1
        now = self.clock()
        if now - self._drawn >= _REDRAW_SECONDS and self._shown:
            self._drawn = now
            self.out.write("\r" + self._line() + "\x1b[K")
            self.out.flush()

    def problem(self, line: str) -> None:
        self.problems += 1
        self.out.write(f"\r{line}\x1b[K\n" if self._shown else f"{line}\n")

    def finish(self) -> None:
        """The last state of things, as a line."""
        if not self.quiet:
            self.out.write(f"\r{self._line()}\x1b[K\n" if self._shown else f"{self._line()}\n")

    @property
    def _shown(self) -> bool:
        return not self.quiet and self.out.isatty()

    def _line(self) -> str:
        done, seconds = self._counts.total(), max(self.clock() - self._begun, 0.001)
        full = _WIDTH * done // self.total if self.total else _WIDTH
        counts = ", ".join(f"{number} {what}" for what, number in sorted(self._counts.items())) or "nothing to do"
        return f"[{'#' * full:.<{_WIDTH}}] {done}/{self.total} ({done / seconds:.0f}/s): {counts}"


async def _import(reactor: Any, config: Config, arguments: argparse.Namespace, bar: Bar) -> None:
    archive = Archive(config.store.path)
    archive.open()
    try:
        workers = Workers(archive.index, reactor.callFromThread)
        workers.start()
        store = config.store
        classes, strict = frozenset(store.sop_classes), store.validation == "strict"
        rules = Rules(classes, store.max_instance_bytes, store.min_free_bytes, strict)
        storage = Storage(workers, archive.folder, EventHub(), rules, Duplicates(store.duplicates))
        try:
            await maintenance.import_files(storage, workers, archive.folder, arguments.paths, bar)
        finally:
            workers.stop(timeout=60)
    finally:
        archive.close()


async def _palettes(reactor: Any, config: Config, arguments: argparse.Namespace, bar: Bar) -> None:
    folder = Path(DATA_ROOT, "palettes")
    arguments.paths = [str(path) for path in sorted(folder.glob("*.dcm"))] or [str(folder)]
    await _import(reactor, config, arguments, bar)


async def _verify(reactor: Any, config: Config, arguments: argparse.Namespace, bar: Bar) -> None:
    archive = Archive(config.store.path)
    archive.open_for_reading()
    workers = Workers(archive.index, reactor.callFromThread)
    workers.start()
    try:
        await maintenance.verify(workers, archive.folder, bar)
    finally:
        workers.stop()
        archive.close()


async def _reindex(reactor: Any, config: Config, arguments: argparse.Namespace, bar: Bar) -> None:
    folder = Archive(config.store.path).folder
    folder.open()
    try:
        work = Rebuild(folder)
        work.begin()
        if work.lost:
            bar.problem(f"the old index cannot be read ({work.lost}): work items and worklists are lost")
        workers = Workers(work.index, reactor.callFromThread)
        workers.start()
        try:
            await maintenance.reindex(workers, work, bar)
        finally:
            workers.stop(timeout=60)
        work.finish()
    finally:
        folder.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dicomd", description=__doc__)
    parser.add_argument("--config", "-c", metavar="FILE", help="the server's TOML file")
    parser.add_argument("--quiet", "-q", action="store_true", help="say nothing but what is wrong")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    importing = commands.add_parser("import", help="store the instances in folders and zip files; skip what is held")
    importing.add_argument("paths", nargs="+", metavar="PATH")
    importing.set_defaults(work=_import)
    palettes = commands.add_parser("palettes", help="store the well-known colour palettes (PS3.6 B); skip what is held")
    palettes.set_defaults(work=_palettes)
    verifying = commands.add_parser("verify", help="read every file and compare it with the index and its digest")
    verifying.set_defaults(work=_verify)
    reindexing = commands.add_parser("reindex", help="make the index anew from the files; work items are carried over")
    reindexing.set_defaults(work=_reindex)
    return parser


async def run(reactor: Any, argv: list[str], out: TextIO) -> int:
    """Exit status: 0 all is well; 1 something is wrong with files; 2 the work could not be done."""
    arguments = _parser().parse_args(argv)
    bar = Bar(out, arguments.quiet)
    work: Callable[..., Coroutine[Any, Any, None]] = arguments.work
    try:
        await work(reactor, configuration.load(arguments.config), arguments, bar)
    except (ConfigError, StoreInUse, IndexUnusable, NoSuchSource) as error:
        out.write(f"dicomd: {error}\n")
        return 2
    bar.finish()
    return 1 if bar.problems else 0


def main() -> None:
    """Run the command line; `react` leaves the process itself, with the status of the `SystemExit` it is given."""
    react(lambda reactor: ensureDeferred(run(reactor, sys.argv[1:], sys.stderr)).addCallback(sys.exit))


if __name__ == "__main__":
    main()
