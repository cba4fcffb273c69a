"""multipart/related (RFC 2387, PS3.18 8.6.1.2): a streaming reader and the bytes between parts.

The reader stands on the store path: it looks for delimiters with `bytes.find` and hands on what is between them, so that a
part of any size costs no work for each of its bytes. Preamble and epilogue are skipped; no Content-Disposition is asked for.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

# RFC 2046 5.1.1
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
LARGEST_PREAMBLE = 65536
MOST_HEADERS = 64
LARGEST_HEADERS = 16384
_LONGEST_PADDING = 256


class MalformedMultipart(Exception):
    """The body is not the multipart that its Content-Type promises."""


class Part(Protocol):
    """Where the content of one part goes; what is most of a piece received comes as a view of it."""

    def write(self, data: bytes | memoryview) -> None:
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
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._part: Part | None = None
        # What cannot be judged before more has come.
        self._kept = b""
        # What is being read: takes data and a position in them, answers the position where to go on.
        self._step: Callable[[bytes, int], int] = self._preamble

    def write(self, data: bytes) -> None:
        """The next piece of the body."""
        if self._kept:
            data, self._kept = self._kept + data, b""
        position = 0
        while position < len(data):
            position = self._step(data, position)

    def end(self) -> None:
        """The body is over: raises `MalformedMultipart` when the closing delimiter has not been seen."""
        if self._step != self._epilogue:
            raise MalformedMultipart("the body ends before the closing boundary")

    def _keep(self, data: bytes, position: int) -> int:
        self._kept = data[position:]
        return len(data)

    def _preamble(self, data: bytes, position: int) -> int:
        """The first delimiter may stand at the very beginning, without the line break that belongs to the others."""
        at = -2 if data.startswith(self._delimiter[2:]) else data.find(self._delimiter)
        while at != -1:
            behind = self._behind(data, at)
            if behind is None:
                break
            if behind:
                return behind
            at = data.find(self._delimiter, max(at, 0) + 1)
        if len(data) > LARGEST_PREAMBLE:
            raise MalformedMultipart("the boundary does not appear in the body")
        return self._keep(data, position)

    def _behind(self, data: bytes, at: int) -> int | None:
        """The position behind the delimiter at `at`, and the step that follows it; 0: it is none; None: more is needed."""
        end = at + len(self._delimiter)
        mark = data[end : end + 2]
        if mark == b"--":
            self._step = self._epilogue
            return end + 2
        if mark[:1] in (b" ", b"\t"):
            line = data[end : end + _LONGEST_PADDING]
            end += len(line) - len(line.lstrip(b" \t"))
            mark = data[end : end + 2]
        if mark == b"\r\n":
            self._step = self._headers
            return end + 2
        return None if mark in (b"", b"\r", b"-") else 0

    def _headers(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            return self._open({}, position + 2)
        end = data.find(b"\r\n\r\n", position)
        if (end if end >= 0 else len(data)) - position > LARGEST_HEADERS:
            raise MalformedMultipart(f"the headers of a part have more than {LARGEST_HEADERS} bytes")
        if end < 0:
            return self._keep(data, position)
        lines = data[position:end].split(b"\r\n")
        if len(lines) > MOST_HEADERS:
            raise MalformedMultipart(f"a part has more than {MOST_HEADERS} headers")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not _NAME.fullmatch(name):
                raise MalformedMultipart("a header of a part is malformed")
            headers[name.decode("ascii").lower()] = value.decode("latin-1").strip()
        return self._open(headers, end + 4)

    def _open(self, headers: dict[str, str], position: int) -> int:
        self._part, self._step = self._begin(headers), self._content
        return position

    def _content(self, data: bytes, position: int) -> int:
        at = data.find(self._delimiter, position)
        while at >= 0:
            behind = self._behind(data, at)
            if behind is None:
                break
            if behind:
                self._give(data, position, at)
                part, self._part = self._part, None
                if part is not None:
                    part.end()
                return behind
            at = data.find(self._delimiter, at + 2)
        if at < 0:
            at = self._undecided(data, position)
        self._give(data, position, at)
        return self._keep(data, at)

    def _undecided(self, data: bytes, position: int) -> int:
        """Where a delimiter may begin whose rest is yet to come."""
        at = data.find(b"\r", max(position, len(data) - len(self._delimiter) + 1))
        while at >= 0 and not self._delimiter.startswith(data[at:]):
            at = data.find(b"\r", at + 1)
        return at if at >= 0 else len(data)

    def _give(self, data: bytes, position: int, end: int) -> None:
        """A view keeps all of what was received, so it is for what is most of that."""
        if self._part is not None and end > position:
            most = 2 * (end - position) > len(data)
            self._part.write(memoryview(data)[position:end] if most else data[position:end])

    def _epilogue(self, data: bytes, position: int) -> int:
        return len(data)


# Bytes that the head of every part but the first begins with.
BETWEEN = 2


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
