"""Responses: what a handler returns. How it is put on the wire is `app` and `transfer`."""

from collections.abc import Awaitable
from typing import Any, Protocol

from attrs import define, field

from ..wire import media


class Producer(Protocol):
    """A body that is sent piece by piece. `length` is None when it is not known beforehand (chunked then)."""

    length: int | None

    def send(self, request: Any) -> Awaitable[None]:
        """Write everything to `request`, no faster than the client reads."""

    def close(self) -> None:
        """Give up what is held; called once, sent or not."""


@define
class Response:
    """A status, headers and a body. `headers` do not hold Content-Type and Content-Length."""

    status: int = 200
    body: bytes | Producer = b""
    content_type: str = ""
    headers: list[tuple[str, str]] = field(factory=list)


def json(body: bytes, *, status: int = 200, headers: list[tuple[str, str]] | None = None) -> Response:
    """DICOM JSON; the media type is bare, because a widely used client parses nothing else."""
    return Response(status, body, media.JSON, headers or [])


def warning(service: str, text: str) -> tuple[str, str]:
    """A Warning header as PS3.18 prints it (8.3.4 and others)."""
    return "Warning", f"299 {service}: {text}"
