"""Whole instances and single frames from what is stored to what is asked for, compared with pydicom."""

import io
import random
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset, dcmread
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import MalformedDataset, Undecodable
from dicomd.model.transfer_syntaxes import (
    DEFLATED,
    EXPLICIT_LITTLE,
    HTJ2K_LOSSLESS,
    IMPLICIT_LITTLE,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    transfer_syntax,
)
from dicomd.pixels import transcode
from dicomd.pixels.inflated import Inflated
from dicomd.pixels.transcode import Source
from dicomd.wire.elements import file_meta
from tests import data
from tests.pixels import samples

_LARGEST = 150_000
# Values of odd length, which are padded.
_ODD_LENGTHS = ("meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm")
_CHANGED = {"00280004", "00280006", "00282110", "7FE00010", "7FE00001", "7FE00002", "00880200"}


def source_of(path: Path) -> Source | None:
    """The sample as the archive would have it; None when pydicom's sample is no file of ours."""
    raw = path.read_bytes()
    meta = file_meta(raw)
    start = meta.dataset_offset
    if meta.transfer_syntax_uid == DEFLATED:
        raw, start = zlib.decompress(raw[start:], -15), 0
    found = samples.pixels(path)
    table = None
    if found is not None:
        table = found.table()
    if found is not None and meta.transfer_syntax_uid == DEFLATED:
        return None
    return Source(raw, lambda o, n: raw[o : o + n], start, len(raw), "1.2", "1.2.3", meta.transfer_syntax_uid, table)


def written(source: Source, target: str) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(b"".join(transcode.part_10(source, target))))


def array_of(dataset: Dataset) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pixel_array(dataset, raw=True)


def as_json(dataset: Dataset) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attributes = without_lengths(dataset.to_json_dict(suppress_invalid_tags=True))
        return {tag: value for tag, value in attributes.items() if tag not in _CHANGED}


def without_lengths(attributes: dict[str, Any]) -> dict[str, Any]:
    """No group lengths, at no depth."""
    kept = {tag: dict(value) for tag, value in attributes.items() if not tag.endswith("0000")}
    for value in kept.values():
        if value["vr"] == "SQ" and "Value" in value:
            value["Value"] = [without_lengths(item) for item in value["Value"]]
    return kept


def small_files() -> list[Path]:
    return [path for path in samples.files() if path.stat().st_size < _LARGEST]


class ExplicitLittleTests(SynchronousTestCase):
    def test_every_sample(self) -> None:
        """Everything that can be had as Explicit VR Little Endian has the same attributes, and the pixels pydicom decodes."""
        count = 0
        for path in small_files():
            try:
                source = source_of(path)
            except Exception:
                continue
            image = source.table.image if source is not None and source.table is not None else None
            if source is None or not transcode.possible(image, source.transfer_syntax_uid, EXPLICIT_LITTLE):
                continue
            if image is not None and image.number_of_frames * image.frame_bytes > 4_000_000:
                continue
            self.check(path, source)
            count += 1
        self.assertGreater(count, 80)

    def check(self, path: Path, source: Source) -> None:
        before = samples.dataset(path)
        try:
            made = written(source, EXPLICIT_LITTLE)
        except (Undecodable, MalformedDataset):
            self.assertIn(path.name, ("JPEG2000-embedded-sequence-delimiter.dcm", "MR_truncated.dcm", "rtplan_truncated.dcm"))
            return
        self.assertEqual(made.file_meta.TransferSyntaxUID, EXPLICIT_LITTLE)
        if path.name not in _ODD_LENGTHS:
            self.assertEqual(as_json(made), as_json(before), path)
        if source.table is None or source.table.element != 0x7FE00010:
            return
        self.check_pixels(path, before, made, source)

    def check_pixels(self, path: Path, before: Dataset, made: Dataset, source: Source) -> None:
        stored = transfer_syntax(source.transfer_syntax_uid)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                decoder = get_decoder(UID(stored.uid))
                wanted, properties = decoder.as_array(before, raw=not stored.encapsulated)
        except (RuntimeError, NotImplementedError, AttributeError, ValueError):
            return
        allowed = 1 if stored.media_type == "image/jpeg" and not stored.lossless else 0
        found = array_of(made)
        self.assertEqual(found.shape, wanted.shape, path)
        self.assertLessEqual(np.abs(found.astype(np.int64) - wanted.astype(np.int64)).max(), allowed, path)
        if stored.encapsulated:
            self.assertEqual(made.PhotometricInterpretation, properties["photometric_interpretation"], path)

    def test_lossy_stays_declared(self) -> None:
        """What was compressed with loss says so ever after (PS3.3 C.7.6.1.1.5)."""
        source = source_of(data.pydicom_file("SC_rgb_jpeg_dcmtk.dcm"))
        assert source is not None
        made = written(source, EXPLICIT_LITTLE)
        self.assertEqual((made.LossyImageCompression, made.PhotometricInterpretation), ("01", "RGB"))
        self.assertEqual(made.PlanarConfiguration, 0)

    def test_big_endian(self) -> None:
        """Big endian words, also in sequences and of pairs of bytes, are turned."""
        source = source_of(data.pydicom_file("MR_small_bigendian.dcm"))
        assert source is not None
        wanted = samples.dataset(data.pydicom_file("MR_small.dcm"))
        self.assertTrue(np.array_equal(array_of(written(source, EXPLICIT_LITTLE)), array_of(wanted)))

    def test_group_lengths_go(self) -> None:
        """Group lengths would be wrong and are left out."""
        source = source_of(data.pydicom_file("JPEG2000.dcm"))
        assert source is not None
        self.assertEqual([e for e in written(source, EXPLICIT_LITTLE) if e.tag.element == 0], [])

    def test_single_bits(self) -> None:
        """Frames that do not fill their last byte follow each other without a gap, as in the original."""
        plain = samples.dataset(data.shared("pixel-formats/liver_nonbyte_aligned.dcm"))
        source = source_of(data.shared("transfer-syntaxes/deflated-frame/liver_nonbyte_aligned_deflate.dcm"))
        assert source is not None
        made = written(source, EXPLICIT_LITTLE)
        self.assertTrue(np.array_equal(array_of(made), array_of(plain)))

    def test_compressed_icon(self) -> None:
        """An icon that is itself compressed cannot be part of a native data set."""
        dataset = dcmread(data.pydicom_file("MR_small_RLE.dcm"))
        icon = Dataset()
        icon.Rows, icon.Columns = 8, 8
        icon.add_new(0x7FE00010, "OB", pydicom.encaps.encapsulate([b"ab"]))
        icon["PixelData"].is_undefined_length = True
        dataset.IconImageSequence = [icon]
        path = Path(self.mktemp())
        dataset.save_as(path)
        source = source_of(path)
        assert source is not None
        self.assertNotIn("IconImageSequence", written(source, EXPLICIT_LITTLE))

    def test_cut_off(self) -> None:
        """Missing frames are never made up."""
        raw = data.pydicom_file("SC_rgb_rle_2frame.dcm").read_bytes()
        found = samples.pixels(data.pydicom_file("SC_rgb_rle_2frame.dcm"))
        assert found is not None
        cut = raw[: len(raw) - 300]
        whole = found.table()
        source = Source(
            cut, lambda o, n: cut[o : o + n], file_meta(raw).dataset_offset, len(raw), "1.2", "1.2.3", RLE_LOSSLESS, whole
        )
        self.assertRaises(Undecodable, lambda: list(transcode.data_set(source, EXPLICIT_LITTLE)))


class ImplicitLittleTests(SynchronousTestCase):
    def test_attributes(self) -> None:
        """The same standard attributes, at every depth, and the same pixels."""
        names = "CT_small.dcm MR_small_bigendian.dcm MR_small_RLE.dcm test-SR.dcm reportsi.dcm waveform_ecg.dcm liver_1frame.dcm"
        for name in names.split():
            source = source_of(data.pydicom_file(name))
            assert source is not None
            made = written(source, IMPLICIT_LITTLE)
            self.assertEqual(made.file_meta.TransferSyntaxUID, IMPLICIT_LITTLE)
            before = samples.dataset(data.pydicom_file(name))
            self.assertEqual(standard(as_json(made)), standard(as_json(before)), name)
            if source.table is not None:
                self.assertEqual(made.PixelData, written(source, EXPLICIT_LITTLE).PixelData)


def standard(attributes: dict[str, Any]) -> dict[str, Any]:
    """Without private attributes, whose VRs an implicit data set does not tell."""
    kept = {tag: dict(value) for tag, value in attributes.items() if int(tag[:4], 16) % 2 == 0}
    for value in kept.values():
        if value["vr"] == "SQ" and "Value" in value:
            value["Value"] = [standard(item) for item in value["Value"]]
    return kept


class CompressTests(SynchronousTestCase):
    TARGETS = (RLE_LOSSLESS, JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, DEFLATED)

    def test_exact(self) -> None:
        """Every pair of a stored and a lossless requested syntax gives the pixels of the stored one."""
        names = (
            "MR_small.dcm MR_small_RLE.dcm MR_small_jp2klossless.dcm MR_small_jpeg_ls_lossless.dcm MR_small_bigendian.dcm "
            "MR_small_implicit.dcm SC_rgb_rle_2frame.dcm SC_rgb_small_odd.dcm SC_rgb_rle_16bit.dcm JPEG2000.dcm "
            "SC_rgb_jpeg_dcmtk.dcm"
        )
        for name in names.split():
            source = source_of(data.pydicom_file(name))
            assert source is not None and source.table is not None
            wanted = array_of(written(source, EXPLICIT_LITTLE))
            for target in self.TARGETS:
                self.assertTrue(transcode.possible(source.table.image, source.transfer_syntax_uid, target), (name, target))
                made = written(source, target)
                self.assertEqual(made.file_meta.TransferSyntaxUID, target)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = pixel_array(made)
                self.assertTrue(np.array_equal(found, wanted), (name, target))

    def test_not_possible(self) -> None:
        """What cannot be done is known beforehand: documents are not compressed, video is not decoded."""
        self.assertFalse(transcode.possible(None, EXPLICIT_LITTLE, JPEG_2000_LOSSLESS))
        self.assertTrue(transcode.possible(None, EXPLICIT_LITTLE, DEFLATED))
        image = samples.pixels(data.pydicom_file("MR_small.dcm"))
        assert image is not None
        video = image.image.but(transfer_syntax_uid="1.2.840.10008.1.2.4.102")
        self.assertFalse(transcode.possible(video, video.transfer_syntax_uid, EXPLICIT_LITTLE))
        self.assertFalse(transcode.possible(image.image, EXPLICIT_LITTLE, "1.2.840.10008.1.2.4.50"))
        huge = image.image.but(number_of_frames=1_000_000)
        self.assertFalse(transcode.possible(huge, RLE_LOSSLESS, EXPLICIT_LITTLE))


class FrameTests(SynchronousTestCase):
    def test_single_bits(self) -> None:
        """A frame that begins inside a byte comes from its first bit on."""
        path = data.shared("pixel-formats/liver_nonbyte_aligned.dcm")
        found = samples.pixels(path)
        assert found is not None
        wanted = array_of(samples.dataset(path))
        for number in (1, 2, 3):
            raw = transcode.frame(found.table(), lambda o, n: found.data[o : o + n], number, EXPLICIT_LITTLE)
            bits = np.unpackbits(np.frombuffer(raw, "u1"), count=510 * 510, bitorder="little").reshape(510, 510)
            self.assertTrue(np.array_equal(bits, wanted[number - 1]))

    def test_big_endian(self) -> None:
        """Native frames are little endian whatever is stored."""
        for name in (
            "SC_rgb_expb_16bit_2frame.dcm",
            "emri_small_big_endian.dcm",
            "OBXXXX1A_expb.dcm",
            "SC_rgb_small_odd_big_endian.dcm",
        ):
            path = data.shared(f"transfer-syntaxes/explicit-be/{name}")
            found = samples.pixels(path)
            assert found is not None
            wanted = array_of(samples.dataset(path))
            for number in range(1, found.image.number_of_frames + 1):
                raw = transcode.frame(found.table(), lambda o, n, f=found: f.data[o : o + n], number, EXPLICIT_LITTLE)
                frame = wanted if found.image.number_of_frames == 1 else wanted[number - 1]
                self.assertEqual(raw, frame.astype(frame.dtype.newbyteorder("<")).tobytes(), name)


class InflatedTests(SynchronousTestCase):
    def test_anywhere(self) -> None:
        """Any range of the inflated data set, forward and backward."""
        chance = random.Random(1)
        plain = chance.randbytes(700_000)
        machine = zlib.compressobj(wbits=-15)
        packed = b"head" + machine.compress(plain) + machine.flush()
        read = Inflated(lambda o, n: packed[o : o + n], 4)
        for _ in range(30):
            start, size = chance.randrange(len(plain)), chance.randrange(100_000)
            self.assertEqual(read(start, size), plain[start : start + size])
        self.assertEqual(read(len(plain) + 5, 10), b"")
