"""Which instance stands for a study or series."""

from dicomd.store import representatives
from tests.archive import ArchiveCase, edited

SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


class SlideTests(ArchiveCase):
    def test_least_detail(self) -> None:
        """Of the levels of a whole slide those with the fewest frames come first."""
        for uid, frames in (("1.1", 9), ("1.2", 1), ("1.3", 4)):
            outcome = self.store(edited(SOPClassUID=SLIDE, SOPInstanceUID=uid, NumberOfFrames=frames))
        assert outcome.key is not None
        with self.archive.index.reader() as connection:
            found = representatives.of_many(connection, self.archive.folder, outcome.key.study_instance_uid)
        self.assertEqual([one.key.sop_instance_uid for one in found.candidates], ["1.2", "1.3", "1.1"])
