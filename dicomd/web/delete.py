"""Delete a study, a series or an instance: an extension of the standard, off unless `[http] allow_delete` is set."""

from typing import Any

from attrs import define

from ..services.removal import Removal
from .responses import Response
from .routes import Route
from .wado import LEVELS


@define(eq=False)
class Delete:
    """DELETE on what can be retrieved."""

    _removal: Removal

    def routes(self) -> list[Route]:
        return [
            Route(
                path,
                ("DELETE",),
                self.delete,
                f"Delete {what}",
                service="delete",
                section="extension",
                statuses=(204, 400, 404, 503),
            )
            for path, what in LEVELS
        ]

    async def delete(self, request: Any, study: str, series: str = "", instance: str = "") -> Response:
        """Gone from searches and retrievals with the answer; the files go after it."""
        await self._removal.delete(study, series, instance)
        return Response(204)
