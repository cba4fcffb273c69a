"""Packaging of dicomd."""

from setuptools import find_packages, setup

TEST = [
    "treq>=24.9",
    "hypothesis>=6.100",
    "ruff>=0.6",
    "mypy>=1.11",
    "dicomweb-client>=0.60",
    "requests>=2.31",
    "schemathesis>=4.0",
    # pydicom's decoders, which ours are compared with.
    "pylibjpeg>=2.0",
    "pylibjpeg-openjpeg>=2.4",
    "pylibjpeg-rle>=2.1",
    "python-gdcm>=3.0.24",
]

setup(
    name="dicomd",
    version="0.1.0",
    description="A DICOM archive: DICOMweb and DIMSE from one Twisted process",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    # So an editable install puts the checkout on sys.path, where Twisted looks for plugins: `twistd dicomd` works anywhere.
    package_dir={"": "."},
    packages=[*find_packages(include=["dicomd", "dicomd.*"]), "twisted.plugins"],
    package_data={"dicomd": ["py.typed"], "twisted": ["plugins/dicomd_plugin.py"]},
    install_requires=[
        "twisted[tls,websocket]>=25.5",
        "klein>=24.8",
        "werkzeug>=3.0",
        "pydicom>=3.0,<4",
        "pynetdicom>=3.0,<4",
        "attrs>=23.2",
        "blake3>=1.0,<2",
        "sqlalchemy>=2.0.30,<3",
        "orjson>=3.10",
        "jellyfish>=1.1",
        "lxml>=5.2",
        "hl7>=0.4.5",
        "numpy>=1.26",
        "pillow>=10.3",
        "reportlab>=4.2",
        "imagecodecs>=2026.3",
        "pyjpegls>=1.4",
    ],
    extras_require={"test": TEST},
)
