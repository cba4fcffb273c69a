"""Makes `twistd dicomd` known to Twisted."""

from twisted.application.service import ServiceMaker

dicomd = ServiceMaker("dicomd", "dicomd.tap", "A DICOM archive: DICOMweb and DIMSE.", "dicomd")
