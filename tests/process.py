"""The server as a process of its own, which a test may end in any way."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

_OPEN = re.compile(r"(http|dimse) door open on .*port=(\d+)\)")
_CONFIG = """
[store]
path = "{folder}/store"
min_free_bytes = 0
[http]
endpoint = "tcp:0:interface=127.0.0.1"
[dimse]
endpoint = "tcp:0:interface=127.0.0.1"
"""


class Process:
    """`twistd -n dicomd` over `folder`/store, with ports that the system chooses; `ports` by door once it is open."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "dicomd.toml").write_text(_CONFIG.format(folder=self.folder))
        self.ports: dict[str, int] = {}
        self.log = self.folder / "log"
        self._begun = -1

    def start(self, seconds: float = 60.0) -> "Process":
        """Start, and wait until both doors are open."""
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "dicomd"]
        with self.log.open("ab") as log:
            begun = log.tell()
            self.process = subprocess.Popen(
                [*command, "--config", str(self.folder / "dicomd.toml")],
                cwd=Path(__file__).parent.parent,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        deadline = time.monotonic() + seconds
        while len(self.ports) < 2 or self._begun != begun:
            self._begun = begun
            self.ports = {door: int(port) for door, port in _OPEN.findall(self.log.read_bytes()[begun:].decode())}
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.log.read_text())
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """As a power cut, as far as a process can tell."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 5.0) -> int:
        """SIGTERM; the exit status, which must come in time."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    @property
    def tracebacks(self) -> list[str]:
        """What should never be in the log."""
        return [line for line in self.log.read_text().splitlines() if "Traceback" in line]
