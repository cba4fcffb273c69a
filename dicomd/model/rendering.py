"""Rendering parameters (PS3.18 8.3.5 for the resources, 9.5.1.2 for WADO-URI): what a picture is asked to look like.

A wrong value raises `InvalidRequest` that names the parameter; an annotation not supported is ignored and listed.
"""

import math
import re
from collections.abc import Iterable, Mapping

from attrs import evolve, frozen

from .identifiers import is_uid
from .status import InvalidRequest

# The last is ours: overlay planes of the image (PS3.3 C.9.2) drawn into the picture.
ANNOTATIONS = ("patient", "technique", "overlay")
# PS3.18 8.3.5.1.4: the spelling in the query -> VOI LUT Function (0028,1056)
WINDOW_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
ICC_PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb")
RENDERED_PARAMETERS = ("annotation", "quality", "viewport", "window", "iccprofile", "presentationSeriesUID", "presentationUID")
THUMBNAIL_PARAMETERS = ("viewport",)
URI_PARAMETERS = (
    "annotation",
    "imageAnnotation",
    "frameNumber",
    "imageQuality",
    "rows",
    "columns",
    "region",
    "windowCenter",
    "windowWidth",
    "presentationSeriesUID",
    "presentationUID",
)

_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"\d{1,10}", re.ASCII)
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)


@frozen
class Window:
    """A window of PS3.3 C.11.2.1.2 and C.11.2.1.3, on values after the Modality LUT."""

    center: float
    width: float
    function: str = "LINEAR"


@frozen
class Region:
    """Part of the source image; `relative`: fractions of its width and height instead of pixels.

    None: up to the right or bottom edge. A negative width or height flips the part (PS3.18 8.3.5.1.3).
    """

    left: float = 0
    top: float = 0
    width: float | None = None
    height: float | None = None
    relative: bool = False


@frozen
class Viewport:
    """The largest picture wanted, in pixels; None leaves that side free."""

    width: int | None = None
    height: int | None = None


@frozen
class RenderingParameters:
    """All that shapes a picture besides the instance itself and the media type."""

    annotation: tuple[str, ...] = ()
    quality: int | None = None
    viewport: Viewport | None = None
    region: Region | None = None
    window: Window | None = None
    icc_profile: str = "no"
    presentation_series_uid: str = ""
    presentation_uid: str = ""
    unsupported: tuple[str, ...] = ()

    def require_pixels(self, limit: int) -> None:
        """Refuse a viewport of more than `limit` pixels."""
        if self.viewport is not None:
            width, height = self.viewport.width, self.viewport.height
            if (width or height or 0) * (height or width or 0) > limit:
                raise InvalidRequest(f"viewport: more than {limit} pixels")


def from_query(pairs: Iterable[tuple[str, str]]) -> RenderingParameters:
    """The parameters of a rendered resource (PS3.18 8.3.5.1); other names are the caller's business."""
    given = _single(pairs, RENDERED_PARAMETERS)
    viewport, region = _viewport(given["viewport"]) if "viewport" in given else (None, None)
    annotation, unsupported = _annotation("annotation", given.get("annotation"))
    result = RenderingParameters(
        annotation=annotation,
        unsupported=unsupported,
        quality=_bounded("quality", given["quality"], 100) if "quality" in given else None,
        viewport=viewport,
        region=region,
        window=_window(given["window"]) if "window" in given else None,
        icc_profile=_choice("iccprofile", given.get("iccprofile", "no"), ICC_PROFILES),
        **_presentation(given, series_required=False),
    )
    if result.presentation_uid and result.window is not None:
        raise InvalidRequest("window: not allowed together with presentationUID")
    return result


def thumbnail_from_query(pairs: Iterable[tuple[str, str]]) -> RenderingParameters:
    """The parameters of a thumbnail (PS3.18 8.3.5.1.3): a viewport without a source region."""
    given = _single(pairs, THUMBNAIL_PARAMETERS)
    if "viewport" not in given:
        return RenderingParameters()
    viewport, region = _viewport(given["viewport"])
    if region is not None:
        raise InvalidRequest("viewport: a thumbnail has no source region")
    return RenderingParameters(viewport=viewport)


def from_uri_query(pairs: Iterable[tuple[str, str]]) -> tuple[RenderingParameters, int | None]:
    """The rendering parameters of WADO-URI (PS3.18 9.5.1.2) and the frame number, when given."""
    given = _single(pairs, URI_PARAMETERS)
    if "annotation" in given and "imageAnnotation" in given:
        raise InvalidRequest("imageAnnotation: given together with annotation")
    name = "annotation" if "annotation" in given else "imageAnnotation"
    annotation, unsupported = _annotation(name, given.get(name))
    rows, columns = (_bounded(side, given[side], 1 << 31) if side in given else None for side in ("rows", "columns"))
    result = RenderingParameters(
        annotation=annotation,
        unsupported=unsupported,
        quality=_bounded("imageQuality", given["imageQuality"], 100) if "imageQuality" in given else None,
        viewport=Viewport(columns, rows) if rows or columns else None,
        region=_relative_region(given["region"]) if "region" in given else None,
        window=_uri_window(given),
        **_presentation(given, series_required=True),
    )
    frame = _bounded("frameNumber", given["frameNumber"], 1 << 31) if "frameNumber" in given else None
    if result.presentation_uid and (result.window is not None or frame is not None):
        name = "windowCenter" if result.window is not None else "frameNumber"
        raise InvalidRequest(f"{name}: not allowed together with presentationUID")
    return result, frame


def without_patient(parameters: RenderingParameters) -> RenderingParameters:
    """The same without identification burned in, as a thumbnail must be."""
    return evolve(parameters, annotation=())


def _single(pairs: Iterable[tuple[str, str]], names: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in names:
            if name in given:
                raise InvalidRequest(f"{name}: given more than once")
            given[name] = value
    return given


def _number(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text) or not math.isfinite(value := float(text)):
        raise InvalidRequest(f"{name}: a decimal number expected, not {_shown(text)}")
    return value


def _bounded(name: str, text: str, largest: int) -> int:
    if not _INTEGER.fullmatch(text) or not 1 <= int(text) <= largest:
        expected = f"a whole number from 1 to {largest}" if largest == 100 else "a positive whole number"
        raise InvalidRequest(f"{name}: {expected} expected, not {_shown(text)}")
    return int(text)


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise InvalidRequest(f"{name}: one of {', '.join(choices)} expected, not {_shown(text)}")
    return text


def _annotation(name: str, text: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if text is None:
        return (), ()
    words = text.split(",")
    if not all(_KEYWORD.fullmatch(word) for word in words):
        raise InvalidRequest(f"{name}: keywords expected, such as {', '.join(ANNOTATIONS)}")
    known = tuple(word for word in ANNOTATIONS if word in words)
    return known, tuple(dict.fromkeys(word for word in words if word not in ANNOTATIONS))


def _viewport(text: str) -> tuple[Viewport, Region | None]:
    parts = text.split(",")
    if not 2 <= len(parts) <= 6:
        raise InvalidRequest("viewport: vw,vh[,sx,sy,sw,sh] expected")
    size = Viewport(_bounded("viewport", parts[0], 1 << 31), _bounded("viewport", parts[1], 1 << 31))
    if not any(parts[2:]):
        return size, None
    left, top, width, height = (_number("viewport", part) if part else None for part in [*parts[2:], "", "", "", ""][:4])
    if width == 0 or height == 0:
        raise InvalidRequest("viewport: the source region is empty")
    if (left or 0) < 0 or (top or 0) < 0:
        raise InvalidRequest("viewport: sx and sy may not be negative")
    return size, Region(left or 0, top or 0, width, height)


def _window(text: str) -> Window:
    parts = text.split(",")
    if len(parts) != 3:
        raise InvalidRequest("window: center,width,function expected")
    function = _choice("window", parts[2].lower(), tuple(WINDOW_FUNCTIONS))
    return _checked("window", _number("window", parts[0]), _number("window", parts[1]), WINDOW_FUNCTIONS[function])


def _checked(name: str, center: float, width: float, function: str) -> Window:
    """PS3.3 C.11.2.1.2.1: the width is at least 1 for LINEAR, above 0 for the others."""
    if width <= 0 or (width < 1 and function == "LINEAR"):
        raise InvalidRequest(f"{name}: the width must be {'at least 1' if function == 'LINEAR' else 'above 0'}")
    return Window(center, width, function)


def _uri_window(given: Mapping[str, str]) -> Window | None:
    for name, other in (("windowCenter", "windowWidth"), ("windowWidth", "windowCenter")):
        if name in given and other not in given:
            raise InvalidRequest(f"{other}: missing, required with {name}")
    if "windowCenter" not in given:
        return None
    center, width = (_number(name, given[name]) for name in ("windowCenter", "windowWidth"))
    return _checked("windowWidth", center, width, "LINEAR")


def _relative_region(text: str) -> Region:
    parts = text.split(",")
    if len(parts) != 4:
        raise InvalidRequest("region: xmin,ymin,xmax,ymax expected")
    left, top, right, bottom = (_number("region", part) for part in parts)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InvalidRequest("region: values from 0 to 1 expected, the minimum below the maximum")
    return Region(left, top, right - left, bottom - top, relative=True)


def _presentation(given: Mapping[str, str], *, series_required: bool) -> dict[str, str]:
    series, instance = given.get("presentationSeriesUID"), given.get("presentationUID")
    for name, value in (("presentationSeriesUID", series), ("presentationUID", instance)):
        if value is not None and not is_uid(value):
            raise InvalidRequest(f"{name}: a UID expected, not {_shown(value)}")
    if instance is None and series is not None:
        raise InvalidRequest("presentationUID: missing, required with presentationSeriesUID")
    if series is None and instance is not None and series_required:
        raise InvalidRequest("presentationSeriesUID: missing, required with presentationUID")
    return {"presentation_series_uid": series or "", "presentation_uid": instance or ""}


def _shown(text: str) -> str:
    """A value as an error text may repeat it: short and printable."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
