"""Instances in another transfer syntax: in pieces, kept while small, and what the DIMSE door asks for."""

import gc
import os
from collections.abc import AsyncIterator, Generator

from twisted.internet.defer import ensureDeferred

from dicomd.model.status import Damaged, Undecodable
from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE, JPEG_2000_LOSSLESS, RLE_LOSSLESS
from dicomd.services.retrieve import StoredInstance
from dicomd.services.transcoding import Conversion, Transcoded, conceivable, table_of
from tests import data
from tests.archive import ArchiveCase, edited


class TranscoderTests(ArchiveCase):
    def put(self, content: bytes) -> StoredInstance:
        key = self.store(content).key
        assert key is not None
        return self.found(key.study_instance_uid)

    def found(self, study: str) -> StoredInstance:
        return self.successResultOf(ensureDeferred(self.retrieve.select(study))).page[0]

    def begin(self, found: StoredInstance, target: str) -> Transcoded:
        return self.successResultOf(ensureDeferred(self.transcoder.begin(found, target)))

    def collect(self, chunks: AsyncIterator[bytes]) -> list[bytes]:
        async def all_of() -> list[bytes]:
            return [chunk async for chunk in chunks]

        return self.successResultOf(ensureDeferred(all_of()))

    def test_kept(self) -> None:
        """What was made once is there at once; not after the instance has changed."""
        found = self.put(edited("MR_small_jp2klossless.dcm"))
        first = self.begin(found, EXPLICIT_LITTLE)
        self.assertIs(self.begin(found, EXPLICIT_LITTLE).beginning, first.beginning)
        found = self.put(edited("MR_small_jp2klossless.dcm", InstanceNumber=99))
        self.assertIsNot(self.begin(found, EXPLICIT_LITTLE).beginning, first.beginning)

    def test_in_pieces(self) -> None:
        """A large one comes in pieces, and is not kept."""
        found = self.put(data.shared("multiframe/US-PAL-8-10x-echo.dcm").read_bytes())
        made = self.begin(found, EXPLICIT_LITTLE)
        self.assertFalse(made.whole)
        rest = self.collect(made.rest)
        self.assertGreater(len(rest), 1)
        self.assertLess(max(map(len, rest)), 2 << 20)
        self.assertGreater(len(made.beginning) + sum(map(len, rest)), 2_580_000)

    def test_not_wanted(self) -> None:
        """Of what nobody takes no file stays open, not even until garbage is collected."""
        found = self.put(data.shared("multiframe/US-PAL-8-10x-echo.dcm").read_bytes())
        gc.disable()
        self.addCleanup(gc.enable)
        opened = len(os.listdir("/proc/self/fd"))
        made = self.begin(found, EXPLICIT_LITTLE)
        self.assertGreater(len(os.listdir("/proc/self/fd")), opened)
        del made
        self.assertEqual(len(os.listdir("/proc/self/fd")), opened)

    def test_data_set(self) -> None:
        """For an association: the data set without the head of a file, in chunks of even length."""
        for content in (edited("MR_small_jp2klossless.dcm"), data.shared("multiframe/US-PAL-8-10x-echo.dcm").read_bytes()):
            found = self.put(content)
            for target in (EXPLICIT_LITTLE, IMPLICIT_LITTLE, RLE_LOSSLESS):
                chunks = self.collect(self.successResultOf(ensureDeferred(self.transcoder.transcode(found, target))))
                self.assertEqual([len(chunk) % 2 for chunk in chunks], [0] * len(chunks))
                self.assertEqual(chunks[0][:4], b"\x08\x00\x05\x00" if chunks[0][2] == 5 else chunks[0][:4])
                self.assertNotIn(b"DICM", chunks[0][:200])

    def test_targets(self) -> None:
        """Native syntaxes first, Explicit before Implicit; nothing for video."""
        self.assertEqual(list(self.transcoder.targets(JPEG_2000_LOSSLESS))[:2], [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
        self.assertEqual(self.transcoder.targets("1.2.840.10008.1.2.4.102"), ())
        self.assertFalse(conceivable(EXPLICIT_LITTLE, "1.2.840.10008.1.2.4.50"))
        self.assertTrue(conceivable("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.50"))

    def test_undecodable(self) -> None:
        """What cannot be decoded shows before anything is sent."""
        found = self.put(edited("JPEG2000-embedded-sequence-delimiter.dcm"))
        self.failureResultOf(ensureDeferred(self.transcoder.begin(found, EXPLICIT_LITTLE)), Undecodable)

    def test_given_up(self) -> None:
        """A client that leaves while a piece is made: the piece is finished, the file closed, nothing raised."""
        found = self.put(data.shared("multiframe/US-PAL-8-10x-echo.dcm").read_bytes())
        table = table_of(self.successResultOf(ensureDeferred(self.preparation.one(found))))
        conversion = Conversion(found, table, EXPLICIT_LITTLE)
        conversion.take()
        chunks = conversion._chunks
        assert chunks is not None

        def leaving() -> Generator[bytes, None, None]:
            for chunk in chunks:
                conversion.close()
                yield chunk

        conversion._chunks = leaving()
        self.assertFalse(conversion.take()[1])
        self.assertEqual(conversion.take(), (b"", True))

    def test_missing_file(self) -> None:
        """A file that has gone is damage, not a crash."""
        found = self.put(edited("MR_small_bigendian.dcm"))
        next(self.root.glob("studies/*/*/*.dcm")).unlink()
        self.failureResultOf(ensureDeferred(self.transcoder.begin(found, EXPLICIT_LITTLE)), Damaged)
