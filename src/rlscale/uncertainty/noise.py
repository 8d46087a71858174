"""How far the slopes of runs scatter, and why: the noise that intervals are made of.

The steps of a run are correlated, and runs of one size differ by more than their steps say (another base model, another
seed, a law that is not quite right). So the noise of a run's slope has two parts: one within the run, from the sums of
its residuals over blocks of consecutive steps, and one between runs, from the scatter of the runs' own slopes around
the law, of which as many degrees of freedom are left as there are runs beyond the law's two parameters.
"""

from dataclasses import dataclass

import numpy as np

from rlscale.curve_points import Curves, Indices
from rlscale.fitting.loss_spaces import LogSpace, LossSpace, Residuals
from rlscale.fitting.projection import SlopeFit, free_slopes
from rlscale.laws import Array

_VARIANCES = 2000  # of a table that inverts a sum
_LEAST = 1e-3  # a loss this near to 0 or 1 counts as this far from it: its variance would be nil
_MOST = 10.0  # largest correction of a variance: runs of a handful of points would ask for more
SHARED = 2  # parameters that the runs share: the scale and the shape of a slope law


@dataclass(frozen=True)
class Noise:
    """The noise around a slope law.

    Attributes:
        slopes: slope of each run by itself, shape (runs,).
        within: variance of that slope from the steps of the run, shape (runs,).
        run_sd: standard deviation of the runs' slopes around the law beyond that; 0 where the steps explain it all.
        freedom: degrees of freedom behind run_sd; 0 where there is none, and run_sd is not known.
        scatter: squared distance of each run's slope from the law, shape (runs,).
        residual: residuals by point around each run's own line, scaled up for what its fit took away.
        block: length of a block of consecutive steps, by run.
    """

    slopes: Array
    within: Array
    run_sd: float
    freedom: int
    scatter: Array
    residual: Array
    block: Indices

    def slope_errors(self, run_sd: Array, generator: np.random.Generator) -> Array:
        """Return how far the slopes of runs are off where they scatter by ``run_sd`` (draws,), shape (draws, runs)."""
        return np.asarray(run_sd[:, None] * generator.standard_normal((run_sd.size, self.slopes.size)))

    def run_sd_draws(self, draws: int, generator: np.random.Generator) -> Array:
        """Return standard deviations between runs that the scatter may have come from, shape (draws,).

        Each solves Σ scatter / (within + sd²) = q for a draw q of chi² with the degrees of freedom: the distribution
        whose quantiles are the Q-profile interval (Viechtbauer, Statistics in Medicine 26, 2007).
        """
        if self.freedom == 0:
            return np.zeros(draws)
        quantiles = generator.chisquare(self.freedom, draws)
        largest = self.scatter.sum() / np.maximum(quantiles.min(), 1e-300)
        variance = np.geomspace(1e-9, 1.0, _VARIANCES) * largest
        if np.all(self.within > 0):
            variance = np.concatenate([[0.0], variance])
        total = _sum_of_ratios(self.scatter, self.within, variance)
        # Σ falls with the variance; a draw above the first Σ means the least variance of the table.
        return np.asarray(np.sqrt(np.interp(-quantiles, -total, variance)))


def measure_noise(fit: SlopeFit) -> Noise:
    """Measure the noise around a fitted slope law."""
    apart = fit.space.apart()
    slopes = free_slopes(apart).point[0]
    rest = apart.residuals(slopes)
    curves = apart.curves
    # A block as long as the cube root of the run: the usual rate for a variance of dependent data (Künsch 1989).
    block = np.maximum(1, np.ceil(np.cbrt(curves.counts) - 1e-9)).astype(np.intp)
    within, scale = _within(curves, rest, _binomial(rest, apart), block)
    law = fit.best.slopes[0][fit.space.curves.size]
    scatter, freedom = (slopes - law) ** 2, max(slopes.size - SHARED, 0)
    excess = _excess_variance(scatter, within, freedom) if freedom else 0.0
    return Noise(slopes, within, float(np.sqrt(excess)), freedom, scatter, rest.residual * curves.spread(scale), block)


def _within(curves: Curves, rest: Residuals, spread: Array, block: Indices) -> tuple[Array, Array]:
    """Return by run the variance of its slope, and the factor that undoes what the fit took from the residuals.

    The variance is that of sums over overlapping blocks. The factor makes it unbiased for independent residuals whose
    variances are in the ratios ``spread``: what their projection off the fitted level and slope takes is known.
    """
    variance, factor = np.zeros(block.size), np.ones(block.size)
    root = np.sqrt(curves.weight)
    error, slope, level = (root * values for values in (rest.residual, rest.gradient, rest.direction))
    spread = curves.weight * spread
    for run, (start, count) in enumerate(zip(curves.start, curves.counts, strict=True)):
        own, length = slice(start, start + count), int(block[run])
        e, g, d, v = error[own], slope[own], level[own], spread[own]
        information = g @ g
        if count <= SHARED or information == 0:
            continue
        sums, gg, gd, vgg, vgd = _circular_sums(np.stack([g * e, g * g, g * d, v * g * g, v * g * d]), length)
        on_slope, on_level = gg / information, gd / (d @ d)
        taken = on_slope**2 * (v @ (g * g)) + 2 * on_slope * on_level * (v @ (g * d)) + on_level**2 * (v @ (d * d))
        expected = np.mean(vgg * (1 - 2 * on_slope) - 2 * on_level * vgd + taken) * count / length
        ratio = np.clip(v @ (g * g) / max(expected, 1e-300), 1.0, _MOST)
        variance[run] = ratio * np.mean(sums**2) * count / length / information**2
        factor[run] = np.sqrt(ratio)
    return variance, factor


def _binomial(rest: Residuals, space: LossSpace) -> Array:
    """Return the variance of a point up to a constant, in the space of the residuals: that of a share of right answers.

    It is the largest part of the noise of published curves: their residuals follow it from 0.5B to 72B.
    """
    fitted = rest.observed - rest.residual
    if isinstance(space, LogSpace):
        return odds(10.0 ** np.minimum(fitted, 0.0))
    loss = np.clip(fitted, _LEAST, 1.0 - _LEAST)
    return np.asarray(loss * (1.0 - loss))


def odds(loss: Array) -> Array:
    """Return (1 - L) / L, to which the variance of log10 of a mean of zeros and ones is proportional."""
    kept = np.clip(loss, _LEAST, 1.0 - _LEAST)
    return np.asarray((1.0 - kept) / kept)


def _circular_sums(values: Array, length: int) -> Array:
    """Return sums over every stretch of ``length`` neighbours, the ends joined; the last axis is the points'."""
    around = np.concatenate([values, values[..., : length - 1]], axis=-1)
    total = np.cumsum(np.concatenate([np.zeros((*values.shape[:-1], 1)), around], axis=-1), axis=-1)
    return np.asarray(total[..., length:] - total[..., :-length])


def _excess_variance(squares: Array, within: Array, freedom: int) -> float:
    """Return the variance t with Σ squares / (within + t) = freedom, or 0 (Paule and Mandel 1982)."""
    low, high = 0.0, float(squares.sum()) / freedom
    for _ in range(60):
        middle = 0.5 * (low + high)
        too_small = _sum_of_ratios(squares, within, np.array([middle]))[0] > freedom
        low, high = (middle, high) if too_small else (low, middle)
    return low


def _sum_of_ratios(squares: Array, within: Array, variance: Array) -> Array:
    """Return Σ squares / (within + variance) over the runs, by variance; 0 / 0 counts as 0."""
    total = within + variance[:, None]
    ratio = np.divide(squares, total, out=np.zeros_like(total), where=(total > 0) & (squares > 0))
    return np.asarray(ratio.sum(axis=-1))
