"""The pixel data of sample files, located with our own reader of elements, for tests of `pixels`."""

import functools
import warnings
import zlib
from pathlib import Path
from typing import Any

from attrs import frozen
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from dicomd.model.status import MalformedDataset
from dicomd.model.transfer_syntaxes import transfer_syntax
from dicomd.pixels.frames import FrameTable, frame_table
from dicomd.pixels.image import PIXEL_ELEMENTS, ImagePixel, image_pixel
from dicomd.wire.elements import element_at, file_meta, layout_of, scan
from tests import data

_FOLDERS = ("transfer-syntaxes", "pixel-formats", "images", "multiframe", "wsi", "video", "non-image")


@functools.cache
def files() -> tuple[Path, ...]:
    """Well-formed files: pydicom's, and the shared collection's folders with pixels where there is one."""
    found = data.pydicom_files()
    if data.SHARED.exists():
        found += [path for folder in _FOLDERS for path in data.shared_files(folder, validity=("valid",))]
    return tuple(found)


@frozen
class Pixels:
    """A sample with pixel data. `data` is the file, its data set inflated."""

    data: bytes
    image: ImagePixel
    element: int
    vr: str
    start: int
    length: int
    extended: bytes

    def table(self) -> FrameTable:
        return frame_table(
            lambda offset, size: self.data[offset : offset + size],
            self.image,
            element=self.element,
            vr=self.vr,
            start=self.start,
            length=self.length,
            extended_offset_table=self.extended,
        )


def pixels(path: Path) -> Pixels | None:
    """Where the pixel data of a file are; None when there are none or the file cannot be read at all."""
    raw = path.read_bytes()
    try:
        meta = file_meta(raw)
        if transfer_syntax(meta.transfer_syntax_uid).deflated:
            raw = raw[: meta.dataset_offset] + zlib.decompress(raw[meta.dataset_offset :], -15)
        return _pixels(raw, meta.dataset_offset, meta.transfer_syntax_uid, path)
    except (MalformedDataset, IndexError):
        return None


_DESCRIPTION = (
    "SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored"
    " PixelRepresentation"
).split()


def _pixels(raw: bytes, begin: int, syntax: str, path: Path) -> Pixels | None:
    form = layout_of(syntax)
    extended = b""
    for tag, vr, offset, length in scan(raw, begin, explicit=form.explicit, little=form.little):
        if tag == 0x7FE00001:
            extended = raw[offset : offset + length]
        if tag in PIXEL_ELEMENTS:
            stated = element_at(raw, offset - (12 if form.explicit else 8), len(raw), form)[3]
            described = image_pixel(_description(path), syntax)
            return None if described is None else Pixels(raw, described, tag, vr or "OW", offset, stated, extended)
    return None


def _description(path: Path) -> dict[str, dict[str, object]]:
    read = dataset(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        elements = [read[name] for name in _DESCRIPTION if name in read and read[name].value != ""]
    return {f"{element.tag:08X}": {"Value": [element.value]} for element in elements}


def dataset(path: Path) -> Dataset:
    """The file as pydicom reads it, however odd."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(path, force=True)


def decoded_by_pydicom(image: ImagePixel, transfer_syntax_uid: str, frame: bytes) -> Any:
    """The samples of a single monochrome frame."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    made.Rows, made.Columns, made.SamplesPerPixel = image.rows, image.columns, image.samples_per_pixel
    made.BitsAllocated, made.BitsStored, made.HighBit = image.bits_allocated, image.bits_stored, image.bits_stored - 1
    made.PixelRepresentation, made.PhotometricInterpretation = image.pixel_representation, image.photometric_interpretation
    made.PixelData = encapsulate([frame])
    made["PixelData"].is_undefined_length = True
    return made.pixel_array
