"""How well a fitted law meets its points: sums of squares and R², pooled and within sizes.

Pooled R² mostly says that sizes differ in level, which a free level per curve gives for nothing; the one within a size,
around the mean of each curve, says how much of the curves' fall the law explains.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlscale.curve_points import Curves
from rlscale.laws import Array

NOT_SETTLED = "the least squares is not settled to rounding: the sum of squares hardly depends on some parameter"
"""The note on a fit whose search did not end at rounding."""


@dataclass(frozen=True)
class Goodness:
    """Goodness of fit; the sums of squares are weighted as the fit was.

    Attributes:
        points: points used.
        sse: sum of squared residuals in the space that was fitted.
        r2_pooled: 1 - sse / (sum of squares around the mean of all points); None where the points are all equal.
        r2_within: the same by size, around the mean of each of its curves.
    """

    points: int
    sse: float
    r2_pooled: float | None
    r2_within: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


def goodness(curves: Curves, residual: Array, observed: Array) -> Goodness:
    """Measure a fit from its residuals and the observed values, both by point and in the space that was fitted."""
    weight = curves.weight
    within = observed - curves.spread(curves.weighted_mean(observed))
    around = observed - np.average(observed, weights=weight)
    # Values that are all equal differ from their mean by rounding only.
    nothing = (1e-14 * np.abs(observed).max()) ** 2 * float(weight.sum())
    squares, spread = (curves.by_size(curves.by_curve(weight * values**2)) for values in (residual, within))
    sse, total = float(squares.sum()), float(np.sum(weight * around**2))
    return Goodness(
        points=int(observed.size),
        sse=sse,
        r2_pooled=1.0 - sse / total if total > nothing else None,
        r2_within=by_size(curves, 1.0 - squares / np.where(spread > nothing, spread, np.nan)),
    )


def by_size(curves: Curves, values: Array) -> dict[str, float | None]:
    """Return values by size, None where there is none."""
    return {
        str(size): None if np.isnan(value) else value
        for size, value in zip(curves.sizes.tolist(), values.tolist(), strict=True)
    }
