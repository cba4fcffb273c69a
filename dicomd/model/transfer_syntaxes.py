"""Transfer syntaxes (PS3.5 Annex A, PS3.6 Table A-1) and the media type of their frames (PS3.18 Tables 8.7.3-4 and 8.7.3-5)."""

from attrs import frozen

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"

OCTET_STREAM = "application/octet-stream"


@frozen
class TransferSyntax:
    """How a data set is encoded. `media_type`: of one frame (or the one stream) of encapsulated Pixel Data.

    `lossless`: the encoding as such loses nothing. `stream`: all frames are one bit stream (video). `referenced`: the pixels
    are elsewhere (JPIP). An unknown UID is taken as Explicit VR Little Endian, perhaps encapsulated (PS3.5 10.1).
    """

    uid: str
    explicit: bool = True
    little: bool = True
    deflated: bool = False
    encapsulated: bool = False
    lossless: bool = True
    stream: bool = False
    referenced: bool = False
    media_type: str = OCTET_STREAM
    known: bool = True


_BASE = "1.2.840.10008.1.2."


def _compressed(media_type: str, lossless: str = "", lossy: str = "", *, stream: bool = False) -> list[TransferSyntax]:
    return [
        TransferSyntax(_BASE + end, encapsulated=True, lossless=kind, stream=stream, media_type=media_type)
        for ends, kind in ((lossless, True), (lossy, False))
        for end in ends.split()
    ]


def _table() -> list[TransferSyntax]:
    return [
        TransferSyntax(IMPLICIT_LITTLE, explicit=False),
        TransferSyntax(EXPLICIT_LITTLE),
        TransferSyntax(DEFLATED, deflated=True),
        TransferSyntax(EXPLICIT_BIG, little=False),
        *_compressed(OCTET_STREAM, "1.98 8.1"),
        *_compressed(
            "image/jpeg", "4.57 4.58 4.65 4.66 4.70", "4.50 4.51 4.52 4.53 4.54 4.55 4.56 4.59 4.60 4.61 4.62 4.63 4.64"
        ),
        *_compressed("image/jls", "4.80", "4.81"),
        *_compressed("image/jp2", "4.90", "4.91"),
        *_compressed("image/jpx", "4.92", "4.93"),
        *_compressed("image/jphc", "4.201 4.202", "4.203"),
        *_compressed("image/jxl", "4.110", "4.111 4.112"),
        *_compressed("image/dicom-rle", "5"),
        *_compressed("video/mpeg", "", "4.100 4.100.1 4.101 4.101.1", stream=True),
        *_compressed("video/mp4", "", " ".join(f"4.{n} 4.{n}.1" for n in range(102, 107)), stream=True),
        *_compressed("video/H265", "", "4.107 4.108", stream=True),
        TransferSyntax(_BASE + "4.94", referenced=True, lossless=False),
        TransferSyntax(_BASE + "4.95", referenced=True, deflated=True, lossless=False),
        TransferSyntax(_BASE + "4.204", referenced=True, lossless=False),
        TransferSyntax(_BASE + "4.205", referenced=True, deflated=True, lossless=False),
    ]


BY_UID: dict[str, TransferSyntax] = {syntax.uid: syntax for syntax in _table()}
# PS3.18 Table 8.7.3-5: the transfer syntax that a media type means when it carries no transfer-syntax parameter.
DEFAULT_OF_MEDIA_TYPE: dict[str, str] = {
    OCTET_STREAM: EXPLICIT_LITTLE,
    "image/jpeg": JPEG_LOSSLESS_SV1,
    "image/dicom-rle": RLE_LOSSLESS,
    "image/jls": JPEG_LS_LOSSLESS,
    "image/jp2": JPEG_2000_LOSSLESS,
    "image/jpx": _BASE + "4.92",
    "image/jphc": HTJ2K_LOSSLESS,
    "image/jxl": _BASE + "4.110",
    "video/mpeg": _BASE + "4.101",
    "video/mp4": _BASE + "4.102",
    "video/h265": _BASE + "4.107",
}
# Names that older editions and clients use for the same media types.
ALIASES: dict[str, str] = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/jph": "image/jphc",
    "image/jhc": "image/jphc",
    "image/j2c": "image/jp2",
    "video/mpeg2": "video/mpeg",
}


def transfer_syntax(uid: str) -> TransferSyntax:
    """The syntax named `uid`; an unknown one is Explicit VR Little Endian with perhaps encapsulated pixels."""
    return BY_UID.get(uid) or TransferSyntax(uid, known=False, lossless=False)
