"""Least squares of a slope law with the levels projected out.

The law is linear in every curve's level (10^E for linear loss, E for log loss), so the best levels follow from the
slopes and the sum of squares is a function of one slope per size, with exact derivatives: variable projection (Golub
and Pereyra, SIAM J. Numer. Anal. 10, 1973). What is left to search are the law's two parameters; nothing is random.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from rlscale.curve_points import Curves
from rlscale.laws import Array, Law, Parameter
from rlscale.newton import Minimum, minimise

_SCAN = 241  # values of the shape parameter in the scan: its bounds lie six decades and more apart
_FLAT = 1e-13  # slopes below this are zero to rounding


class Squares(NamedTuple):
    """Sums of squares by size at given slopes, with derivatives by the slope; ``curvature`` is Gauss-Newton's."""

    value: Array
    first: Array
    second: Array
    curvature: Array


class LossSpace(Protocol):
    """The sum of squares as a function of the slopes, levels projected out, and the residuals behind it."""

    def squares(self, slopes: Array) -> Squares:
        """Return the sums of squares at one slope per size."""
        ...

    def guess(self) -> Array:
        """Return slopes near the least of each size's sum of squares."""
        ...

    def residuals(self, slopes: Array) -> tuple[Array, Array, Array]:
        """Return residuals and observed values by point, and E at the curve's mean log10 X by curve."""
        ...


class LogSpace:
    """Residuals of log10 L: the sum of squares is a parabola in each slope, known from its least and its curvature."""

    def __init__(self, curves: Curves) -> None:
        self._curves = curves
        self._log10_loss = np.log10(curves.loss)
        self._mean = curves.by_curve(self._log10_loss) / curves.counts
        u, centred = curves.log10_x, self._log10_loss - np.repeat(self._mean, curves.counts)
        self._uu, uy = curves.by_size(curves.by_curve(np.stack([u * u, u * centred])))
        self._best: Array = -uy / self._uu
        residual = self.residuals(self._best)[0]
        self._least = curves.by_size(curves.by_curve(residual * residual))

    def squares(self, slopes: Array) -> Squares:
        """Return the sums of squares: a parabola about each size's least-squares slope."""
        off = slopes - self._best
        curvature = 2 * self._uu
        return Squares(self._least + self._uu * off * off, curvature * off, curvature, curvature)

    def guess(self) -> Array:
        """Return the least-squares slopes, which are exact here."""
        return self._best

    def residuals(self, slopes: Array) -> tuple[Array, Array, Array]:
        """Return the residuals of log10 L, log10 L, and E at the curve's mean log10 X."""
        slope = np.repeat(slopes[self._curves.size], self._curves.counts)
        fitted = np.repeat(self._mean, self._curves.counts) - slope * self._curves.log10_x
        return self._log10_loss - fitted, self._log10_loss, self._mean


class LinearSpace:
    """Residuals of L itself, every point with the same weight: the literature's fit."""

    def __init__(self, curves: Curves) -> None:
        self._curves = curves
        self._b = np.log(10.0) * curves.log10_x

    def _fitted(self, slopes: Array) -> tuple[Array, Array]:
        """Return the fitted loss by point, and E at the curve's mean log10 X by curve."""
        curves = self._curves
        exponent = -np.repeat(slopes[curves.size], curves.counts) * self._b
        top = np.maximum.reduceat(exponent, curves.start)  # taken out, so that no slope overflows
        decay = np.exp(exponent - np.repeat(top, curves.counts))
        products, squares = curves.by_curve(np.stack([decay * curves.loss, decay * decay]))
        level = products / squares
        return np.repeat(level, curves.counts) * decay, np.log10(level) - top / np.log(10.0)

    def squares(self, slopes: Array) -> Squares:
        """Return Σ (L - A e^(-k b))² by size with the best A by curve, b = ln X less its mean over the curve."""
        curves, b = self._curves, self._b
        fitted, _ = self._fitted(slopes)
        residual = curves.loss - fitted
        bw, rb = b * fitted, residual * b
        rows = np.stack([residual * residual, fitted * fitted, bw * fitted, bw * bw, rb * fitted, rb * bw])
        rr, ww, bww, bbww, rbw, rbbw = curves.by_curve(rows)
        level_rate = (bww - rbw) / ww  # d ln A / dk
        second = bbww - rbbw + level_rate * (rbw - bww)
        sums = np.stack([rr, 2 * rbw, 2 * second, 2 * (bbww - bww * bww / ww)])
        return Squares(*curves.by_size(sums))

    def guess(self) -> Array:
        """Return the slopes of log10 L weighted by L², which approximates residuals of L."""
        curves = self._curves
        weight, log_loss, b = curves.loss**2, np.log(curves.loss), self._b
        rows = np.stack([weight, weight * b, weight * log_loss, weight * b * b, weight * b * log_loss])
        w, wb, wy, wbb, wby = curves.by_curve(rows)
        covariance, variance = curves.by_size(np.stack([wby - wb * wy / w, wbb - wb * wb / w]))
        return np.asarray(-covariance / variance)

    def residuals(self, slopes: Array) -> tuple[Array, Array, Array]:
        """Return the residuals of L, L, and E at the curve's mean log10 X."""
        fitted, level = self._fitted(slopes)
        return self._curves.loss - fitted, self._curves.loss, level


def free_slopes(space: LossSpace) -> Minimum:
    """Fit each size by itself: the sizes share nothing, so the Hessian is diagonal."""

    def objective(slopes: Array) -> tuple[float, Array, Array]:
        squares = space.squares(slopes)
        return float(squares.value.sum()), squares.first, np.diag(squares.second)

    guess = space.guess()
    return minimise(objective, guess, np.full_like(guess, -np.inf), np.full_like(guess, np.inf))


@dataclass(frozen=True)
class BestFit:
    """A law at its least squares.

    Attributes:
        parameters: the scale and the shape parameter, with their bounds.
        scale: value of the scale.
        log_shape: natural logarithm of the shape parameter; without effect where the scale is 0.
        slopes: slope by size.
        converged: whether the search settled to rounding.
    """

    parameters: tuple[Parameter, Parameter]
    scale: float
    log_shape: float
    slopes: Array
    converged: bool


def fit_law(law: Law, curves: Curves, space: LossSpace, free_slopes: Array) -> BestFit:
    """Find the scale and the shape parameter of least squares within their bounds.

    Each size's sum of squares is nearly a parabola about its free slope (exactly one for log loss), which makes a scan
    over the shape parameter closed-form; Newton's method on the true sum of squares finishes from the scan's minima.
    For log loss that is the global minimum. For linear loss with noise as large as the loss the parabolas may mislead,
    so the best point of a coarse grid is a start as well, unless it is far too high to lead lower.
    """
    params = curves.sizes.astype(np.float64)
    parameters = law.parameters(curves.sizes.tolist())
    lower = np.array([parameters[0].lower, np.log(parameters[1].lower)])
    upper = np.array([parameters[0].upper, np.log(parameters[1].upper)])

    def objective(point: Array) -> tuple[float, Array, Array]:
        scale = point[0]
        share, first, second = law.shape(params, point[1])
        squares = space.squares(scale * share)
        rate, bend = squares.first, squares.second
        gradient = np.array([np.sum(rate * share), scale * np.sum(rate * first)])
        mixed = np.sum(bend * scale * share * first + rate * first)
        by_shape = scale * np.sum(bend * scale * first**2 + rate * second)
        hessian = np.array([[np.sum(bend * share**2), mixed], [mixed, by_shape]])
        return float(squares.value.sum()), gradient, hessian

    starts = _scan(law, params, free_slopes, space.squares(free_slopes).curvature, bounds=(lower, upper))
    best = min((minimise(objective, start, lower, upper) for start in starts), key=lambda minimum: minimum.value)
    grid = [
        np.array([steepest / law.shape(params, log_shape)[0].max(), log_shape])
        for log_shape in lower[1] + np.array([0.3, 0.5, 0.7]) * (upper[1] - lower[1])
        for steepest in (0.03, 0.3, 2.0)  # slope of the largest size
    ]
    value, start = min((objective(point)[0], tuple(point)) for point in grid)
    if value < 2 * best.value:
        best = min(best, minimise(objective, np.array(start), lower, upper), key=lambda minimum: minimum.value)
    scale, log_shape = (float(value) for value in best.point)
    slopes = scale * law.shape(params, log_shape)[0]
    if slopes.max() < _FLAT:
        scale, slopes = 0.0, np.zeros_like(slopes)
    return BestFit(parameters, scale, log_shape, slopes, best.converged)


def _scan(law: Law, params: Array, slopes: Array, curvature: Array, *, bounds: tuple[Array, Array]) -> list[Array]:
    """Return starts: the lowest local minima, over the shape parameter, of parabolas about the free slopes."""
    lower, upper = bounds
    log_shapes = np.linspace(lower[1], upper[1], _SCAN)
    share = law.shape(params, log_shapes[:, None])[0]
    scale = np.clip((share * curvature) @ slopes / ((share * share) @ curvature), lower[0], upper[0])
    value = (scale[:, None] * share - slopes) ** 2 @ curvature
    padded = np.concatenate([[np.inf], value, [np.inf]])
    minima = np.flatnonzero((value < padded[:-2]) & (value <= padded[2:]))
    lowest = minima[np.argsort(value[minima], kind="stable")][:4]
    return [np.array([scale[index], log_shapes[index]]) for index in lowest]
