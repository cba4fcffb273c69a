"""multipart/related (RFC 2387, PS3.18 8.6.1.2): a streaming reader and the bytes between parts.

The cutting is python-multipart's `MultipartParser`, which does not care what the parts are. Preamble and epilogue are
skipped; no Content-Disposition is asked for.
"""

import logging
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

# Its warnings repeat what the exception says, and would log what a client sent.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

# RFC 2046 5.1.1
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
LARGEST_PREAMBLE = 65536
LARGEST_HEADERS = 64


class MalformedMultipart(Exception):
    """The body is not the multipart that its Content-Type promises."""


class Part(Protocol):
    """Where the content of one part goes."""

    def write(self, data: bytes) -> None:
        """The next piece of the content."""

    def end(self) -> None:
        """The part is complete."""


class Reader:
    """Cuts a body that arrives in pieces: `begin(headers)` gives the `Part` that takes what follows.

    Header names are in lower case. What `begin` or a part raises comes out of `write`.
    """

    def __init__(self, boundary: str, begin: Callable[[dict[str, str]], Part]) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedMultipart("the boundary is missing or malformed")
        self._begin = begin
        self._delimiter = b"--" + boundary.encode("ascii")
        self._preamble: bytes | None = b""
        self._headers: dict[str, str] = {}
        self._name = self._value = b""
        self._part: Part | None = None
        self._ended = False
        self._parser = MultipartParser(boundary, self._callbacks(), max_header_count=LARGEST_HEADERS)

    def write(self, data: bytes) -> None:
        """The next piece of the body."""
        if self._preamble is not None:
            data = self._after_preamble(self._preamble + data)
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise MalformedMultipart(str(error)) from None

    def end(self) -> None:
        """The body is over: raises `MalformedMultipart` when the closing delimiter has not been seen."""
        if not self._ended:
            raise MalformedMultipart("the body ends before the closing boundary")

    def _after_preamble(self, data: bytes) -> bytes:
        """What follows the preamble; empty while the first delimiter has not been seen."""
        start = 0 if data.startswith(self._delimiter) else data.find(b"\n" + self._delimiter) + 1
        if start or data.startswith(self._delimiter):
            self._preamble = None
            return data[start:]
        if len(data) > LARGEST_PREAMBLE:
            raise MalformedMultipart("the boundary does not appear in the body")
        self._preamble = data
        return b""

    def _callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._headers, self._part = {}, None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        self._part = self._begin(self._headers)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.write(data[start:end])

    def _part_end(self) -> None:
        if self._part is not None:
            self._part.end()
        self._part = None

    def _end(self) -> None:
        self._ended = True


def boundary() -> str:
    """A new boundary; always equally long, so that equal answers have equal lengths."""
    return secrets.token_hex(16)


def part_head(boundary: str, headers: Mapping[str, str], *, first: bool) -> bytes:
    """What stands before the content of a part."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{'' if first else chr(13) + chr(10)}--{boundary}\r\n{lines}\r\n".encode("latin-1", "replace")


def closing(boundary: str) -> bytes:
    """What stands behind the last part."""
    return f"\r\n--{boundary}--\r\n".encode("ascii")


def content_type(part_type: str, boundary: str) -> str:
    """The Content-Type of the whole body."""
    return f'multipart/related; type="{part_type}"; boundary={boundary}'
