"""Non-patient instances for tests: the palettes that pydicom ships, and one small data set for each other IOD."""

import io
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import DATA_ROOT
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomd.model.non_patient import MODELS, Model

# What the required text keys of each model's instance hold.
NAMES = {
    "Color Palette": ("ContentLabel", "SPRING"),
    "Hanging Protocol": ("HangingProtocolName", "CHEST CT"),
    "Generic Implant Template": ("ImplantName", "HIP STEM"),
    "Implant Assembly Template": ("ImplantAssemblyTemplateName", "HIP"),
    "Implant Template Group": ("ImplantTemplateGroupName", "HIPS"),
    "Defined Procedure Protocol": ("ProtocolName", "HEAD ROUTINE"),
    "Protocol Approval": ("InstanceCreationDate", "20260102"),
    "Inventory": ("InventoryPurpose", "MIGRATION"),
}


def palettes() -> list[Path]:
    """The well-known colour palettes (PS3.6 B)."""
    return sorted(Path(DATA_ROOT, "palettes").glob("*.dcm"))


def uid_of(model: Model) -> str:
    return f"1.2.3.{100 + MODELS.index(model)}"


def instance(model: Model, sop_class: str = "", transfer_syntax: str = ExplicitVRLittleEndian, **values: Any) -> bytes:
    """A Part 10 file of one IOD with the attributes that queries ask for."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class or model.storage[0]
    dataset.SOPInstanceUID = uid_of(model)
    keyword, text = NAMES[model.name]
    for name, value in {keyword: text, **values}.items():
        setattr(dataset, name, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    dataset.file_meta, dataset.preamble = meta, bytes(128)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))
