"""Forecast bands of a slope law from its bootstrap: what the parameters, the run itself and its points may yet do.

A draw takes the slope that a replicate gives the target's size, adds what runs differ by, and puts the whole beside the
points as a run of the training table has scattered, early points and late ones together, since it is from the early
ones that the level is taken.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from rlscale.curve_points import Curves
from rlscale.fitting.loss_spaces import LN_10, LinearSpace
from rlscale.fitting.projection import SlopeFit
from rlscale.fitting.slope_fits import LevelledSlopes
from rlscale.forecasts.misfit_bands import Bands, Outlook, misfit_band
from rlscale.laws import Array, Fitted
from rlscale.uncertainty.bootstrap import Draws, bootstrap
from rlscale.uncertainty.noise import Noise, measure_noise, odds

_DRAWS = 200
_REPEATS = 10  # draws of the run and of its points for each replicate of the parameters


def forecast_band(fitted: Fitted, curves: Curves, outlook: Outlook, levels: Sequence[float]) -> Bands | None:
    """Return bands from the bootstrap where the law has one, and from the misfit of its curves otherwise."""
    if not isinstance(fitted, LevelledSlopes) or fitted.fit is None or outlook.seen.x.size == 0:
        return misfit_band(fitted, curves, outlook, levels)
    noise, draws = _replicates(fitted.fit)
    generator = np.random.default_rng(0)
    seen, ahead = np.log10(outlook.seen.x), np.log10(outlook.x)
    slopes = np.repeat(_slope_errors(fitted, fitted.fit, draws, outlook.target.params), _REPEATS)
    slopes = slopes + np.repeat(draws.run_sd, _REPEATS) * generator.standard_normal(slopes.size)
    scatter = _scatter(fitted.fit, noise, seen.size + ahead.size, slopes.size, generator)
    errors = scatter * np.sqrt(odds(np.concatenate([outlook.seen.loss, outlook.predicted])))
    level = errors[:, : seen.size].mean(axis=1, keepdims=True)
    change = errors[:, seen.size :] - level - slopes[:, None] * (ahead - seen.mean())
    bands = {}
    for share in levels:
        ends = np.quantile(change, [(1 - share) / 2, (1 + share) / 2], axis=0)
        low, high = np.minimum(outlook.predicted * 10.0**ends, 1.0)
        bands[share] = (low, high)
    return bands


@lru_cache(maxsize=8)  # one fit is asked for the bands of several curves and protocols
def _replicates(fit: SlopeFit) -> tuple[Noise, Draws]:
    noise = measure_noise(fit)
    return noise, bootstrap(fit, noise, draws=_DRAWS, seed=0)


def _slope_errors(fitted: LevelledSlopes, fit: SlopeFit, draws: Draws, params: int) -> Array:
    """Return, by replicate, how far its slope of a size is from the fitted one."""
    if fitted.law == "kept_slope":
        sizes = fitted.curves.sizes
        nearest = int(np.abs(np.log(sizes / params)).argmin())
        return np.asarray(draws.slopes[:, nearest] - fitted.slopes[nearest])
    size = np.array([float(params)])
    slopes = draws.scale * fit.law.shape(size, draws.shape[:, None])[0][:, 0]
    return np.asarray(slopes - fitted.slope(float(params)))


def _scatter(fit: SlopeFit, noise: Noise, points: int, draws: int, generator: np.random.Generator) -> Array:
    """Return stretches of the runs' residuals of log10 L, over the root of their odds, shape (draws, points).

    Each is one run's, begun anywhere and continued at its start.
    """
    apart = fit.space.apart()
    rest = apart.residuals(noise.slopes)
    curves, in_linear = apart.curves, isinstance(apart, LinearSpace)
    value = rest.observed - rest.residual
    loss = np.clip(value if in_linear else 10.0**value, 1e-6, 1.0)
    log_residual = rest.residual / (LN_10 * loss) if in_linear else rest.residual
    left = np.maximum(curves.counts - 2, 1) / curves.counts  # of a residual's variance, beside a level and a slope
    standard = log_residual / np.sqrt(odds(loss) * curves.spread(left))
    run = generator.integers(curves.counts.size, size=draws)
    first = generator.integers(0, 2**31, size=draws)
    place = (first[:, None] + np.arange(points)) % curves.counts[run][:, None]
    return np.asarray(standard[curves.start[run][:, None] + place])
