"""A server of its own for a benchmark: started on free ports over a fresh store, watched, stopped."""

import http.client
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

_OPEN = re.compile(r"(\w+) door open on IPv4Address\(type='TCP', host='127.0.0.1', port=(\d+)\)")


class DicomServer:
    """`twistd -n dicomd` over a store in `folder`; `toml` is more configuration. `ports` by door."""

    def __init__(self, folder: str, toml: str = "", http: str = "", dimse: str = "") -> None:
        self._folder = Path(folder)
        self.configuration = (
            f'[store]\npath = "{folder}/store"\n[http]\nendpoint = "tcp:0:interface=127.0.0.1"\n{http}\n'
            f'[dimse]\nendpoint = "tcp:0:interface=127.0.0.1"\n{dimse}\n{toml}\n'
        )
        self.ports: dict[str, int] = {}

    def __enter__(self) -> "DicomServer":
        (self._folder / "dicomd.toml").write_text(self.configuration)
        self.ports = {}
        log = self._folder / "log"
        command = [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "dicomd", "--config", "dicomd.toml"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=self._folder, env=environment, stdout=output, stderr=output)
        while not {"http", "dimse"} <= self.ports.keys():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server did not start:\n{log.read_text()}")
            time.sleep(0.02)
            self.ports = {door: int(port) for door, port in _OPEN.findall(log.read_text())}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.terminate()
        self.process.wait(30)

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the HTTP door."""
        return http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=120)

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self, *, peak: bool = False) -> float:
        """Resident memory now, or the most since `forget_peak`."""
        wanted = "VmHWM:" if peak else "VmRSS:"
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(wanted))

    def forget_peak(self) -> None:
        """Begin to watch the most resident memory anew (needs root)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
