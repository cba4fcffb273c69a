"""The server as its users run it: `twistd -n dicomd` in a process of its own, on ports that the system chooses."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol

ROOT = Path(__file__).parent.parent
_OPEN = re.compile(r"(http|dimse) door open on .*port=(\d+)")
_RUN = "from twisted.scripts.twistd import run; run()"


class Twistd(ProcessProtocol):
    """A server over the folder `store` of `folder`; `toml` is added to its configuration."""

    def __init__(self, folder: str, toml: str = "") -> None:
        self.folder = Path(folder).absolute()
        self.store = self.folder / "store"
        self.log = ""
        self.ports: dict[str, int] = {}
        self._opened: Deferred[None] = Deferred()
        self.ended: Deferred[int] = Deferred()
        self.file = self.folder / "dicomd.toml"
        self.folder.mkdir(parents=True, exist_ok=True)
        endpoint = 'endpoint = "tcp:0:interface=127.0.0.1"'
        self.file.write_text(f'{toml}\n[http]\n{endpoint}\nmax_results = 100000\n[dimse]\n{endpoint}\n[store]\npath = "store"\n')

    def spawn(self) -> "Twistd":
        """Run it."""
        arguments = [sys.executable, "-c", _RUN, "-n", "--pidfile=", "dicomd", "--config", self.file.name]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        reactor.spawnProcess(self, sys.executable, arguments, environment, str(self.folder))
        return self

    async def start(self) -> "Twistd":
        """Run it until both doors are open."""
        self.spawn()
        await self._opened
        return self

    def signal(self, name: str) -> "Deferred[int]":
        """Send a signal; the exit status, negative when a signal was its end."""
        self.transport.signalProcess(name)
        return self.ended

    def url(self, path: str) -> str:
        """Of a resource, from the root of the server."""
        return f"http://127.0.0.1:{self.ports['http']}{path}"

    def outReceived(self, data: bytes) -> None:
        self.log += data.decode(errors="replace")
        self.ports = {name: int(port) for name, port in _OPEN.findall(self.log)}
        if len(self.ports) == 2 and not self._opened.called:
            self._opened.callback(None)

    errReceived = outReceived

    def processEnded(self, reason: Any) -> None:
        status = 0 if reason.check(ProcessDone) else reason.value.exitCode
        if reason.check(ProcessTerminated) and reason.value.signal:
            status = -reason.value.signal
        if not self._opened.called:
            self._opened.errback(AssertionError(f"ended with {status}: {self.log}"))
            self._opened.addErrback(lambda _: None)
        self.ended.callback(status)
