"""Content in files without a name."""

import os
import zlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.content import FileRange
from dicomd.model.status import MalformedDataset, TooLarge
from dicomd.store.aside import LARGE, aside, collected, inflated


class AsideTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.beside = str(self.folder / "1.dcm")

    def test_small(self) -> None:
        """Stays what it is."""
        self.assertEqual(aside(b"abc", self.beside), b"abc")

    def test_large(self) -> None:
        """Can be read as any file, is seen nowhere, and ends with the last that refers to it."""
        data = os.urandom(LARGE + 1)
        piece = aside(data, self.beside)
        assert isinstance(piece, FileRange)
        self.assertEqual(list(self.folder.iterdir()), [])
        part = piece.part(10, LARGE - 10)
        number = piece.held.fileno()
        del piece
        with open(part.path, "rb") as file:
            self.assertEqual(file.read()[10:LARGE], data[10:LARGE])
        del part
        self.assertRaises(OSError, os.fstat, number)

    def test_collected(self) -> None:
        """Chunks come together in memory, or in a file when they are many."""
        self.assertEqual(collected([b"ab", b"", b"c"], self.beside), b"abc")
        chunks = [os.urandom(300_000) for _ in range(5)]
        piece = collected(chunks, self.beside)
        assert isinstance(piece, FileRange)
        self.assertEqual((Path(piece.path).read_bytes(), piece.length), (b"".join(chunks), 1_500_000))

    def test_no_folder(self) -> None:
        """A study may be deleted meanwhile."""
        data = bytes(LARGE + 1)
        piece = aside(data, str(self.folder / "gone" / "1.dcm"))
        assert isinstance(piece, FileRange)
        self.assertEqual(Path(piece.path).read_bytes(), data)

    def store(self, content: bytes) -> str:
        Path(self.beside).write_bytes(b"header" + content)
        return self.beside

    def test_inflated(self) -> None:
        """A deflated data set, whatever follows it."""
        data = os.urandom(300_000) + bytes(3_000_000)
        path = self.store(zlib.compress(data, wbits=-15) + b"\0")
        with inflated(path, 6) as file:
            self.assertEqual(os.pread(file.fileno(), len(data) + 1, 0), data)
            self.assertEqual(file.tell(), len(data))

    def test_not_inflated(self) -> None:
        """Cut off, no such thing, too large: nothing stays open."""
        data = zlib.compress(bytes(3_000_000), wbits=-15)
        before = len(os.listdir("/proc/self/fd"))
        self.assertRaises(MalformedDataset, inflated, self.store(data[:-5]), 6)
        self.assertRaises(MalformedDataset, inflated, self.store(b"\xff" * 100), 6)
        self.assertRaises(TooLarge, inflated, self.store(data), 6, 1_000_000)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
