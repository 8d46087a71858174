"""The sum of squares of a slope law as a function of its slopes, with the levels projected out.

The law is linear in every curve's level (10^E for linear loss, E for log loss), so the best levels follow from the
slopes and the sum of squares is a function of one slope per size, with exact derivatives: variable projection (Golub
and Pereyra, SIAM J. Numer. Anal. 10, 1973). A space holds one table of losses or many alike, replicates of a bootstrap.
"""

from dataclasses import replace
from typing import Literal, NamedTuple, Protocol

import numpy as np

from rlscale.curve_points import Curves
from rlscale.fitting.newton import Rows
from rlscale.laws import Array

Loss = Literal["linear", "log", "huber"]
"""The space of the residuals: L, log10 L, or log10 L with Huber's loss."""

LN_10 = np.log(10.0)
_REWEIGHTINGS = 100


class Squares(NamedTuple):
    """Sums of squares by size at given slopes, with derivatives by the slope; ``curvature`` is Gauss-Newton's.

    Each has shape (b, sizes).
    """

    value: Array
    first: Array
    second: Array
    curvature: Array


class Residuals(NamedTuple):
    """What is left of one table of losses at given slopes.

    Attributes:
        residual: observed less fitted, in the space of the residuals, by point.
        observed: the observed values in that space, by point.
        level: E at the curve's mean log10 X, by curve.
        direction: change of the fitted value with the curve's level, by point, up to a factor of the curve.
        gradient: change of the fitted value with the slope, with the level following, by point.
    """

    residual: Array
    observed: Array
    level: Array
    direction: Array
    gradient: Array


class LossSpace(Protocol):
    """Sums of squares of one table or of several with the same X."""

    curves: Curves

    def squares(self, slopes: Array, rows: Rows) -> Squares:
        """Return the sums of squares of the tables ``rows`` (b,) at slopes (b, sizes)."""
        ...

    def residuals(self, slopes: Array) -> Residuals:
        """Return the residuals of the curves' own losses at one slope per size."""
        ...

    def levels(self, slopes: Array) -> Array:
        """Return E at the curve's mean log10 X by table and curve, at one row of slopes (tables, sizes) each.

        NaN where no positive level fits.
        """
        ...

    def replicates(self, values: Array) -> "LossSpace":
        """Return the space of other tables, values (tables, points) in the space of the residuals."""
        ...

    def of(self, curves: Curves) -> "LossSpace":
        """Return the same kind of space of other curves."""
        ...

    def apart(self) -> "LossSpace":
        """Return the space in which every curve has a slope of its own."""
        ...

    def start(self) -> Array:
        """Return slopes (sizes,) near the least of each size's sum of squares."""
        ...


class LogSpace:
    """Residuals of log10 L: the sum of squares is a parabola in each slope, known from its least and its curvature."""

    def __init__(self, curves: Curves, values: Array | None = None) -> None:
        """Sum the curves' log10 losses, or other ``values`` (tables, points)."""
        self.curves = curves
        self._values = np.log10(curves.loss)[None] if values is None else values
        self._mean = curves.weighted_mean(self._values)
        u = curves.log10_x - curves.spread(curves.weighted_mean(curves.log10_x))
        centred = self._values - curves.spread(self._mean)
        weight = curves.weight
        self._curvature: Array = curves.by_size(curves.by_curve(weight * u * u))
        self._best: Array = -curves.by_size(curves.by_curve(weight * u * centred)) / self._curvature
        residual = centred + curves.spread(self._best[:, curves.size]) * u
        self._least = curves.by_size(curves.by_curve(weight * residual * residual))
        self._u = u

    def squares(self, slopes: Array, rows: Rows) -> Squares:
        """Return the sums of squares: a parabola about each size's least-squares slope."""
        tables = rows if len(self._best) > 1 else np.zeros_like(rows)
        off = slopes - self._best[tables]
        curvature = np.broadcast_to(2 * self._curvature, off.shape)
        return Squares(self._least[tables] + self._curvature * off * off, curvature * off, curvature, curvature)

    def residuals(self, slopes: Array) -> Residuals:
        """Return the residuals of log10 L."""
        curves = self.curves
        values, mean = self._values[0], self._mean[0]
        residual = values - curves.spread(mean) + curves.spread(slopes[curves.size]) * self._u
        level = mean + slopes[curves.size] * curves.weighted_mean(curves.log10_x)
        return Residuals(residual, values, level, np.ones_like(values), -self._u)

    def levels(self, slopes: Array) -> Array:
        """Return the levels by table and curve."""
        return np.asarray(self._mean + slopes[:, self.curves.size] * self.curves.weighted_mean(self.curves.log10_x))

    def replicates(self, values: Array) -> "LogSpace":
        """Return the space of other tables of log10 L."""
        return LogSpace(self.curves, values)

    def of(self, curves: Curves) -> "LogSpace":
        """Return the same kind of space of other curves."""
        return LogSpace(curves)

    def apart(self) -> "LogSpace":
        """Return the space in which every curve has a slope of its own."""
        return LogSpace(self.curves.apart(), self._values)

    def start(self) -> Array:
        """Return the least-squares slopes, which are exact here."""
        return np.asarray(self._best[0])


def loss_space(curves: Curves, loss: Loss) -> LossSpace:
    """Return the space of the residuals that a fit is made in.

    Weights are those of squared residuals of L; for log10 L they are carried over by its derivative. ``huber`` is the
    space of log10 L with weights that make least squares Huber's robust estimate of each size's line.
    """
    if loss == "linear":
        return LinearSpace(curves)
    if np.ptp(curves.weight) > 0:
        carried = curves.weight * curves.loss**2
        curves = replace(curves, weight=carried / carried.mean())
    return LogSpace(curves if loss == "log" else _huber(curves))


def _huber(curves: Curves) -> Curves:
    """Reweight points until each size's line is Huber's (Ann. Math. Statist. 35, 1964), tuned to 95 % efficiency."""
    given, reweighted = curves.weight, curves
    for _ in range(_REWEIGHTINGS):
        space = LogSpace(reweighted)
        residual = np.sqrt(given) * space.residuals(space.start()).residual
        scale = 1.4826 * np.median(np.abs(residual))
        if scale <= 1e-14:
            break
        weight = given * np.minimum(1.0, 1.345 * scale / np.maximum(np.abs(residual), 1e-300))
        settled = np.allclose(weight, reweighted.weight, rtol=1e-12, atol=0.0)
        reweighted = replace(reweighted, weight=weight)
        if settled:
            break
    return reweighted


class LinearSpace:
    """Residuals of L itself: the literature's fit."""

    def __init__(self, curves: Curves, values: Array | None = None) -> None:
        """Sum the curves' losses, or other ``values`` (tables, points)."""
        self.curves = curves
        self._values = curves.loss[None] if values is None else values
        self._b = LN_10 * curves.log10_x

    def _fitted(self, slopes: Array, loss: Array) -> tuple[Array, Array]:
        """Return the fitted loss by point, and E at the curve's mean log10 X by curve."""
        curves = self.curves
        exponent = -curves.spread(slopes[:, curves.size]) * self._b
        top = np.maximum.reduceat(exponent, curves.start, axis=-1)  # taken out, so that no slope overflows
        decay = np.exp(exponent - curves.spread(top))
        weighted = curves.weight * decay
        level = curves.by_curve(weighted * loss) / curves.by_curve(weighted * decay)
        decay *= curves.spread(level)
        with np.errstate(divide="ignore", invalid="ignore"):  # a replicate's level may not be positive
            return decay, np.log10(level) - top / LN_10

    def squares(self, slopes: Array, rows: Rows) -> Squares:
        """Return Σ w (L - A e^(-k b))² by size with the best A by curve, b = ln X less its mean over the curve."""
        curves, b = self.curves, self._b
        loss = self._values[rows] if len(self._values) > 1 else self._values
        fitted, _ = self._fitted(slopes, loss)
        residual = loss - fitted
        wr, wf = curves.weight * residual, curves.weight * fitted
        rr, ww = curves.by_curve(wr * residual), curves.by_curve(wf * fitted)
        bwr, bwf = b * wr, b * wf
        bww, bbww = curves.by_curve(bwf * fitted), curves.by_curve(bwf * b * fitted)
        rbw, rbbw = curves.by_curve(bwr * fitted), curves.by_curve(bwr * b * fitted)
        level_rate = (bww - rbw) / ww  # d ln A / dk
        second = bbww - rbbw + level_rate * (rbw - bww)
        sums = (rr, 2 * rbw, 2 * second, 2 * (bbww - bww * bww / ww))
        return Squares(*(curves.by_size(values) for values in sums))

    def residuals(self, slopes: Array) -> Residuals:
        """Return the residuals of L."""
        curves, loss = self.curves, self._values[:1]
        fitted, level = (values[0] for values in self._fitted(slopes[None], loss))
        squared = curves.weight * fitted * fitted
        centre = curves.spread(curves.by_curve(squared * self._b) / curves.by_curve(squared))
        return Residuals(loss[0] - fitted, loss[0], level, fitted, -fitted * (self._b - centre))

    def levels(self, slopes: Array) -> Array:
        """Return the levels by table and curve."""
        return self._fitted(slopes, self._values)[1]

    def replicates(self, values: Array) -> "LinearSpace":
        """Return the space of other tables of L."""
        return LinearSpace(self.curves, values)

    def of(self, curves: Curves) -> "LinearSpace":
        """Return the same kind of space of other curves."""
        return LinearSpace(curves)

    def apart(self) -> "LinearSpace":
        """Return the space in which every curve has a slope of its own."""
        return LinearSpace(self.curves.apart(), self._values)

    def start(self) -> Array:
        """Return the slopes of log10 L weighted by L², which approximates residuals of L."""
        curves, b, loss = self.curves, self._b, self._values[0]
        weight, log_loss = curves.weight * loss**2, np.log(curves.loss)
        rows = np.stack([weight, weight * b, weight * log_loss, weight * b * b, weight * b * log_loss])
        w, wb, wy, wbb, wby = curves.by_curve(rows)
        covariance, variance = curves.by_size(np.stack([wby - wb * wy / w, wbb - wb * wb / w]))
        return np.asarray(-covariance / variance)
