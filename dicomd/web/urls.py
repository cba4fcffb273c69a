"""URLs: the query of a request, and the absolute URLs that answers hold (PS3.18 8.2, 8.3).

The base is `[http] public_url`, else what a trusted proxy says (Forwarded, X-Forwarded-*), else the request's own Host.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import unquote

from .problems import HttpError

Pairs = list[tuple[str, str]]

_HOST = re.compile(rb"[A-Za-z0-9.\-_~%]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~\-]+)*")
_FORWARDED = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^;,"\s]*))\s*')


def pairs(query: bytes) -> Pairs:
    """The parameters in order. `;` does not separate and `+` is not a space; a bare name has an empty value (PS3.18 8.3)."""
    if not query:
        return []
    try:
        text = query.decode("utf-8")
        split = [part.partition("=") for part in text.split("&") if part]
        if b"%" not in query:
            return [(name, value) for name, _, value in split]
        return [(unquote(name, errors="strict"), unquote(value, errors="strict")) for name, _, value in split]
    except UnicodeDecodeError:
        raise HttpError(400, "the query is not UTF-8") from None


class Urls:
    """Makes the base URL of answers; one for the door."""

    def __init__(self, root: str, public_url: str = "", trusted_proxies: Iterable[str] = ()) -> None:
        self._root = root
        self._public = public_url.rstrip("/")
        self._trusted = [ip_network(network, strict=False) for network in trusted_proxies]

    def base(self, request: Any) -> str:
        """The service's base URL for the client that sent `request`, without a trailing slash."""
        if self._public:
            return self._public
        host = request.header(b"Host") or b""
        scheme = "https" if request.secure else "http"
        if self._trusted and self._is_trusted(request):
            return self._forwarded(request, scheme, host)
        told = not _BY_PROXIES.isdisjoint(request.header_names)
        return f"{scheme}://{_own(host, request.local, scheme, told)}{self._root}"

    def _is_trusted(self, request: Any) -> bool:
        try:
            peer = ip_address(request.peer)
        except ValueError:
            return False
        return any(peer in network for network in self._trusted)

    def _forwarded(self, request: Any, scheme: str, host: bytes) -> str:
        """RFC 7239 first, else the older X-Forwarded-* headers; of several proxies the first, nearest to the client."""
        told = _parse_forwarded(request.header(b"Forwarded") or b"")
        scheme = told.get("proto") or _first(request, b"X-Forwarded-Proto") or scheme
        name = (told.get("host") or _first(request, b"X-Forwarded-Host")).encode("latin-1")
        port = _first(request, b"X-Forwarded-Port")
        if name and port.isdigit() and b":" not in name and port != {"http": "80", "https": "443"}.get(scheme):
            name += f":{port}".encode()
        prefix = _first(request, b"X-Forwarded-Prefix").rstrip("/")
        if scheme not in ("http", "https") or not _PREFIX.fullmatch(prefix):
            raise HttpError(400, "the proxy's forwarding headers are malformed")
        return f"{scheme}://{_host(request.local, name or host)}{prefix}{self._root}"


_BY_PROXIES = frozenset((b"Forwarded", b"Via", b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto"))


@lru_cache(maxsize=256)
def _own(host: bytes, local: str, scheme: str, told: bool) -> str:
    """Host with the port that a client should have told (RFC 9110 7.2): a widely used one leaves it out, and would then not
    find what our URLs name. Where a proxy has had a hand in it (`told`), its word is taken."""
    port = local.rpartition(":")[2]
    if host and not told and b":" not in host.rpartition(b"]")[2] and port != ("443" if scheme == "https" else "80"):
        host += b":" + port.encode()
    return _host(local, host)


def _host(local: str, host: bytes) -> str:
    if not host:
        return local
    if not _HOST.fullmatch(host):
        raise HttpError(400, "the Host header is malformed")
    return host.decode("ascii")


def _first(request: Any, name: bytes) -> str:
    return (request.header(name) or b"").decode("latin-1").split(",")[0].strip()


def _parse_forwarded(header: bytes) -> dict[str, str]:
    nearest = header.decode("latin-1").split(",")[0]
    found = (_FORWARDED.fullmatch(part) for part in nearest.split(";"))
    return {match[1].lower(): match[2] or match[3] or "" for match in found if match}
