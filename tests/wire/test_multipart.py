"""multipart/related, cut at every byte."""

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from dicomd.wire import multipart
from dicomd.wire.multipart import MalformedMultipart, Reader

BODY = (
    b"preamble\r\n--b1\r\nContent-Type: application/dicom\r\nX-Empty:\r\n\r\nfirst\r\n--b\r\n--b11 not a boundary\r\n"
    b"--b1\r\n\r\nsecond\r\n--b1--\r\nepilogue --b1\r\n"
)


@define
class Part:
    """Collects what it is given."""

    headers: dict[str, str]
    content: bytes = b""
    ended: bool = False

    def write(self, data: bytes) -> None:
        self.content += data

    def end(self) -> None:
        self.ended = True


@define
class Parts:
    """All parts of a body."""

    parts: list[Part] = field(factory=list)

    def begin(self, headers: dict[str, str]) -> Part:
        self.parts.append(Part(headers))
        return self.parts[-1]


def read(body: bytes, *cuts: int, boundary: str = "b1") -> list[Part]:
    parts = Parts()
    reader = Reader(boundary, parts.begin)
    for start, stop in zip((0, *cuts), (*cuts, len(body)), strict=True):
        reader.write(body[start:stop])
    reader.end()
    return parts.parts


class ReaderTests(SynchronousTestCase):
    def test_every_cut(self) -> None:
        """The parts do not depend on how the body arrives."""
        whole = read(BODY)
        self.assertEqual([part.content for part in whole], [b"first\r\n--b\r\n--b11 not a boundary", b"second"])
        self.assertEqual(whole[0].headers, {"content-type": "application/dicom", "x-empty": ""})
        self.assertEqual(whole[1].headers, {})
        for cut in range(len(BODY)):
            self.assertEqual(read(BODY, cut), whole, cut)
        self.assertEqual(read(BODY, *range(1, len(BODY))), whole)

    def test_no_line_break_before_the_first_delimiter(self) -> None:
        """The body may begin with the delimiter."""
        self.assertEqual(read(b"--b1\r\n\r\nx\r\n--b1--")[0].content, b"x")

    def test_truncated(self) -> None:
        """A body that ends anywhere before its closing delimiter is malformed."""
        whole = BODY.index(b"--b1--") + len(b"--b1--")
        for stop in range(whole):
            self.assertRaises(MalformedMultipart, read, BODY[:stop])

    def test_boundary(self) -> None:
        """A boundary that is none, and one that does not appear."""
        for boundary in ("", "a" * 71, "ä", 'a"b', "a "):
            self.assertRaises(MalformedMultipart, Reader, boundary, Parts().begin)
        self.assertRaises(MalformedMultipart, read, b"x" * 70000)

    def test_endless_headers(self) -> None:
        """Headers of a part are bounded in number and length."""
        for headers in (b"X: 1\r\n" * 1000, b"X: " + b"1" * 100000, b"X" * 100000):
            self.assertRaises(MalformedMultipart, read, b"--b1\r\n" + headers + b"\r\n\r\nx\r\n--b1--\r\n")

    def test_malformed_headers(self) -> None:
        """A line without a colon is no header."""
        self.assertRaises(MalformedMultipart, read, b"--b1\r\nno header\r\n\r\nx\r\n--b1--\r\n")

    def test_almost_delimiters(self) -> None:
        """Content that looks like a delimiter for a while, and padding behind a true one (RFC 2046 5.1.1), at every cut."""
        content = b"\r\r\n--b1x\r\n\r\n--b1 x\r\n--b1-\r\n-\r\n--b1\r\r\n--b\r" + b"\r\n--b1" + b" " * 300 + b"\r\n"
        body = b"--b1 \t \r\n\r\n" + content + b"\r\n--b1\t\r\n\r\nend\r\n--b1--"
        for cut in range(len(body)):
            self.assertEqual([part.content for part in read(body, cut)], [content, b"end"], cut)
        self.assertEqual([part.content for part in read(body, *range(1, len(body)))], [content, b"end"])


class WriterTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """What is written is read back."""
        boundary = multipart.boundary()
        body = b"".join(
            (
                multipart.part_head(boundary, {"Content-Type": "a/b"}, first=True),
                b"one",
                multipart.part_head(boundary, {"Content-Type": "c/d", "Content-Location": "x"}, first=False),
                b"--",
                multipart.closing(boundary),
            )
        )
        parts = read(body, boundary=boundary)
        self.assertEqual([part.content for part in parts], [b"one", b"--"])
        self.assertEqual(parts[1].headers, {"content-type": "c/d", "content-location": "x"})

    def test_equal_lengths(self) -> None:
        """Boundaries are equally long and differ."""
        first, second = multipart.boundary(), multipart.boundary()
        self.assertEqual(len(first), len(second))
        self.assertNotEqual(first, second)
