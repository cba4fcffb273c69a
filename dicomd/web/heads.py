"""Request heads that arrive whole and plain, as nearly all do: read in one step (RFC 9112 3, 5).

What is out of the ordinary (folded or malformed lines, an older version, fields that change how the connection is used) is not
judged here but left to Twisted's parser, which takes line after line.
"""

import re
from functools import lru_cache

from attrs import frozen
from twisted.web.http_headers import Headers

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.1\r\n")
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb":[^\0\r\n]*\r\n)*")
_LEFT_TO_TWISTED = (b"Transfer-Encoding", b"Connection", b"Expect", b"Cookie", b"Upgrade")
# No body is as long as a length with more digits says.
MOST_DIGITS = 18
# Clients repeat their fields from request to request; they are remembered if they are not larger.
_REMEMBERED_BYTES = 2048


@frozen
class Fields:
    """The fields of a head, shared by all requests that sent the same, so they are only read."""

    headers: Headers
    count: int
    length: int  # of the body


@frozen
class Head:
    """A request line and its fields; `size` in bytes, with the empty line at the end."""

    method: bytes
    target: bytes
    fields: Fields
    size: int


def read(data: bytes, largest: int) -> Head | None:
    """The plain head at the beginning of `data`, if it has at most `largest` bytes; None when it is not whole or not plain."""
    end = data.find(b"\r\n\r\n", 0, largest)
    line = _REQUEST_LINE.match(data) if end >= 0 else None
    if line is None:
        return None
    block = data[line.end() : end + 2]
    fields = _remembered(block) if len(block) <= _REMEMBERED_BYTES else _read(block)
    return None if fields is None else Head(line[1], line[2], fields, end + 4)


def _read(block: bytes) -> Fields | None:
    if not _FIELDS.fullmatch(block):
        return None
    headers, lines = Headers(), block.split(b"\r\n")[:-1]
    for line in lines:
        name, _, value = line.partition(b":")
        headers.addRawHeader(name, value.strip(b" \t"))
    if any(headers.hasHeader(name) for name in _LEFT_TO_TWISTED):
        return None
    lengths = headers.getRawHeaders(b"Content-Length", [b"0"])
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > MOST_DIGITS:
        return None
    return Fields(headers, len(lines), int(lengths[0]))


_remembered = lru_cache(maxsize=256)(_read)
