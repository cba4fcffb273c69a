"""Values of interest: window functions (PS3.3 C.11.2.1.2, C.11.2.1.3) and the window chosen when none is stored."""

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ..model.rendering import Window

Floats = npt.NDArray[np.float64]

# The part of the pixels at either end that an automatic window may leave out, so that few hot pixels do not darken all.
_TRIMMED = 0.001


@frozen
class Identity:
    """A range shown in full, from black to white."""

    low: float
    high: float


def proportion(voi: Window | Identity, values: Floats) -> Floats:
    """The output as a part of its range, 0 to 1."""
    if isinstance(voi, Identity):
        return _ramp(values, voi.low, voi.high)
    if voi.function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1.0 / (1.0 + np.exp(-4.0 * (values - voi.center) / voi.width))
    if voi.function == "LINEAR_EXACT":
        return _ramp(values, voi.center - voi.width / 2, voi.center + voi.width / 2)
    low = voi.center - 0.5 - (voi.width - 1) / 2
    return _ramp(values, low, low + voi.width - 1)


def _ramp(values: Floats, low: float, high: float) -> Floats:
    """0 up to and including `low`, 1 above `high`, straight between."""
    if high <= low:
        return (values > low).astype(np.float64)
    part = values - low
    part *= 1.0 / (high - low)
    return np.clip(part, 0.0, 1.0, out=part)


def automatic(values: Floats, counts: npt.NDArray[np.int64]) -> Identity:
    """The range of ascending `values` that occur `counts` times, without a few outliers."""
    total = np.cumsum(counts)
    if not len(total) or total[-1] == 0:
        return Identity(0.0, 1.0)
    trimmed = int(total[-1] * _TRIMMED)
    low = float(values[np.searchsorted(total, trimmed, side="right")])
    high = float(values[np.searchsorted(total, total[-1] - trimmed, side="left")])
    if low == high:
        present = values[counts > 0]
        low, high = float(present[0]), float(present[-1])
    return spread(low, high)


def spread(low: float, high: float) -> Identity:
    """A flat picture is seen against zero: black when it is zero or less, else white."""
    return Identity(low, high) if low < high else Identity(min(low, 0.0), max(high, 0.0))
