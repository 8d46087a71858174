"""The saturating slope with a level that follows from size: the lines of all sizes meet in one point.

    log10 L(N, X) = -k(N) · (log10 X - c) + a,        k(N) = k_max / (1 + n_0 / N)

So the level E(N) = a + c · k(N) is smooth in log N and has no shape of its own: 10^c is the X from which the slope
counts, 10^a the loss there. Source of the slope: Tan et al., arXiv 2509.25300, equations 1 and 2. The level is chosen
here, by leaving out each published base size up to 32B in turn (the 72B points had no say). RMSE of the loss over the
six left-out sizes, for compute and samples: 0.024 and 0.022 fitted on log loss, 0.026 and 0.024 on linear loss. With a
term b · log10 N as well it is 0.026 to 0.028, with that in place of c · k(N) 0.038 to 0.058, with a square of log10 N
besides 0.031 to 0.082. What that score hides: the form is weak where n_0 is not yet seen. From the four sizes up to 7B
it misses 14B by 0.08 to 0.10, the form with b · log10 N as well by 0.02; from the five up to 14B it misses 32B by 0.02
to 0.03, the other by 0.04.
"""

import numpy as np

from rlscale.laws import Array, Parameter
from rlscale.laws.surface_law import (
    FLAT,
    LN10,
    Coordinate,
    Expansion,
    Frame,
    Sites,
    SurfaceLaw,
    logarithmic,
    plain,
    stack,
)

_BEYOND = 10.0  # decades from the least X: lines that do not meet within count as parallel


class SmoothLevel(SurfaceLaw):
    """E(N) = a + c · k(N), with the shape n_0.

    Inside, k(N) · (c - log10 X) is a sum of two such terms, with c at its least and at its largest: their slopes at the
    smallest size are coefficients, and where neither is negative, k is not and c lies between.
    """

    name = "smooth_level"
    formula = "log10 L = -k(N) (log10 X - c) + a, k(N) = k_max / (1 + n_0 / N)"
    source = "slope: Tan et al., arXiv 2509.25300, equations 1 and 2; level: rlscale"
    link = "log"
    shapes = 1
    sizes_needed = 2
    x_needed = 2

    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:
        """Return n_0 within 1000 times the fitted sizes, c within ten decades of the least X, k_max and a."""
        n_0 = logarithmic("n_0", "parameters", frame.params[0] / 1000.0, frame.params[-1] * 1000.0)
        smallest = frame.log10_n * LN10
        return (
            n_0._replace(lower=n_0.lower - smallest, upper=n_0.upper - smallest),
            Coordinate(Parameter("c", "log10 X", frame.log10_x - _BEYOND, frame.log10_x + _BEYOND), 0.0, np.inf),
            plain("k_max", "log10 loss per log10 X", 0.0, np.inf),
            plain("a", "log10 loss", -np.inf, np.inf),
        )

    def guesses(self, frame: Frame, sites: Sites, loss: Array) -> Array:  # noqa: ARG002 - the sizes are enough
        """Return n_0 at the points' mean log10 N, and far beyond both ends."""
        low, high = self.coordinates(frame)[0][1:]
        return np.array([[LN10 * float(sites.n.mean())], [low / 2], [high / 2]])

    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the basis of the two terms and of a."""
        smallest, own = np.exp(shape), np.exp(shape - LN10 * sites.n)
        slope = (1.0 + smallest) / (1.0 + own)
        bend = slope * (smallest / (1.0 + smallest) - own / (1.0 + own))
        early, late = -_BEYOND - sites.x, _BEYOND - sites.x

        def tangent(coefficients: Array) -> Array:
            return np.asarray((bend * (coefficients[:, :1] * early + coefficients[:, 1:2] * late))[:, None, :])

        return Expansion(stack(slope * early, slope * late, np.ones((1, 1))), tangent)

    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return n_0, c, k_max and a."""
        log_n_0, early, late, a = (float(value) for value in point[:4])
        k = early + late
        if k <= FLAT:
            return [np.nan, np.nan, 0.0, a]
        n_0, c = float(np.exp(log_n_0)), frame.log10_x + _BEYOND * (late - early) / k
        return [n_0 * frame.params[0], c, k * (1.0 + n_0), a]
