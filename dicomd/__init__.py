"""dicomd: a DICOM archive that speaks DICOMweb (PS3.18) and DIMSE (PS3.7) from one Twisted process."""

__version__ = "0.1.0"
