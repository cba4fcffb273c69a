"""Instances for rendering, made from pydicom data sets: the adapter between test files and the pixel pipeline."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.uid import ExplicitVRLittleEndian

from dicomd.model.status import Undecodable
from dicomd.model.transfer_syntaxes import transfer_syntax
from dicomd.pixels.header import Header
from dicomd.pixels.instance import SAMPLE_LIMIT, Instance

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read(path: Path) -> Dataset:
    """A file, however odd."""
    return pydicom.dcmread(path, force=True)


def header(dataset: Dataset) -> Header:
    """The data set in the core's model; pixel data by reference."""
    attributes: dict[str, Any] = {}
    for element in dataset:
        if element.keyword in _PIXELS:
            attributes[f"{int(element.tag):08X}"] = {"vr": str(element.VR), "BulkDataURI": "pixels"}
        else:
            try:
                attributes[f"{int(element.tag):08X}"] = json.loads(json.dumps(element.to_json_dict(None, 1 << 62)))
            except (ValueError, TypeError):
                continue  # pydicom has no JSON for this value
    return Header(attributes)


def has_pixels(dataset: Dataset) -> bool:
    """Whether there is an image in it, and a transfer syntax that says how it is encoded."""
    return any(keyword in dataset for keyword in _PIXELS) and "TransferSyntaxUID" in getattr(dataset, "file_meta", {})


def instance(dataset: Dataset, limit: int = SAMPLE_LIMIT) -> Instance:
    """The data set as rendering sees an instance."""
    syntax = dataset.file_meta.TransferSyntaxUID
    return Instance(header(dataset), str(syntax), lambda index: frame(dataset, index), limit)


def frame(dataset: Dataset, index: int) -> bytes:
    """Encoded bytes of a frame; native frames of single bits begin at a byte."""
    try:
        return _frame(dataset, index)
    except (ValueError, AttributeError, TypeError, struct.error, EOFError, RuntimeError, OSError) as error:
        raise Undecodable(f"pydicom finds no frame: {error}") from None


def _frame(dataset: Dataset, index: int) -> bytes:
    pixels = next(dataset[keyword].value for keyword in _PIXELS if keyword in dataset)
    count = int(dataset.get("NumberOfFrames") or 1)
    if transfer_syntax(dataset.file_meta.TransferSyntaxUID).encapsulated:
        return get_frame(pixels, index, number_of_frames=count)
    samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else int(dataset.SamplesPerPixel)
    bits = dataset.Rows * dataset.Columns * samples * dataset.BitsAllocated
    if bits % 8 == 0:
        return bytes(pixels[index * bits // 8 : (index + 1) * bits // 8])
    unpacked = np.unpackbits(np.frombuffer(pixels, np.uint8), bitorder="little")[index * bits : (index + 1) * bits]
    return np.packbits(unpacked, bitorder="little").tobytes()


def image(pixels: "np.ndarray[Any, Any]", **attributes: Any) -> Dataset:
    """A data set with these pixels (rows x columns, or with samples or frames), described as their type says."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    colour = attributes.get("SamplesPerPixel", 1) > 1
    shape = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    bits = 8 * pixels.dtype.itemsize
    defaults = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.5",
        "Modality": "OT",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": shape[0],
        "Columns": shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": attributes.get("BitsStored", bits) - 1,
        "PixelRepresentation": 1 if pixels.dtype.kind == "i" else 0,
    }
    for keyword, value in (defaults | attributes).items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset
