"""The whole server on loopback, on ports that the system chooses."""

from pathlib import Path
from typing import Any

import treq
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool

from dicomd.config import Config
from dicomd.tap import Server
from tests.archive import spooled


class Daemon:
    """A server over the folder `store` of `folder`; `url` and `port` of its doors when it is up."""

    def __init__(self, folder: str, config: Config | None = None) -> None:
        config = config or Config()
        self.store = Path(folder) / "store"
        self.server = Server(
            evolve(
                config,
                store=evolve(config.store, path=str(self.store)),
                http=evolve(config.http, endpoint="tcp:0:interface=127.0.0.1"),
                dimse=evolve(config.dimse, endpoint="tcp:0:interface=127.0.0.1"),
            ),
            reactor,
        )
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self.http = treq.client.HTTPClient(Agent(reactor, pool=self._pool))

    async def start(self) -> "Daemon":
        self.server.startService()
        await self.server.opened
        return self

    async def stop(self) -> None:
        await self._pool.closeCachedConnections()
        await self.server.stopService()

    @property
    def url(self) -> str:
        """The base URL of the DICOMweb resources."""
        return f"http://127.0.0.1:{self.server.ports['http'].getHost().port}{self.server.config.http.root}"

    @property
    def port(self) -> int:
        """The port of the DIMSE door."""
        return int(self.server.ports["dimse"].getHost().port)

    def files(self) -> list[Path]:
        """Every file of the archive, once all names are durable; without index, lock and what is made ready for the next ones."""
        folder = self.server.archive.folder
        folder.tidy()
        inside = [
            path for path in self.store.rglob("*") if path.is_file() and path.parent not in (self.store, self.store / "spool")
        ]
        return inside + spooled(folder)


def run(work: Any) -> "Deferred[Any]":
    """What trial waits for."""
    return Deferred.fromCoroutine(work)
