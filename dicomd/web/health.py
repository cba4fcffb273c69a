"""GET /health: whether both doors are open."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from .responses import Response
from .routes import Route


class Health:
    """`doors()` tells each door's name and whether it is open."""

    def __init__(self, version: str, doors: Callable[[], Mapping[str, bool]]) -> None:
        self._version, self._doors = version, doors

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
        body = {
            "status": "ok" if ready else "starting",
            "version": self._version,
            "doors": {name: "open" if is_open else "closed" for name, is_open in doors.items()},
        }
        return Response(200 if ready else 503, orjson.dumps(body), "application/json", [("Cache-Control", "no-store")])
