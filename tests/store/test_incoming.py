"""Reception of an instance: what is refused, and what the file then holds."""

import os
from collections.abc import Callable
from pathlib import Path

import pydicom
from blake3 import blake3
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import ServiceError, Status
from dicomd.store.file_header import read_file
from dicomd.store.files import Folder
from dicomd.store.incoming import Claim, Rules, Spool, Target
from dicomd.store.instances import Arrival
from dicomd.wire.elements import file_meta, scan
from tests.archive import spooled
from tests.data import pydicom_file, shared, shared_files

MR = "MR_small.dcm"


class SpoolCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(str(Path(self.mktemp()).absolute()))
        self.folder.open()
        self.addCleanup(self.folder.close)

    def take(self, data: bytes, claim: Claim | None = None, rules: Rules | None = None) -> Arrival:
        spool = Spool(self.folder, rules or Rules(), claim or Claim())
        try:
            return spool.take([data])
        finally:
            spool.discard()

    def take_in_pieces(self, data: bytes, claim: Claim | None = None, size: int = 65536) -> Arrival:
        spool = Spool(self.folder, Rules(), claim or Claim())
        try:
            for start in range(0, len(data), size):
                spool.write([data[start : start + size]])
            return spool.finish()
        finally:
            spool.discard()

    def refused(self, data: bytes, claim: Claim | None = None, rules: Rules | None = None) -> ServiceError:
        error = self.assertRaises(ServiceError, self.take, data, claim, rules)
        self.assertEqual(list(self.folder.files()), [])
        return error


class TakeTests(SpoolCase):
    def test_a_part_10_file_stays_as_received(self) -> None:
        """All but the preamble, which is zeroed."""
        data = b"MM\0*" + bytes(pydicom_file(MR).read_bytes()[4:])
        arrival = self.take(data)
        self.assertEqual(Path(self.folder.path(arrival.file)).read_bytes(), bytes(128) + data[128:])
        self.assertEqual(arrival.digest, b"\x01" + blake3(data[arrival.dataset_offset :]).digest())
        self.assertEqual(arrival.file_size, len(data))

    def test_a_bare_data_set_gets_a_head(self) -> None:
        """The three UIDs of the command and the context, and the sender (PS3.10 7.1)."""
        data = pydicom_file(MR).read_bytes()
        meta = file_meta(data)
        claim = Claim(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid, calling_ae_title="MODALITY")
        arrival = self.take(data[meta.dataset_offset :], claim)
        stored = Path(self.folder.path(arrival.file)).read_bytes()
        written = file_meta(stored)
        self.assertTrue(written.sound)
        self.assertEqual((written.sop_instance_uid, written.source_ae_title), (meta.sop_instance_uid, "MODALITY"))
        self.assertEqual(stored[arrival.dataset_offset :], data[meta.dataset_offset :])

    def test_synchronised(self) -> None:
        """Before a small instance is put in place its content is on the disk, by the call that writes it."""
        data, original, flags = pydicom_file(MR).read_bytes(), os.pwritev, []

        def pwritev(descriptor: int, buffers: list[bytes], offset: int, given: int) -> int:
            self.assertEqual(list(self.folder.files()), [])
            flags.append(given)
            return original(descriptor, buffers, offset, given)

        self.patch(os, "pwritev", pwritev)
        self.take(data)
        self.assertEqual(flags, [os.RWF_DSYNC])

    def test_a_system_that_takes_little(self) -> None:
        """What a call does not take is written by the next ones and synchronised; so are more buffers than a call may have."""
        data, original = pydicom_file(MR).read_bytes(), os.pwritev
        whole = self.take(data)
        chunks = [data[:2000], *(data[at : at + 7] for at in range(2000, len(data), 7))]
        self.assertGreater(len(chunks), 1024)
        for most in (0, 100, len(data)):
            self.patch(
                os,
                "pwritev",
                lambda descriptor, buffers, *more, most=most: original(descriptor, [b"".join(buffers)[:most]], *more),
            )
            synchronised: list[int] = []
            patched = self.patch(os, "fsync", lambda descriptor, sizes=synchronised: sizes.append(os.fstat(descriptor).st_size))
            part = Spool(self.folder, Rules(), Claim()).take(chunks)
            patched.restore()
            self.assertEqual(synchronised, [] if most == len(data) else [part.file_size])
            self.assertEqual(Path(self.folder.path(part.file)).read_bytes(), Path(self.folder.path(whole.file)).read_bytes())
            self.assertEqual((part.file_size, part.digest), (whole.file_size, whole.digest))

    def test_group_0002_in_the_data_set(self) -> None:
        """What a broken sender puts there is kept, and the file can be read again as what was stored."""
        data = pydicom_file(MR).read_bytes()
        meta = file_meta(data)
        claim = Claim(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid)
        for stray in (b"\x02\0\x10\0UI\x02\x001\0", b"\x02\0\0\0UL\x04\0\0\0\0\0", b"\x02\0\x16\0AE\x02\0AB"):
            arrival = self.take(stray + data[meta.dataset_offset :], claim)
            again, header = read_file(self.folder.path(arrival.file))
            self.assertEqual(header, arrival.header)
            # What follows the head in order might as well belong to it.
            self.assertEqual(again.dataset_offset, arrival.dataset_offset + (len(stray) if b"AE" in stray else 0))
            self.assertEqual(pydicom.dcmread(self.folder.path(arrival.file)).SOPInstanceUID, meta.sop_instance_uid)

    def test_out_of_order(self) -> None:
        """A bare data set whose pixels come first is taken, small and in pieces; so is a file."""
        data = pydicom_file(MR).read_bytes()
        meta = file_meta(data)
        dataset = data[meta.dataset_offset :]
        at = dataset.index(b"\xe0\x7f\x10\0OW")
        end = at + 12 + int.from_bytes(dataset[at + 8 : at + 12], "little")
        turned = dataset[at:end] + dataset[:at] + dataset[end:]
        claim = Claim(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid)
        for whole, claimed in ((turned, claim), (data[: meta.dataset_offset] + turned, None)):
            small, large = self.take(whole, claimed), self.take_in_pieces(whole, claimed, 4000)
            self.assertEqual((small.header, small.digest), (large.header, large.digest))

    def test_in_pieces_is_the_same(self) -> None:
        """A large instance leaves the same file, digest and header as a small one."""
        for path in shared_files("transfer-syntaxes"):
            data = path.read_bytes()
            small, large = self.take(data), self.take_in_pieces(data)
            self.assertEqual(
                (small.header, small.digest, small.file_size, small.dataset_offset),
                (large.header, large.digest, large.file_size, large.dataset_offset),
                path,
            )
            self.assertEqual(
                Path(self.folder.path(small.file)).read_bytes(), Path(self.folder.path(large.file)).read_bytes(), path
            )

    def test_however_it_is_cut(self) -> None:
        """A small instance may arrive in chunks that end anywhere: inside the head, an element's header, a value."""
        for name in (MR, "image_dfl.dcm", "JPEG2000.dcm"):
            data = pydicom_file(name).read_bytes()
            whole = self.take(data)
            for cut in [1, *range(127, 420, 5), *range(421, min(len(data), 3000), 187)]:
                spool = Spool(self.folder, Rules(), Claim())
                parts = spool.take([data[:cut], data[cut : cut + 1000], data[cut + 1000 :]])
                spool.discard()
                self.assertEqual(
                    (parts.header, parts.digest, parts.file_size), (whole.header, whole.digest, whole.file_size), cut
                )
                self.folder.remove(parts.file)

    def test_every_valid_file_is_taken(self) -> None:
        """And can be read back from the store; a head that names another instance is set right."""
        for path in [file for file in shared_files() if file.suffix != ".wl"]:
            arrival = self.take(path.read_bytes())
            meta, header = read_file(self.folder.path(arrival.file))
            self.assertEqual((header, meta.dataset_offset), (arrival.header, arrival.dataset_offset), path)
            self.assertEqual(meta.sop_instance_uid, header.sop_instance_uid, path)


class RefusalTests(SpoolCase):
    def test_not_dicom(self) -> None:
        """C000, nothing left."""
        for data in (b"", b"hello" * 100, b"\x89PNG" + bytes(500)):
            self.assertEqual(self.refused(data).status, Status.CANNOT_UNDERSTAND)

    def test_truncated_anywhere(self) -> None:
        """A file that ends inside any of its elements is refused, from memory and from the disk."""
        data = pydicom_file(MR).read_bytes()
        ends = {offset + length for _tag, _vr, offset, length in scan(data, 334, explicit=True)}
        for end in sorted({*range(200, 2000, 7), len(data) - 200} - ends):
            self.assertIn(self.refused(data[:end]).status, (Status.CANNOT_UNDERSTAND, Status.IDENTIFIER_MISMATCH), end)
            self.assertRaises(ServiceError, self.take_in_pieces, data[:end])
        self.assertEqual(list(self.folder.files()), [])

    def test_contradictions(self) -> None:
        """A data set that is not what the command says (PS3.4 B.2.3, A900), or not of the target study."""
        data = pydicom_file(MR).read_bytes()
        meta = file_meta(data)
        dataset = data[meta.dataset_offset :]
        other_class = Claim("1.2.3", meta.sop_instance_uid, meta.transfer_syntax_uid)
        other_instance = Claim(meta.sop_class_uid, "1.2.3", meta.transfer_syntax_uid)
        self.assertEqual(self.refused(dataset, other_class).status, Status.IDENTIFIER_MISMATCH)
        self.assertEqual(self.refused(dataset, other_instance).status, Status.IDENTIFIER_MISMATCH)
        for target, status in (
            (Target(study_instance_uid="1.2.3"), Status.IDENTIFIER_MISMATCH),
            (Target(sop_instance_uid="1.2.3"), Status.IDENTIFIER_MISMATCH),
            (Target(sop_class_uids=frozenset({"1.2.3"})), Status.SOP_CLASS_NOT_SUPPORTED),
        ):
            spool = Spool(self.folder, Rules(), Claim())
            spool.target = target
            self.assertEqual(self.assertRaises(ServiceError, spool.take, [data]).status, status)

    def test_affected_uid_that_is_none(self) -> None:
        """0117 for the command's own UID."""
        data = pydicom_file(MR).read_bytes()
        meta = file_meta(data)
        claim = Claim(meta.sop_class_uid, "../../etc/passwd", meta.transfer_syntax_uid)
        self.assertEqual(self.refused(data[meta.dataset_offset :], claim).status, Status.INVALID_SOP_INSTANCE)

    def test_uids_that_are_no_file_names(self) -> None:
        """Path traversal and other nonsense is refused before anything is named after it."""
        for row in [*sorted(shared("malformed").glob("uid_*.dcm")), shared("malformed/all_four_uids_traversal.dcm")]:
            self.assertEqual(self.refused(row.read_bytes()).status, Status.IDENTIFIER_MISMATCH, row)

    def test_directories(self) -> None:
        """A DICOMDIR is no instance."""
        for path in (shared("dicomdir")).rglob("DICOMDIR*"):
            self.assertEqual(self.refused(path.read_bytes()).status, Status.SOP_CLASS_NOT_SUPPORTED, path)

    def test_only_the_configured_classes(self) -> None:
        """0122 for what `sop_classes` does not name."""
        rules = Rules(frozenset({"1.2.3"}))
        self.assertEqual(self.refused(pydicom_file(MR).read_bytes(), rules=rules).status, Status.SOP_CLASS_NOT_SUPPORTED)

    def test_full(self) -> None:
        """A700 when the configured space is not free."""
        rules = Rules(min_free_bytes=1 << 60)
        self.assertEqual(self.refused(pydicom_file(MR).read_bytes(), rules=rules).status, Status.OUT_OF_RESOURCES)

    def test_strict(self) -> None:
        """Unknown SOP classes and values against their VR are refused with the tag named; what is right is taken."""
        rules = Rules(strict=True)
        self.take(pydicom_file(MR).read_bytes(), rules=rules)
        for name, status, problem in (
            ("malformed/bad_dates_and_numbers.dcm", Status.IDENTIFIER_MISMATCH, "(0008,0020) has a value that is no DA"),
            ("malformed/wrong_vr_for_tag.dcm", Status.IDENTIFIER_MISMATCH, "(0028,0010) is LO, not US"),
            ("malformed/private_without_creator.dcm", Status.IDENTIFIER_MISMATCH, "has no private creator"),
            ("legal-oddities/private_sop_class.dcm", Status.SOP_CLASS_NOT_SUPPORTED, "(0008,0016)"),
        ):
            data = shared(name).read_bytes()
            error = self.assertRaises(ServiceError, self.take, data, None, rules)
            self.assertEqual(error.status, status, name)
            self.assertIn(problem, error.comment)
            self.take(data)

    def test_malformed_files(self) -> None:
        """Whatever is wrong with a file, it is taken or refused; never another error, nothing left in the spool."""
        for path in sorted(shared("malformed").glob("*.dcm")):
            for take in (self.take, self.take_in_pieces):
                try:
                    take(path.read_bytes())
                except ServiceError as error:
                    self.assertNotEqual(error.status, Status.PROCESSING_FAILURE, path)
        self.assertEqual(spooled(self.folder), [])

    def test_size_does_not_matter(self) -> None:
        """What is taken from memory is taken from the disk, with the same content; what is refused is refused."""
        for path in sorted(shared("malformed").iterdir()):
            data = path.read_bytes()
            self.assertEqual(self.fate(self.take, data), self.fate(self.take_in_pieces, data), path)

    def fate(self, take: Callable[[bytes], Arrival], data: bytes) -> object:
        try:
            return take(data).digest
        except ServiceError:
            return None

    def test_countless_elements(self) -> None:
        """Before or behind the pixels; each costs time whenever the instance is read, so there is a limit."""
        data = pydicom_file(MR).read_bytes()
        pixels = data.index(b"\xe0\x7f\x10\x00OW")
        many = b"\x09\0\x01\x10UN\0\0\0\0\0\0" * 131073
        for hostile in (data[:pixels] + many + data[pixels:], data + many):
            error = self.assertRaises(ServiceError, self.take_in_pieces, hostile, size=1 << 20)
            self.assertEqual(error.comment, "the data set has more than 131072 elements")
        self.assertEqual(list(self.folder.files()), [])
