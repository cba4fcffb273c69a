"""The picture that stands for what has no picture of its own: a sheet with the modality written on it."""

from PIL import Image, ImageDraw

from ..model.rendering import Viewport
from .fonts import font

SIDE = 200
# What the modalities without images are called (PS3.3 C.7.3.1.1.1).
_KINDS = {
    "SR": "Report",
    "KO": "Key images",
    "PR": "Presentation",
    "DOC": "Document",
    "M3D": "Model",
    "ECG": "ECG",
    "HD": "Waveform",
    "AU": "Audio",
    "EPS": "Waveform",
    "RESP": "Waveform",
    "RTSTRUCT": "Structure set",
    "RTPLAN": "Plan",
    "RTRECORD": "Record",
    "REG": "Registration",
    "FID": "Fiducials",
    "RWV": "Value mapping",
    "PLAN": "Plan",
    "ANN": "Annotations",
}


def placeholder(modality: str, viewport: Viewport | None = None, *, kind: str = "") -> Image.Image:
    """A square picture with the modality; `kind` is a word below it, by default what the modality means."""
    sides = [side for side in ((viewport.width, viewport.height) if viewport is not None else ()) if side]
    picture = _drawn(modality[:16] or "?", kind or _KINDS.get(modality, ""))
    side = min(sides, default=SIDE)
    return picture if side == SIDE else picture.resize((side, side), Image.Resampling.BICUBIC)


def _drawn(modality: str, kind: str) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), (24, 28, 36))
    pen = ImageDraw.Draw(picture)
    fold = 28
    outline = [(45, 20), (155 - fold, 20), (155, 20 + fold), (155, 180), (45, 180), (45, 20)]
    pen.polygon(outline, fill=(44, 52, 66))
    pen.line(outline, fill=(120, 136, 160), width=2, joint="curve")
    pen.line([(155 - fold, 20), (155 - fold, 20 + fold), (155, 20 + fold)], fill=(120, 136, 160), width=2, joint="curve")
    size = next((size for size in range(40, 9, -2) if pen.textlength(modality, font=font(size)) <= 96), 10)
    pen.text((SIDE // 2, 98), modality, fill=(232, 238, 248), font=font(size), anchor="mm")
    if kind:
        size = next((size for size in range(16, 8, -1) if pen.textlength(kind, font=font(size)) <= 100), 9)
        pen.text((SIDE // 2, 148), kind, fill=(150, 166, 190), font=font(size), anchor="mm")
    return picture
