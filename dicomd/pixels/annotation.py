"""Text burned into a picture: who (patient) and how (technique) (PS3.18 8.3.5.1.1)."""

from PIL import Image, ImageDraw

from ..model.rendering import Window
from .fonts import font
from .functional_groups import PIXEL_MEASURES, macro
from .header import Header
from .lut import Lut
from .window import Identity

# tag, text before, text behind; PS3.3 C.8 modules of CT, MR, X-ray, ultrasound
_TECHNIQUE = (
    ("00180060", "", " kV"),
    ("00181151", "", " mA"),
    ("00181152", "", " mAs"),
    ("00181210", "Kernel ", ""),
    ("00180087", "", " T"),
    ("00180080", "TR ", " ms"),
    ("00180081", "TE ", " ms"),
    ("00181314", "Flip ", "°"),
    ("00201041", "Location ", " mm"),
)
_LONGEST_LINE = 64


def burn_in(
    image: Image.Image, header: Header, index: int, asked: tuple[str, ...], voi: Window | Identity | Lut | None
) -> Image.Image:
    """A copy with the texts in its corners: the patient at the top left, the technique at the bottom left."""
    image = image.copy()
    size = max(9, min(image.size) // 32)
    draw = ImageDraw.Draw(image)
    if "patient" in asked:
        _write(draw, (size // 2, size // 2), patient_lines(header), size, "la", image.mode)
    if "technique" in asked:
        _write(draw, (size // 2, image.height - size // 2), technique_lines(header, index, voi), size, "ld", image.mode)
    return image


def patient_lines(header: Header) -> list[str]:
    """Name, identifier, birth date and sex, study date."""
    name = " ".join(part for part in header.text("00100010").split("^") if part)
    birth = " ".join(part for part in (day(header.text("00100030")), header.text("00100040")) if part)
    study = " ".join(part for part in (day(header.text("00080020")), header.text("00080050")) if part)
    return [line[:_LONGEST_LINE] for line in (name, header.text("00100020"), birth, study) if line]


def technique_lines(header: Header, index: int, voi: Window | Identity | Lut | None) -> list[str]:
    """Modality and series, place in it, technique factors, window."""
    series = " ".join(part for part in (header.text("00080060"), header.text("0008103E")) if part)
    number, instance = header.text("00200011"), header.text("00200013")
    frames = header.integer("00280008", 1)
    places = [
        f"Series {number}" if number else "",
        f"Image {instance}" if instance else "",
        f"Frame {index + 1}/{frames}" if frames > 1 else "",
    ]
    measures = macro(header, index, PIXEL_MEASURES) or header
    thickness = measures.number("00180050")
    factors = [f"Slice {thickness:g} mm" if thickness else ""]
    factors += [f"{before}{header.number(tag):g}{behind}" for tag, before, behind in _TECHNIQUE if header.number(tag) is not None]
    lines = [series, "  ".join(part for part in places if part), "  ".join(part for part in factors if part), _window(voi)]
    return [line[:_LONGEST_LINE] for line in lines if line]


def _window(voi: Window | Identity | Lut | None) -> str:
    if isinstance(voi, Window):
        return f"C {voi.center:g}  W {voi.width:g}"
    if isinstance(voi, Identity):
        return f"C {(voi.low + voi.high) / 2:g}  W {voi.high - voi.low:g}"
    return "VOI LUT" if voi is not None else ""


def day(text: str) -> str:
    """A date as ISO 8601 writes it; anything else unchanged."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], lines: list[str], size: int, anchor: str, mode: str) -> None:
    """Lines in white with a black rim, legible on any ground."""
    white, black = (255, 0) if mode == "L" else ((255, 255, 255), (0, 0, 0))
    step = size * 1.25
    x, y = at[0], at[1] - step * (len(lines) - 1 if anchor[1] == "d" else 0)
    for line in lines:
        draw.text(
            (x, y), line, fill=white, font=font(size, line), anchor=anchor, stroke_width=max(1, size // 12), stroke_fill=black
        )
        y += step
