"""Graphic annotation (PS3.3 C.10.5): texts and graphic objects drawn over a finished picture."""

import math
from itertools import pairwise

from attrs import define, field, frozen
from PIL import Image, ImageDraw

from .fonts import font
from .geometry import Placement
from .header import Header

Point = tuple[float, float]
Colour = tuple[int, int, int]
_MOST_POINTS = 20_000


@frozen
class Layer:
    """A graphic layer: its place in the order of drawing and its colour."""

    order: int = 0
    colour: Colour = (255, 255, 255)


@define(eq=False)
class Canvas:
    """A picture being drawn on; colours turn a grayscale one into RGB."""

    image: Image.Image
    placement: Placement
    _pen: ImageDraw.ImageDraw = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.image = self.image.copy()
        self._pen = ImageDraw.Draw(self.image)

    @property
    def _width(self) -> int:
        return max(1, min(self.image.size) // 400)

    def annotate(self, item: Header, colour: Colour) -> None:
        """Draw one item of the Graphic Annotation Sequence."""
        fill = self._ink(colour)
        for graphic in item.items("00700009"):
            self._graphic(graphic, fill)
        for text in item.items("00700008"):
            self._text(text, fill)

    def _ink(self, colour: Colour) -> int | Colour:
        if self.image.mode == "L":
            if colour[0] == colour[1] == colour[2]:
                return colour[0]
            self.image = self.image.convert("RGB")
            self._pen = ImageDraw.Draw(self.image)
        return colour

    def _points(self, values: list[float], units: str) -> list[Point]:
        """Pairs of column\\row: pixels of the image, or fractions of the displayed area (C.10.5.1.1)."""
        pairs = list(zip(values[::2], values[1::2], strict=False))[:_MOST_POINTS]
        if units == "DISPLAY":
            return [(x * self.image.width, y * self.image.height) for x, y in pairs]
        return [self.placement.point(x, y) for x, y in pairs]

    def _graphic(self, item: Header, fill: int | Colour) -> None:
        points = self._points(item.numbers("00700022"), item.text("00700005", "PIXEL"))
        filled = item.text("00700024") == "Y"
        kind = item.text("00700023")
        if kind in ("POINT", "MULTIPOINT"):
            for point in points:
                self._cross(point, fill)
        elif kind == "POLYLINE" and len(points) > 1:
            self._polyline(points, fill, filled)
        elif kind == "INTERPOLATED" and len(points) > 1:
            self._polyline(smooth(points), fill, filled)
        elif kind == "CIRCLE" and len(points) == 2:
            center, edge = points
            radius = math.dist(center, edge)
            self._polyline(ellipse(center, (radius, 0.0), (0.0, radius)), fill, filled)
        elif kind == "ELLIPSE" and len(points) == 4:
            (x0, y0), (x1, y1), (x2, y2), (x3, y3) = points
            center = ((x0 + x1) / 2, (y0 + y1) / 2)
            self._polyline(ellipse(center, ((x1 - x0) / 2, (y1 - y0) / 2), ((x3 - x2) / 2, (y3 - y2) / 2)), fill, filled)

    def _polyline(self, points: list[Point], fill: int | Colour, filled: bool) -> None:
        if filled and len(points) > 2:
            self._pen.polygon(points, fill=fill)
        else:
            self._pen.line(points, fill=fill, width=self._width, joint="curve")

    def _cross(self, point: Point, fill: int | Colour) -> None:
        (x, y), arm = point, max(2, min(self.image.size) // 100)
        self._pen.line([(x - arm, y), (x + arm, y)], fill=fill, width=self._width)
        self._pen.line([(x, y - arm), (x, y + arm)], fill=fill, width=self._width)

    def _text(self, item: Header, fill: int | Colour) -> None:
        """Text in its box, or at its anchor point, which a line may join (C.10.5.1.2)."""
        lines = item.text("00700006").replace("\r\n", "\n").replace("\r", "\n").split("\n")[:100]
        box = self._points(item.numbers("00700010") + item.numbers("00700011"), item.text("00700003", "PIXEL"))
        anchor = self._points(item.numbers("00700014"), item.text("00700004", "PIXEL"))
        size = max(10, min(self.image.size) // 36)
        if len(box) == 2:
            (x0, y0), (x1, y1) = box
            left, top, right, bottom = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
            size = int(min(max(9, (bottom - top) / len(lines) / 1.3), max(size, 10) * 2))
            align = {"CENTER": ("m", (left + right) / 2), "RIGHT": ("r", right)}.get(item.text("00700012"), ("l", left))
            if anchor and item.text("00700015") == "Y":
                self._pen.line([((left + right) / 2, (top + bottom) / 2), anchor[0]], fill=fill, width=self._width)
        elif anchor:
            align, top = ("l", anchor[0][0]), anchor[0][1]
        else:
            return
        black: int | Colour = 0 if self.image.mode == "L" else (0, 0, 0)
        for number, line in enumerate(lines):
            at = (align[1], top + number * size * 1.25)
            self._pen.text(
                at, line[:200], fill=fill, font=font(size, line), anchor=f"{align[0]}a", stroke_width=1, stroke_fill=black
            )


def ellipse(center: Point, major: Point, minor: Point) -> list[Point]:
    """The outline of an ellipse with these half axes."""
    turns = [2 * math.pi * step / 120 for step in range(121)]
    return [
        (
            center[0] + math.cos(turn) * major[0] + math.sin(turn) * minor[0],
            center[1] + math.cos(turn) * major[1] + math.sin(turn) * minor[1],
        )
        for turn in turns
    ]


def smooth(points: list[Point]) -> list[Point]:
    """A curve through all points (Catmull-Rom), as INTERPOLATED asks for."""
    padded = [points[0], *points, points[-1]]
    curve = [points[0]]
    for number, (start, stop) in enumerate(pairwise(points)):
        before, after = padded[number], padded[number + 3]
        curve.extend(_between(before, start, stop, after, step / 8) for step in range(1, 9))
    return curve


def _between(before: Point, start: Point, stop: Point, after: Point, t: float) -> Point:
    def along(p0: float, p1: float, p2: float, p3: float) -> float:
        return 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)

    return along(before[0], start[0], stop[0], after[0]), along(before[1], start[1], stop[1], after[1])
