"""The additive law: what a model of this size cannot reach, and what it has yet to learn, add up.

    L(N, X) = L_inf + (N_0 / N)^alpha + (X_0 / X)^beta

Source: the form of Hoffmann et al., "Training Compute-Optimal Large Language Models", arXiv 2203.15556, equation 2,
there for pretraining loss by parameters and tokens; here L is 1 - pass@1 and X samples or compute.
"""

import numpy as np

from rlscale.laws import Array
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

EXPONENT = (0.01, 5.0)


class Additive(SurfaceLaw):
    """The exponents alpha and beta are the shape; the terms at the smallest size and the least X are coefficients."""

    name = "additive"
    formula = "L = l_inf + (n_0 / N)^alpha + (x_0 / X)^beta"
    source = "Hoffmann et al., arXiv 2203.15556, equation 2"
    shapes = 2
    sizes_needed = 3
    x_needed = 3

    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:  # noqa: ARG002 - the same for every frame
        """Return alpha, beta, l_inf, n_0 and x_0."""
        return (
            logarithmic("alpha", "1", *EXPONENT),
            logarithmic("beta", "1", *EXPONENT),
            plain("l_inf", "loss", 0.0, 1.0),
            plain("n_0", "parameters", 0.0, np.inf),
            plain("x_0", "X", 0.0, np.inf),
        )

    def guesses(self, frame: Frame, sites: Sites, loss: Array) -> Array:  # noqa: ARG002 - sites are relative to it
        """Return exponents from the slopes of log10 L, then a spread."""
        first = (exponent_of(sites.n, loss), exponent_of(sites.x, loss))
        return np.asarray(np.log([first, (1.0, 0.1), (0.1, 1.0), (1.0, 1.0)]))

    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the basis of l_inf and of the two terms, with the derivatives by ln alpha and ln beta."""
        (by_n, alpha_rate), (by_x, beta_rate) = falling(shape[:, :1], sites.n), falling(shape[:, 1:], sites.x)

        def tangent(coefficients: Array) -> Array:
            return stack(coefficients[:, 1:2] * alpha_rate, coefficients[:, 2:] * beta_rate)

        return Expansion(stack(np.ones((1, 1)), by_n, by_x), tangent)

    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return alpha, beta, l_inf, n_0 and x_0."""
        log_alpha, log_beta, l_inf, by_n, by_x = (float(value) for value in point)
        alpha, n_0 = scale_of(log_alpha, by_n, frame.log10_n)
        beta, x_0 = scale_of(log_beta, by_x, frame.log10_x)
        return [alpha, beta, l_inf, n_0, x_0]


def falling(log_exponent: Array, log10_place: Array) -> tuple[Array, Array]:
    """Return place^-exponent and its derivative by the natural logarithm of the exponent."""
    z = LN10 * np.exp(log_exponent) * log10_place
    power = np.exp(np.minimum(-z, 300.0))
    return power, -z * power


def exponent_of(log10_place: Array, loss: Array) -> float:
    """Return a first guess of an exponent: twice the slope of log10 L, as if half of the loss were irreducible."""
    centred = log10_place - log10_place.mean()
    slope = -float(centred @ np.log10(loss)) / max(float(centred @ centred), FLAT)
    return float(np.clip(2.0 * slope, 0.05, 2.0))


def scale_of(log_exponent: float, term: float, log10_place: float) -> tuple[float, float]:
    """Return the exponent, NaN where the term is zero, and s where (s / place)^exponent is the term."""
    if term <= FLAT:
        return np.nan, 0.0
    exponent = float(np.exp(log_exponent))
    return exponent, float(10.0 ** (log10_place + np.log10(term) / exponent))
