"""One line a request, in the log shortly after the answer began: thousands a second may come, so they are written in batches."""

from typing import Any

from attrs import define, field
from twisted.logger import Logger

log = Logger()

FLUSH_SECONDS = 0.25
# More lines than this are written at once, however short the time.
MOST_LINES = 500
# Nor do log events grow beyond this many characters: observers such as journals and trial's workers take 64 KB at most.
LARGEST_EVENT = 48000
LONGEST_PATH = 1024


@define(eq=False)
class AccessLog:
    """Collects lines and hands them to the log together. The query is left out: it may hold a patient's name."""

    reactor: Any
    _lines: list[str] = field(init=False, factory=list)
    _size: int = field(init=False, default=0)
    _due: Any = field(init=False, default=None)

    def add(self, request: Any, status: int, seconds: float) -> None:
        """Note that a request was answered; `seconds` since its header was complete."""
        method, path = request.method.decode("latin-1"), request.path[:LONGEST_PATH].decode("latin-1")
        line = f"request {request.id}: {method} {path} from {request.peer}: {status} in {seconds * 1000:.1f} ms"
        if self._size + len(line) > LARGEST_EVENT:
            self.flush()
        self._lines.append(line)
        self._size += len(line) + 1
        if len(self._lines) >= MOST_LINES:
            self.flush()
        elif self._due is None:
            self._due = self.reactor.callLater(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what has been collected."""
        due, self._due = self._due, None
        if due is not None and due.active():
            due.cancel()
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            log.info("{lines}", lines="\n".join(lines))
