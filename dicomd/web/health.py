"""GET /health: whether every door is open, and how many messages wait for other application entities."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from ..model.status import ServiceError
from .responses import Response
from .routes import Route


class Health:
    """`doors()` tells each door's name and whether it is open; `waiting()` the messages for each AE title."""

    def __init__(
        self, version: str, doors: Callable[[], Mapping[str, bool]], waiting: Callable[[], Awaitable[Mapping[str, int]]]
    ) -> None:
        self._version, self._doors, self._waiting = version, doors, waiting

    def routes(self) -> list[Route]:
        return [
            Route(
                "/health",
                ("GET",),
                self.get,
                "Whether the server is ready: 200 once every door is open",
                produces=("application/json",),
                statuses=(200, 503),
                rooted=False,
            )
        ]

    async def get(self, request: Any) -> Response:
        doors = self._doors()
        ready = bool(doors) and all(doors.values())
        body: dict[str, Any] = {
            "status": "ok" if ready else "starting",
            "version": self._version,
            "doors": {name: "open" if is_open else "closed" for name, is_open in doors.items()},
        }
        with suppress(ServiceError):  # too busy to count is not too busy to serve
            body["outbox"] = await self._waiting()
        return Response(200 if ready else 503, orjson.dumps(body), "application/json", [("Cache-Control", "no-store")])
