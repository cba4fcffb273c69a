"""The table of transfer syntaxes agrees with PS3.6 as pydicom has it."""

from pydicom.uid import UID, AllTransferSyntaxes
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.transfer_syntaxes import BY_UID, DEFAULT_OF_MEDIA_TYPE, transfer_syntax

# SMPTE ST 2110 and the retired MIME and XML encodings are no data sets in files.
_NOT_FILES = ("1.2.840.10008.1.2.6.", "1.2.840.10008.1.2.7.")


class TableTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """Every transfer syntax that pydicom knows for files is in the table."""
        missing = [str(uid) for uid in AllTransferSyntaxes if uid not in BY_UID and not uid.startswith(_NOT_FILES)]
        self.assertEqual(missing, [])

    def test_encodings(self) -> None:
        """Byte order, explicit VR and deflation are those of PS3.5 Annex A."""
        for syntax in BY_UID.values():
            uid = UID(syntax.uid)
            if not uid.is_transfer_syntax or syntax.referenced:
                continue
            wanted = (uid.is_little_endian, not uid.is_implicit_VR, uid.is_deflated)
            self.assertEqual((syntax.little, syntax.explicit, syntax.deflated), wanted, syntax.uid)
            self.assertEqual(syntax.encapsulated, uid.is_encapsulated, syntax.uid)

    def test_defaults_belong_to_their_media_type(self) -> None:
        """The default syntax of a media type carries that media type."""
        for media_type, uid in DEFAULT_OF_MEDIA_TYPE.items():
            self.assertEqual(BY_UID[uid].media_type.lower(), media_type)

    def test_unknown(self) -> None:
        """A private syntax is taken as Explicit VR Little Endian."""
        syntax = transfer_syntax("1.2.3.4.5")
        self.assertEqual((syntax.known, syntax.explicit, syntax.little), (False, True, True))
