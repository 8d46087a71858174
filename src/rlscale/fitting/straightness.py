"""Whether curves are straight on logarithmic axes, as a power law must be: local slopes beside the R² of a line.

R² forgives much: a curve whose local slope doubles from end to end still has an R² of .99. So slopes of the first, the
middle and the last third of each curve are given with it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlscale.curve_points import Curves
from rlscale.fitting.goodness import by_size
from rlscale.laws import Array

_THIRDS = 3
_FEWEST = 3
"""Points below which a line's R² says nothing."""


@dataclass(frozen=True)
class Straightness:
    """How straight the curves of each size are, in log10 L against log10 X whatever space the law was fitted in.

    Attributes:
        k_local: slopes of least squares in the first, middle and last third of a curve's range of log10 X, mean over
            the size's curves; None where a curve has no two different X there.
        r2_line: R² of each curve's own line of least squares, median over the size's curves; None with a curve of
            fewer than three points or of a loss that never changes.
    """

    k_local: dict[str, list[float | None]]
    r2_line: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


def straightness(curves: Curves) -> Straightness:
    """Measure how straight curves are, from each curve's own lines of least squares."""
    least, most = (curves.spread(end.reduceat(curves.log10_x, curves.start)) for end in (np.minimum, np.maximum))
    with np.errstate(invalid="ignore", divide="ignore"):
        place = (curves.log10_x - least) / (most - least)
        _, r2 = _lines(curves, np.ones(place.size, dtype=np.bool_))
        thirds = [
            _lines(curves, (place >= part / _THIRDS) & (place <= (part + 1) / _THIRDS))[0] for part in range(_THIRDS)
        ]
    each = [by_size(curves, _over_curves(curves, slopes, np.mean)) for slopes in thirds]
    return Straightness(
        k_local={size: [slopes[size] for slopes in each] for size in each[0]},
        r2_line=by_size(curves, _over_curves(curves, np.where(curves.counts < _FEWEST, np.nan, r2), np.median)),
    )


def _lines(curves: Curves, used: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the slope k and the R² of a line of least squares through the used points of each curve.

    Both are NaN where the used X, or for R² the losses, are all equal.
    """
    count = curves.by_curve(used.astype(np.float64))

    def centred(values: Array) -> Array:
        return np.where(used, values - curves.spread(curves.by_curve(np.where(used, values, 0.0)) / count), 0.0)

    log10_loss = np.log10(curves.loss)
    # Less the first of its curve: a loss that stays the same is then exactly zero.
    x, y = centred(curves.log10_x), centred(log10_loss - curves.spread(log10_loss[curves.start]))
    xx, xy, yy = (curves.by_curve(product) for product in (x * x, x * y, y * y))
    return -xy / xx, xy * xy / (xx * yy)


def _over_curves(curves: Curves, values: Array, average: Callable[[Array], Any]) -> Array:
    """Return an average by size of values by curve."""
    return np.array([average(values[curves.size == index]) for index in range(curves.sizes.size)])
