"""Cross-origin resource sharing (Fetch standard): which pages of other origins may read what this server answers."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

_REQUEST_HEADERS = re.compile(rb"[A-Za-z0-9,\-_ ]{1,1024}")
# What a page may read besides the safelisted headers.
EXPOSED = (
    "Content-Length, Content-Range, Content-Location, Content-Encoding, Accept-Ranges, ETag, Location, Warning, "
    "Retry-After, X-Request-ID"
)
MAX_AGE = 7200


class Cors:
    """The origins that are let in: `*`, or scheme://host[:port], where the port may be `*`."""

    def __init__(self, origins: Iterable[str]) -> None:
        listed = tuple(origins)
        self._any = "*" in listed
        self._exact = frozenset(origin for origin in listed if not origin.endswith(":*"))
        self._hosts = frozenset(origin[:-2] for origin in listed if origin.endswith(":*"))
        self.headers = lru_cache(maxsize=256)(self._headers)

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin` may read answers."""
        return self._any or origin in self._exact or origin in self._hosts or origin.rpartition(":")[0] in self._hosts

    def _headers(self, origin: bytes) -> tuple[tuple[str, str], ...]:
        """What is added to every answer to a page of `origin`."""
        if self._any:
            return (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", EXPOSED))
        name = origin.decode("latin-1")
        if not self.allows(name) or len(name) > 255 or not name.isprintable():
            return (("Vary", "Origin"),)
        return (
            ("Access-Control-Allow-Origin", name),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Expose-Headers", EXPOSED),
            ("Vary", "Origin"),
        )

    def preflight(self, request: Any, methods: Iterable[str]) -> list[tuple[str, str]]:
        """What is added to the answer to a preflight request."""
        origin = request.header(b"Origin")
        if origin is None or not self.allows(origin.decode("latin-1")) or not request.header(b"Access-Control-Request-Method"):
            return []
        wanted = request.header(b"Access-Control-Request-Headers") or b""
        allowed = wanted.decode("ascii") if _REQUEST_HEADERS.fullmatch(wanted) else "Accept, Authorization, Content-Type, Range"
        return [
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Allow-Headers", allowed),
            ("Access-Control-Max-Age", str(MAX_AGE)),
        ]
