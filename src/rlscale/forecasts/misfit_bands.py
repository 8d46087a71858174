"""Forecast bands from how far the fitted curves lie off their law.

Three things move a new curve off its forecast, all in log10 L: its level and its slope differ from the law's as those
of the fitted curves do (random effects of a curve, by the method of moments), and its points scatter. A score is a mean
of zeros and ones, so the scatter of log10 L is taken in proportion to sqrt((1 - L) / L); that of points already seen
makes the level uncertain. The law's parameters are taken as exact: their own uncertainty is not in these bands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from rlscale.curve_points import Curves
from rlscale.forecasts.protocols import Series
from rlscale.laws import Array, Fitted, Target

BAND_LEVELS = (0.5, 0.8, 0.9)


@dataclass(frozen=True)
class Outlook:
    """A forecast that wants a band.

    Attributes:
        target: what the law was told of the curve.
        seen: its points that were seen; may be none.
        anchored: whether these set the forecast's level; it is the law's own otherwise.
        x: X of the points to forecast (FLOPs or samples), shape (n,).
        predicted: their forecast test loss, shape (n,).
    """

    target: Target
    seen: Series
    anchored: bool
    x: Array
    predicted: Array


Bands = dict[float, tuple[Array, Array]]
"""Lower and upper test loss, each of shape (n,), by the share of new points that a band is to hold."""

Band = Callable[[Fitted, Curves, Outlook, Sequence[float]], Bands | None]
"""From a fitted law, the curves it was fitted on and a forecast to its bands; None where there is no basis for one."""


class _Scatter(NamedTuple):
    """Variances of log10 L about a law, and what they rest on.

    Attributes:
        curve: covariance of a curve's level, at its mean log10 X, and its slope, shape (2, 2).
        noise: variance of a point, over (1 - L) / L.
        correlation: of the noise of neighbouring points, at least 0.
        curve_freedom: degrees of freedom of ``curve``.
        point_freedom: degrees of freedom of ``noise``.
    """

    curve: Array
    noise: float
    correlation: float
    curve_freedom: int
    point_freedom: int


def misfit_band(fitted: Fitted, curves: Curves, outlook: Outlook, levels: Sequence[float]) -> Bands | None:
    """Return bands from the misfit of the training curves, by Student's t with Welch and Satterthwaite's freedom.

    Args:
        fitted: a law whose JSON has ``degrees_of_freedom``, the number of its free parameters with the levels.
        curves: what it was fitted on.
        outlook: the forecast.
        levels: shares of new points that the bands are to hold, between 0 and 1.

    Returns:
        None where the law has as many parameters as there are curves, levels aside, or no curve has three points.
    """
    scatter = _scatter(fitted, curves)
    if scatter is None:
        return None
    log10_x = np.log10(outlook.x)
    point = scatter.noise * _odds(outlook.predicted)
    centre = np.log10(outlook.seen.x if outlook.seen.x.size else outlook.x).mean()
    design = np.stack([np.full_like(log10_x, not outlook.anchored), log10_x - centre])
    curve = np.sum(design * (scatter.curve @ design), axis=0)
    if outlook.anchored:
        rho = scatter.correlation
        independent = max(1.0, outlook.seen.x.size * (1 - rho) / (1 + rho))  # of a first-order autoregression
        point = point + scatter.noise * _odds(outlook.seen.loss).mean() / independent
    variance = curve + point
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = variance**2 / (curve**2 / scatter.curve_freedom + point**2 / scatter.point_freedom)
    freedom = np.where(variance > 0, freedom, 1.0)
    sd = np.sqrt(variance)
    halves = {share: stdtrit(freedom, (1 + share) / 2) * sd for share in levels}
    return {
        share: (outlook.predicted * 10**-half, np.minimum(outlook.predicted * 10**half, 1.0))
        for share, half in halves.items()
    }


def fitted_loss(fitted: Fitted, curves: Curves) -> Array:
    """Return what a law says of the points it was fitted on, in their order.

    Raises:
        UserError: the law says nothing about one of the curves.
    """
    x = 10 ** (curves.log10_x + curves.spread(curves.mean_log10_x))
    parts = np.split(x, curves.start[1:])
    known = [None if np.isnan(base) else float(base) for base in curves.base_loss]
    targets = [
        Target(int(curves.sizes[size]), base, key)
        for size, base, key in zip(curves.size, known, curves.keys, strict=True)
    ]
    return np.concatenate([fitted.predict(target, part) for target, part in zip(targets, parts, strict=True)])


def _scatter(fitted: Fitted, curves: Curves) -> _Scatter | None:
    count = len(curves.keys)
    levels = 0 if fitted.levelled(Target(int(curves.sizes[0]), 0.5)) else count
    curve_freedom = count - (int(fitted.to_json()["degrees_of_freedom"]) - levels)
    long = curves.counts > 2
    point_freedom = int(np.sum(curves.counts[long] - 2))
    if curve_freedom < 1 or point_freedom < 1:
        return None
    predicted = fitted_loss(fitted, curves)
    residual = np.log10(curves.loss) - np.log10(predicted)
    odds, u = _odds(predicted), curves.log10_x
    spread = np.maximum(curves.by_curve(u * u), np.finfo(float).tiny)
    level = curves.by_curve(residual) / curves.counts
    slope = curves.by_curve(u * residual) / spread
    rest = residual - curves.spread(level) - curves.spread(slope) * u
    noise = _noise(rest, odds, curves, long)
    effects = np.stack([level, slope])
    weights = np.stack([1.0 / curves.spread(curves.counts), u / curves.spread(spread)])
    by_noise = noise * (weights * odds) @ weights.T / count
    return _Scatter(
        curve=_positive(effects @ effects.T / curve_freedom - by_noise),
        noise=noise,
        correlation=_correlation(rest, curves),
        curve_freedom=curve_freedom,
        point_freedom=point_freedom,
    )


def _odds(loss: Array) -> Array:
    """Return (1 - L) / L, of which the variance of log10 L of a score is a multiple."""
    return np.asarray(np.maximum(1.0 - loss, 0.0) / loss)


def _noise(rest: Array, odds: Array, curves: Curves, long: npt.NDArray[np.bool_]) -> float:
    """Return the variance of a point over its odds, from the curves whose level and slope leave something over."""
    own = curves.spread(long)
    freedom = np.sum(curves.counts[long] - 2)
    expected = odds[own].mean() * freedom
    return float(np.sum(rest[own] ** 2) / expected) if expected > 0 else 0.0


def _correlation(rest: Array, curves: Curves) -> float:
    """Return the correlation of neighbouring points within the curves, between 0 and 0.95."""
    neighbours = np.delete(rest[1:] * rest[:-1], curves.start[1:] - 1)
    squares = float(np.sum(rest * rest))
    return float(np.clip(np.sum(neighbours) / squares, 0.0, 0.95)) if squares > 0 else 0.0


def _positive(covariance: Array) -> Array:
    """Return the nearest covariance: what the points' noise explains by itself leaves no variance."""
    variance, directions = np.linalg.eigh(covariance)
    return np.asarray((directions * np.maximum(variance, 0.0)) @ directions.T)
