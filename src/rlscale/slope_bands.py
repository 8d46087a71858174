"""Forecast bands of a slope law from its bootstrap: what the parameters, the run itself and its points may yet do.

A draw takes the slope that a replicate gives the target's size, adds what runs differ by, and puts the whole beside the
points as a run of the training table has scattered, early points and late ones together, since it is from the early
ones that the level is taken.
"""

from collections.abc import Sequence

import numpy as np

from rlscale.bootstrap import Draws
from rlscale.curve_points import Curves
from rlscale.laws import Array, Fitted
from rlscale.loss_spaces import LN_10, LinearSpace
from rlscale.misfit_bands import Bands, Outlook, misfit_band
from rlscale.slope_fits import LevelledSlopes

_REPEATS = 10  # draws of the run and of its points for each replicate of the parameters


def forecast_band(fitted: Fitted, curves: Curves, outlook: Outlook, levels: Sequence[float]) -> Bands | None:
    """Return bands from the bootstrap where the law has one, and from the misfit of its curves otherwise."""
    if not isinstance(fitted, LevelledSlopes) or fitted.draws is None or outlook.seen.x.size == 0:
        return misfit_band(fitted, curves, outlook, levels)
    generator = np.random.default_rng(0)
    seen, ahead = np.log10(outlook.seen.x), np.log10(outlook.x)
    slopes = np.repeat(_slope_errors(fitted, fitted.draws, outlook.target.params), _REPEATS)
    slopes = slopes + np.repeat(fitted.draws.run_sd, _REPEATS) * generator.standard_normal(slopes.size)
    scatter = _scatter(fitted, seen.size + ahead.size, slopes.size, generator)
    noise = scatter * np.sqrt(_odds(np.concatenate([outlook.seen.loss, outlook.predicted])))
    level = noise[:, : seen.size].mean(axis=1, keepdims=True)
    change = noise[:, seen.size :] - level - slopes[:, None] * (ahead - seen.mean())
    bands = {}
    for share in levels:
        ends = np.quantile(change, [(1 - share) / 2, (1 + share) / 2], axis=0)
        low, high = np.minimum(outlook.predicted * 10.0**ends, 1.0)
        bands[share] = (low, high)
    return bands


def _slope_errors(fitted: LevelledSlopes, draws: Draws, params: int) -> Array:
    """Return, by replicate, how far its slope of a size is from the fitted one."""
    if fitted.fit is None:
        raise TypeError("free slopes have no replicates")
    if fitted.law == "kept_slope":
        sizes = fitted.curves.sizes
        nearest = int(np.abs(np.log(sizes / params)).argmin())
        return np.asarray(draws.slopes[:, nearest] - fitted.slopes[nearest])
    size = np.array([float(params)])
    slopes = draws.scale * fitted.fit.law.shape(size, draws.shape[:, None])[0][:, 0]
    return np.asarray(slopes - fitted.slope(float(params)))


def _scatter(fitted: LevelledSlopes, points: int, draws: int, generator: np.random.Generator) -> Array:
    """Return stretches of the runs' residuals of log10 L, over the root of their odds, shape (draws, points).

    Each is one run's, begun anywhere and continued at its start.
    """
    if fitted.fit is None or fitted.noise is None:
        raise TypeError("free slopes have no noise")
    apart = fitted.fit.space.apart()
    rest = apart.residuals(fitted.noise.slopes)
    curves, in_linear = fitted.curves, isinstance(apart, LinearSpace)
    value = rest.observed - rest.residual
    loss = np.clip(value if in_linear else 10.0**value, 1e-6, 1.0)
    log_residual = fitted.noise.residual / (LN_10 * loss) if in_linear else fitted.noise.residual
    standard = log_residual / np.sqrt(_odds(loss))
    run = generator.integers(curves.counts.size, size=draws)
    first = generator.integers(0, 2**31, size=draws)
    place = (first[:, None] + np.arange(points)) % curves.counts[run][:, None]
    return np.asarray(standard[curves.start[run][:, None] + place])


def _odds(loss: Array) -> Array:
    """Return (1 - L) / L, to which the variance of log10 of a mean of zeros and ones is proportional."""
    kept = np.clip(loss, 1e-3, 1.0 - 1e-3)
    return np.asarray((1.0 - kept) / kept)
