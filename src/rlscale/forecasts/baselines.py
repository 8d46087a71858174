"""Naive forecasts that need no law: what any law must beat.

- ``last_value``: the last seen point carried on; before any point, the step-0 score.
- ``last_slope``: the line in log-log through the last third of the seen points, at least three.
- ``nearest_size``: for a size without a seen point, the line of the training size that is nearest in log N (the smaller
  of two as near): its least squares in log-log with one slope and the mean level of its curves, read at the same X.

A forecast above 1, the largest loss there is, is taken as 1.
"""

import numpy as np

from rlscale.curve_points import Curves
from rlscale.forecasts.protocols import Sealed
from rlscale.laws import Array


def naive_forecasts(sealed: Sealed, curves: Curves) -> dict[str, Array]:
    """Return the naive forecasts of a sealed curve's hidden points, by name; those that apply, each of shape (n,).

    Args:
        sealed: the curve; of its hidden points only X is used.
        curves: the training curves, which are used where the curve has no seen point.
    """
    x = sealed.hidden.x
    forecasts = {}
    if sealed.seen.loss.size:
        forecasts["last_value"] = np.full(x.size, sealed.seen.loss[-1])
        tail = max(3, -(-sealed.seen.loss.size // 3))
        u, y = np.log10(sealed.seen.x[-tail:]), np.log10(sealed.seen.loss[-tail:])
        if np.ptp(u) > 0:
            slope = _slope(u, y)
            forecasts["last_slope"] = _loss(y.mean() + slope * (np.log10(x) - u.mean()))
    else:
        if sealed.target.base_loss is not None:
            forecasts["last_value"] = np.full(x.size, sealed.target.base_loss)
        forecasts["nearest_size"] = _nearest_size(sealed.target.params, x, curves)
    return forecasts


def _slope(u: Array, y: Array) -> float:
    centred = u - u.mean()
    return float(centred @ y / (centred @ centred))


def _nearest_size(params: int, x: Array, curves: Curves) -> Array:
    distance = np.abs(np.log(curves.sizes / params))
    own = curves.params == curves.sizes[np.argmin(distance)]
    points = curves.spread(own)
    u, y = curves.log10_x, np.log10(curves.loss)
    mean = curves.by_curve(y) / curves.counts
    slope = (u[points] @ y[points]) / (u[points] @ u[points])
    lines = mean[own] + slope * (np.log10(x)[:, None] - curves.mean_log10_x[own])
    return _loss(lines.mean(axis=1))


def _loss(log10_loss: Array) -> Array:
    return np.asarray(10 ** np.clip(log10_loss, -300.0, 0.0))
