"""Thumbnails on disk: bounded, found again, never believed blindly."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dicomd.store.thumbnail_files import ThumbnailFiles


class ThumbnailFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.files = ThumbnailFiles(str(self.path), 1000)

    def kept(self) -> list[str]:
        return sorted(file.parent.name + file.name for file in self.path.glob("*/*"))

    def test_found_again(self) -> None:
        """Also by the next run of the server."""
        self.files.put("abcd", b"picture")
        self.assertEqual(self.files.get("abcd"), b"picture")
        self.assertEqual(ThumbnailFiles(str(self.path), 1000).get("abcd"), b"picture")
        self.assertIsNone(self.files.get("ffff"))

    def test_bounded(self) -> None:
        """Old ones go, those of earlier runs first."""
        for number in range(10):
            self.files.put(f"aa{number}", b"x" * 96)
        self.assertEqual(len(self.kept()), 10)
        later = ThumbnailFiles(str(self.path), 1000)
        later.put("bb0", b"x" * 496)
        self.assertLessEqual(sum(file.stat().st_size for file in self.path.glob("*/*")), 1000)
        self.assertEqual(later.get("bb0"), b"x" * 496)

    def test_used_ones_stay(self) -> None:
        """What is read counts as new."""
        for name in ("aa1", "aa2"):
            self.files.put(name, b"x" * 496)
        self.files.get("aa1")
        self.files.put("aa3", b"x" * 496)
        self.assertEqual(self.kept(), ["aa1", "aa3"])

    def test_damaged(self) -> None:
        """A file that a crash left half written is no picture, and goes."""
        self.files.put("abcd", b"picture")
        (file,) = self.path.glob("*/*")
        file.write_bytes(file.read_bytes()[:-2])
        self.assertIsNone(self.files.get("abcd"))
        self.assertEqual(self.kept(), [])

    def test_leftovers_of_a_crash(self) -> None:
        """Unfinished files are removed."""
        self.files.put("abcd", b"picture")
        (self.path / "ab" / "ef.123").write_bytes(b"half")
        ThumbnailFiles(str(self.path), 1000).put("abce", b"other")
        self.assertEqual(self.kept(), ["abcd", "abce"])

    def test_no_folder(self) -> None:
        """A folder that cannot be written is no error."""
        files = ThumbnailFiles("/proc/nowhere", 1000)
        files.put("abcd", b"picture")
        self.assertIsNone(files.get("abcd"))
