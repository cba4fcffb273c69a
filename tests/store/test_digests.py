"""Digests: known answers, older ones, files."""

import hashlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dicomd.store.digests import Digester, Kind, is_of, of_file

# The test vectors that BLAKE3 is published with (input 0, 1, ... 250, 0, ... of so many bytes).
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
}


class DigestTests(SynchronousTestCase):
    def test_known_answers(self) -> None:
        """Whichever way the bytes are cut."""
        for size, expected in VECTORS.items():
            data = bytes(number % 251 for number in range(size))
            for cut in (0, size // 3, size):
                digester = Digester()
                digester.update([data[:cut], memoryview(data)[cut:]])
                self.assertEqual(digester.digest(), b"\x01" + bytes.fromhex(expected))

    def test_of_a_file(self) -> None:
        """From an offset on; what it is compared with tells the kind."""
        path, content = self.mktemp(), b"head" + b"content" * 300_000
        Path(path).write_bytes(content)
        old, new = of_file(path, 4, Kind.SHA_256), of_file(path, 4)
        self.assertEqual(old, hashlib.sha256(content[4:]).digest())
        self.assertEqual([is_of(each, path, 4) for each in (old, new)], [True, True])
        self.assertEqual([is_of(each, path, 3) for each in (old, new)], [False, False])
